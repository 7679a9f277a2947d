"""What is wanted on a workplace, put into words that the resolver and the licence pools understand. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import cast, get_args

from ksm_onboard.declaration.devices import DeviceRow
from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.declaration.models import DevicePlatform, MemberDeclaration, PlatformDeclaration
from ksm_onboard.planning.allocation import server_name
from ksm_onboard.planning.applications import of_workstation, platform_of_server, required_by, with_requirements
from ksm_onboard.planning.licensing import Assignment, Holder, Seats, assign
from ksm_onboard.planning.resolving import Present, Wanted

Members = Mapping[str, tuple[DeclaredMember, MemberDeclaration]]
Catalogue = Mapping[str, CatalogueEntry]


def wanted_on(
    applications: tuple[str, ...], declared: tuple[str, ...], catalogue: Catalogue, platform: DevicePlatform
) -> tuple[Wanted, ...]:
    """``applications`` of a machine as wishes; those that are not among ``declared`` are there because of others."""
    needed_by: dict[str, str] = {}
    for key in applications:
        for required in required_by(catalogue[key].application, platform):
            needed_by.setdefault(required, key)
    return tuple(
        Wanted(
            key=key,
            because="declared" if key in declared else f"required by {needed_by.get(key, 'nothing')}",
            requires=required_by(catalogue[key].application, platform),
            conflicts=catalogue[key].application.conflicts,
        )
        for key in applications
    )


def present_on(
    installed: Mapping[str, str | None], catalogue: Catalogue, platform: DevicePlatform
) -> dict[str, Present]:
    """Applications that runs of ours put on a machine, with their versions where it told them."""
    return {
        key: Present(version, requires=required_by(catalogue[key].application, platform) if key in catalogue else ())
        for key, version in installed.items()
    }


def workplaces(member: DeclaredMember, declared: MemberDeclaration) -> Iterator[DeviceRow]:
    """All workstations of the member whose profile and platform are known: the listed ones, then the made ones."""
    platforms = get_args(DevicePlatform)
    for row in member.devices.rows:
        if row.profile in declared.profiles and row.platform in platforms:
            yield row
    for name, key in member.allocated.workstations.items():
        if (group := declared.workstations.get(key)) is not None and group.profile in declared.profiles:
            yield DeviceRow(name, "", "", group.site, group.department, group.profile, group.platform, group.wave, "")


def given_to_machines(
    member: DeclaredMember, declared: MemberDeclaration, catalogue: Catalogue, platform: PlatformDeclaration
) -> dict[str, list[str]]:
    """Every application that machines of the member are given, requirements included, and those machines' names."""
    machines: dict[str, list[str]] = defaultdict(list)
    kinds: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in workplaces(member, declared):
        kind = (row.profile, row.platform)
        if kind not in kinds:
            runs_on = cast(DevicePlatform, row.platform)
            direct = of_workstation(declared, declared.profiles[row.profile], runs_on)
            kinds[kind] = with_requirements(direct, catalogue, runs_on)
        for application in kinds[kind]:
            machines[application].append(row.hostname)
    for name, server in declared.servers.items():
        for application in with_requirements(
            server.applications, catalogue, platform_of_server(server, platform.templates)
        ):
            machines[application].append(server_name(declared.member.short, name))
    return machines


def seats_wanted(members: Members, catalogue: Catalogue, platform: PlatformDeclaration) -> Seats:
    """Which machines need a seat of which application: every machine that is given one that is licensed."""
    seats: dict[str, list[Holder]] = defaultdict(list)
    for key, (member, declared) in members.items():
        for application, machines in given_to_machines(member, declared, catalogue, platform).items():
            if catalogue[application].application.licence_metric is not None:
                seats[application] += [Holder(key, machine) for machine in machines]
    return seats


def licences(members: Members, catalogue: Catalogue, platform: PlatformDeclaration, recorded: Seats) -> Assignment:
    """The seats of the platform's pools given out to the machines of all ``members``; see licensing.assign."""
    pools = {key: pool.seats for key, pool in platform.licences.items()}
    return assign(pools, seats_wanted(members, catalogue, platform), recorded)
