"""Whether every disk lies where its data survive what they must survive, and has room there."""

from __future__ import annotations

from collections.abc import Iterator

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.load import Loaded
from ksm_onboard.declaration.models import PlatformDeclaration, ServerRole
from ksm_onboard.planning.checks import Scope, unknown
from ksm_onboard.planning.member_plan import placed
from ksm_onboard.planning.placement import bound_sections, section_of_tier
from ksm_onboard.planning.storage import Disk, arrays_of, disks_of, lying_on, needed, sized

# What keeps a copy of its own data on its partner: the name service transfers its zones, PostgreSQL streams.
_REPLICATES_ITSELF: frozenset[ServerRole] = frozenset({"dns", "database"})
_TOLD = 3


def check_arrays(file: Loaded[PlatformDeclaration]) -> Iterator[Finding]:
    """Findings for the platform's arrays and tiers."""
    if (platform := file.content) is None:
        return
    hosts_seen: dict[object, str] = {}
    for name, array in platform.arrays.items():
        for index, tier in enumerate(array.tiers):
            if tier not in platform.storage_tiers and not file.mentions("storage_tiers", tier):
                place = file.place("arrays", name, "tiers", index)
                yield unknown("tier-unknown", "the storage tier", tier, platform.storage_tiers, place)
        if len(set(array.sections)) < len(array.sections):
            yield Finding(
                rule="array-section-twice",
                place=file.place("arrays", name, "sections"),
                message=f"the array {name} names a fire section twice; that is no mirror",
                value=", ".join(array.sections),
                allowed="every section at most once",
            )
        if array.address in hosts_seen:
            yield Finding(
                rule="array-twice",
                place=file.place("arrays", name, "address"),
                message=f"the arrays {hosts_seen[array.address]} and {name} have one address: they are one array",
                value=str(array.address),
                hint="an array that serves several tiers is declared once, with all its tiers",
            )
        hosts_seen.setdefault(array.address, name)
    for tier in platform.storage_tiers:
        arrays = arrays_of(tier, platform)
        if not arrays and not file.mentions("arrays"):
            yield Finding(
                rule="tier-without-array",
                place=file.key_place("storage_tiers", tier),
                message=f"no array serves the tier {tier}",
                value=tier,
                hint="add it to the tiers of an array, or remove it",
            )
        if len({frozenset(array.sections) for array in arrays.values()}) > 1:
            yield Finding(
                rule="tier-mixed",
                place=file.key_place("storage_tiers", tier),
                message=f"the tier {tier} has arrays in different sections",
                value=", ".join(f"{name}: {'+'.join(array.sections)}" for name, array in arrays.items()),
                allowed="arrays in the same sections, so that every disk of the tier is protected alike",
                hint="give mirrored and section-local arrays tiers of their own",
            )


def check_storage(scope: Scope) -> Iterator[Finding]:
    """All findings about one member's storage."""
    yield from _replication(scope)
    if scope.member.record.content is None or scope.member.record.findings:
        return
    if not scope.file.is_sound("member", "short"):
        return
    sections = placed(scope.record, scope.declared, scope.platform)
    disks = disks_of(scope.declared, scope.platform, sections)
    yield from _record(scope)
    yield from _given(scope, disks)
    yield from _quota(scope, disks)


def _replication(scope: Scope) -> Iterator[Finding]:
    """A section-local disk is lost with its section: only what has a copy elsewhere may lie there."""
    declared, platform = scope.declared, scope.platform
    used = {database.pair for database in declared.databases.values()}
    for key, server in declared.servers.items():
        tiers = {disk_key: disk.tier for disk_key, disk in server.disks.items()}
        local = [disk_key for disk_key, tier in tiers.items() if section_of_tier(tier, platform)]
        system = section_of_tier(server.tier, platform) is not None
        if not local and not system:
            continue
        if len(bound_sections(server, platform)) > 1:
            continue  # told as such
        partners = [other for other in declared.servers.values() if server.pair and other.pair == server.pair]
        if server.role not in _REPLICATES_ITSELF:
            why = f"a server of the role {server.role} keeps no copy of its data elsewhere"
        elif server.pair and len(partners) < 2:
            continue  # told as such
        elif len(partners) < 2:
            why = "it has no partner that would hold a copy of its data"
        elif server.role == "database" and server.pair not in used and local and not _of_its_kind(scope, key):
            why = f"no database is declared on its pair '{server.pair}', so nothing is replicated"
        else:
            continue
        loc = ("servers", key, "disks", local[0], "tier") if local else ("servers", key, "tier")
        tier = tiers[local[0]] if local else server.tier
        what = f"the data disk {local[0]}" if local else "the system disk"
        yield Finding(
            rule="tier-not-replicated",
            place=scope.member.nearest(loc, ("servers", key, "role")),
            message=f"{what} of {scope.server_name(key)} lies in fire section {section_of_tier(tier, platform)} only, "
            f"and {why}",
            value=tier,
            allowed=", ".join(t for t in platform.storage_tiers if section_of_tier(t, platform) is None),
            hint="a section-local tier is for pairs of servers that replicate themselves "
            f"({', '.join(sorted(_REPLICATES_ITSELF))})",
        )


def _of_its_kind(scope: Scope, key: str) -> bool:
    """Whether every member of the kind has the server in its role: its databases may not be declared yet."""
    layers = scope.member.layers
    return layers is not None and any(o.layer.name == "archetype" for o in layers.origins(("servers", key, "role")))


def _record(scope: Scope) -> Iterator[Finding]:
    """What was recorded about storage is possible: own names, declared arrays, datastores that exist."""
    # Where the prefix itself was changed, that is told, and not of each datastore once more.
    record, prefix = scope.record, f"{scope.record.short or scope.declared.member.short}-"
    file = scope.member.record
    for name, store in record.datastores.items():
        if not name.startswith(prefix):
            yield Finding(
                rule="datastore-foreign",
                place=file.key_place("datastores", name),
                message=f"the datastore {name} is not one of {scope.member.key}",
                value=name,
                allowed=f"a name that begins with {prefix}",
                hint="members never share a datastore; let ksm-onboard allocate give out its own",
            )
        array = scope.platform.arrays.get(store.array)
        serves = array is not None and store.tier in array.tiers
        if not serves and not scope.platform_file.mentions("arrays"):
            yield Finding(
                rule="datastore-unknown",
                place=file.place("datastores", name, "array"),
                message=f"the datastore {name} was given out on {store.array} for the tier {store.tier}, "
                + ("which that array does not serve" if array else "and no such array is declared"),
                value=store.array,
                allowed=", ".join(arrays_of(store.tier, scope.platform)) or None,
                hint="what was given out stays where it is: declare the array with this tier again",
            )
    for disk, name in record.disks.items():
        if name not in record.datastores:
            yield unknown(
                "datastore-unknown",
                f"the datastore of {disk}",
                name,
                record.datastores,
                file.place("disks", disk),
            )


def _given(scope: Scope, disks: tuple[Disk, ...]) -> Iterator[Finding]:
    record, key = scope.record, scope.member.key
    lacking = [
        disk
        for disk in disks
        # A server without anything is told once, as a server.
        if disk.name not in record.disks and disk.name.partition("/")[0] in record.hosts
    ]
    if lacking:
        names = ", ".join(disk.name for disk in lacking[:_TOLD]) + (" …" if len(lacking) > _TOLD else "")
        yield Finding(
            rule="not-allocated",
            # What a tier comes from may stand in a file that members share.
            place=scope.member.nearest(*(disk.loc for disk in lacking), ("member", "key")),
            message=f"{len(lacking)} disk{'s have' if len(lacking) > 1 else ' has'} no datastore yet: {names}",
            hint=f"run: ksm-onboard allocate {key}",
        )
    for disk in disks:
        store = record.datastores.get(record.disks.get(disk.name, ""))
        if store is None or store.tier == disk.tier:
            continue
        yield Finding(
            rule="allocation-contradicts",
            place=scope.file.place(*disk.loc),
            message=f"{disk.name} is declared for the tier {disk.tier}, "
            f"it lies on {record.disks[disk.name]} of the tier {store.tier}",
            value=disk.tier,
            allowed=store.tier,
            hint="no disk is moved by a declaration: where it stands already, that is a migration of its data "
            "(docs/how-to/grow-storage.md, A disk belongs on another tier); where nothing was built yet, "
            f"take back its place: ksm-onboard allocate {key} --release disks.{disk.name}",
        )


def _quota(scope: Scope, disks: tuple[Disk, ...]) -> Iterator[Finding]:
    record = scope.record
    lies_on = lying_on(disks, record.disks)
    for name, need in needed(disks, record.disks).items():
        store = record.datastores.get(name)
        if store is None or need <= store.size_gib:
            continue
        larger = sized(need, scope.declared.storage.growth_percent, store.size_gib)
        largest = ", ".join(f"{disk.name} {disk.size_gib} GiB" for disk in lies_on[name][:_TOLD])
        yield Finding(
            rule="storage-quota",
            place=scope.file.place(*_size_of(lies_on[name][0])),
            message=f"{need} GiB are declared for the datastore {name}, {need - store.size_gib} GiB more than it has",
            value=f"{need} GiB",
            allowed=f"at most {store.size_gib} GiB",
            hint=f"let it grow to {larger} GiB: ksm-onboard allocate {scope.member.key}; or make disks smaller "
            f"(largest: {largest})",
        )


def _size_of(disk: Disk) -> tuple[str | int, ...]:
    """The path of what makes the disk as large as it is."""
    return (*disk.loc[:-1], "size_gib" if "disks" in disk.loc else "memory_gib")
