"""``ksm-onboard`` in this process, as a pipe sees it: starting Python for every command would take most of the time.

That the command can be started at all is proved by the tests that need a process of its own.
"""

from __future__ import annotations

import io
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from ksm_onboard.cli import main, terminal
from ksm_onboard.connection import CONNECTION_VARIABLE, LAB_VARIABLE


@dataclass(frozen=True)
class Done:
    """What a command left behind. Anything it raised except its exit is the test's own failure."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, cwd: Path) -> Done:
    """Run the command in ``cwd``, without a terminal and with nothing to read."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        for chosen in (CONNECTION_VARIABLE, LAB_VARIABLE, "PULUMI_BACKEND_URL"):
            patch.delenv(chosen, raising=False)
        patch.setattr(sys, "argv", ["ksm-onboard", *arguments])
        patch.setattr(sys, "stdin", io.StringIO())
        patch.setattr(terminal.out, "width", 200)
        try:
            main.main()
        except SystemExit as end:
            assert isinstance(end.code, int)
            return Done(end.code, out.getvalue(), err.getvalue())
        finally:
            signal.signal(signal.SIGTERM, before)
