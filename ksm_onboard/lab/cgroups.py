"""Control groups: how the lab knows, and ends, exactly the processes of a host.

A container outlives systemd-nspawn when that is killed, and a process id can be given to another
program. The members of a cgroup of our own are ours, whatever happened. Each host needs its own in
any case: without one, all containers' systemds would share one tree and wait for each other's services.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ksm_onboard.errors import NotReadyError, OnboardError

_ENDS_WITHIN = 10.0
"""Seconds until processes that were killed must be gone."""


@dataclass(frozen=True)
class Hierarchies:
    """Mount points of cgroup v2, and of systemd's own v1 tree where a machine has that too."""

    unified: Path
    legacy_systemd: Path | None = None


def find_hierarchies(mountinfo: str | None = None) -> Hierarchies:
    """Where this machine has its cgroups. Raises NotReadyError without cgroup v2."""
    unified: Path | None = None
    legacy: Path | None = None
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        point, kind = Path(fields.split()[4]), rest.split()[0]
        if kind == "cgroup2":
            unified = unified or point
        elif kind == "cgroup" and "name=systemd" in rest.split()[-1].split(","):
            legacy = legacy or point
    if unified is None:
        raise NotReadyError(
            "this machine has no cgroup v2 mounted",
            hint="boot with systemd.unified_cgroup_hierarchy=1 (Debian's default), or: mount -t cgroup2 none <folder>",
        )
    return Hierarchies(unified, legacy)


@dataclass(frozen=True)
class Cgroup:
    """The cgroup ``path`` (relative), in every hierarchy that systemd looks at."""

    path: str
    hierarchies: Hierarchies

    @property
    def folders(self) -> tuple[Path, ...]:
        """Its folders; a process belongs to it by being written into each one's ``cgroup.procs``."""
        legacy = self.hierarchies.legacy_systemd
        return (self.hierarchies.unified / self.path, *((legacy / self.path,) if legacy else ()))

    def create(self) -> None:
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)

    def populated(self) -> bool:
        """Whether a process lives in it or below it; zombies don't count."""
        try:
            events = (self.folders[0] / "cgroup.events").read_text()
        except FileNotFoundError:
            return False
        return "populated 1" in events

    def processes(self) -> list[int]:
        """Ids of the processes in it and below it."""
        found: list[int] = []
        for procs in self.folders[0].rglob("cgroup.procs"):
            with contextlib.suppress(OSError):  # the group went away between listing and reading
                found += [int(pid) for pid in procs.read_text().split()]
        return [pid for pid in found if pid > 0]

    def kill(self) -> None:
        """End every process in it and below it at once. Raises OnboardError if some don't end."""
        deadline = time.monotonic() + _ENDS_WITHIN
        while self.populated():
            self._kill_once()
            if time.monotonic() > deadline:
                raise OnboardError(f"processes {self.processes()} cannot be killed", hint="see: dmesg")
            time.sleep(0.02)

    def remove(self) -> None:
        """Remove it and every group below it; all must be empty."""
        for folder in self.folders:
            for below in sorted(folder.rglob("*/"), key=lambda path: len(path.parts), reverse=True):
                _remove_group(below)
            _remove_group(folder)

    def _kill_once(self) -> None:
        try:
            (self.folders[0] / "cgroup.kill").write_text("1")  # atomic, since Linux 5.14
        except OSError:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _remove_group(folder: Path) -> None:
    """Zombies keep a v1 group busy until their parent reads their status, so try for a moment."""
    for _ in range(20):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
