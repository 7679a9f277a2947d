"""Mounting and unmounting, such that an interrupted run can always be cleaned up."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

from ksm_onboard.errors import OnboardError

_BUSY_FOR = 5.0
"""Seconds a file system may stay busy after its last process was killed, until the kernel lets go."""


def mount_tmpfs(target: Path, *, size_mib: int) -> None:
    """Mount an empty memory file system of at most ``size_mib`` MiB. Extended attributes work on it."""
    target.mkdir(parents=True, exist_ok=True)
    _mount(["-t", "tmpfs", "-o", f"size={size_mib}m,mode=0755,nodev", "ksm-onboard", str(target)])


def mount_overlay(target: Path, *, lower: Path, upper: Path, work: Path) -> None:
    """Mount ``lower`` with all changes going to ``upper``."""
    for folder in (lower, upper, work):
        if any(c in str(folder) for c in ",:\\"):
            raise OnboardError(f"overlayfs cannot use {folder}: the path holds a comma, colon or backslash")
    for folder in (target, upper, work):
        folder.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    _mount(["-t", "overlay", "-o", options, "ksm-onboard", str(target)])


def mount_bind(source: Path, target: Path) -> None:
    """Show the folder ``source`` at ``target`` as well."""
    target.mkdir(parents=True, exist_ok=True)
    _mount(["--bind", str(source), str(target)])


def mounted_below(folder: Path) -> list[Path]:
    """Mount points at and below ``folder``, the last mounted first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(_unescape(line.split()[4])) for line in lines]
    return [point for point in reversed(points) if point == folder or folder in point.parents]


def unmount_below(folder: Path) -> None:
    """Unmount everything at and below ``folder``. Raises OnboardError if something stays mounted."""
    deadline = time.monotonic() + _BUSY_FOR
    while points := mounted_below(folder):
        late = time.monotonic() > deadline
        for point in points:
            options = ["--lazy"] if late else []
            done = subprocess.run(["umount", *options, str(point)], capture_output=True, text=True, check=False)
            if done.returncode and late:
                raise OnboardError(f"cannot unmount {point}: {done.stderr.strip()}")
        if mounted_below(folder):
            time.sleep(0.1)


def remove_tree(folder: Path) -> None:
    """Remove ``folder``, but never what is only mounted below it."""
    unmount_below(folder)
    if folder.exists():
        shutil.rmtree(folder)


def _mount(arguments: list[str]) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OnboardError(
            f"mount {' '.join(arguments)} failed: {done.stderr.strip()}",
            hint="the lab needs root, and a kernel with overlayfs and tmpfs",
        )


def _unescape(path: str) -> str:
    """Undo the octal escapes of /proc/self/mountinfo (proc(5)): blank, tab, newline, backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
