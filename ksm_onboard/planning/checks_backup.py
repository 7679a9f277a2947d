"""The backup concept holds, and no data-bearing disk is left out of it. Each check is pure and yields findings.

3-2-1-1-0: three copies, two media, one outside both fire sections, one that nobody who backs
up can change. That none was never restored cannot be declared; verifying looks at that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.load import Loaded
from ksm_onboard.declaration.models import BackupConcept, PlatformDeclaration, SharedMachines
from ksm_onboard.planning.backup import NOT_BACKED_UP, class_key_of, repository_at
from ksm_onboard.planning.checks import Scope, unknown

_COPIES = 3
"""With the original."""


def check_backup(scope: Scope) -> Iterator[Finding]:
    """Every data disk of a member has a class that keeps its service level's promise, or a reason to have none."""
    concept, aside = scope.platform.backup, scope.platform_file.mentions
    if scope.platform.shared is None or concept is None:
        with_disks = [key for key, server in scope.declared.servers.items() if server.disks]
        if with_disks and not (aside("backup") or aside("shared")):
            yield Finding(
                rule="backup-undeclared",
                place=scope.file.key_place("servers", with_disks[0], "disks"),
                message=f"{len(with_disks)} servers have data disks, and the platform declares no backup",
                hint=f"declare shared and backup in {scope.platform_file.file.name}",
            )
        return
    yield from _disks(scope, concept)
    databases = {database.pair for database in scope.declared.databases.values()}
    for key, server in scope.declared.servers.items():
        if server.role == "database" and not server.disks and server.pair in databases:
            yield Finding(
                rule="backup-outside-data-disk",
                place=scope.file.key_place("servers", key),
                message=f"{scope.server_name(key)} holds databases and has no data disk: they would not be backed up",
                hint="give it a data disk",
            )


def _disks(scope: Scope, concept: BackupConcept) -> Iterator[Finding]:
    for key, server in scope.declared.servers.items():
        for disk_key, disk in server.disks.items():
            loc = ("servers", key, "disks", disk_key)
            name = f"{scope.server_name(key)}, disk {disk_key}"
            class_key = class_key_of(server, disk, concept)
            if (class_key == NOT_BACKED_UP) != bool(disk.backup_reason):
                yield Finding(
                    rule="backup-none-unreasoned",
                    place=scope.file.place(*loc, "backup_reason" if disk.backup_reason else "backup"),
                    message=f"{name} is not backed up, and nobody says why"
                    if class_key == NOT_BACKED_UP
                    else f"{name} is backed up, and states a reason for not being so",
                    hint="backup: none and backup_reason belong together",
                )
            if class_key == NOT_BACKED_UP:
                continue
            if class_key is None:
                if not scope.platform_file.mentions("backup", "by_service_level"):
                    yield Finding(
                        rule="backup-class-missing",
                        place=scope.file.key_place(*loc),
                        message=f"{name} has no backup class, nor has the service level {server.service_level}",
                        allowed=", ".join(concept.classes),
                        hint="state backup, or give the level a class in backup.by_service_level",
                    )
                continue
            backup_class = concept.classes.get(class_key)
            if backup_class is None:
                if disk.backup is not None and not scope.platform_file.mentions("backup", "classes", class_key):
                    options = (*concept.classes, NOT_BACKED_UP)
                    yield scope.unknown(
                        "backup-class-unknown", f"{name}: the backup class", class_key, options, *loc, "backup"
                    )
                continue
            promised = scope.platform.service_levels.get(str(server.service_level))
            if disk.backup is not None and promised and backup_class.rpo_hours > promised.rpo_hours:
                fitting = [k for k, c in concept.classes.items() if c.rpo_hours <= promised.rpo_hours]
                yield Finding(
                    rule="backup-rpo",
                    place=scope.member.nearest((*loc, "backup"), ("servers", key, "service_level")),
                    message=f"{name}: the class {class_key} may lose {backup_class.rpo_hours} h of data, "
                    f"its service level {server.service_level} promises {promised.rpo_hours} h",
                    value=class_key,
                    allowed=", ".join(fitting) or "no class keeps that promise",
                )


def check_backup_concept(file: Loaded[PlatformDeclaration]) -> Iterator[Finding]:
    """The platform's backup concept; the machines that carry it out are looked at with all shared ones."""
    if (platform := file.content) is None:
        return
    if platform.backup is not None and platform.shared is not None:
        for check in _CONCEPT_CHECKS:
            yield from check(file, platform, platform.backup, platform.shared)


def _levels(
    file: Loaded[PlatformDeclaration], platform: PlatformDeclaration, concept: BackupConcept, _shared: SharedMachines
) -> Iterator[Finding]:
    for level, class_key in concept.by_service_level.items():
        loc = ("backup", "by_service_level", level)
        backup_class, promised = concept.classes.get(class_key), platform.service_levels.get(level)
        if backup_class is None and not file.mentions("backup", "classes", class_key):
            yield unknown("backup-class-unknown", "the backup class", class_key, concept.classes, file.place(*loc))
        elif backup_class and promised and backup_class.rpo_hours > promised.rpo_hours:
            yield Finding(
                rule="backup-rpo",
                place=file.place(*loc),
                message=f"the class {class_key} may lose {backup_class.rpo_hours} h of data, "
                f"the service level {level} promises {promised.rpo_hours} h",
                value=class_key,
                allowed=f"a class with rpo_hours of at most {promised.rpo_hours}",
            )


def _copies(
    file: Loaded[PlatformDeclaration], platform: PlatformDeclaration, concept: BackupConcept, shared: SharedMachines
) -> Iterator[Finding]:
    for key, backup_class in concept.classes.items():
        if file.mentions("backup", "classes", key, "copies"):
            continue
        place = file.place("backup", "classes", key, "copies")
        copies = backup_class.copies
        if len(set(copies)) + 1 < _COPIES or len(set(copies)) != len(copies):
            yield Finding(
                rule="backup-copies",
                place=place,
                message=f"the class {key} makes {len(set(copies)) + 1} copies at different places, with the original",
                value=", ".join(copies),
                allowed=f"at least {_COPIES}, each at a place of its own",
            )
        if "outside" not in copies:
            yield Finding(
                rule="backup-outside",
                place=place,
                message=f"the class {key} keeps no copy outside both fire sections",
                value=", ".join(copies),
                hint="add outside: a fire, or whoever has both sections, must not have every copy",
            )
        if any(file.mentions("backup", "repositories", k) for k in _written_repositories(file)):
            continue
        for section, copy in product(platform.sections, dict.fromkeys(copies)):
            if repository_at(copy, section, concept, shared) is None:
                yield Finding(
                    rule="backup-place",
                    place=place,
                    message=f"the class {key}: a server in section {section} has no repository for its copy '{copy}'",
                    value=copy,
                    allowed=", ".join(f"{k}: {s.location}" for k, s in shared.servers.items()) or None,
                    hint="declare a repository on a machine at that place",
                )
        for section in platform.sections:
            found = [at[1] for copy in copies if (at := repository_at(copy, section, concept, shared))]
            if found and not any(repository.append_only for repository in found):
                yield Finding(
                    rule="backup-changeable",
                    place=place,
                    message=f"the class {key}: who takes over a server in section {section} can delete all its backups",
                    value=", ".join(copies),
                    allowed="at least one copy in a repository with append_only: true",
                )
                break
        media = {
            at[1].medium for s in platform.sections for c in copies if (at := repository_at(c, s, concept, shared))
        }
        if media == {"array"}:
            yield Finding(
                rule="backup-media",
                place=place,
                message=f"all copies of the class {key} lie on an array, as the original does",
                value=", ".join(copies),
                allowed="at least one copy on another medium",
            )


def _written_repositories(file: Loaded[PlatformDeclaration]) -> tuple[str, ...]:
    """The repositories that were set aside for errors of their own."""
    return tuple(str(loc[2]) for loc in file.set_aside if loc[:2] == ("backup", "repositories") and len(loc) > 2)


def _repositories(
    file: Loaded[PlatformDeclaration], _platform: PlatformDeclaration, concept: BackupConcept, shared: SharedMachines
) -> Iterator[Finding]:
    at: dict[str, str] = {}
    for key, repository in concept.repositories.items():
        loc = ("backup", "repositories", key)
        server = shared.servers.get(repository.server)
        if server is None:
            if not file.mentions("shared", "servers", repository.server):
                place = file.place(*loc, "server")
                yield unknown("backup-host", "the shared machine", repository.server, shared.servers, place)
            continue
        if server.location in at:
            yield Finding(
                rule="backup-place",
                place=file.place(*loc, "server"),
                message=f"the repositories {at[server.location]} and {key} stand at one place ({server.location})",
                value=repository.server,
                hint="one repository for each fire section and one outside",
            )
        at.setdefault(server.location, key)
        wrong = [
            (server.role != "backup", "role", f"has the role {server.role}", "backup"),
            (server.zone != "backup", "zone", f"stands in the zone {server.zone}", "backup"),
            (server.directory is not None, "directory", f"is joined to {server.directory}", "no directory at all"),
        ]
        for is_wrong, field, what, allowed in wrong:
            if is_wrong:
                yield Finding(
                    rule="backup-host",
                    place=file.place("shared", "servers", repository.server, field),
                    message=f"{shared.short}-{repository.server} holds backups and {what}",
                    value=str(getattr(server, field)),
                    allowed=allowed,
                    hint="whoever takes over the directory or another zone must not have the backups too",
                )


_CONCEPT_CHECKS: tuple[
    Callable[[Loaded[PlatformDeclaration], PlatformDeclaration, BackupConcept, SharedMachines], Iterator[Finding]],
    ...,
] = (_levels, _copies, _repositories)
