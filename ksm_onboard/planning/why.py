"""Why an application is on a workplace, or is not: by declaration, requirement and licence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from ksm_onboard.declaration.devices import DeviceRow
from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.models import DevicePlatform, MemberDeclaration
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.applications import given_by, of_workstation, required_by, with_requirements
from ksm_onboard.planning.detecting import rules
from ksm_onboard.planning.explaining import Source, explain
from ksm_onboard.planning.licensing import Assignment, Holder
from ksm_onboard.planning.machine_actions import Catalogue, present_on, wanted_on, workplaces
from ksm_onboard.planning.resolving import Resolution, resolve


@dataclass(frozen=True)
class Reason:
    """One part of the answer; ``source`` is the line that says so, where there is one."""

    what: str
    text: str
    source: Source | None = None


def workplace(member: DeclaredMember, declared: MemberDeclaration, name: str) -> DeviceRow:
    """The workplace of that name. Raises OnboardError if there is none."""
    for row in workplaces(member, declared):
        if row.hostname == name:
            return row
    raise OnboardError(
        f"{member.key} has no workplace '{name}'", hint=f"ksm-onboard explain {member.key} devices lists them"
    )


@dataclass(frozen=True)
class Case:
    """One workplace of a member, and what bears on its applications."""

    member: DeclaredMember
    declared: MemberDeclaration
    catalogue: Catalogue
    row: DeviceRow
    seats: Assignment

    @property
    def platform(self) -> DevicePlatform:
        return cast(DevicePlatform, self.row.platform)

    @property
    def direct(self) -> tuple[str, ...]:
        """What is declared for it, before requirements."""
        return of_workstation(self.declared, self.declared.profiles[self.row.profile], self.platform)


def resolution_of(case: Case, installed: Mapping[str, str | None]) -> Resolution:
    """What the next run does on the workplace, given what runs of ours ``installed`` on it."""
    complete = with_requirements(case.direct, case.catalogue, case.platform)
    return resolve(
        wanted_on(complete, case.direct, case.catalogue, case.platform),
        present_on(installed, case.catalogue, case.platform),
        case.seats.refusals(Holder(case.member.key, case.row.hostname)),
    )


def why(case: Case, application: str, resolution: Resolution) -> list[Reason]:
    """What bears on ``application`` on the workplace. Raises OnboardError if the catalogue has no such one."""
    member, declared, catalogue, row, seats = case.member, case.declared, case.catalogue, case.row, case.seats
    if application not in catalogue:
        raise OnboardError(f"no application '{application}' in the catalogue", hint="ksm-onboard catalogue list")
    platform = case.platform
    reasons = [
        Reason("next run", f"{action.verb}: {action.because}" + (f" (has {action.was})" if action.was else ""))
        for action in resolution.actions
        if action.key == application
    ]
    reasons += [Reason("problem", p.message) for p in resolution.problems if p.key == application]
    chain = _chain(case.direct, catalogue, platform, application)
    if chain:
        stated = {
            value.value: value.source
            for value in explain(member, catalogue, f"devices.{row.hostname}")
            if value.path.endswith(f".applications.{chain[0]}")
        }
        reasons.append(Reason("declared", f"{chain[0]}, for profile {row.profile} on {platform}", stated.get(chain[0])))
        reasons += [
            Reason("requires", f"{first} requires {then}", Source("catalogue", then, catalogue[first].place))
            for first, then in pairwise(chain)
        ]
    else:
        excluded = [
            where
            for where, table in (("the member", declared), (f"profile {row.profile}", declared.profiles[row.profile]))
            if application in table.without_applications
        ]
        elsewhere = sorted(
            name
            for name, profile in declared.profiles.items()
            for _, _, keys in given_by(profile)
            if application in keys
        )
        words = f"taken away by without_applications of {' and '.join(excluded)}" if excluded else "not declared for it"
        others = f"; given to profiles {', '.join(dict.fromkeys(elsewhere))}" if elsewhere else ""
        reasons.append(Reason("not given", words + others))
    entry = catalogue[application]
    if entry.application.licence_metric is not None:
        holder = Holder(member.key, row.hostname)
        held = holder in seats.seats.get(application, ())
        counted = application in {*seats.seats, *seats.without}
        words = "holds a seat" if held else "holds none" if counted else "no pool is declared, seats are not counted"
        reasons.append(Reason("licence", f"{words}; held by: {seats.holders(application)}"))
    recognised = [f"{rule.kind} {' or '.join(rule.values)}".strip() for rule in rules(entry.application, platform)]
    reasons.append(Reason("recognised by", "; then ".join(recognised) or "unknown"))
    return reasons


def _chain(
    direct: tuple[str, ...], catalogue: Catalogue, platform: DevicePlatform, application: str
) -> tuple[str, ...]:
    """From a declared application over requirements to ``application``; the shortest way, empty without one."""
    paths: list[tuple[str, ...]] = [(key,) for key in direct if key in catalogue]
    seen: set[str] = set()
    while paths:
        path = paths.pop(0)
        if path[-1] == application:
            return path
        if path[-1] not in seen and path[-1] in catalogue:
            seen.add(path[-1])
            paths += [(*path, required) for required in required_by(catalogue[path[-1]].application, platform)]
    return ()
