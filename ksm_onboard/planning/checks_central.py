"""The data centre's own machines: their networks, and the central services that its VMs give in pairs.

Each check is pure and yields findings. What a member's server would be refused for, one of these is refused for, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.load import Loaded
from ksm_onboard.declaration.models import (
    HOST_NAME_LENGTH,
    CentralVm,
    PlatformDeclaration,
    SharedMachines,
    SharedServer,
)
from ksm_onboard.declaration.record import AllocationRecord
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.addressing import is_host_address
from ksm_onboard.planning.checks import unknown
from ksm_onboard.planning.member_plan import MAX_DATA_DISKS
from ksm_onboard.planning.placement import bound_sections, section_of_tier
from ksm_onboard.planning.storage import disks_of_vms, lying_on, needed, sized

_TOLD = 3


def check_central(file: Loaded[PlatformDeclaration], record: Loaded[AllocationRecord] | None) -> Iterator[Finding]:
    """All findings about the data centre's own machines; ``record`` is what was given out to its VMs."""
    if (platform := file.content) is None or (shared := platform.shared) is None:
        return
    yield from _networks(file, platform, shared)
    yield from _machines(file, shared)
    yield from _pairs(file, shared)
    for key, vm in shared.vms.items():
        yield from _vm(file, platform, key, vm)
    yield from _pool(file, shared)
    if record is None or (record.content is not None and not record.findings):
        yield from _storage(file, platform, shared, (record.content if record else None) or AllocationRecord())
    if record is not None:
        yield from record.findings


def _collides(file: Loaded[PlatformDeclaration], message: str, value: object, *loc: str) -> Finding:
    return Finding(rule="shared-network", place=file.place("shared", *loc), message=message, value=str(value))


def _networks(
    file: Loaded[PlatformDeclaration], platform: PlatformDeclaration, shared: SharedMachines
) -> Iterator[Finding]:
    crossed = [key for key, pool in platform.pools.items() if shared.block.overlaps(pool.range)]
    if crossed:
        message = f"the data centre's own block ({shared.block}) overlaps the members' pool {crossed[0]}"
        yield _collides(file, message, shared.block, "block")
    for key, zone in shared.zones.items():
        pools = [(name, pool) for name, pool in platform.pools.items() if zone.cidr.overlaps(pool.range)]
        for name, pool in pools:
            if name not in crossed:
                message = f"the shared zone {key} ({zone.cidr}) overlaps the members' pool {name} ({pool.range})"
                yield _collides(file, message, zone.cidr, "zones", key, "cidr")
        if not pools and not zone.cidr.subnet_of(shared.block):
            message = f"the shared zone {key} ({zone.cidr}) lies outside of the data centre's own block"
            yield Finding(
                rule="shared-network",
                place=file.place("shared", "zones", key, "cidr"),
                message=message,
                value=str(zone.cidr),
                allowed=f"a network in {shared.block}",
            )
        if platform.vlans.first <= zone.vlan <= platform.vlans.last:
            message = f"the VLAN {zone.vlan} of the shared zone {key} is one that members are given"
            yield _collides(file, message, zone.vlan, "zones", key, "vlan")
    for (key, zone), (other_key, other) in combinations(shared.zones.items(), 2):
        if zone.cidr.overlaps(other.cidr):
            message = f"the shared zones {key} and {other_key} overlap"
            yield _collides(file, message, other.cidr, "zones", other_key, "cidr")
        if zone.vlan == other.vlan:
            message = f"the shared zones {key} and {other_key} have one VLAN"
            yield _collides(file, message, other.vlan, "zones", other_key, "vlan")


def _machines(file: Loaded[PlatformDeclaration], shared: SharedMachines) -> Iterator[Finding]:
    """Names and addresses of physical machines and VMs alike."""
    machines: list[tuple[str, str, SharedServer | CentralVm]] = [
        *(("servers", key, server) for key, server in shared.servers.items()),
        *(("vms", key, vm) for key, vm in shared.vms.items()),
    ]
    used: dict[object, str] = {}
    for table, key, machine in machines:
        home = shared.zones.get(machine.zone)
        if home is None and not file.mentions("shared", "zones", machine.zone):
            place = file.place("shared", table, key, "zone")
            yield unknown("zone-unknown", f"{key}: the shared zone", machine.zone, shared.zones, place)
        if home is not None and not is_host_address(machine.address, home.cidr):
            message = f"{key}: {machine.address} is no host address of the shared zone {machine.zone} ({home.cidr})"
            yield _collides(file, message, machine.address, table, key, "address")
        if machine.address in used:
            message = f"the shared machines {used[machine.address]} and {key} have one address"
            yield _collides(file, message, machine.address, table, key, "address")
        used.setdefault(machine.address, key)
        if len(host := f"{shared.short}-{key}") > HOST_NAME_LENGTH:
            yield Finding(
                rule="name-too-long",
                place=file.key_place("shared", table, key),
                message=f"the host name '{host}' has {len(host)} characters",
                value=host,
                allowed=f"at most {HOST_NAME_LENGTH} (the NetBIOS limit)",
            )
    for key in shared.vms:
        if key in shared.servers:
            yield Finding(
                rule="name-twice",
                place=file.key_place("shared", "vms", key),
                message=f"a physical machine and a VM have the name '{shared.short}-{key}'",
                value=key,
            )


def _pairs(file: Loaded[PlatformDeclaration], shared: SharedMachines) -> Iterator[Finding]:
    """Every VM has a partner that does the same in the other fire section; so no central service is lost with one."""
    by_pair: dict[str, list[str]] = defaultdict(list)
    for key, vm in shared.vms.items():
        by_pair[vm.pair].append(key)
    set_aside = any(loc[:2] == ("shared", "vms") for loc in file.set_aside)
    for pair, keys in by_pair.items():
        vms = [shared.vms[key] for key in keys]
        last = keys[-1]
        if len(keys) < 2:
            if not set_aside:
                yield Finding(
                    rule="pair-of-one",
                    place=file.place("shared", "vms", last, "pair"),
                    message=f"{shared.short}-{last} gives {' and '.join(vms[0].roles)} to all members "
                    "and has no partner in the other fire section",
                    value=pair,
                    hint=f"declare a second VM of the pair '{pair}' with the same roles in the other section",
                )
            continue
        if len({vm.section for vm in vms}) == 1 and not _told(file, shared, keys, "section"):
            yield Finding(
                rule="pair-in-one-section",
                place=file.place("shared", "vms", last, "section"),
                message=f"the pair '{pair}' stands in fire section {vms[0].section} only: lost with it, "
                f"no member has {' and '.join(vms[0].roles)} any more",
                value=", ".join(keys),
                allowed="at least one VM in each section",
            )
        for field, what, rule in (
            ("roles", "roles", "pair-of-different-roles"),
            ("zone", "zones", "pair-in-different-zones"),
            ("service_level", "service levels", "pair-of-different-levels"),
        ):
            if _told(file, shared, keys, field):
                continue
            values = {key: getattr(shared.vms[key], field) for key in keys}
            seen = {frozenset(value) if isinstance(value, tuple) else value for value in values.values()}
            if len(seen) > 1:
                said = (", ".join(v) if isinstance(v, tuple) else str(v) for v in values.values())
                yield Finding(
                    rule=rule,  # type: ignore[arg-type]
                    place=file.place("shared", "vms", last, field),
                    message=f"the VMs of the pair '{pair}' have different {what}",
                    value="; ".join(f"{key}: {value}" for key, value in zip(keys, said, strict=True)),
                    allowed="the same: only then the one can do what the other did",
                )


def _told(file: Loaded[PlatformDeclaration], shared: SharedMachines, keys: list[str], field: str) -> bool:
    """Whether ``field`` of one of them is an error of its own."""
    unknown_zone = field == "zone" and any(shared.vms[key].zone not in shared.zones for key in keys)
    return unknown_zone or any(file.mentions("shared", "vms", key, field) for key in keys)


def _vm(file: Loaded[PlatformDeclaration], platform: PlatformDeclaration, key: str, vm: CentralVm) -> Iterator[Finding]:
    loc: Loc = ("shared", "vms", key)
    if vm.template not in platform.templates and not file.mentions("templates", vm.template):
        place = file.place(*loc, "template")
        yield unknown("template-unknown", f"{key}: the template", vm.template, platform.templates, place)
    tiers: list[tuple[str, Loc]] = [(vm.tier, (*loc, "tier"))]
    tiers += [(disk.tier, (*loc, "disks", name, "tier")) for name, disk in vm.disks.items()]
    for tier, at in tiers:
        if tier not in platform.storage_tiers and not file.mentions("storage_tiers", tier):
            yield unknown("tier-unknown", f"{key}: the storage tier", tier, platform.storage_tiers, file.place(*at))
    bound = bound_sections(vm, platform)
    if len(bound) > 1:
        yield Finding(
            rule="section-conflict",
            place=next(
                file.place(*at) for tier, at in tiers if section_of_tier(tier, platform) not in (None, vm.section)
            ),
            message=f"{key} is bound to both fire sections",
            value=", ".join(sorted(bound)),
            hint=f"a section-local tier binds a VM to its section; use one of section {vm.section}, or a mirrored tier",
        )
    elif any(section_of_tier(tier, platform) for tier, _ in tiers):
        at = next(at for tier, at in tiers if section_of_tier(tier, platform))
        yield Finding(
            rule="tier-not-replicated",
            place=file.place(*at),
            message=f"a disk of {key} lies in fire section {vm.section} only, and nothing keeps a copy of it elsewhere",
            value=str(next(tier for tier, where in tiers if where == at)),
            allowed=", ".join(t for t in platform.storage_tiers if section_of_tier(t, platform) is None),
        )
    if len(vm.disks) > MAX_DATA_DISKS:
        yield Finding(
            rule="disks-too-many",
            place=file.key_place(*loc, "disks"),
            message=f"{key} has {len(vm.disks)} data disks",
            allowed=f"at most {MAX_DATA_DISKS}",
        )
    mounts: set[str] = set()
    for name, disk in vm.disks.items():
        if disk.mount in mounts:
            yield Finding(
                rule="disk-twice",
                place=file.place(*loc, "disks", name, "mount"),
                message=f"two data disks of {key} have the mount point '{disk.mount}'",
                value=disk.mount,
            )
        mounts.add(disk.mount)
    yield from _size(file, platform, key, vm)


def _size(
    file: Loaded[PlatformDeclaration], platform: PlatformDeclaration, key: str, vm: CentralVm
) -> Iterator[Finding]:
    figures = (("hypervisor", "memory_gib"), ("hypervisor", "cpu_cores"), ("reserves", "memory_percent"))
    if any(file.mentions(*loc) or not file.is_sound(*loc) for loc in figures):
        return
    memory = platform.hypervisor.memory_gib * (100 - platform.reserves.memory_percent) // 100
    for field, value, most, unit in (
        ("memory_gib", vm.memory_gib, memory, "GiB of memory"),
        ("cpus", vm.cpus, platform.hypervisor.cpu_cores, "processor cores"),
    ):
        if value > most:
            yield Finding(
                rule="server-too-large",
                place=file.place("shared", "vms", key, field),
                message=f"{key} wants {value} {unit}, {value - most} more than one host has",
                value=str(value),
                allowed=f"at most {most}",
            )


def _pool(file: Loaded[PlatformDeclaration], shared: SharedMachines) -> Iterator[Finding]:
    need = sum(vm.memory_gib for vm in shared.vms.values())
    if need > shared.compute.memory_gib:
        yield Finding(
            rule="pool-too-small",
            place=file.place("shared", "compute", "memory_gib"),
            message=f"the data centre's VMs need {need} GiB of memory, "
            f"their pool allows {shared.compute.memory_gib} GiB",
            value=str(shared.compute.memory_gib),
            allowed=f"at least {need}",
        )


def _storage(
    file: Loaded[PlatformDeclaration], platform: PlatformDeclaration, shared: SharedMachines, record: AllocationRecord
) -> Iterator[Finding]:
    """Every disk was given a datastore of its tier, and all that lies on one has room there."""
    disks, run = disks_of_vms(shared, platform), f"ksm-onboard allocate {platform.platform.key}"
    lacking = [disk for disk in disks if disk.name not in record.disks]
    if lacking:
        names = ", ".join(disk.name for disk in lacking[:_TOLD]) + (" …" if len(lacking) > _TOLD else "")
        yield Finding(
            rule="not-allocated",
            place=file.place(*lacking[0].loc),
            message=f"{len(lacking)} disk{'s have' if len(lacking) > 1 else ' has'} no datastore yet: {names}",
            hint=f"run: {run}",
        )
    for disk in disks:
        store = record.datastores.get(record.disks.get(disk.name, ""))
        if store is not None and store.tier != disk.tier:
            yield Finding(
                rule="allocation-contradicts",
                place=file.place(*disk.loc),
                message=f"{disk.name} is declared for the tier {disk.tier}, "
                f"it lies on {record.disks[disk.name]} of the tier {store.tier}",
                value=disk.tier,
                allowed=store.tier,
                hint=f"no disk is moved by a declaration; where its data are moved by hand: {run} --release "
                f"disks.{disk.name}",
            )
    lies_on = lying_on(disks, record.disks)
    for name, need in needed(disks, record.disks).items():
        store = record.datastores.get(name)
        if store is not None and need > store.size_gib:
            largest = lies_on[name][0]
            field = "size_gib" if "disks" in largest.loc else "memory_gib"
            larger = sized(need, shared.storage.growth_percent, store.size_gib)
            yield Finding(
                rule="storage-quota",
                place=file.place(*largest.loc[:-1], field),
                message=f"{need} GiB are declared for the datastore {name}, "
                f"{need - store.size_gib} GiB more than it has",
                value=f"{need} GiB",
                allowed=f"at most {store.size_gib} GiB",
                hint=f"let it grow to {larger} GiB: {run}",
            )
