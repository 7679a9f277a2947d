"""Programs that run in the background until they are ended, each in a cgroup of its own.

The cgroup is the record: it tells after any crash whether the program runs, and ends it with all it started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ksm_onboard.errors import OnboardError
from ksm_onboard.lab.cgroups import Cgroup

IN_GROUP = Path(__file__).with_name("in_group.sh")


def launch(
    arguments: Sequence[str], group: Cgroup, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a session and cgroup of its own; what it says is appended to ``log``.

    It gets only PATH and HOME of our environment, and ``environment``.
    """
    group.create()
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with log.open("ab") as out:
        return subprocess.Popen(
            [str(IN_GROUP), *map(str, group.folders), "--", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**kept, **(environment or {})},
            cwd="/",
        )


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, *, what: str, seconds: float
) -> None:
    """Wait until the program is ready. Raises OnboardError with its last words if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise OnboardError(f"{what} ended at once (exit code {process.returncode}):\n{tail(log)}")
        if time.monotonic() > deadline:
            raise OnboardError(f"{what} is not ready after {seconds:.0f} s:\n{tail(log)}")
        time.sleep(0.05)


def end(group: Cgroup, *, patience: float) -> None:
    """Ask everything in the group to end, wait up to ``patience`` seconds, then kill what is left of it."""
    for pid in group.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while group.populated() and time.monotonic() < deadline:
        time.sleep(0.05)
    group.kill()
    group.remove()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented, for an error message."""
    said = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
    return "\n".join(f"  {line}" for line in said) or "  (it said nothing)"
