"""The directory: its domain, each member's part of it, and which machines log in there. Pure.

There is one domain for all administrations. A member has a unit of its own in it; its machines let in its own people
and the data centre's support, nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ksm_onboard.declaration.models import AnyZone, MemberDeclaration, PlatformDeclaration
from ksm_onboard.planning.plan import (
    CentralServicePlan,
    DirectoryGroupPlan,
    DirectoryPlan,
    DirectoryUnitPlan,
    ServerPlan,
    WorkstationPlan,
)

LOGGING_IN: frozenset[AnyZone] = frozenset(
    ("clients", "laptops", "application", "database", "infrastructure", "admin", "school-administration")
)
"""Zones whose Linux machines log in at the directory.

Not those for lessons: pupils and the administration never share an identity domain. Not the DMZ: whoever takes over a
machine that the internet reaches must not find an account of the inner directory on it. Not control systems.
"""


def plan_directory(platform: PlatformDeclaration, services: Iterable[CentralServicePlan]) -> DirectoryPlan | None:
    """The domain, named after the data centre's own; None if no VM is a domain controller."""
    if platform.shared is None or not any(service.role == "directory" for service in services):
        return None
    first = platform.shared.dns_domain.split(".")[0]
    return DirectoryPlan(
        domain=f"ad.{platform.shared.dns_domain}",
        # NetBIOS allows 15 characters.
        netbios_name=first[:15].rstrip("-").upper(),
        support_group=f"{first}-workplace-support",
    )


def plan_directory_unit(
    declared: MemberDeclaration,
    platform: PlatformDeclaration,
    machines: Iterable[ServerPlan | WorkstationPlan],
) -> DirectoryUnitPlan | None:
    """A member's part of the directory; None if there is no directory."""
    if platform.shared is None or not any("directory" in vm.roles for vm in platform.shared.vms.values()):
        return None
    member, people = declared.member, f"{declared.member.short}-users"
    return DirectoryUnitPlan(
        name=member.key,
        people=people,
        groups=(DirectoryGroupPlan(name=people, description=member.name), *_departments(declared, people)),
        admins=f"{member.short}-admins",
        join_account=f"{member.short}-join",
        machines=tuple(m.name for m in machines if m.platform == "linux" and m.zone in LOGGING_IN),
    )


def _departments(declared: MemberDeclaration, people: str) -> Iterator[DirectoryGroupPlan]:
    for key, department in declared.departments.items():
        name = f"{declared.member.short}-department-{key}"
        yield DirectoryGroupPlan(name=name, description=department.name, member_of=people)


def domain_dn(directory: DirectoryPlan) -> str:
    """The domain as the directory writes it: DC=ad,DC=ksm,DC=internal."""
    return ",".join(f"DC={part}" for part in directory.domain.split("."))


def computers_dn(directory: DirectoryPlan, unit: DirectoryUnitPlan) -> str:
    """Where the accounts of a member's machines are."""
    return f"OU=Computers,OU={unit.name},OU=Members,{domain_dn(directory)}"
