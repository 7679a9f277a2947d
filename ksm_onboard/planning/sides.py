"""Both sides of a change: what the declarations at a commit and the present ones plan, and what the change touches."""

from __future__ import annotations

from dataclasses import dataclass

from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.planning.affected import Side, Touched, affected
from ksm_onboard.planning.at_ref import archetypes_of, declarations_at, files_changed_since
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project


@dataclass(frozen=True)
class Change:
    """A change since ``ref``: what was planned there, what is planned now, and whom that touches."""

    ref: str
    before: Side
    after: Side
    touched: Touched


def change_since(project: Project, ref: str) -> Change:
    """What the working tree changes since the commit that ``ref`` names.

    Raises OnboardError where there is no git repository or no such commit.
    """
    with declarations_at(project, ref) as then:
        before = side(then)
    after = side(Declarations(project, archetypes_of(project)))
    return Change(ref, before, after, affected(before, after, files_changed_since(project, ref), PLATFORM))


def side(declarations: Declarations) -> Side:
    """All that can be planned of ``declarations``."""
    members = {key: _plan(declarations, key) for key in declarations.member_keys}
    try:
        return Side(members, declarations.platform_plan(), declarations.own_plan())
    except DeclarationRefusedError:
        return Side(members, None, None)


def _plan(declarations: Declarations, key: str) -> Plan | None:
    try:
        return declarations.plan(key)
    except DeclarationRefusedError:
        return None
