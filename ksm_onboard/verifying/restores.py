"""Restore tests and their proofs: no copy counts as a backup that was never restored (BSI CON.3.A15).

Each server restores its newest backups from each of its repositories and compares every file
with the list that was saved; how, is in ``restore_on_host``. The newest proof of every copy is kept.
"""

from __future__ import annotations

import inspect
import json
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ksm_onboard.atomic import write_atomically
from ksm_onboard.connection import Connection
from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.backup import account_of
from ksm_onboard.planning.plan import BackupPlan, Plan
from ksm_onboard.progress import Progress
from ksm_onboard.verifying import restore_on_host
from ksm_onboard.verifying.host_facts import HostToAsk
from ksm_onboard.verifying.hosts import last_line, ssh_command

RESTORES_FILE = "restores.json"
AT_ONCE = 4
FIRST_BACKUP_SECONDS = 3600
TEST_SECONDS = 6 * 3600


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseLoaded(_Part):
    """What was in a dump when it was loaded into an empty cluster."""

    tables: int
    rows: int


class Restored(_Part):
    """A copy that was restored: ``files`` were compared, ``changed_meanwhile`` could not be.

    ``taken`` is when the backup began, ``manifest`` the SHA-256 of the list of files that was saved with it.
    """

    snapshot: str
    taken: datetime
    manifest: str
    files: int
    bytes: int
    changed_meanwhile: int
    databases: Mapping[str, DatabaseLoaded] = {}
    accounts: int | None = None
    """Of a dump of the directory: how many accounts were in it when it was opened."""


class Attempt(_Part):
    """One restore test of one copy; ``restored`` if it succeeded, else ``problem`` says why not."""

    server: str
    source: str
    repository: str
    at: datetime
    seconds: int
    restored: Restored | None
    problem: str

    @property
    def copy_key(self) -> CopyKey:
        return self.server, self.source, self.repository


CopyKey = tuple[str, str, str]
"""Server, source and repository: one copy of one disk."""


class Restores(_Part):
    """What is kept: of every copy the newest proof, and the last attempt if that failed."""

    proofs: tuple[Attempt, ...] = ()
    failures: tuple[Attempt, ...] = ()

    def proof(self, copy: CopyKey) -> Attempt | None:
        """The newest proof that this copy can be restored."""
        return next((attempt for attempt in self.proofs if attempt.copy_key == copy), None)

    def failure(self, copy: CopyKey) -> Attempt | None:
        """The last attempt, if it failed."""
        return next((attempt for attempt in self.failures if attempt.copy_key == copy), None)


def copies_of(plan: Plan) -> tuple[tuple[BackupPlan, str], ...]:
    """Every copy that the plan wants: what is backed up, and the repository."""
    return tuple((backup, key) for backup in plan.member.backups for key in backup.copies)


def unproven(plan: Plan, restores: Restores, now: datetime) -> tuple[tuple[BackupPlan, str], ...]:
    """The copies whose newest proof is missing, older than their class allows, or followed by a failure."""
    return tuple((backup, key) for backup, key in copies_of(plan) if not _holds(plan, backup, key, restores, now))


def _holds(plan: Plan, backup: BackupPlan, key: str, restores: Restores, now: datetime) -> bool:
    copy = (backup.server, backup.name, key)
    proof = restores.proof(copy)
    days = plan.platform.backup_class(backup.backup_class or "").restore_test_days
    return proof is not None and restores.failure(copy) is None and now - proof.at <= timedelta(days=days)


def with_attempts(before: Restores, attempts: Iterable[Attempt]) -> Restores:
    """``before``, and what was found out since: a success replaces proof and failure, a failure only the failure."""
    proofs = {attempt.copy_key: attempt for attempt in before.proofs}
    failures = {attempt.copy_key: attempt for attempt in before.failures}
    for attempt in attempts:
        if attempt.restored is not None:
            proofs[attempt.copy_key] = attempt
            failures.pop(attempt.copy_key, None)
        else:
            failures[attempt.copy_key] = attempt
    return Restores(
        proofs=tuple(proofs[key] for key in sorted(proofs)), failures=tuple(failures[key] for key in sorted(failures))
    )


def save_restores(restores: Restores, folder: Path) -> Path:
    """Keep the proofs beside the audits; returns their file."""
    path = folder / RESTORES_FILE
    write_atomically(path, restores.model_dump_json(indent=2) + "\n")
    return path


def load_restores(folder: Path) -> Restores:
    """The proofs that were kept; none where nothing was tested. Raises NotReadyError if the file cannot be read."""
    path = folder / RESTORES_FILE
    try:
        return Restores.model_validate_json(path.read_text())
    except FileNotFoundError:
        return Restores()
    except (OSError, ValidationError) as error:
        raise NotReadyError(
            f"the proofs of restore tests {path} cannot be read: {error}",
            hint="move the file away and run ksm-onboard restore-test again",
        ) from None


def restore_test(
    plan: Plan,
    connection: Connection,
    wanted: Collection[tuple[BackupPlan, str]],
    *,
    known_hosts: Path,
    now: datetime,
    progress: Progress,
) -> list[Attempt]:
    """Restore the newest backup of each ``wanted`` copy on its server, and compare. Data in use are not touched.

    Raises NotReadyError if the servers cannot be asked at all.
    """
    if not known_hosts.is_file() or not connection.guests.private_key_file.is_file():
        raise NotReadyError(
            "the servers cannot be logged in to: their host keys or the ops account's key are missing",
            hint=f"run ksm-onboard configure {plan.member.key} first",
        )
    by_server: dict[str, list[tuple[BackupPlan, str]]] = {}
    for backup, key in wanted:
        by_server.setdefault(backup.server, []).append((backup, key))

    def test(server: str) -> list[Attempt]:
        attempts = _test_on(server, by_server[server], plan, connection, known_hosts=known_hosts, now=now)
        for attempt in attempts:
            progress.line(_told(attempt))
        return attempts

    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="restore") as pool:
        return [attempt for attempts in pool.map(test, by_server) for attempt in attempts]


def _told(attempt: Attempt) -> str:
    name = f"{attempt.server}, {attempt.source} from {attempt.repository}"
    if attempt.restored is None:
        return f"{name}: {attempt.problem}"
    return f"{name}: snapshot {attempt.restored.snapshot}, {attempt.restored.files} files as they were saved"


def request(backups: Sequence[tuple[BackupPlan, str]], plan: Plan, connection: Connection) -> dict[str, Any]:
    """What ``restore_on_host`` is asked to do on one server."""
    sources: dict[str, dict[str, Any]] = {}
    for backup, key in backups:
        source = sources.setdefault(
            backup.name, {"name": backup.name, "kind": backup.kind, "path": backup.path, "repositories": {}}
        )
        server = plan.platform.shared_server(plan.platform.backup_repository(key).server)
        source["repositories"][key] = {
            "account": account_of(backup.server),
            "address": str(connection.guests.reachable_at(server.address)),
            "port": connection.guests.port,
        }
    return {"sources": list(sources.values()), "first_backup_seconds": FIRST_BACKUP_SECONDS}


def _test_on(
    server: str,
    backups: Sequence[tuple[BackupPlan, str]],
    plan: Plan,
    connection: Connection,
    *,
    known_hosts: Path,
    now: datetime,
) -> list[Attempt]:
    address = connection.guests.reachable_at(plan.member.server(server).address)
    command = ssh_command(HostToAsk(name=server, kind="server", address=address), connection.guests, known_hosts)
    wanted = json.dumps(request(backups, plan, connection))
    try:
        done = subprocess.run(
            command,
            input=f"{inspect.getsource(restore_on_host)}\n\nmain({wanted!r})\n",
            capture_output=True,
            text=True,
            timeout=TEST_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return [_attempt(server, now, entry) for entry in json.loads(done.stdout)]
        problem = f"the server cannot be asked: {last_line(done.stderr) or f'ssh ended with {done.returncode}'}"
    except subprocess.TimeoutExpired:
        problem = f"no end after {TEST_SECONDS // 3600} h"
    except ValueError as error:
        problem = f"the server's answer cannot be understood: {last_line(str(error))}"
    return [
        Attempt(server=server, source=backup.name, repository=key, at=now, seconds=0, restored=None, problem=problem)
        for backup, key in backups
    ]


def _attempt(server: str, now: datetime, entry: Mapping[str, Any]) -> Attempt:
    own = ("source", "repository", "seconds", "problem")
    restored = {key: value for key, value in entry.items() if key not in own}
    return Attempt(
        server=server,
        at=now,
        restored=Restored.model_validate(restored) if not entry["problem"] else None,
        **{key: entry[key] for key in own},
    )
