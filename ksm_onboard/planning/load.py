"""From the project's files to findings or a plan: the one place in planning that reads files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ksm_onboard.declaration.findings import DeclarationRefusedError, Finding, Place, in_order
from ksm_onboard.declaration.load import CatalogueEntry, Loaded, load_catalogue, load_file
from ksm_onboard.declaration.models import MemberDeclaration, PlatformDeclaration
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.checks import Scope, check_across, check_catalogue, check_member, check_platform
from ksm_onboard.planning.member_plan import plan_member
from ksm_onboard.planning.plan import Plan, PlatformPlan
from ksm_onboard.planning.platform_plan import plan_platform
from ksm_onboard.project import Project

PLATFORM = "schwerin"


@dataclass(frozen=True)
class Declarations:
    """Everything that is declared in one checkout: the platform, the catalogue, all members."""

    project: Project

    @cached_property
    def platform(self) -> Loaded[PlatformDeclaration]:
        return load_file(self.project.stacks / f"{PLATFORM}.yaml", PlatformDeclaration)

    @cached_property
    def _catalogue(self) -> tuple[dict[str, CatalogueEntry], list[Finding]]:
        return load_catalogue(self.project.catalogue)

    @property
    def catalogue(self) -> dict[str, CatalogueEntry]:
        return self._catalogue[0]

    @cached_property
    def members(self) -> dict[str, Loaded[MemberDeclaration]]:
        """Every member's file, by the name of the file."""
        return {key: load_file(self.project.stacks / f"{key}.yaml", MemberDeclaration) for key in self.member_keys}

    @property
    def member_keys(self) -> list[str]:
        files = sorted(self.project.stacks.glob("*.yaml"))
        return [f.stem for f in files if f.stem != PLATFORM and not f.name.startswith("Pulumi.")]

    def findings(self, only: Iterable[str] | None = None) -> list[Finding]:
        """Everything to put right, in all declarations or in those of ``only`` and what they build on."""
        keys = self.member_keys if only is None else list(only)
        findings = [*self.platform.findings, *check_platform(self.platform), *self._catalogue[1]]
        findings += check_catalogue(self.catalogue)
        across = check_across(self.members)
        for key in keys:
            file = self.members[key]
            findings += file.findings
            checked = [f for f in across if f.place.file == file.located.file]
            if file.content is not None and self.platform.content is not None:
                scope = Scope(file, file.content, self.platform.content, self.platform, self.catalogue)
                checked += check_member(scope)
            findings += [f for f in checked if not file.accuses_a_stand_in(f)]
        return in_order(findings)

    def require(self, key: str) -> None:
        """Raises OnboardError if no member with that key is declared."""
        if key not in self.member_keys:
            raise OnboardError(
                f"no member '{key}': there is no {self.project.stacks / key}.yaml",
                hint=f"declared members: {', '.join(self.member_keys) or 'none'}",
            )

    def plan(self, key: str) -> Plan:
        """The plan of a member.

        Raises DeclarationRefusedError if the member, the platform or the catalogue has
        errors, OnboardError if there is no such member.
        """
        self.require(key)
        _refuse_errors(self.findings([key]))
        member, platform = self.members[key].content, self.platform.content
        assert member is not None and platform is not None  # noqa: S101 - else there were findings
        return plan_member(member, platform, self.catalogue)

    def platform_plan(self) -> PlatformPlan:
        """The plan of the shared data centre. Raises DeclarationRefusedError if it has errors."""
        _refuse_errors([*self.platform.findings, *check_platform(self.platform)])
        platform = self.platform.content
        if platform is None:
            raise DeclarationRefusedError(
                [Finding("file-unreadable", Place(self.platform.located.file, 1, 1), "the file has no content")]
            )
        return plan_platform(platform)


def _refuse_errors(findings: list[Finding]) -> None:
    if any(finding.severity == "error" for finding in findings):
        raise DeclarationRefusedError(findings)


def load_plan(project: Project, key: str) -> Plan:
    """The plan of the member ``key``; see Declarations.plan for what it raises."""
    return Declarations(project).plan(key)


def load_platform(project: Project) -> PlatformPlan:
    """The plan of the platform; see Declarations.platform_plan for what it raises."""
    return Declarations(project).platform_plan()
