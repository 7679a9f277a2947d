"""Which applications a machine gets: its own, its profile's, the member's, and what those require."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ksm_onboard.declaration.catalogue import Application
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.declaration.models import DevicePlatform, MemberDeclaration, Profile, Server, Template
from ksm_onboard.declaration.source import Loc


def required_by(application: Application, platform: DevicePlatform) -> tuple[str, ...]:
    """What must be on a machine of that platform before ``application``."""
    on_platform = () if platform == "tablet" else application.requires_on.get(platform, ())
    return (*application.requires, *on_platform)


def platform_of_server(server: Server, templates: Mapping[str, Template]) -> DevicePlatform:
    """What a server runs on, by the guest id of its template; Linux where the template is not known."""
    template = templates.get(server.template)
    return "windows" if template is not None and template.guest_id.lower().startswith("win") else "linux"


def with_requirements(
    keys: Iterable[str], catalogue: Mapping[str, CatalogueEntry], platform: DevicePlatform
) -> tuple[str, ...]:
    """``keys`` and everything they require on ``platform``, requirements first, each once.

    Unknown keys and cycles are refused by the checks; here they are passed over.
    """
    ordered: list[str] = []
    entered: set[str] = set()

    def visit(key: str) -> None:
        if key in entered or key not in catalogue:
            return
        entered.add(key)
        for required in required_by(catalogue[key].application, platform):
            visit(required)
        ordered.append(key)

    for key in keys:
        visit(key)
    return tuple(ordered)


def given_by(table: MemberDeclaration | Profile) -> Iterator[tuple[Loc, DevicePlatform | None, tuple[str, ...]]]:
    """The lists of the member or of a profile that give applications: path in the table, only platform, keys."""
    yield ("applications",), None, table.applications
    for platform, keys in table.applications_on.items():
        yield ("applications_on", platform), platform, keys
    yield ("extra_applications",), None, table.extra_applications


def of_workstation(declared: MemberDeclaration, profile: Profile, platform: DevicePlatform) -> tuple[str, ...]:
    """What a workstation is given before requirements: the member's and the profile's, without what either excludes."""
    wanted = (
        key
        for table in (declared, profile)
        for _, only, keys in given_by(table)
        if only in (None, platform)
        for key in keys
    )
    excluded = {*declared.without_applications, *profile.without_applications}
    return tuple(key for key in dict.fromkeys(wanted) if key not in excluded)


def requirement_cycles(catalogue: Mapping[str, CatalogueEntry]) -> list[tuple[str, ...]]:
    """Every cycle of requirements once, starting with its alphabetically first member."""
    cycles: set[tuple[str, ...]] = set()

    def walk(key: str, path: tuple[str, ...], done: set[str]) -> None:
        if key in path:
            ring = path[path.index(key) :]
            first = ring.index(min(ring))
            cycles.add(ring[first:] + ring[:first])
            return
        if key in done or key not in catalogue:
            return
        application = catalogue[key].application
        on_one_platform = (required for keys in application.requires_on.values() for required in keys)
        for required in (*application.requires, *on_one_platform):
            walk(required, (*path, key), done)
        done.add(key)

    finished: set[str] = set()
    for key in sorted(catalogue):
        walk(key, (), finished)
    return sorted(cycles)
