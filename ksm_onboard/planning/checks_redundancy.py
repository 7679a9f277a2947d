"""Whether what is declared as redundant is: pairs and groups that survive the loss of a section or a host."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase

from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.models import ServerRole
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.checks import Scope, binding, partner_level, wants_partner
from ksm_onboard.planning.member_plan import placed
from ksm_onboard.planning.placement import bound_sections, section_of_tier

_QUORUM = 3
# Where three or more of them agree by majority on which one is in charge; web servers, say, just work side by side.
_VOTES: frozenset[ServerRole] = frozenset({"database"})
# Who has a waiver of it is moving: what stands has to be declared as it stands until the data are elsewhere.
_POLICY_ON_WRITING = "writing-survives-section"


def check_redundancy(scope: Scope) -> Iterator[Finding]:
    """All findings about one member's pairs and groups, and about servers too large for any host."""
    yield from _groups(scope)
    yield from _writing(scope)
    yield from _roles(scope)
    yield from _levels(scope)
    yield from _sizes(scope)


def _groups(scope: Scope) -> Iterator[Finding]:
    declared, platform = scope.declared, scope.platform
    groups: dict[str, list[str]] = defaultdict(list)
    for key, server in declared.servers.items():
        if server.pair:
            groups[server.pair].append(key)
    for pair, keys in groups.items():
        zones = {key: declared.servers[key].zone for key in keys}
        if len(set(zones.values())) > 1 and not _both_sides_of_a_school(set(zones.values())):
            yield Finding(
                rule="pair-in-different-zones",
                place=scope.member.nearest(*(("servers", key, "zone") for key in reversed(keys))),
                message=f"the servers of the pair '{pair}' stand in different zones",
                value=", ".join(f"{key}: {zone}" for key, zone in zones.items()),
                allowed="one zone: only then the one can do what the other did",
            )
        levels = {key: declared.servers[key].service_level for key in keys}
        if len(set(levels.values())) > 1:
            yield Finding(
                rule="pair-of-different-levels",
                place=scope.member.nearest(*(("servers", key, "service_level") for key in reversed(keys))),
                message=f"the servers of the pair '{pair}' have different service levels",
                value=", ".join(f"{key}: {level}" for key, level in levels.items()),
                allowed="one level: both do the same work",
            )
        yield from _different_work(scope, pair, keys)
        yield from _standby_disks(scope, pair, keys)
        yield from _together(scope, pair, keys)
        yield from _lopsided(scope, pair, keys)
        hosts = {section: len(place.hosts) for section, place in platform.sections.items()}
        smallest = min(hosts, key=lambda section: hosts[section])
        if len(keys) > hosts[smallest] and not scope.platform_file.mentions("sections"):
            yield Finding(
                rule="pair-too-large",
                place=scope.member.nearest(*(("servers", key, "pair") for key in reversed(keys))),
                message=f"the {len(keys)} servers of '{pair}' never share a host, and with one section lost "
                f"only the {hosts[smallest]} hosts of section {smallest} are left",
                value=str(len(keys)),
                allowed=f"at most {hosts[smallest]} servers",
                hint="declare fewer, or several groups",
            )
        votes = all(declared.servers[key].role in _VOTES for key in keys)
        if votes and len(keys) >= _QUORUM and len(platform.sections) < _QUORUM:
            yield Finding(
                rule="quorum-in-two-sections",
                severity="warning",
                place=scope.member.nearest(*(("servers", key, "pair") for key in reversed(keys))),
                message=f"of the {len(keys)} servers of '{pair}' one of the two fire sections holds "
                f"{-(-len(keys) // 2)}: lost with it, those left are no majority"
                if len(keys) % 2
                else f"each of the two fire sections holds {len(keys) // 2} of the {len(keys)} servers of '{pair}': "
                "those left are no majority",
                value=", ".join(keys),
                hint="what decides by majority needs a witness in a third place, outside both sections",
            )


def _together(scope: Scope, pair: str, keys: list[str]) -> Iterator[Finding]:
    """Servers that were placed stay where they are, so those that became a group later may stand together."""
    declared, record = scope.declared, scope.record
    bound = {key: bound_sections(declared.servers[key], scope.platform) for key in keys}
    if any(len(sections) > 1 for sections in bound.values()):
        return  # told as such
    free = [key for key in keys if not bound[key]]
    before = {key: record.sections.get(scope.server_name(key)) for key in keys}
    sections = placed(scope.record, declared, scope.platform)
    if len(keys) < 2 or len({sections[key] for key in keys}) > 1 or not any(before[key] for key in free):
        return
    last = max(key for key in free if before[key])
    yield Finding(
        rule="pair-placed-together",
        place=scope.member.nearest(*binding(scope, keys)),
        message=f"the servers of the pair '{pair}' were all placed in fire section {sections[last]}",
        value=", ".join(keys),
        allowed="at least one server in each section",
        hint="no server is moved by itself; let one go to the other section: ksm-onboard allocate "
        f"{scope.member.key} --release sections.{scope.server_name(last)}",
    )


def _lopsided(scope: Scope, pair: str, keys: list[str]) -> Iterator[Finding]:
    """Three and more may stand in one section without all of them doing so."""
    sections = placed(scope.record, scope.declared, scope.platform)
    held = Counter(sections[key] for key in keys)
    section, most = held.most_common(1)[0]
    if len(held) < 2 or most <= (len(keys) + 1) // 2:
        return  # all in one section: told as such
    yield Finding(
        rule="pair-lopsided",
        place=scope.member.nearest(*binding(scope, [key for key in keys if sections[key] == section])),
        message=f"of the {len(keys)} servers of '{pair}' {most} stand in fire section {section}: "
        "lost with it, the rest cannot do their work",
        value=", ".join(f"{key}: {sections[key]}" for key in keys),
        allowed=f"at most {(len(keys) + 1) // 2} in one section",
        hint="leave section out and let the plan spread them; one that was placed moves only by "
        f"ksm-onboard allocate {scope.member.key} --release sections.SERVER",
    )


def _different_work(scope: Scope, pair: str, keys: list[str]) -> Iterator[Finding]:
    """A partner in name only: it runs something else."""
    servers = {key: scope.declared.servers[key] for key in keys}
    on_servers = {key for key, entry in scope.catalogue.items() if entry.application.component == "server"}
    known = {"applications": on_servers, "template": set(scope.platform.templates)}
    for field, what in (
        ("applications", "run different applications"),
        ("template", "are made from different templates"),
    ):
        values = {key: _names(getattr(server, field)) for key, server in servers.items()}
        sound = all(scope.file.is_whole("servers", key, field) for key in keys)
        if len(set(values.values())) < 2 or not sound or not frozenset().union(*values.values()) <= known[field]:
            continue  # what there is not is told as such
        if len({server.role for server in servers.values()}) > 1:
            continue  # this too
        yield Finding(
            rule="pair-of-different-work",
            place=scope.member.nearest(*(("servers", key, field) for key in reversed(keys))),
            message=f"the servers of the pair '{pair}' {what}: the one does not do what the other did",
            value="; ".join(f"{key}: {', '.join(sorted(names)) or 'none'}" for key, names in values.items()),
            allowed=f"the same {field} on each",
        )


def _names(value: str | tuple[str, ...]) -> frozenset[str]:
    return frozenset((value,) if isinstance(value, str) else value)


def _standby_disks(scope: Scope, pair: str, keys: list[str]) -> Iterator[Finding]:
    """A standby holds all that the first server holds."""
    servers = [scope.declared.servers[key] for key in keys]
    if any(server.role != "database" for server in servers):
        return
    if all(database.pair != pair for database in scope.declared.databases.values()):
        return
    needed, *sizes = (sum(disk.size_gib for disk in server.disks.values()) for server in servers)
    for key, size in zip(keys[1:], sizes, strict=True):
        if not 0 < size < needed:
            continue  # without any data disk: told as such
        disks = scope.declared.servers[key].disks
        yield Finding(
            rule="standby-too-small",
            place=scope.member.nearest(*(("servers", key, "disks", disk, "size_gib") for disk in disks)),
            message=f"{scope.server_name(key)} keeps the copy of {scope.server_name(keys[0])}, "
            f"and has {size} GiB of data disks for its {needed}: the copy ends when they are full",
            value=f"{size} GiB",
            allowed=f"at least {needed} GiB",
        )


def _levels(scope: Scope) -> Iterator[Finding]:
    """What every member of the kind has in pairs for its service level does not lose its partner by a lower one."""
    if (layers := scope.member.layers) is None:
        return
    lowered: dict[tuple[Place, int], list[str]] = defaultdict(list)
    for key in scope.declared.servers:
        loc = ("servers", key, "service_level")
        level = next((origin.value for origin in layers.origins(loc)[1:] if origin.layer.name == "archetype"), None)
        if not isinstance(level, int) or level > partner_level(scope) or wants_partner(scope, key):
            continue
        if scope.file.is_sound(*loc):
            lowered[scope.member.nearest(loc), level].append(key)
    for (place, level), keys in lowered.items():
        now = scope.declared.servers[keys[0]].service_level
        yield Finding(
            rule="level-lowered",
            place=place,
            message=f"{', '.join(map(scope.server_name, keys))}: service level {level} for every member of the kind "
            f"{scope.declared.member.kind}, which needs a partner; here it is {now}",
            value=str(now),
            allowed=str(level),
        )


def _writing(scope: Scope) -> Iterator[Finding]:
    """Nobody promotes a standby, so the only copy that accepts writes has to outlive the section that it is written in.

    What holds data and keeps no copy elsewhere must not lie in one section either: ``tier-not-replicated``.
    """
    declared, platform = scope.declared, scope.platform
    written: dict[str, list[str]] = defaultdict(list)
    for name, database in declared.databases.items():
        keys = [key for key, server in declared.servers.items() if server.pair == database.pair]
        bound = [bound_sections(declared.servers[key], platform) for key in keys]
        forced_together = all(bound) and len(set().union(*bound)) == 1
        # A server alone, of another role, bound to both sections or with its whole pair to one: told as such.
        if len(keys) > 1 and declared.servers[keys[0]].role == "database" and len(bound[0]) < 2 and not forced_together:
            written[keys[0]].append(name)
    for key, databases in written.items():
        server = declared.servers[key]
        disks: list[tuple[Loc, str, str]] = [
            (("servers", key, "disks", disk_key, "tier"), disk.tier, f"its data disk {disk_key}")
            for disk_key, disk in server.disks.items()
        ]
        disks.append((("servers", key, "tier"), server.tier, "its system disk"))
        local = [(loc, tier, what) for loc, tier, what in disks if section_of_tier(tier, platform) is not None]
        if not local:
            continue
        _, tier, what = local[0]
        waived = any(
            waiver.rule == _POLICY_ON_WRITING and fnmatchcase(scope.server_name(key), waiver.resource)
            for waiver in declared.waivers.values()
        )
        yield Finding(
            rule="writable-in-one-section",
            severity="warning" if waived else "error",
            place=scope.member.nearest(*(loc for loc, _, _ in local)),
            message=f"only {scope.server_name(key)} accepts writes for {', '.join(databases)}, and {what} lies in fire "
            f"section {section_of_tier(tier, platform)} only: with the section, writing is lost until somebody "
            "promotes a standby by hand",
            value=tier,
            allowed=", ".join(other for other in platform.storage_tiers if section_of_tier(other, platform) is None),
            hint="put the disks of the pair's first server on a mirrored tier; "
            "those of its standbys may lie in their own section",
        )


def _both_sides_of_a_school(zones: set[str]) -> bool:
    """Told by a rule of its own."""
    return {"school-administration", "school-pedagogic"} <= zones


def _roles(scope: Scope) -> Iterator[Finding]:
    """A server that the kind of member brings along keeps its role: else its rules could be escaped by renaming."""
    if (layers := scope.member.layers) is None:
        return
    for key, server in scope.declared.servers.items():
        stated = layers.origins(("servers", key, "role"))
        before = next((origin.value for origin in stated[1:] if origin.layer.name == "archetype"), server.role)
        partners = [other for other in scope.declared.servers.values() if server.pair and other.pair == server.pair]
        if any(other.role != server.role for other in partners):
            continue  # told as such
        if stated and before != server.role and scope.file.is_sound("servers", key, "role"):
            yield Finding(
                rule="role-changed",
                place=scope.file.place("servers", key, "role"),
                message=f"{scope.server_name(key)} is a server of the role {before} for every member of the kind "
                f"{scope.declared.member.kind}; here it is made {server.role}",
                value=server.role,
                allowed=str(before),
                hint=f"to do without it, remove it (a line '{key}:' without a value), and declare another server",
            )


def _sizes(scope: Scope) -> Iterator[Finding]:
    """A server runs on one host."""
    platform = scope.platform
    figures = (("hypervisor", "memory_gib"), ("hypervisor", "cpu_cores"), ("reserves", "memory_percent"))
    if any(scope.platform_file.mentions(*loc) or not scope.platform_file.is_sound(*loc) for loc in figures):
        return
    memory = platform.hypervisor.memory_gib * (100 - platform.reserves.memory_percent) // 100
    cores = platform.hypervisor.cpu_cores
    for key, server in scope.declared.servers.items():
        for field, value, most, unit in (
            ("memory_gib", server.memory_gib, memory, "GiB of memory"),
            ("cpus", server.cpus, cores, "processor cores"),
        ):
            if value > most and scope.file.is_sound("servers", key, field):
                yield Finding(
                    rule="server-too-large",
                    place=scope.file.place("servers", key, field),
                    message=f"{scope.server_name(key)} wants {value} {unit}, {value - most} more than one host has",
                    value=str(value),
                    allowed=f"at most {most}",
                    hint="a server runs on one host; divide the work among several",
                )
