"""From the project's files to findings or a plan: the one place in planning that reads files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from ipaddress import IPv4Network
from typing import cast

from ksm_onboard.declaration.effective import Archetypes, DeclaredMember, load_member
from ksm_onboard.declaration.findings import (
    DeclarationRefusedError,
    Finding,
    Place,
    bounded,
    in_order,
    some,
    without_explained,
)
from ksm_onboard.declaration.load import CatalogueEntry, Loaded, load_catalogue, load_file
from ksm_onboard.declaration.models import PlatformDeclaration, ZoneKey
from ksm_onboard.declaration.record import AllocationRecord, record_file
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.checks import Scope, check_catalogue, check_member, check_platform
from ksm_onboard.planning.checks_across import Across, Members, check_across
from ksm_onboard.planning.checks_applications import check_applications, check_licences, check_references
from ksm_onboard.planning.checks_backup import check_backup, check_backup_concept
from ksm_onboard.planning.checks_capacity import check_capacity
from ksm_onboard.planning.checks_central import check_central
from ksm_onboard.planning.checks_deployed import DECLARED_OTHERWISE, check_deployed, check_planned, superseding
from ksm_onboard.planning.checks_flows import check_flows, check_flows_across, check_services
from ksm_onboard.planning.checks_identity import check_identity, check_renamed
from ksm_onboard.planning.checks_published import check_published, check_published_across
from ksm_onboard.planning.checks_redundancy import check_redundancy
from ksm_onboard.planning.checks_storage import check_arrays, check_storage
from ksm_onboard.planning.checks_switches import check_switches
from ksm_onboard.planning.checks_waivers import check_waived_resources, check_waivers
from ksm_onboard.planning.checks_waves import check_waves
from ksm_onboard.planning.checks_zones import check_zones
from ksm_onboard.planning.deployed import Deployed
from ksm_onboard.planning.detecting import check_details
from ksm_onboard.planning.flows import foreign_zones
from ksm_onboard.planning.member_plan import plan_member
from ksm_onboard.planning.own_plan import plan_own
from ksm_onboard.planning.plan import Plan, PlatformPlan
from ksm_onboard.planning.platform_plan import plan_platform
from ksm_onboard.project import Project

PLATFORM = "schwerin"


@dataclass(frozen=True)
class Declarations:
    """Everything that is declared in one checkout: the platform, the catalogue, all members.

    ``deployed`` is what stands, by member; members that are not in it are not compared with what stands.
    ``today`` is the day on which waivers are looked at; None: whether one has expired is not asked.
    """

    project: Project
    archetypes: Archetypes = field(default_factory=Archetypes)
    deployed: Mapping[str, Deployed] = field(default_factory=dict)
    today: date | None = None

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
    def members(self) -> dict[str, DeclaredMember]:
        """Every member, by the name of its file."""
        stacks = self.project.stacks
        return {key: load_member(stacks, key, self.platform, self.archetypes) for key in self.member_keys}

    @cached_property
    def member_keys(self) -> list[str]:
        files = sorted(self.project.stacks.glob("*.yaml"))
        return [f.stem for f in files if f.stem != PLATFORM and not f.name.startswith("Pulumi.")]

    @cached_property
    def orphans(self) -> dict[str, Loaded[AllocationRecord]]:
        """The allocation records of members that are not declared (any more), by key."""
        files = sorted(record_file(self.project.stacks, "x").parent.glob("*.yaml"))
        known = {*self.member_keys, PLATFORM}
        return {f.stem: load_file(f, AllocationRecord) for f in files if f.stem not in known}

    @cached_property
    def record(self) -> Loaded[AllocationRecord] | None:
        """What was given out to the platform's own VMs; None as long as nothing was."""
        file = record_file(self.project.stacks, PLATFORM)
        return load_file(file, AllocationRecord) if file.exists() else None

    @property
    def own_record(self) -> AllocationRecord:
        """The same, empty as long as nothing was given out or it cannot be read."""
        return (self.record.content if self.record else None) or AllocationRecord()

    def findings(self, only: Iterable[str] | None = None) -> list[Finding]:
        """Everything to put right, in all declarations or in those of ``only`` and what they build on."""
        keys = self.member_keys if only is None else list(only)
        findings = [*self._of_platform(), *self._catalogue[1]]
        findings += [
            *check_catalogue(self.catalogue),
            *check_references(self.catalogue),
            *check_details(self.catalogue),
        ]
        if not isinstance(self.platform.source.data, dict):
            # Every member builds on it: what they lack without it says nothing about them.
            return in_order(findings)
        of_members: dict[Finding, dict[str, None]] = {}
        shared_is_sound = not _has_errors(findings)
        for key in keys:
            for finding in self._findings_of(self.members[key], shared_is_sound):
                of_members.setdefault(finding, {})[key] = None
        findings += [self._addressed(finding, list(concerned)) for finding, concerned in of_members.items()]
        for found in [*check_across(self.members), *self._across()]:
            accused = (self.members[key].file for key in found.members)
            if not found.members.isdisjoint(keys) and not any(f.accuses_a_stand_in(found.finding) for f in accused):
                findings.append(found.finding)
        if only is None:
            findings += self._orphan_findings()
        return in_order(without_explained(findings))

    def _of_platform(self) -> list[Finding]:
        return [
            *self.platform.findings,
            *check_platform(self.platform),
            *check_arrays(self.platform),
            *check_services(self.platform),
            *bounded(check_backup_concept(self.platform)),
            *bounded(check_central(self.platform, self.record)),
        ]

    def _findings_of(self, member: DeclaredMember, shared_is_sound: bool) -> list[Finding]:
        findings = list(member.findings)
        if member.file.content is not None and self.platform.content is not None:
            scope = Scope(member, member.file.content, self.platform.content, self.platform, self.catalogue)
            found = check_member(scope)
            for check in (
                check_identity,
                check_zones,
                check_flows,
                check_published,
                check_switches,
                check_redundancy,
                check_storage,
                check_applications,
                check_waves,
                check_backup,
            ):
                found += bounded(check(scope))
            found += bounded(check_waivers(scope, self.today))
            findings += [f for f in found if not member.file.accuses_a_stand_in(f)]
            if scope.declared.waivers and shared_is_sound and not _has_errors(findings):
                waived = plan_member(member, self.platform.content, self.catalogue).member
                findings += bounded(check_waived_resources(scope, waived))
            if (stands := self.deployed.get(member.key)) is not None:
                findings = superseding(findings, check_deployed(scope, stands))
                # What is only declared otherwise than it stands can be planned, and its disks are looked at, too.
                named_alike = scope.record.short in (None, scope.declared.member.short)
                plannable = (
                    shared_is_sound
                    and named_alike
                    and not _has_errors([f for f in findings if f.rule not in DECLARED_OTHERWISE])
                )
                if plannable:
                    foreign = self._foreign_zones(member.key)
                    plan = plan_member(member, self.platform.content, self.catalogue, foreign)
                    findings += check_planned(scope, stands, plan.member)
        return findings

    def _across(self) -> list[Across]:
        """What all members together ask of the platform, as far as they and it could be read."""
        members: Members = {
            key: (member, member.file.content)
            for key, member in self.members.items()
            if member.file.content is not None
        }
        found = [*check_renamed(members, self.orphans), *check_flows_across(members), *check_published_across(members)]
        if (platform := self.platform.content) is not None:
            found += check_capacity(members, self.orphans, self.own_record, platform, self.platform)
            found += check_licences(members, self.catalogue, platform, self.platform)
        return found

    def _addressed(self, finding: Finding, concerned: list[str]) -> Finding:
        """``finding``; where it points into a file that members share, it says whose declaration it concerns."""
        own = {f for key in concerned for f in self.members[key].files}
        if finding.place.file in own:
            return finding
        concerns = f"concerns {some(concerned)}, where it can be stated differently"
        return replace(finding, hint=f"{finding.hint}; {concerns}" if finding.hint else concerns)

    def _orphan_findings(self) -> list[Finding]:
        return [
            Finding(
                rule="allocation-orphan",
                severity="warning",
                place=Place(record.file, 1, 1),
                message=f"no member '{key}' is declared; what was given out to it stays reserved",
                hint="delete the file once nothing of the member stands any more",
            )
            for key, record in self.orphans.items()
        ] + [finding for record in self.orphans.values() for finding in record.findings]

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
        platform = self.platform.content
        assert platform is not None  # noqa: S101 - else there were findings
        return plan_member(self.members[key], platform, self.catalogue, self._foreign_zones(key))

    def _foreign_zones(self, key: str) -> dict[str, dict[str, IPv4Network]]:
        """The networks of the other members' zones that the flows of ``key`` name."""
        content = self.members[key].file.content
        named = foreign_zones(content) if content is not None else set()
        found: dict[str, dict[str, IPv4Network]] = {}
        for member, zone in sorted(named):
            other = self.members[member].file.content if member in self.members else None
            if other is not None and (there := dict(other.zones).get(cast(ZoneKey, zone))) is not None and there.cidr:
                found.setdefault(member, {})[zone] = there.cidr
        return found

    def platform_plan(self) -> PlatformPlan:
        """The plan of the shared data centre. Raises DeclarationRefusedError if it has errors."""
        _refuse_errors(self._of_platform())
        platform = self.platform.content
        if platform is None:
            raise DeclarationRefusedError(
                [Finding("file-unreadable", Place(self.platform.file, 1, 1), "the file has no content")]
            )
        return plan_platform(platform)

    def own_plan(self) -> Plan | None:
        """The plan of the platform's own VMs; None if it has none. Raises DeclarationRefusedError for errors."""
        self.platform_plan()
        platform = self.platform.content
        assert platform is not None  # noqa: S101 - else it was refused
        return plan_own(platform, self.own_record)


def _has_errors(findings: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _refuse_errors(findings: list[Finding]) -> None:
    if _has_errors(findings):
        raise DeclarationRefusedError(findings)


def load_plan(project: Project, key: str) -> Plan:
    """The plan of the member ``key``; see Declarations.plan for what it raises."""
    return Declarations(project).plan(key)


def load_own(project: Project) -> Plan | None:
    """The plan of the platform's own VMs; see Declarations.own_plan for what it raises."""
    return Declarations(project).own_plan()


def load_platform(project: Project) -> PlatformPlan:
    """The plan of the platform; see Declarations.platform_plan for what it raises."""
    return Declarations(project).platform_plan()
