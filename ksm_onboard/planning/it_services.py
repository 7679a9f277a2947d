"""What a member's people rely on: services, derived from the servers that give them. Pure.

A service is given by one server or by several that stand in for each other. Who writes into a
database needs its primary server, so reading and writing are two services.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from ksm_onboard.declaration.models import AnyRole
from ksm_onboard.planning.plan import ItServicePlan, Plan, ProbeKind, ServerPlan

_TITLES: Final[dict[AnyRole, tuple[ProbeKind, str]]] = {
    "dns": ("dns", "Namensauflösung"),
    "file": ("smb", "Netzlaufwerke"),
    "print": ("ipp", "Drucken"),
}


def it_services(plan: Plan) -> tuple[ItServicePlan, ...]:
    """The member's services, the most urgent first, then by key.

    The service level is the strictest of its servers'; the time to recover is that level's
    (declared under ``service_levels`` of the platform; None where the platform promises nothing).
    """
    return tuple(sorted(_services(plan), key=lambda service: (service.service_level, service.key)))


def _services(plan: Plan) -> Iterator[ItServicePlan]:
    member = plan.member
    groups: dict[tuple[AnyRole, str], list[ServerPlan]] = defaultdict(list)
    for server in member.servers:
        groups[server.role, server.pair or server.name].append(server)
    several = {role for role in _TITLES if sum(found == role for found, _ in groups) > 1}
    for (role, group), servers in groups.items():
        if role in _TITLES:
            probe, title = _TITLES[role]
            yield _service(plan, group, f"{title} ({group})" if role in several else title, probe, servers)
        elif role == "application":
            products = sorted({key for server in servers for key in server.applications})
            # Without an application nothing answers yet but the server itself.
            kind: ProbeKind = "http" if "nginx" in products else "ssh"
            yield _service(plan, group, f"Anwendungsserver {group}", kind, servers)
    for database in member.databases:
        by_name = {server.name: server for server in member.servers}
        nodes = [by_name[name] for name in (database.primary, *database.standbys)]
        title = f"Datenbank {database.name}"
        yield _service(plan, f"{database.name}-write", f"{title} (schreiben)", "postgresql", nodes[:1])
        yield _service(plan, f"{database.name}-read", f"{title} (lesen)", "postgresql", nodes)


def _service(plan: Plan, key: str, title: str, probe: ProbeKind, servers: Sequence[ServerPlan]) -> ItServicePlan:
    level = min(server.service_level for server in servers)
    return ItServicePlan(
        key=key,
        title=title,
        probe=probe,
        servers=tuple(server.name for server in servers),
        service_level=level,
        rto_hours=plan.platform.rto_hours(level),
    )
