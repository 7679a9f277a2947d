"""What the other members of the Verbund use, from their plans."""

from __future__ import annotations

from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project


def applications_elsewhere(project: Project, member: str) -> tuple[dict[str, frozenset[str]], list[str]]:
    """Applications per other member, and the members that could not be compared."""
    declarations = Declarations(project)
    found: dict[str, frozenset[str]] = {}
    left_out: list[str] = []
    for key in declarations.member_keys:
        if key == member:
            continue
        try:
            plan = declarations.plan(key).member
        except OnboardError:
            left_out.append(key)
            continue
        lists = [*(host.applications for host in plan.workstations), *(host.applications for host in plan.servers)]
        found[key] = frozenset(application for applications in lists for application in applications)
    return found, left_out
