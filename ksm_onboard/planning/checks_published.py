"""Web applications that the reverse proxies publish: under names of the member's own, from servers they may reach."""

from __future__ import annotations

from collections.abc import Iterator

from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.planning.allocation import server_name
from ksm_onboard.planning.checks import Scope
from ksm_onboard.planning.checks_across import Across, Members
from ksm_onboard.planning.flows import PROXIES, openings, ports_of
from ksm_onboard.planning.member_plan import with_partners

_MOST_LABEL = 63
_MOST_NAME = 253
"""Octets of a label and of a name (RFC 1035, section 2.3.4)."""


def check_published(scope: Scope) -> Iterator[Finding]:
    """Findings about what one member publishes. Who it is reached by is declared: no flow is made up."""
    platform, declared = scope.platform, scope.declared
    shared = platform.shared
    if not declared.published or shared is None:
        return
    if not any("reverse-proxy" in vm.roles for vm in shared.vms.values()) and not scope.platform_file.mentions(
        "shared", "vms"
    ):
        yield Finding(
            rule="published-nowhere",
            place=scope.file.key_place("published"),
            message="the data centre declares no reverse proxies, so nothing can be published",
            hint="declare a pair of VMs with the role reverse-proxy under shared.vms of the platform",
        )
    machines = {f"{scope.server_name(key)}.{declared.member.dns_domain}" for key in declared.servers}
    machines |= {f"{row.hostname}.{declared.member.dns_domain}" for row in scope.member.devices.rows}
    for name in declared.published:
        place = scope.file.key_place("published", name)
        if len(name) > _MOST_NAME or any(len(label) > _MOST_LABEL for label in name.split(".")):
            yield _name(
                name, place, "is too long", f"at most {_MOST_LABEL} characters between dots, {_MOST_NAME} in all"
            )
        elif name in machines:
            yield _name(name, place, "is that of a machine", "a name that no machine has")
        elif name == declared.member.dns_domain or _within(name, shared.dns_domain):
            owner = "the member's whole domain" if name == declared.member.dns_domain else "the data centre's"
            yield _name(name, place, f"is {owner}", f"a name in {declared.member.dns_domain}, or in a public domain")
    yield from _unreachable(scope)


def _name(name: str, place: Place, why: str, allowed: str) -> Finding:
    return Finding(
        rule="published-name",
        place=place,
        message=f"the published name '{name}' {why}",
        value=name,
        allowed=allowed,
    )


def _within(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _unreachable(scope: Scope) -> Iterator[Finding]:
    """A server that no flow lets the reverse proxies reach: it would be published, and never answer."""
    declared, layers = scope.declared, scope.member.layers
    opened: set[tuple[str, int]] = set()
    ports = {int(published.port) for published in declared.published.values()}
    for opening in openings(declared, layers.counted if layers else {}):
        if opening.source.outside != PROXIES or opening.target.zone is None:
            continue
        ranges = [
            (first, last)
            for service in opening.services
            if service in scope.platform.services
            for protocol, first, last in map(ports_of, scope.platform.services[service].ports)
            if protocol == "tcp"
        ]
        keys = opening.target.servers
        if keys is None:
            keys = frozenset(key for key, server in declared.servers.items() if server.zone == opening.target.zone)
        opened |= {(key, port) for key in keys for port in ports if any(a <= port <= b for a, b in ranges)}
    for name, published in declared.published.items():
        if published.server not in declared.servers:
            continue  # told as server-unknown
        closed = [key for key in with_partners(published.server, declared) if (key, published.port) not in opened]
        if closed and declared.servers[closed[0]].role == "application":
            zone = declared.servers[closed[0]].zone
            yield Finding(
                rule="published-unreachable",
                place=scope.member.nearest(("published", name, "port"), ("published", name, "server")),
                message=f"no flow lets the reverse proxies reach tcp/{published.port} of "
                f"{' and '.join(server_name(declared.member.short, key) for key in closed)} (zone {zone})",
                value=f"{published.server}, port {published.port}",
                allowed=f"servers in the zone dmz, on ports that a flow from {PROXIES} opens",
                hint="what comes from the internet ends in the DMZ; name a server there, or declare the port's flow",
            )


def check_published_across(members: Members) -> Iterator[Across]:
    """A name leads to one member, and nobody publishes a name in another one's domain."""
    domains = {content.member.dns_domain: key for key, (_, content) in sorted(members.items(), reverse=True)}
    first: dict[str, tuple[str, Place]] = {}
    for key, (member, content) in sorted(members.items()):
        for name in content.published:
            place = member.file.key_place("published", name)
            owners = [domains[domain] for domain in domains if _within(name, domain) and domains[domain] != key]
            if owners and not _within(name, content.member.dns_domain):
                yield Across(
                    frozenset((key, owners[0])),
                    _name(name, place, f"lies in the domain of {owners[0]}", f"a name in {content.member.dns_domain}"),
                )
            elif name in first:
                other, other_place = first[name]
                yield Across(
                    frozenset((key, other)),
                    Finding(
                        rule="published-twice",
                        place=place,
                        message=f"the name '{name}' is published by {other} and by {key}",
                        value=name,
                        hint=f"the other one is declared at {other_place}; choose another name",
                    ),
                )
            first.setdefault(name, (key, place))
