"""Runs the playbook over a member's machines, with progress, and keeps what came of it.

Ansible runs in a thread's child process on a terminal of its own, so Ctrl-C reaches only us.
However a run ends, none of its processes is left; a run that was killed is cleared up by the next.
"""

from __future__ import annotations

import fcntl
import os
import queue
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal

from ansible_runner.config.runner import RunnerConfig
from ansible_runner.runner import Runner

from ksm_onboard.configuring import processes, results
from ksm_onboard.configuring.events import Event, Tally
from ksm_onboard.configuring.journal import Entry, Journal
from ksm_onboard.configuring.results import RunRecord, RunResult, runs_dir
from ksm_onboard.connection import Connection
from ksm_onboard.errors import InterruptedRunError, NotReadyError, OnboardError
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project

PLAYBOOK: Final = "site.yml"
HEARTBEAT_S: Final = 15.0
"""Seconds without a line after which people are told what the run waits for."""

KEPT_VARIABLES: Final = ("HOME", "USER", "LOGNAME", "TERM", "TZ", "SSH_AUTH_SOCK")
"""What Ansible gets of our environment. ansible-runner writes it all to a file, so it must hold no secret."""

RUNNERS_OWN_VARIABLES: Final = (
    "ANSIBLE_CALLBACK_PLUGINS",
    "ANSIBLE_STDOUT_CALLBACK",
    "ANSIBLE_RETRY_FILES_ENABLED",
    "AWX_ISOLATED_DATA_DIR",
    "RUNNER_OMIT_EVENTS",
    "RUNNER_ONLY_FAILED_EVENTS",
)


def configure(
    project: Project,
    connection: Connection,
    member: str,
    *,
    progress: Progress,
    check: bool = False,
    limit: str | None = None,
    tags: str | None = None,
    full: bool = False,
    told: Callable[[Entry], None] = lambda _: None,
    timeout_s: float | None = None,
) -> RunResult:
    """Run the playbook over the member's inventory and return the result, which is also kept in the run's folder.

    ``check`` only looks what would change. ``limit`` and ``tags`` are Ansible's. ``timeout_s`` ends the run as failed.
    ``full`` also runs everything on workplaces that are as they were left. How each workplace came out is written into
    the journal at once, and ``told``.
    A host that fails or cannot be reached does not keep the others from going on; the result is then ``failed``.
    Raises NotReadyError without an inventory or Ansible, OnboardError while another run over the member's machines goes
    on, and InterruptedRunError (after the result was kept) on Ctrl-C or SIGTERM.
    """
    inventory = _inventory(project, member)
    runs = runs_dir(project, connection, member)
    with _only_run(runs, member):
        _clear_up_after_killed_runs(runs)
        record = RunRecord(
            member=member, run_id=uuid.uuid4().hex[:12], started=_now(), check=check, limit=limit, tags=tags
        )
        folder = results.begin(runs, record)
        journal = Journal(runs)

        def keep(entry: Entry) -> None:
            if not check:
                journal.add(entry)
            told(entry)

        tally = Tally(progress, keep)
        with _sigterm_is_ctrl_c():
            # A short path: the names of sockets are limited to some 100 characters.
            sockets = Path(tempfile.mkdtemp(prefix=processes.sockets_prefix(record.run_id)))
            config = _runner_config(project, inventory, folder, record, sockets, full=full)
            end = _watch(config, record.run_id, tally, progress, timeout_s)
        result = _result(record, tally, end, folder)
        results.end(folder, result)
    if result.status == "interrupted":
        raise InterruptedRunError(
            f"configuring {member} was interrupted; what was done so far is in {folder}",
            hint="run the same command again: it goes on where this run stopped",
        )
    return result


def last_run(project: Project, connection: Connection, member: str) -> RunResult | None:
    """The newest run over the member's machines; None if there was none.

    A run that still goes on is ``running``; one that left no result was killed, and is ``interrupted``.
    """
    runs = runs_dir(project, connection, member)
    folders = results.folders(runs)
    if not folders:
        return None
    result = results.read(folders[-1])
    if not (folders[-1] / results.RESULT_FILE).exists() and _is_locked(runs):
        return result.model_copy(update={"status": "running", "problem": ""})
    return result


# --- before -------------------------------------------------------------------------------


def _inventory(project: Project, member: str) -> Path:
    inventory = project.inventories / member
    if not (inventory / "hosts.yml").is_file():
        raise NotReadyError(
            f"there is no inventory of {member}: {inventory / 'hosts.yml'} does not exist",
            hint=f"bring up its machines first: ksm-onboard up {member}",
        )
    if not (project.venv_bin / "ansible-playbook").is_file():
        raise NotReadyError(f"Ansible is not installed in {project.venv_bin}", hint="run: make setup")
    return inventory


def _lock_file(runs: Path) -> Path:
    return runs / ".lock"


@contextmanager
def _only_run(runs: Path, member: str) -> Iterator[None]:
    runs.mkdir(parents=True, exist_ok=True)
    # The kernel lets go of the lock however we end, so it can never be stale.
    with _lock_file(runs).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OnboardError(
                f"another run over the machines of {member} goes on",
                hint="wait until it has ended, or stop it, then run the command again",
            ) from None
        yield


def _is_locked(runs: Path) -> bool:
    with _lock_file(runs).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _clear_up_after_killed_runs(runs: Path) -> None:
    for folder in results.folders(runs):
        if not (folder / results.RESULT_FILE).exists():
            processes.end_run(results.read_record(folder).run_id)
            results.end(folder, results.read(folder))


def _runner_config(
    project: Project, inventory: Path, folder: Path, record: RunRecord, sockets: Path, *, full: bool
) -> RunnerConfig:
    options = [*(["--check"] if record.check else []), *(["--extra-vars desired_state_full=true"] if full else [])]
    config = RunnerConfig(
        private_data_dir=str(folder),
        project_dir=str(project.root),
        playbook=str(project.roles / PLAYBOOK),
        inventory=str(inventory),
        ident="ansible",
        limit=record.limit,
        tags=record.tags,
        cmdline=" ".join(options) or None,
        fact_cache_type="memory",
        quiet=True,
    )
    config.prepare()
    config.command[0] = str(project.venv_bin / "ansible-playbook")
    config.env = {name: config.env[name] for name in RUNNERS_OWN_VARIABLES if name in config.env} | _environment(
        project, record.run_id, sockets
    )
    return config


def _environment(project: Project, run_id: str, sockets: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {
        "PATH": f"{project.venv_bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(project.root / "ansible.cfg"),
        # ansible-runner would switch the check off.
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        # Our own shared connections, so that ending them harms nobody else's.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
        "ANSIBLE_NOCOLOR": "1",
        processes.MARK: run_id,
    }


# --- while it runs ------------------------------------------------------------------------


@dataclass(frozen=True)
class _End:
    """How a run came to its end, and Ansible's exit code if it came to its own."""

    how: Literal["ended", "interrupted", "out of time"]
    exit_code: int | None


def _watch(config: RunnerConfig, run_id: str, tally: Tally, progress: Progress, timeout_s: float | None) -> _End:
    """Run Ansible and follow its events until it ends, is stopped, or is out of time."""
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    stop = threading.Event()

    def enqueue(event: dict[str, Any]) -> bool:
        # Only this: a slow handler stalls Ansible. False: the event is not wanted as a file.
        events.put(event)
        return False

    runner = Runner(config=config, event_handler=enqueue, cancel_callback=stop.is_set)

    def run() -> None:
        try:
            runner.run()
        finally:
            events.put(None)

    thread = threading.Thread(target=run, name="ansible-runner", daemon=True)
    thread.start()
    how: Literal["ended", "interrupted", "out of time"]
    try:
        how = "ended" if _follow(events, tally, progress, timeout_s) else "out of time"
    except KeyboardInterrupt:
        how = "interrupted"
    stop.set()
    processes.end_run(run_id)
    thread.join(timeout=15)
    return _End(how, runner.rc)


def _follow(events: queue.SimpleQueue[Event | None], tally: Tally, progress: Progress, timeout_s: float | None) -> bool:
    """Count events as they come. Returns whether Ansible ended within the time."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while deadline is None or time.monotonic() < deadline:
        patience = HEARTBEAT_S if deadline is None else min(HEARTBEAT_S, max(0.1, deadline - time.monotonic()))
        try:
            event = events.get(timeout=patience)
        except queue.Empty:
            progress.line(tally.waiting())
            continue
        if event is None:
            return True
        tally.add(event)
    return False


@contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    """Pipelines end a job with SIGTERM; it deserves the same orderly end. Only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- after --------------------------------------------------------------------------------


def _result(record: RunRecord, tally: Tally, end: _End, folder: Path) -> RunResult:
    hosts = tally.results()
    problem = ""
    status: results.Status = "finished" if end.exit_code == 0 and tally.complete else "failed"
    if end.how == "interrupted":
        status, problem = "interrupted", "the run was interrupted"
    elif end.how == "out of time":
        status, problem = "failed", f"the run took longer than it may and was stopped; {tally.waiting()}"
    elif status == "failed" and not any(host.problems for host in hosts.values()):
        problem = f"Ansible ended with exit code {end.exit_code}: {_last_words(folder)}"
    return RunResult(
        member=record.member,
        started=record.started,
        ended=_now(),
        status=status,
        check=record.check,
        limit=record.limit,
        tags=record.tags,
        problem=problem,
        hosts=hosts,
    )


def _last_words(folder: Path) -> str:
    """What Ansible said when it could not even begin."""
    try:
        lines = (folder / "artifacts" / "ansible" / "stdout").read_text().splitlines()
    except OSError:
        return "it said nothing"
    errors = [line.strip() for line in lines if line.startswith(("[ERROR]", "ERROR", "Origin:"))]
    return " ".join(errors or [line.strip() for line in lines if line.strip()][-5:]) or "it said nothing"


def _now() -> datetime:
    return datetime.now(UTC)
