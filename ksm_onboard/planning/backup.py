"""What is backed up, how often, and where the copies go. Pure.

The schedule follows from the RPO. When a server begins follows from its name, so that
backups spread over the interval, and a plan that is made twice is the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from ksm_onboard.declaration.models import (
    BackupConcept,
    BackupPlace,
    BackupRepository,
    CentralVm,
    DataDisk,
    Location,
    PlatformDeclaration,
    SectionKey,
    Server,
    SharedMachines,
)
from ksm_onboard.planning.addressing import gateway_of
from ksm_onboard.planning.central import ZONE_TITLES
from ksm_onboard.planning.plan import (
    BackupClassPlan,
    BackupPlan,
    BackupRepositoryPlan,
    BackupRetentionPlan,
    DatabasePlan,
    DataDiskPlan,
    LocalDiskPlan,
    ServerPlan,
    SharedServerPlan,
    SharedZonePlan,
    SharePlan,
)

NOT_BACKED_UP = "none"
"""What a disk states instead of a class if it is not backed up."""

# A day is a multiple of each, so that backups come at the same times every day.
_INTERVALS = (15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440)
_DAY = 1440


def account_of(server: str) -> str:
    """A server's account on the machines that hold its backups."""
    return f"bk-{server}"


def dump_of(backup: BackupPlan) -> str:
    """Where the dump of a directory lies (roles/backup_client/files/ksm_backup.py writes it)."""
    return f"{backup.path}/ksm-backup/current/domain.tar.bz2"


def interval_minutes(rpo_hours: int) -> int:
    """Minutes between two backups: at most half the RPO, so that one that fails does not break the promise."""
    return max(interval for interval in _INTERVALS if interval <= rpo_hours * 60 / 2)


def calendar(name: str, interval: int) -> str:
    """When the backups called ``name`` begin, every ``interval`` minutes, as systemd.time(7) wants it."""
    offset = zlib.crc32(name.encode()) % interval
    times = range(offset, _DAY, interval)
    if interval < 60:
        return f"*-*-* *:{','.join(f'{time:02d}' for time in times if time < 60)}:00"
    hours = ",".join(f"{time // 60:02d}" for time in times)
    return f"*-*-* {hours}:{offset % 60:02d}:00"


def class_key_of(server: Server | CentralVm, disk: DataDisk, concept: BackupConcept) -> str | None:
    """The backup class in force for a disk: its own, else that of the service level; None where there is neither."""
    return disk.backup or concept.by_service_level.get(str(server.service_level))


def repository_at(
    place: BackupPlace, section: SectionKey, concept: BackupConcept, shared: SharedMachines
) -> tuple[str, BackupRepository] | None:
    """The repository that a copy of a server in ``section`` goes to; None where there is none at that place."""
    for key, repository in concept.repositories.items():
        server = shared.servers.get(repository.server)
        if server is not None and _is_at(place, section, server.location):
            return key, repository
    return None


def _is_at(place: BackupPlace, section: SectionKey, location: Location) -> bool:
    if place == "outside":
        return location == "outside"
    return location != "outside" and (location == section) == (place == "own-section")


def plan_shared_zones(shared: SharedMachines | None) -> Iterator[SharedZonePlan]:
    """The networks of the shared machines."""
    for key, zone in (shared.zones if shared else {}).items():
        yield SharedZonePlan(
            key=key, title=ZONE_TITLES[key], vlan=zone.vlan, cidr=zone.cidr, gateway=gateway_of(zone.cidr)
        )


def plan_shared_servers(platform: PlatformDeclaration) -> Iterator[SharedServerPlan]:
    """The shared machines, each with the disks of the repositories on it."""
    if (shared := platform.shared) is None:
        return
    repositories = platform.backup.repositories if platform.backup else {}
    for key, server in shared.servers.items():
        cidr = shared.zones[server.zone].cidr
        name = f"{shared.short}-{key}"
        mounts = dict.fromkeys(r.path for r in repositories.values() if r.server == key)
        yield SharedServerPlan(
            name=name,
            fqdn=f"{name}.{shared.dns_domain}",
            role=server.role,
            zone=server.zone,
            location=server.location,
            address=server.address,
            prefix_length=cidr.prefixlen,
            gateway=gateway_of(cidr),
            disks=tuple(
                LocalDiskPlan(unit_number=unit, label=f"backup{unit}", mount=mount)
                for unit, mount in enumerate(mounts, start=1)
            ),
            directory=server.directory,
            ssh_host_key=server.ssh_host_key,
        )


def plan_repositories(platform: PlatformDeclaration) -> Iterator[BackupRepositoryPlan]:
    """The backup repositories."""
    shared = platform.shared
    for key, repository in (platform.backup.repositories if platform.backup and shared else {}).items():
        assert shared is not None  # noqa: S101 - else there is nothing to go through
        yield BackupRepositoryPlan(
            key=key,
            server=f"{shared.short}-{repository.server}",
            location=shared.servers[repository.server].location,
            path=repository.path,
            medium=repository.medium,
            append_only=repository.append_only,
        )


def plan_classes(concept: BackupConcept | None) -> Iterator[BackupClassPlan]:
    """The backup classes."""
    for key, backup_class in (concept.classes if concept else {}).items():
        yield BackupClassPlan(
            key=key,
            title=backup_class.title,
            rpo_hours=backup_class.rpo_hours,
            interval_minutes=interval_minutes(backup_class.rpo_hours),
            keep=BackupRetentionPlan(**backup_class.keep.model_dump()),
            restore_test_days=backup_class.restore_test_days,
        )


def plan_backups(
    servers: Sequence[tuple[Server | CentralVm, ServerPlan]],
    shares: Sequence[SharePlan],
    databases: Sequence[DatabasePlan],
    platform: PlatformDeclaration,
) -> Iterator[BackupPlan]:
    """What is backed up of each server: every data disk.

    Each server of a database pair backs up its databases itself, so it makes no difference which one leads.
    """
    concept, shared = platform.backup, platform.shared
    if concept is None or shared is None:
        return
    for declared, server in servers:
        room = -(-sum(disk.size_gib for disk in server.disks) * concept.quota_percent // 100)
        for disk in server.disks:
            own = declared.disks[disk.name]
            key = class_key_of(declared, own, concept)
            backed_up = key is not None and key != NOT_BACKED_UP
            backup_class = concept.classes[key] if backed_up and key else None
            places = backup_class.copies if backup_class else ()
            found = (repository_at(place, server.section, concept, shared) for place in places)
            yield BackupPlan(
                server=server.name,
                name=disk.name,
                kind=_kind(server) if disk is server.disks[0] else "files",
                path=disk.mount,
                size_gib=disk.size_gib,
                backup_class=key if backed_up else None,
                reason=own.backup_reason,
                copies=tuple(entry[0] for entry in found if entry),
                schedule=calendar(f"{server.name}/{disk.name}", interval_minutes(backup_class.rpo_hours))
                if backup_class
                else "",
                quota_gib=room,
                covers=tuple(_covered(server, disk, shares, databases)),
            )


def _kind(server: ServerPlan) -> Literal["files", "databases", "directory"]:
    """What is on the first data disk: a database cluster, room for dumps of the directory, or files."""
    if server.role == "database":
        return "databases"
    return "directory" if "directory" in server.central_roles else "files"


def _covered(
    server: ServerPlan, disk: DataDiskPlan, shares: Sequence[SharePlan], databases: Sequence[DatabasePlan]
) -> Iterator[str]:
    below = disk.mount.rstrip("/") + "/"
    yield from (share.name for share in shares if share.server == server.name and share.path.startswith(below))
    if disk is server.disks[0]:
        yield from (database.name for database in databases if server.name in (database.primary, *database.standbys))


def repositories_of(backups: Sequence[BackupPlan]) -> Mapping[str, tuple[str, ...]]:
    """Server → the repositories that any of its disks is copied to, in the plan's order."""
    by_server: dict[str, dict[str, None]] = {}
    for backup in backups:
        if backup.copies:
            by_server.setdefault(backup.server, {}).update(dict.fromkeys(backup.copies))
    return {server: tuple(keys) for server, keys in by_server.items()}
