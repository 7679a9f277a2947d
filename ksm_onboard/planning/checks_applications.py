"""Whether the machines can have the applications that are declared for them, and whether licences suffice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from ksm_onboard.declaration.catalogue import Application
from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.load import CatalogueEntry, Loaded
from ksm_onboard.declaration.models import DevicePlatform, MemberDeclaration, PlatformDeclaration, Profile
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.allocation import server_name
from ksm_onboard.planning.applications import given_by, of_workstation, platform_of_server, required_by
from ksm_onboard.planning.checks import Scope, unknown
from ksm_onboard.planning.checks_across import Across, Members
from ksm_onboard.planning.depot import from_depot

Catalogue = Mapping[str, CatalogueEntry]

_PLATFORMS: Mapping[str, DevicePlatform] = {name: name for name in get_args(DevicePlatform)}
# Tablets and Windows bring what these stand for; there is no package for it.
_BUILT_IN: Mapping[DevicePlatform, frozenset[str]] = {
    "tablet": frozenset(("browser",)),
    "windows": frozenset(("browser",)),
}


# --- the catalogue ------------------------------------------------------------------------


def check_references(catalogue: Catalogue) -> list[Finding]:
    """References of the catalogue's entries that lead nowhere (``requires`` is looked at when reading)."""
    findings = []
    for entry in catalogue.values():
        application = entry.application
        fields: list[tuple[str, tuple[str, ...]]] = [
            ("conflicts", application.conflicts),
            ("successor", (application.successor,) if application.successor else ()),
            *((f"requires_on.{platform}", keys) for platform, keys in application.requires_on.items()),
        ]
        findings += [
            unknown("application-unknown", f"{entry.key}: {field}:", key, catalogue, entry.place)
            for field, keys in fields
            for key in keys
            if key not in catalogue
        ]
    return findings


# --- one member ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wanted:
    """What one kind of machine is given: applications in order, and which one each is needed for."""

    applications: tuple[str, ...]
    reason: Mapping[str, str]
    """For an application that is only required by others: the declared one that pulls it in."""


def _with_requirements(keys: tuple[str, ...], platform: DevicePlatform, catalogue: Catalogue) -> _Wanted:
    """``keys`` and everything they require on ``platform``."""
    reason: dict[str, str] = {}
    stack = [(key, key) for key in reversed(keys)]
    while stack:
        key, root = stack.pop()
        if key in reason or key not in catalogue:
            continue
        reason[key] = root
        stack.extend((required, root) for required in required_by(catalogue[key].application, platform))
    return _Wanted(tuple(reason), reason)


def _runs_on(application: Application, platform: DevicePlatform) -> bool:
    """Whether a machine of the platform can have the application. In a browser everything runs everywhere."""
    if application.in_browser:
        return True
    if platform == "tablet":
        return False
    if platform == "linux":
        return "linux" in application.platforms and (bool(application.debian) or from_depot(application, "linux"))
    return "windows" in application.platforms


@dataclass(frozen=True)
class _Machines:
    """One member's kinds of workstations: by profile and platform, with their number."""

    member: DeclaredMember
    declared: MemberDeclaration
    catalogue: Catalogue

    @cached_property
    def number(self) -> Counter[tuple[str, DevicePlatform]]:
        """How many workstations there are of a profile and platform."""
        number: Counter[tuple[str, DevicePlatform]] = Counter()
        rows = Counter((row.profile, row.platform) for row in self.member.devices.rows)
        for (profile, platform), count in rows.items():
            if (known := _PLATFORMS.get(platform)) is not None:
                number[profile, known] += count
        for group in self.declared.workstations.values():
            number[group.profile, group.platform] += group.count
        return number

    @cached_property
    def wanted(self) -> dict[tuple[str, DevicePlatform], _Wanted]:
        """What each kind of workstation is given."""
        return {
            (profile, platform): _with_requirements(
                of_workstation(self.declared, self.declared.profiles[profile], platform), platform, self.catalogue
            )
            for profile, platform in self.number
            if profile in self.declared.profiles
        }

    def place(self, profile: str, platform: DevicePlatform, key: str) -> Place:
        """Where the application ``key`` is given to the profile's workstations of that platform."""
        tables: list[tuple[Loc, MemberDeclaration | Profile]] = [
            (("profiles", profile), self.declared.profiles[profile]),
            ((), self.declared),
        ]
        for loc, table in tables:
            for path, only, keys in reversed(list(given_by(table))):
                if key in keys and only in (None, platform):
                    return self.member.file.place(*loc, *path, keys.index(key))
        return self.member.file.key_place("profiles", profile)


def check_applications(scope: Scope) -> list[Finding]:
    """Findings about the applications of one member's machines, each problem once."""
    machines = _Machines(scope.member, scope.declared, scope.catalogue)
    findings: dict[tuple[str, Place, str], Finding] = {}
    for found in (*_not_offered(scope), *_on_workstations(machines), *_on_servers(scope)):
        findings.setdefault((found.rule, found.place, found.value or ""), found)
    return list(findings.values())


def _not_offered(scope: Scope) -> Iterator[Finding]:
    declared = scope.declared
    lists: list[tuple[Loc, tuple[str, ...]]] = [(path, keys) for path, _, keys in given_by(declared)]
    for name, profile in declared.profiles.items():
        lists += [(("profiles", name, *path), keys) for path, _, keys in given_by(profile)]
    lists += [(("servers", key, "applications"), server.applications) for key, server in declared.servers.items()]
    for loc, keys in lists:
        for index, key in enumerate(keys):
            entry = scope.catalogue.get(key)
            if entry is not None and not entry.application.offered:
                successor = entry.application.successor
                yield Finding(
                    rule="application-not-offered",
                    place=scope.file.place(*loc, index),
                    message=f"'{key}' is only recognised when a member's old devices are read; nobody is given it",
                    value=key,
                    hint=f"its successor is '{successor}'" if successor else "choose another one for the same job",
                )


def _on_workstations(machines: _Machines) -> Iterator[Finding]:
    catalogue, declared = machines.catalogue, machines.declared
    # What a list that is itself wrong would have provided is not known.
    lists_are_whole = not any("applications" in str(part) for loc in machines.member.file.set_aside for part in loc)
    for (profile, platform), wanted in machines.wanted.items():
        number = machines.number[profile, platform]
        provided = set(_BUILT_IN.get(platform, ()))
        for key in wanted.applications:
            provided.update(catalogue[key].application.provides)
        without = {*declared.without_applications, *declared.profiles[profile].without_applications}
        for key, root in wanted.reason.items():
            application = catalogue[key].application
            pulled = f" (required by '{root}')" if root != key else ""
            if not _runs_on(application, platform):
                yield Finding(
                    rule="application-platform",
                    place=machines.place(profile, platform, root),
                    message=f"'{key}'{pulled} cannot be installed on the {number} {platform} workstations "
                    f"of the profile {profile}",
                    value=key,
                    allowed=_available(application),
                    hint="give these workstations another platform or profile, or take it away from them "
                    "with without_applications",
                )
            yield from _without_media(key, application, platform, machines.place(profile, platform, root))
            if key != root and key in without:
                yield Finding(
                    rule="application-dependency",
                    place=machines.place(profile, platform, root),
                    message=f"'{root}' requires '{key}', which without_applications takes away "
                    f"from the profile {profile}",
                    value=root,
                    hint=f"remove '{key}' from without_applications, or take '{root}' away, too",
                )
            if key != root and not application.offered:
                yield Finding(
                    rule="application-not-offered",
                    place=machines.place(profile, platform, root),
                    message=f"'{root}' requires '{key}', which is not offered (any more)",
                    value=root,
                    hint=f"its successor is '{application.successor}'" if application.successor else None,
                )
            for need in application.needs:
                if need not in provided and lists_are_whole:
                    offers = sorted(k for k, e in catalogue.items() if need in e.application.provides)
                    place = machines.place(profile, platform, root)
                    yield Finding(
                        rule="application-dependency",
                        # A member that empties its lists meant it; what it asks for itself has to work.
                        severity="error" if place.file == machines.member.file.file else "warning",
                        place=place,
                        message=f"'{key}'{pulled} needs {_NEEDS[need]}, "
                        f"and the {platform} workstations of the profile {profile} have none",
                        value=key,
                        allowed="one of: "
                        + ", ".join(k for k in offers if _runs_on(catalogue[k].application, platform)),
                        hint="add it to extra_applications of the member or of the profile",
                    )
        yield from _conflicting(machines, profile, platform, wanted)


_NEEDS = {"browser": "a browser", "office": "an office suite"}


def _available(application: Application) -> str:
    platforms = [
        p for p in application.platforms if p != "linux" or application.debian or from_depot(application, "linux")
    ]
    if platforms:
        return ", ".join(platforms)
    return "none yet: the catalogue names neither Debian packages nor media for it"


def _without_media(key: str, application: Application, platform: DevicePlatform, place: Place) -> Iterator[Finding]:
    """What Linux machines get from the depot only once somebody has checked the vendor's media."""
    if platform == "linux" and from_depot(application, "linux") and application.depot.linux is None:
        yield Finding(
            rule="application-media",
            severity="warning",
            place=place,
            message=f"'{key}' comes from the software depot, and the catalogue names no checked media of it for Linux: "
            "in the lab machines get an empty stand-in (Platzhalter), in a real data centre it cannot be installed",
            value=key,
            hint="have the vendor's package checked, and enter it under depot.linux (docs/how-to/depot.md)",
        )


def _conflicting(machines: _Machines, profile: str, platform: DevicePlatform, wanted: _Wanted) -> Iterator[Finding]:
    given = set(wanted.applications)
    for key in wanted.applications:
        for other in machines.catalogue[key].application.conflicts:
            if other in given:
                yield Finding(
                    rule="application-conflict",
                    place=machines.place(profile, platform, wanted.reason[key]),
                    message=f"'{key}' and '{other}' cannot be on one machine; the profile {profile} gives both",
                    value=key,
                    hint="keep one of them; without_applications takes away what comes from farther away",
                )


def _on_servers(scope: Scope) -> Iterator[Finding]:
    for key, server in scope.declared.servers.items():
        platform = platform_of_server(server, scope.platform.templates)
        wanted = _with_requirements(server.applications, platform, scope.catalogue)
        given = set(wanted.applications)
        name = server_name(scope.declared.member.short, key)
        for application_key, root in wanted.reason.items():
            application = scope.catalogue[application_key].application
            at = server.applications.index(root)
            pulled = f" (required by '{root}')" if root != application_key else ""
            if not _runs_on(application, platform):
                yield Finding(
                    rule="application-platform",
                    place=scope.file.place("servers", key, "applications", at),
                    message=f"'{application_key}'{pulled} cannot be installed on {name} ({server.template})",
                    value=application_key,
                    allowed=_available(application),
                    hint="choose another template, or another application",
                )
            place = scope.file.place("servers", key, "applications", at)
            yield from _without_media(application_key, application, platform, place)
            for other in application.conflicts:
                if other in given:
                    yield Finding(
                        rule="application-conflict",
                        place=scope.file.place("servers", key, "applications", at),
                        message=f"'{application_key}' and '{other}' cannot be on one machine; {name} is given both",
                        value=application_key,
                        hint="keep one of them",
                    )


# --- across members -----------------------------------------------------------------------


def check_licences(
    members: Members, catalogue: Catalogue, platform: PlatformDeclaration, file: Loaded[PlatformDeclaration]
) -> list[Across]:
    """Licences bought against machines that are given the application, summed over all members."""
    used: dict[str, Counter[str]] = defaultdict(Counter)
    for member, (declared_member, declared) in members.items():
        machines = _Machines(declared_member, declared, catalogue)
        for kind, wanted in machines.wanted.items():
            for key in wanted.applications:
                used[key][member] += machines.number[kind]
        for server in declared.servers.values():
            runs_on = platform_of_server(server, platform.templates)
            for key in _with_requirements(server.applications, runs_on, catalogue).applications:
                used[key][member] += 1
    everyone = frozenset(members)
    found = [
        Across(everyone, unknown("application-unknown", "the licensed application", key, catalogue, place))
        for key in platform.licences
        if key not in catalogue
        for place in (file.key_place("licences", key),)
    ]
    for key, by_member in sorted(used.items()):
        metric = catalogue[key].application.licence_metric
        total = sum(by_member.values())
        pool = platform.licences.get(key)
        concerned = frozenset(by_member)
        if metric is None:
            continue
        if pool is not None and total > pool.seats:
            most = sorted(by_member.items(), key=lambda item: (-item[1], item[0]))[:3]
            found.append(
                Across(
                    concerned,
                    Finding(
                        rule="licence-seats",
                        # How many work at the same time is known to nobody here.
                        severity="warning" if metric == "concurrent" else "error",
                        place=file.place("licences", key, "seats"),
                        message=f"'{key}' is given to {total} machines, {pool.seats} licences ({metric}) are declared: "
                        f"{total - pool.seats} are missing",
                        value=str(pool.seats),
                        allowed=f"at least {total}",
                        hint="most: "
                        + ", ".join(f"{member} {count}" for member, count in most)
                        + "; buy more, or give the application to fewer",
                    ),
                )
            )
    undeclared = sorted(
        key for key in used if catalogue[key].application.licence_metric is not None and key not in platform.licences
    )
    if undeclared and platform.licences:
        found.append(
            Across(
                frozenset(member for key in undeclared for member in used[key]),
                Finding(
                    rule="licence-undeclared",
                    severity="warning",
                    place=file.key_place("licences"),
                    message=f"{len(undeclared)} applications that need a licence are given to machines, "
                    f"and no seats are declared for them: {', '.join(undeclared[:8])}"
                    + (f" and {len(undeclared) - 8} more" if len(undeclared) > 8 else ""),
                    hint="declare how many were bought: licences: {KEY: {seats: N}}",
                ),
            )
        )
    return found
