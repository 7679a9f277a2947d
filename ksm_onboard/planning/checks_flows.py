"""What may be opened between zones. Some of it no declaration can change; it says so here, once.

Judged are the flows in force, whichever file they come from: the platform's defaults as well as the
member's own. What they open is taken apart first (planning.flows), without any address, so an
error is found before anything was given out. Docs: reference/flows.md, reference/rules.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network
from itertools import pairwise

from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.findings import Finding, Place, bounded
from ksm_onboard.declaration.load import Loaded
from ksm_onboard.declaration.models import MemberDeclaration, PlatformDeclaration, ServerRole, ZoneKey
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.checks import Scope, unknown, zone_references
from ksm_onboard.planning.checks_across import Across, Members
from ksm_onboard.planning.flows import (
    EVERY_SERVER,
    FEDERAL,
    INTERNET,
    MEMBER,
    PROXIES,
    ROLES,
    ZONES,
    End,
    Opening,
    openings,
    ports_of,
    shared_addresses,
)
from ksm_onboard.planning.zones import ADMINISTRATIONS, LESSONS, routing_domain_of

_OPERATOR = "data-centre:admin"
_WIDEST_RANGE = 1000
_MOST_PORTS = 2000
# Where people sit, or anybody may: nothing of it opens the backup zone.
_FOR_SERVERS: frozenset[ZoneKey] = frozenset(("application", "database", "infrastructure", "dmz", "voip", "building"))
_OFFICES: frozenset[ZoneKey] = frozenset(("clients", "laptops", "application"))
# Zones that never meet another member.
_OWN_ONLY: frozenset[ZoneKey] = LESSONS | frozenset(
    ("guest", "management", "backup", "admin", "quarantine", "ot-handover")
)
# What a server of the role offers others.
_OFFERED: dict[ServerRole, tuple[str, int]] = {
    "dns": ("udp", 53),
    "file": ("tcp", 445),
    "print": ("tcp", 631),
    "database": ("tcp", 5432),
}


@dataclass(frozen=True)
class _Ends:
    """Where the ends of a member's flows are written."""

    member: DeclaredMember
    content: MemberDeclaration

    def place(self, flow: str, end: End, *fields: str) -> Place:
        """Where an end is written: in the first of ``fields`` that has it."""
        declared = self.content.flows[flow]
        for field in fields or ("sources", "targets"):
            written = getattr(declared, field)
            if end.written in written:
                return self.member.file.place("flows", flow, field, written.index(end.written))
        return self.member.file.key_place("flows", flow)


@dataclass(frozen=True)
class _Flows:
    """A member's flows taken apart, and where they are stated."""

    scope: Scope

    @cached_property
    def openings(self) -> list[Opening]:
        layers = self.scope.member.layers
        return list(openings(self.scope.declared, layers.counted if layers else {}))

    @cached_property
    def real(self) -> list[Opening]:
        """Those that ask the zone gateway."""
        return [opening for opening in self.openings if not opening.switched]

    def own(self, flow: str, field: str) -> bool:
        """Whether the member's declaration itself states this of the flow, not a farther layer."""
        layers = self.scope.member.layers
        origins = layers.origins(("flows", flow, field)) if layers is not None else []
        return not origins or origins[0].layer.name == "declaration"

    def place(self, flow: str, end: End, *fields: str) -> Place:
        """Where an end is written: in the first of ``fields`` that has it."""
        return _Ends(self.scope.member, self.scope.declared).place(flow, end, *fields)


def check_flows(scope: Scope) -> list[Finding]:
    """Findings about one member's flows."""
    flows = _Flows(scope)
    return [finding for check in _CHECKS for finding in bounded(check(flows))]


def check_services(file: Loaded[PlatformDeclaration]) -> list[Finding]:
    """Findings about the services and shared networks that the platform declares."""
    return [*_wide_services(file), *_shared_networks(file)] if file.content is not None else []


# --- references ---------------------------------------------------------------------------


def _references(flows: _Flows) -> Iterator[Finding]:
    scope = flows.scope
    for key, flow in scope.declared.flows.items():
        for index, service in enumerate(flow.services):
            if service not in scope.platform.services and not scope.platform_file.mentions("services", service):
                place = scope.file.place("flows", key, "services", index)
                yield unknown("service-unknown", f"{key}: the service", service, scope.platform.services, place)
        for field in ("sources", "targets"):
            for index, end in enumerate(getattr(flow, field)):
                place = scope.file.place("flows", key, field, index)
                yield from _reference(flows, key, field, end, place)


def _reference(flows: _Flows, flow: str, field: str, end: str, place: Place) -> Iterator[Finding]:
    """An end that leads nowhere. What farther layers say of things that the member lacks says nothing."""
    scope = flows.scope
    declared, kind, name = scope.declared, *end.rpartition(":")[::2]
    if end in (INTERNET, FEDERAL, EVERY_SERVER) or f"{kind}:" == MEMBER:
        if end == FEDERAL and not scope.platform.federal_networks:
            yield _end_unknown(flow, end, place, "federal_networks in the platform's declaration")
        return
    own = flows.own(flow, field)
    if kind == "":
        if end not in ZONES:
            yield unknown("zone-unknown", f"{flow}: the zone", end, {*ZONES, INTERNET, FEDERAL, EVERY_SERVER}, place)
        elif own and end not in declared.zones and not scope.file.mentions("zones", end):
            yield unknown("zone-unknown", f"{flow}: the zone", end, declared.zones, place)
    elif kind == "role":
        if name not in ROLES:
            yield unknown("flow-end-unknown", f"{flow}: the role", name, ROLES, place)
        elif own and not any(server.role == name for server in declared.servers.values()):
            yield _end_unknown(flow, end, place, "the role of a declared server")
    elif kind == "data-centre":
        if name not in scope.platform.shared_networks and not scope.platform_file.mentions("shared_networks", name):
            known = scope.platform.shared_networks
            yield unknown("flow-end-unknown", f"{flow}: the data centre's network", name, known, place)
    elif own:
        layers = scope.member.layers
        counted = layers.counted.values() if layers is not None else ()
        known_names: dict[str, set[str]] = {
            "legacy": set(declared.networks.legacy),
            "server": {*declared.servers, *counted},
            "pair": {server.pair for server in declared.servers.values() if server.pair},
        }
        table = {"legacy": ("networks", "legacy"), "server": ("servers",), "pair": ("servers",)}[kind]
        if name not in known_names[kind] and not scope.file.mentions(*table, name):
            yield unknown("flow-end-unknown", f"{flow}: the {kind}", name, known_names[kind], place)


def _end_unknown(flow: str, end: str, place: Place, allowed: str) -> Finding:
    return Finding(
        rule="flow-end-unknown", place=place, message=f"{flow}: '{end}' leads nowhere", value=end, allowed=allowed
    )


def _nothing(flows: _Flows) -> Iterator[Finding]:
    """A flow of the member's own that opens nothing."""
    opening = {found.flow for found in flows.openings}
    for key, flow in flows.scope.declared.flows.items():
        if key in opening or not flows.own(key, "sources") or not flows.own(key, "targets"):
            continue
        outside = all(":" in end or end in (INTERNET, FEDERAL) for end in (*flow.sources, *flow.targets))
        yield Finding(
            rule="flow-opens-nothing",
            place=flows.scope.file.key_place("flows", key),
            message=f"the flow {key} opens nothing"
            + (": both its ends lie outside the member" if outside else ": the member has nothing that fits its ends"),
            value=f"{', '.join(flow.sources)} → {', '.join(flow.targets)}",
            hint="name zones or servers that are declared, or remove the flow",
        )


def _everything(flows: _Flows) -> Iterator[Finding]:
    services = flows.scope.platform.services
    for key, flow in flows.scope.declared.flows.items():
        widths = [
            ports_of(port) for service in flow.services if service in services for port in services[service].ports
        ]
        total = sum(last - first + 1 for _, first, last in widths)
        every = set(services) <= set(flow.services) and len(services) > 1
        if every or total > _MOST_PORTS:
            yield Finding(
                rule="flow-opens-everything",
                place=flows.scope.file.key_place("flows", key),
                message=f"the flow {key} opens {'every service there is' if every else f'{total} ports'}",
                allowed="the services that are needed, each with a reason",
            )


# --- what no declaration can change -------------------------------------------------------


def _violations(flows: _Flows) -> Iterator[Finding]:
    told: set[tuple[Rule, str, str, str]] = set()
    for opening in flows.real:
        for judge in _JUDGES:
            said = judge(flows, opening)
            if said is None:
                continue
            rule, accused, message, allowed = said
            mark = (rule, opening.flow, opening.source.written, opening.target.written)
            if mark not in told:
                told.add(mark)
                yield Finding(
                    rule=rule,
                    place=flows.place(opening.flow, accused),
                    message=f"the flow {opening.flow} opens {_words(opening)}: {message}",
                    value=accused.written,
                    allowed=allowed,
                    hint="no declaration can permit it; see docs/reference/flows.md",
                )
            break


def _words(opening: Opening) -> str:
    return f"{', '.join(opening.services)} from {_end_words(opening.source)} to {_end_words(opening.target)}"


def _end_words(end: End) -> str:
    return end.written if end.zone in (None, end.written) else f"{end.written} (zone {end.zone})"


_Said = tuple[Rule, End, str, str] | None


def _school(flows: _Flows, opening: Opening) -> _Said:
    """Lessons and administration never meet, neither directly nor at another member."""
    source, target = opening.source, opening.target
    domain = {end: _domain(flows, end) for end in (source, target)}
    for one, other in ((source, target), (target, source)):
        if one.zone not in LESSONS:
            continue
        if other.zone in ADMINISTRATIONS or (other.zone is not None and domain[one] != domain[other]):
            accused = other if one is source else one
            return "flow-school-sides", accused, "lessons and administration never meet", _same_domain(flows, one)
        if other.outside.startswith(MEMBER):
            return "flow-school-sides", other, "lessons never meet another administration", "no other member"
    return None


def _domain(flows: _Flows, end: End) -> str | None:
    """The routing domain of an end; None outside."""
    return routing_domain_of(end.zone, flows.scope.declared) if end.zone is not None else None


def _same_domain(flows: _Flows, end: End) -> str:
    domain = _domain(flows, end)
    zones = (z for z in flows.scope.declared.zones if routing_domain_of(z, flows.scope.declared) == domain)
    return f"ends in the same routing domain ({', '.join(zones)}), and the data centre's shared services"


def _ot(flows: _Flows, opening: Opening) -> _Said:  # noqa: ARG001
    for one, other in ((opening.source, opening.target), (opening.target, opening.source)):
        if one.zone != "ot-handover":
            continue
        if other.zone is not None or not other.outside.startswith(("data-centre:", "legacy:")):
            allowed = "the data centre's shared services, and the control room's own network as a legacy network"
            return "flow-ot", other, "operational technology shares nothing with offices", allowed
    return None


def _domains(flows: _Flows, opening: Opening) -> _Said:
    source, target = _domain(flows, opening.source), _domain(flows, opening.target)
    if source is None or target is None or source == target:
        return None
    message = f"the routing domains {source} and {target} have no way to each other"
    return "flow-between-domains", opening.target, message, _same_domain(flows, opening.source)


def _management(flows: _Flows, opening: Opening) -> _Said:  # noqa: ARG001
    source, target = opening.source, opening.target
    if target.zone == "management" and source.zone != "admin" and source.outside != _OPERATOR:
        message = "management is reached from administration only"
        return "flow-into-management", source, message, f"admin, {_OPERATOR}"
    if (target.zone == "admin" and source.outside != _OPERATOR) or target.outside == _OPERATOR:
        # Whoever gets into the zone admin gets on from there into management.
        return "flow-into-admin", source, "administration opens connections, it is not opened", _OPERATOR
    return None


def _backup(flows: _Flows, opening: Opening) -> _Said:  # noqa: ARG001
    source, target = opening.source, opening.target
    if target.zone == "backup" and source.zone != "admin" and source.outside not in (_OPERATOR, "data-centre:backup"):
        servers = source.servers is not None and source.zone in _FOR_SERVERS
        if not servers or opening.services != ("backup",):
            allowed = "single servers, pairs or roles with the service backup; administration"
            return "flow-backup", source, "the backup zone takes backups from servers, nothing else", allowed
    if source.zone == "backup" and (target.zone not in (None, *_FOR_SERVERS) or _elsewhere(target)):
        allowed = "server zones, the data centre's shared services"
        return "flow-backup", target, "the backup zone never opens workplaces or places outside", allowed
    return None


def _elsewhere(end: End) -> bool:
    return end.zone is None and not end.outside.startswith("data-centre:")


def _guest(flows: _Flows, opening: Opening) -> _Said:  # noqa: ARG001
    source, target = opening.source, opening.target
    if target.zone == "guest":
        return "flow-guest", target, "nobody opens connections to guests", "no flow to the zone guest"
    if source.zone == "guest" and target.outside != INTERNET:
        return "flow-guest", target, "guests reach the internet only", INTERNET
    return None


def _quarantine(flows: _Flows, opening: Opening) -> _Said:
    legacy = flows.scope.declared.networks.legacy

    def isolated(end: End) -> bool:
        name = end.outside.removeprefix("legacy:")
        return end.outside.startswith("legacy:") and name in legacy and legacy[name].quarantine

    source, target = opening.source, opening.target
    for one, other in ((source, target), (target, source)):
        if one.zone == "quarantine" and not isolated(other):
            administration = one is target and (other.zone == "admin" or other.outside == _OPERATOR)
            if not administration:
                allowed = "legacy networks with quarantine: true; from administration"
                return "flow-quarantine", other, "quarantine is isolated", allowed
        if isolated(one) and other.zone != "quarantine":
            return "flow-quarantine", one, f"{one.written} is in quarantine", "the zone quarantine"
    return None


def _dmz(flows: _Flows, opening: Opening) -> _Said:
    """Out of the DMZ only names, and what is listed server by server."""
    source, target = opening.source, opening.target
    if source.zone != "dmz" or (target.zone is None and target.outside.startswith("data-centre:")):
        return None
    if target.zone is None:
        return "flow-from-dmz", target, "the DMZ opens nothing outside", "the data centre's shared services"
    servers = flows.scope.declared.servers
    names = target.servers is not None and all(servers[key].role == "dns" for key in target.servers)
    if names and opening.services == ("dns",):
        return None
    listed = all(end.servers is not None and not end.several for end in (source, target))
    if listed and target.zone in ("application", "database", "infrastructure"):
        return None
    allowed = (
        "dns to name servers; else single servers or pairs on both sides, in application, database, infrastructure"
    )
    return "flow-from-dmz", target, "the DMZ opens nothing inside that is not listed server by server", allowed


def _from_internet(flows: _Flows, opening: Opening) -> _Said:  # noqa: ARG001
    if opening.source.outside in (INTERNET, PROXIES) and opening.target.zone != "dmz":
        return "flow-from-internet", opening.target, "what comes from the internet ends in the DMZ", "dmz"
    return None


def _federal(flows: _Flows, opening: Opening) -> _Said:  # noqa: ARG001
    if opening.source.outside == FEDERAL:
        return "flow-federal", opening.source, "registers are asked, they do not ask", "federal as a target"
    if opening.target.outside == FEDERAL and opening.source.zone not in _OFFICES:
        return "flow-federal", opening.source, "registers are asked by offices only", ", ".join(sorted(_OFFICES))
    return None


def _foreign(flows: _Flows, opening: Opening) -> _Said:  # noqa: ARG001
    """Zones that stay the member's own."""
    for one, other in ((opening.source, opening.target), (opening.target, opening.source)):
        if other.outside.startswith(MEMBER):
            there = other.outside.rpartition("/")[2]
            if one.zone in _OWN_ONLY or there in _OWN_ONLY:
                zones = ", ".join(sorted(ZONES - _OWN_ONLY))
                zone = one.zone if one.zone in _OWN_ONLY else there
                return "flow-other-member", other, f"the zone {zone} never meets another member", zones
    return None


_JUDGES: tuple[Callable[[_Flows, Opening], _Said], ...] = (
    _school,
    _ot,
    _management,
    _backup,
    _guest,
    _quarantine,
    _dmz,
    _from_internet,
    _federal,
    _foreign,
    _domains,
)


def _in_between(flows: _Flows) -> Iterator[Finding]:
    """A place outside that two routing domains of the member meet at: whoever stands there could pass on.

    The data centre's shared services serve all; that nothing is passed on there is not seen in declarations.
    """
    met: dict[str, dict[str, Opening]] = defaultdict(dict)
    for opening in flows.real:
        inside, outside = (
            (opening.source, opening.target) if opening.target.zone is None else (opening.target, opening.source)
        )
        if outside.outside.startswith(("legacy:", MEMBER)):
            place = outside.outside.partition("/")[0]
            met[place].setdefault(_domain(flows, inside) or "", opening)
    for place, domains in met.items():
        separated = {"school-pedagogic", "ot"} & domains.keys()
        if separated and len(domains) > 1:
            last = list(domains.values())[-1]
            accused = last.target if last.target.zone is None else last.source
            yield Finding(
                rule="flow-ot" if "ot" in separated else "flow-school-sides",
                place=flows.place(last.flow, accused),
                message=f"{place} is joined to the domains {' and '.join(sorted(domains))}, which must not meet",
                value=accused.written,
                allowed="one of them",
                hint="a machine there could pass on from one to the other; no declaration can permit it",
            )


# --- what is worth a thought --------------------------------------------------------------


def _overlaps(flows: _Flows) -> Iterator[Finding]:
    """What one flow opens, another one (or another part of it) opens already."""
    groups: dict[tuple[str | None, ...], list[Opening]] = defaultdict(list)
    for opening in flows.openings:
        if opening.source.several or opening.target.several:
            continue
        ends = opening.source.zone, opening.source.outside, opening.target.zone, opening.target.outside
        for service in opening.services:
            groups[*ends, service].append(opening)
    told: set[str] = set()
    for mark, group in groups.items():
        service = str(mark[-1])
        for position, this in enumerate(group):
            for number, other in enumerate(group):
                wider = other.source.covers(this.source) and other.target.covers(this.target)
                same = this.source.covers(other.source) and this.target.covers(other.target)
                if number == position or not wider or (same and number > position) or this.flow in told:
                    continue
                told.add(this.flow)
                by = "elsewhere in it" if other.flow == this.flow else f"by the flow {other.flow}"
                yield Finding(
                    rule="flow-overlap",
                    severity="warning",
                    place=flows.place(this.flow, this.target, "targets"),
                    message=f"the flow {this.flow} opens {service} from {_end_words(this.source)} to "
                    f"{_end_words(this.target)}, which is opened already {by}",
                    value=service,
                    hint="state it once, so that taking it away closes it",
                )


def _unreachable(flows: _Flows) -> Iterator[Finding]:
    """A server whose service nobody in another zone, and nobody outside, may open."""
    scope = flows.scope
    if any(True for _ in zone_references(scope)):
        return  # A zone that people or servers stand in is not declared, which is told: nobody can come from there.
    services = scope.platform.services
    reached: set[tuple[str, str, int]] = set()
    wanted = set(_OFFERED.values())
    for opening in flows.openings:
        ports = {
            (protocol, port)
            for service in opening.services
            if service in services
            for protocol, first, last in map(ports_of, services[service].ports)
            for port in (number for kind, number in wanted if kind == protocol and first <= number <= last)
        }
        target = opening.target
        if not ports or target.zone is None or (opening.switched and opening.source.several):
            continue
        keys = target.servers
        if keys is None:
            keys = frozenset(key for key, server in scope.declared.servers.items() if server.zone == target.zone)
        reached |= {(key, *port) for key in keys for port in ports}
    for key, server in scope.declared.servers.items():
        offered = _OFFERED.get(server.role)
        if offered is not None and (key, *offered) not in reached:
            yield Finding(
                rule="service-unreachable",
                severity="warning",
                place=scope.member.nearest(("servers", key, "zone"), ("servers", key, "role")),
                message=f"{scope.server_name(key)} ({server.role}) offers {offered[0]}/{offered[1]}, "
                "and no flow lets anybody in another zone reach it",
                value=server.zone,
                hint=f"declare a flow to role:{server.role}, or move the server to where it is needed",
            )


_CHECKS: tuple[Callable[[_Flows], Iterator[Finding]], ...] = (
    _references,
    _nothing,
    _everything,
    _violations,
    _in_between,
    _overlaps,
    _unreachable,
)


# --- the platform -------------------------------------------------------------------------


def _wide_services(file: Loaded[PlatformDeclaration]) -> Iterator[Finding]:
    platform = file.content
    assert platform is not None  # noqa: S101 - the caller has looked
    for key, service in platform.services.items():
        for index, written in enumerate(service.ports):
            protocol, first, last = ports_of(written)
            if last > 65535 or first > last or last - first >= _WIDEST_RANGE:
                yield Finding(
                    rule="service-too-wide",
                    place=file.place("services", key, "ports", index),
                    message=f"the service {key} has the ports {written}",
                    value=written,
                    allowed=f"{protocol}, from 1 to 65535, the lower one first, at most {_WIDEST_RANGE} in one range",
                    hint="name the ports that the product documents",
                )


def _shared_networks(file: Loaded[PlatformDeclaration]) -> Iterator[Finding]:
    """The data centre's networks lie outside the pools, and are its own."""
    platform = file.content
    assert platform is not None  # noqa: S101 - the caller has looked
    found: list[tuple[str, Loc]] = []
    networks: list[tuple[IPv4Network, str, Loc]] = []
    for key, shared in platform.shared_networks.items():
        if not shared_addresses(key, platform) and not file.mentions("shared_networks", key):
            yield Finding(
                rule="shared-network-empty",
                place=file.key_place("shared_networks", key),
                message=f"the shared network {key} has no addresses",
                allowed="networks, or the role of declared shared servers",
            )
        for index, network in enumerate(shared.networks):
            networks.append((network, key, ("shared_networks", key, "networks", index)))
    for index, network in enumerate(platform.federal_networks):
        networks.append((network, FEDERAL, ("federal_networks", index)))
    for network, key, loc in networks:
        for pool, entry in platform.pools.items():
            if network.overlaps(entry.range):
                found.append((f"{key} ({network}) overlaps the pool {pool} ({entry.range})", loc))
    ordered = sorted(networks, key=lambda entry: (int(entry[0].network_address), entry[0].prefixlen, entry[1]))
    for (network, key, _), (other, other_key, loc) in pairwise(ordered):
        if network.overlaps(other):
            found.append((f"{other_key} ({other}) overlaps {key} ({network})", loc))
    for message, at in found:
        yield Finding(
            rule="shared-network-overlap",
            place=file.place(*at),
            message=f"the shared network {message}",
            allowed="addresses of its own, outside every pool",
        )


# --- several members ----------------------------------------------------------------------


def check_flows_across(members: Members) -> list[Across]:
    """Between two members only what both declare: the one as a target, the other as a source."""
    return list(_one_sided(members))


_Between = tuple[str, str, str, str, str]
"""Member and zone that open, member and zone that are opened, service."""


def _one_sided(members: Members) -> Iterator[Across]:
    stated = {key: dict(_stated(key, member, content)) for key, (member, content) in members.items()}
    for key, between in stated.items():
        member, content = members[key]
        told = set()
        for mark, opening in between.items():
            far = opening.source if opening.target.zone is not None else opening.target
            place = _Ends(member, content).place(opening.flow, far)
            if (found := _no_such(members, key, far, opening.flow, place)) is not None:
                finding = found
            elif mark in stated[other := mark[2] if mark[0] == key else mark[0]]:
                continue
            else:
                finding = _unanswered(key, other, mark, opening, place)
            if finding not in told:
                told.add(finding)
                yield Across(frozenset((key,)), finding)


def _stated(key: str, member: DeclaredMember, content: MemberDeclaration) -> Iterator[tuple[_Between, Opening]]:
    """What a member declares between itself and others."""
    if not any(end.startswith(MEMBER) for flow in content.flows.values() for end in (*flow.sources, *flow.targets)):
        return
    for opening in openings(content, member.layers.counted if member.layers else {}):
        source, target = (
            (key, str(end.zone)) if end.zone is not None else (there, zone)
            for end in (opening.source, opening.target)
            for there, _, zone in (end.outside.removeprefix(MEMBER).partition("/"),)
        )
        if any(end.outside.startswith(MEMBER) for end in (opening.source, opening.target)):
            for service in opening.services:
                yield (*source, *target, service), opening


def _no_such(members: Members, key: str, far: End, flow: str, place: Place) -> Finding | None:
    there, _, zone = far.outside.removeprefix(MEMBER).partition("/")
    known = members[there][1].zones if there in members else None
    if there == key or known is None:
        others = sorted(member for member in members if member != key)
        return unknown("flow-end-unknown", f"{flow}: the member", there, others, place)
    if zone not in known and not members[there][0].file.mentions("zones", zone):
        return unknown("flow-end-unknown", f"{flow}: the zone of {there}", zone, known, place)
    return None


def _unanswered(key: str, other: str, mark: _Between, opening: Opening, place: Place) -> Finding:
    opens, from_zone, opened, to_zone, service = mark
    field, zone = ("sources", from_zone) if key == opens else ("targets", to_zone)
    return Finding(
        rule="flow-one-sided",
        place=place,
        message=f"the flow {opening.flow} opens {service} from the zone {from_zone} of {opens} to the zone {to_zone} "
        f"of {opened}, and {other} does not declare it",
        value=f"{MEMBER}{other}/{to_zone if key == opens else from_zone}",
        allowed="what both members declare, with the same zones and services",
        hint=f"declare a flow of {other} with member:{key}/{zone} under {field}, or take this one away",
    )
