"""Who may be in which zone: schools, management, operational technology, and services that must not stand alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import combinations

from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.models import ServerRole, ZoneKey
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.checks import Scope, wants_partner, without_partner

_SCHOOL_OFFICE: frozenset[ZoneKey] = frozenset(("school-administration",))
_SCHOOL_LESSONS: frozenset[ZoneKey] = frozenset(("school-pedagogic", "school-tablets", "school-byod"))
_OFFICE: frozenset[ZoneKey] = frozenset(("clients", "laptops"))
_OT: frozenset[ZoneKey] = frozenset(("ot-handover",))

# Where people work. Everything else is for servers, devices of buildings, or guests.
_WORKPLACES: frozenset[ZoneKey] = (
    _OFFICE | _SCHOOL_OFFICE | _SCHOOL_LESSONS | frozenset(("building", "admin", "quarantine"))
)
# Roles that people's machines talk to; management is reachable from the zone admin only.
_FOR_PEOPLE: frozenset[ServerRole] = frozenset(("dns", "file", "print", "database"))


def routing_domain(zone: str) -> str:
    """The routing domain of a zone that does not state one: schools' two nets and OT have their own."""
    if zone in _SCHOOL_OFFICE:
        return "school-administration"
    if zone in _SCHOOL_LESSONS:
        return "school-pedagogic"
    if zone in _OT:
        return "ot"
    return "office"


def check_zones(scope: Scope) -> list[Finding]:
    """Findings about zones and about services without a partner."""
    return [finding for check in _CHECKS for finding in check(scope)]


def _routing_domains(scope: Scope) -> Iterator[Finding]:
    zones = scope.declared.zones
    domain = {key: zone.routing_domain or routing_domain(key) for key, zone in zones.items()}
    for first, second in combinations(zones, 2):
        if domain[first] != domain[second]:
            continue
        administration, lessons = _SCHOOL_OFFICE | _OFFICE, _SCHOOL_LESSONS
        if {first, second} & administration and {first, second} & lessons:
            yield Finding(
                rule="school-nets-mixed",
                place=_stated(scope, second, first),
                message=f"the zones {first} and {second} share the routing domain {domain[first]}",
                value=domain[first],
                allowed="a routing domain of its own for lessons, away from every administration",
                hint="give them different routing_domain, or leave it out",
            )
        elif first in _OT or second in _OT:
            yield Finding(
                rule="ot-shared",
                place=_stated(scope, second, first),
                message=f"the zones {first} and {second} share the routing domain {domain[first]}",
                value=domain[first],
                allowed="a routing domain of its own for ot-handover",
                hint="operational technology meets the office in the hand-over zone only",
            )


def _stated(scope: Scope, *zones: ZoneKey) -> Place:
    """Where the routing domain of one of the zones is stated, else the first zone's entry."""
    locs = [("zones", key, "routing_domain") for key in zones if scope.declared.zones[key].routing_domain]
    return scope.member.nearest(*locs) if locs else scope.file.key_place("zones", zones[0])


def _school_members(scope: Scope) -> Iterator[Finding]:
    """Lessons belong to a member of the kind school; an administration has no such zone."""
    declared = scope.declared
    lessons = sorted(_SCHOOL_LESSONS & declared.zones.keys())
    if lessons and declared.member.kind != "schule" and scope.file.is_sound("member", "kind"):
        yield Finding(
            rule="school-nets-mixed",
            place=scope.file.key_place("zones", lessons[0]),
            message=f"{declared.member.key} is of the kind {declared.member.kind} and has the zone {lessons[0]}",
            value=lessons[0],
            hint="declare each school as a member of its own, of the kind schule",
        )


def _school_servers(scope: Scope) -> Iterator[Finding]:
    """A server serves the school's office or its lessons, never both; a pair stands on one side."""
    declared = scope.declared
    if not (_SCHOOL_OFFICE & declared.zones.keys() and _SCHOOL_LESSONS & declared.zones.keys()):
        return
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    for key, server in declared.servers.items():
        side = routing_domain(server.zone)
        if side == "office" and server.role in ("file", "database", "application"):
            yield Finding(
                rule="school-server-shared",
                place=scope.file.place("servers", key, "zone"),
                message=f"{scope.server_name(key)} stands in {server.zone}, between administration and lessons",
                value=server.zone,
                allowed=", ".join(sorted((_SCHOOL_OFFICE | _SCHOOL_LESSONS) & declared.zones.keys())),
                hint="data and applications of the two sides have servers of their own",
            )
        if server.pair:
            sides[server.pair][side] = key
    for pair, keys in sides.items():
        if {"school-administration", "school-pedagogic"} <= keys.keys():
            last = keys["school-pedagogic"]
            locs: list[Loc] = [("servers", key, "zone") for key in reversed(keys.values())]
            yield Finding(
                rule="school-server-shared",
                place=scope.member.nearest(*locs),
                message=f"the pair '{pair}' stands in administration and in lessons "
                f"({', '.join(scope.server_name(key) for key in keys.values())})",
                value=declared.servers[last].zone,
                hint="give each side a pair of its own",
            )


def _school_profiles(scope: Scope) -> Iterator[Finding]:
    """What the kind of member puts on one side of a school is not moved to the other, nor among offices."""
    layers = scope.member.layers
    if layers is None:
        return
    for key in scope.declared.profiles:
        loc = ("profiles", key, "zone")
        sides = [routing_domain(o.value) for o in layers.origins(loc) if isinstance(o.value, str)]
        # The nearest layer is in force; what all members share says nothing about schools.
        moved = [side for side in sides[1:] if side.startswith("school-") and side != sides[0]]
        if moved:
            zone = scope.declared.profiles[key].zone
            side = _SCHOOL_OFFICE if moved[0] == "school-administration" else _SCHOOL_LESSONS
            yield Finding(
                rule="school-nets-mixed",
                place=scope.file.place(*loc),
                message=f"workstations of the profile {key} would stand in the zone {zone}, on the other side",
                value=zone,
                allowed=", ".join(sorted(side & scope.declared.zones.keys())),
                hint="lessons and administration of a school never share a network; use a profile of that side",
            )


def _workplaces(scope: Scope) -> Iterator[Finding]:
    """Workstations stand where people work; only the used profiles count."""
    declared = scope.declared
    used = {row.profile for row in scope.member.devices.rows}
    used |= {group.profile for group in declared.workstations.values()}
    for key, profile in declared.profiles.items():
        if key not in used or profile.zone in _WORKPLACES:
            continue
        ot = profile.zone in _OT
        yield Finding(
            rule="ot-shared" if ot else "workplace-zone",
            place=scope.file.place("profiles", key, "zone"),
            message=f"workstations of the profile {key} would stand in the zone {profile.zone}",
            value=profile.zone,
            allowed=", ".join(sorted(_WORKPLACES & declared.zones.keys())),
            hint="machines of the office never stand in the zone of operational technology"
            if ot
            else "management is reached from the zone admin; server zones hold servers only",
        )


def _server_zones(scope: Scope) -> Iterator[Finding]:
    for key, server in scope.declared.servers.items():
        if server.zone not in ("management", "ot-handover") and server.zone not in _OFFICE:
            continue
        if not (scope.file.is_sound("servers", key, "zone") and scope.file.is_sound("servers", key, "role")):
            continue
        place = scope.member.nearest(("servers", key, "zone"), ("servers", key, "role"))
        if server.zone == "management" and server.role in _FOR_PEOPLE:
            yield Finding(
                rule="management-reachable",
                place=place,
                message=f"{scope.server_name(key)} ({server.role}) serves people and stands in the zone management",
                value=server.zone,
                allowed="another zone: management is reachable from the zone admin only",
            )
        if server.zone in _OT and server.role in _FOR_PEOPLE:
            yield Finding(
                rule="ot-shared",
                place=place,
                message=f"{scope.server_name(key)} ({server.role}) serves the office and stands in {server.zone}",
                value=server.zone,
                allowed="another zone: operational technology shares none with the office",
            )
        if server.zone in _OFFICE:
            yield Finding(
                rule="server-among-workplaces",
                place=place,
                severity="warning",
                message=f"{scope.server_name(key)} stands among workplaces, in the zone {server.zone}",
                value=server.zone,
                hint="servers have zones of their own: application, database, infrastructure",
            )


def _partners(scope: Scope) -> Iterator[Finding]:
    """Services of level 1, with very high availability also of level 2, have a partner."""
    servers = scope.declared.servers
    alone: dict[Place, list[str]] = defaultdict(list)
    for key, server in servers.items():
        if server.pair is None and wants_partner(scope, key):
            place = scope.removed_at("servers", key, "pair") or scope.file.place("servers", key, "service_level")
            alone[place].append(key)
    for place, keys in alone.items():
        level = servers[keys[0]].service_level
        why = f"service level {level}" + ("" if level == 1 else " where availability is very high")
        yield Finding(
            rule="partner-missing",
            place=place,
            message=f"{without_partner(scope, keys)} {why}, and no partner in the other fire section",
            value=str(level),
            allowed="a partner: two servers with the same pair",
            hint="with count: 2 and a pair both are declared at once; or give it a service level that can wait",
        )


_CHECKS: tuple[Callable[[Scope], Iterator[Finding]], ...] = (
    _routing_domains,
    _school_members,
    _school_servers,
    _school_profiles,
    _workplaces,
    _server_zones,
    _partners,
)
