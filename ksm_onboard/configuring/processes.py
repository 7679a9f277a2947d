"""Finding and ending every process that belongs to a run.

Ansible's workers start sessions of their own and ssh's shared connections become nobody's
children, so neither a process group nor the tree of parents leads to all of them. What they
inherit is the environment: a run puts its own mark there. Only ssh's shared connections write
their title over it; but the title names their socket, and that lies in a folder of the run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil

MARK: Final = "KSM_CONFIGURE_RUN"
"""Variable in the environment of everything that a run starts; its value is the run's id."""


def of_run(run_id: str) -> list[psutil.Process]:
    """All living processes that carry the mark of this run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _belongs(process, run_id):
                found.append(process)
        except psutil.Error:
            continue
    return found


def sockets_prefix(run_id: str) -> str:
    """How the name of the folder begins that holds the sockets of the run's shared ssh connections."""
    return f"ksm-{run_id}-"


def _belongs(process: psutil.Process, run_id: str) -> bool:
    if process.environ().get(MARK) == run_id:
        return True
    title = " ".join(process.cmdline())
    return title.startswith("ssh: ") and sockets_prefix(run_id) in title


def end_run(run_id: str, patience_s: float = 10) -> bool:
    """Kill every process of the run, also those that are started meanwhile, and remove its sockets.

    Returns whether none is left. They are killed outright: whatever a worker waits for happens on another machine, and
    cannot be ended from here.
    """
    deadline = time.monotonic() + patience_s
    while living := of_run(run_id):
        for process in living:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(living, timeout=1)
        if time.monotonic() > deadline:
            return not of_run(run_id)
    for sockets in Path(tempfile.gettempdir()).glob(sockets_prefix(run_id) + "*"):
        shutil.rmtree(sockets, ignore_errors=True)
    return True
