"""What a run of the playbook did, per host, and where it is kept.

Every run has a folder of its own under ``.state/<data centre>/runs/<member>/``. It gets a
``run.json`` when it begins and a ``result.json`` when it ends: a folder without the second
belongs to a run that was killed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ksm_onboard.connection import Connection
from ksm_onboard.project import Project

RUN_FILE: Final = "run.json"
RESULT_FILE: Final = "result.json"

Status = Literal["running", "finished", "failed", "interrupted"]
"""``finished``: every host did everything. ``failed``: some did not. ``interrupted``: somebody stopped it, or it was
killed. ``running`` is only told about a run that has not ended yet."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HostResult(_Record):
    """What one host did: numbers of tasks, messages for people, and the applications it was made sure to have.

    ``confirmed``: it was found as it was left and as it shall be, and left alone.
    """

    ok: int = 0
    changed: int = 0
    failed: int = 0
    unreachable: int = 0
    skipped: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    confirmed: bool = False
    simulated: bool = False
    """Whether what answered was a simulation and no machine."""


class RunResult(_Record):
    """One run of the playbook over a member's machines."""

    member: str
    started: datetime
    ended: datetime | None
    status: Status
    check: bool = False
    limit: str | None = None
    tags: str | None = None
    problem: str = ""
    """Why the run as a whole could not go on; problems of single hosts are with the hosts."""
    hosts: dict[str, HostResult] = {}

    @property
    def changed(self) -> int:
        """How many changes there were on all hosts together; in a check run, how many there would be."""
        return sum(host.changed for host in self.hosts.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that went wrong, one readable message each."""
        of_hosts = tuple(problem for host in self.hosts.values() for problem in host.problems)
        return ((self.problem,) if self.problem else ()) + of_hosts


class RunRecord(_Record):
    """What is known of a run when it begins. ``run_id`` marks its processes."""

    member: str
    run_id: str
    started: datetime
    check: bool
    limit: str | None
    tags: str | None = None


def runs_dir(project: Project, connection: Connection, member: str) -> Path:
    """Where the runs over a member's machines are kept."""
    return connection.state_dir(project) / "runs" / member


def begin(runs: Path, record: RunRecord) -> Path:
    """Create the folder of a run; readable by its owner only, since Ansible's output lies in it."""
    name = record.started.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder = runs / name
    runs.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    _write(folder / RUN_FILE, record.model_dump_json(indent=2))
    return folder


def end(folder: Path, result: RunResult) -> None:
    """Keep the result, as a whole or not at all."""
    _write(folder / RESULT_FILE, result.model_dump_json(indent=2))


def folders(runs: Path) -> list[Path]:
    """All runs, the newest last."""
    return sorted(f for f in runs.glob("*T*Z") if (f / RUN_FILE).is_file()) if runs.is_dir() else []


def read(folder: Path) -> RunResult:
    """The result of a run; of one that left none, that it was interrupted."""
    try:
        return RunResult.model_validate_json((folder / RESULT_FILE).read_text())
    except (OSError, ValidationError):
        record = read_record(folder)
    return RunResult(
        member=record.member,
        started=record.started,
        ended=None,
        status="interrupted",
        check=record.check,
        limit=record.limit,
        tags=record.tags,
        problem="the run was killed before it could write its result",
    )


def read_record(folder: Path) -> RunRecord:
    """What was known when the run began."""
    return RunRecord.model_validate_json((folder / RUN_FILE).read_text())


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
    partial.replace(path)
