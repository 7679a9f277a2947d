"""Running other programs: their output goes to a log and to the progress, their failure is explained."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.progress import Progress, Silent

_LAST_LINES = 15


def run(
    arguments: Sequence[str],
    *,
    progress: Progress | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    worth_showing: Callable[[str], str | None] = lambda line: line,
) -> None:
    """Run a program to its end, reporting the lines that ``worth_showing`` lets through.

    ``environment`` is added to our own. Raises NotReadyError if the program is missing, and
    OnboardError with its last lines if it fails. An interruption ends the program, too.
    """
    said: deque[str] = deque(maxlen=_LAST_LINES)
    reported = progress or Silent()
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
            cwd=folder,
        )
    except FileNotFoundError:
        raise NotReadyError(f"{arguments[0]} is not installed", hint="run: make setup") from None
    with process:
        try:
            assert process.stdout is not None  # noqa: S101 - tells the type checker what PIPE means
            for line in process.stdout:
                said.append(line.rstrip())
                if shown := worth_showing(line.rstrip()):
                    reported.line(shown)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        lines = "\n".join(f"  {line}" for line in said if line)
        raise OnboardError(f"{arguments[0]} failed with exit code {process.returncode}:\n{lines}")


def output(arguments: Sequence[str], *, folder: Path | None = None) -> str:
    """What a program prints. Raises like ``run``."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=folder)
    except FileNotFoundError:
        raise NotReadyError(f"{arguments[0]} is not installed", hint="run: make setup") from None
    if done.returncode:
        raise OnboardError(f"{' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout
