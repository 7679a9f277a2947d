"""Network namespaces without names: they live as long as somebody holds them, so nothing can be left behind.

Sockets stay in the namespace that they were made in, so one thread can talk for many hosts. Needs
root and Linux. Only the calling thread changes its namespace, and only inside ``inside``.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ksm_onboard.errors import NotReadyError, OnboardError

_CLONE_NEWNET: Final = 0x40000000  # sched.h
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace of its own, with a loopback card that is up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._handle = _fresh()
        self.configure(["link set lo up"])

    @property
    def path(self) -> str:
        """Where ``ip link … netns`` finds it."""
        return f"/proc/{os.getpid()}/fd/{self._handle}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and the programs that it starts, are in the namespace meanwhile."""
        before = os.open(_own(), os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._handle)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def configure(self, lines: Iterable[str]) -> None:
        """Carry out commands of ip(8) in the namespace. Raises OnboardError with what ip said."""
        self.run(["ip", "-batch", "-"], "\n".join(lines) + "\n")

    def run(self, arguments: list[str], given: str = "") -> str:
        """What a program prints that runs in the namespace. Raises OnboardError if it fails."""
        try:
            with self.inside():
                done = subprocess.run(arguments, input=given, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise NotReadyError(f"{arguments[0]} is not installed", hint="run: make setup") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise OnboardError(f"{' '.join(arguments)} failed in the namespace {self.name}:\n{said}")
        return done.stdout

    def set(self, name: str, value: int) -> None:
        """Set a kernel setting of the network; the names are sysctl's."""
        with self.inside():
            Path("/proc/sys", *name.split(".")).write_text(f"{value}\n")

    def close(self) -> None:
        """Let go of it; it ends with the last socket in it."""
        os.close(self._handle)


def require_root() -> None:
    """Raises NotReadyError where namespaces cannot be made."""
    if os.geteuid() != 0:
        raise NotReadyError("network namespaces need root", hint="run the command as root, or with sudo")


def _own() -> str:
    return f"/proc/self/task/{threading.get_native_id()}/ns/net"


def _fresh() -> int:
    before = os.open(_own(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            _fail("a network namespace cannot be made")
        try:
            return os.open(_own(), os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _enter(before)
    finally:
        os.close(before)


def _enter(handle: int) -> None:
    if _libc.setns(handle, _CLONE_NEWNET) != 0:
        _fail("a network namespace cannot be entered")


def _fail(what: str) -> None:
    raise NotReadyError(f"{what}: {os.strerror(ctypes.get_errno())}", hint="it needs root and a kernel that has them")
