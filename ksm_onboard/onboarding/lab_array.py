"""What the lab's array exports: the datastores of the platform and of every member that can be planned.

A member's stack mounts exports and makes none. In the data centre the array's administrators make them; in the lab they
are there before anybody asks, so that plain ``pulumi up -s MEMBER`` works for each member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.lab.array import ArrayExport, set_exports
from ksm_onboard.onboarding.lab_world import array_exports
from ksm_onboard.planning.load import Declarations
from ksm_onboard.progress import Progress


@dataclass(frozen=True)
class DeclaredExports:
    """The exports of the platform and all members that have a plan; the number of errors of each one that has none."""

    exports: tuple[ArrayExport, ...]
    members: int
    left_out: Mapping[str, int]


def declared_exports(declarations: Declarations) -> DeclaredExports:
    """Of the platform's own VMs and every declared member.

    A member that is declared wrongly is left out, and keeps nobody else from being planned. Raises
    DeclarationRefusedError for a platform that is: nobody can be planned without it.
    """
    own = declarations.own_plan()
    exports = list(array_exports(own)) if own is not None else []
    left_out: dict[str, int] = {}
    for key in declarations.member_keys:
        try:
            exports += array_exports(declarations.plan(key))
        except DeclarationRefusedError as refused:
            left_out[key] = sum(finding.severity == "error" for finding in refused.findings)
    return DeclaredExports(tuple(exports), len(declarations.member_keys) - len(left_out), left_out)


def export_all(declarations: Declarations, lab: str, progress: Progress) -> None:
    """Let the array of a lab that is up export them, too; says whose were added, and whose are missing and why."""
    declared = declared_exports(declarations)
    if set_exports(declarations.project, lab, declared.exports):
        progress.line(
            f"the lab's array exports the datastores of the platform and {declared.members} members (simulated)"
        )
    for member, errors in declared.left_out.items():
        progress.line(
            f"note: no exports for {member}, whose declaration has {errors} error(s) (ksm-onboard check {member}); "
            "once it is right: ksm-onboard lab up"
        )
