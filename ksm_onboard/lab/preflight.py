"""What this machine must have before a lab is started: checked in a moment, everything missing named at once."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab.addresses import loopback_address
from ksm_onboard.lab.cgroups import find_hierarchies
from ksm_onboard.lab.prerequisites import PREREQUISITES, install_line
from ksm_onboard.project import cache_dir

_PATH_OF_ROOT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SSH_PORTS = (22, 2222)
_PROBE = IPv4Address("10.0.255.254")
"""Ends in no zone's range; only used to try ports."""

_SERVICE_PORTS = {53: "DNS", 139: "Samba", 445: "Samba", 631: "CUPS", 5432: "PostgreSQL"}
_MEMORY_MIB = 2048
_MEMORY_PER_HOST_MIB = 150
"""A booted host with its services, without large applications: 80 MiB measured."""
_MEMORY_PER_BARE_HOST_MIB = 50
"""A booted host that nothing was configured on yet: 35 MiB measured, as the average of 60."""
_KEPT_FREE_MIB = 1024
"""For the engine and the simulated data centre while hosts start."""
_DISK_MIB = 3072
"""Engine 200 MiB, base image 400, Go's build cache and modules 2000."""


@dataclass(frozen=True)
class Machine:
    """What the checks found, as far as the lab's start depends on it."""

    ssh_port: int
    warnings: tuple[str, ...]


def check_machine(*, shift: int, hosts: int) -> Machine:
    """Whether a lab with about ``hosts`` hosts can run here. Raises NotReadyError with all reasons why not."""
    problems = [*_rights(), *_programs(), *_kernel(), *_space(hosts)]
    ports = [port for port in _SSH_PORTS if can_bind(shift, port)]
    if not ports:
        problems.append(
            f"ports {' and '.join(map(str, _SSH_PORTS))} are taken on every address by programs of this machine; "
            "the hosts' sshd needs one of them: let the machine's own sshd listen on its own addresses only"
        )
    if problems:
        missing = [item for item in PREREQUISITES if not _present(item.command)]
        hint = f"{install_line(missing)}   (or: make setup)" if missing else None
        raise NotReadyError(
            "this machine cannot run the lab:\n" + "\n".join(f"  - {problem}" for problem in problems), hint=hint
        )
    return Machine(ports[0], tuple(_warnings(shift, ports[0])))


def require_room(hosts: int, *, configured: bool) -> None:
    """That so many more hosts fit into this machine's memory, bare or with their services ``configured``.

    Raises NotReadyError if they don't: without this, the machine would end programs of its choice half-way.
    """
    each = _MEMORY_PER_HOST_MIB if configured else _MEMORY_PER_BARE_HOST_MIB
    needed, available = _KEPT_FREE_MIB + hosts * each, available_memory_mib()
    if hosts and needed > available:
        raise NotReadyError(
            f"{hosts} more hosts of the lab need about {needed} MiB of memory"
            + (" once they are configured" if configured else "")
            + f"; this machine has {available} MiB free",
            hint="every VM that is powered on is a real Debian host here: take a machine with more memory, "
            "or a smaller member",
        )


def can_bind(shift: int, port: int) -> bool:
    """Whether a lab host could serve at ``port``: a program that listens on all addresses prevents it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((str(loopback_address(_PROBE, shift)), port))
        except PermissionError:
            return True  # only root can tell; that we are not is said already
        except OSError:
            return False
        return True


def _rights() -> list[str]:
    if os.geteuid() == 0:
        return []
    return ["it needs root, to run real Debian machines: run it as root, or with sudo"]


def _programs() -> list[str]:
    return [f"{item.command} is missing; it {item.purpose}" for item in PREREQUISITES if not _present(item.command)]


def _present(command: str | None) -> bool:
    path = f"{os.environ.get('PATH', '')}:{_PATH_OF_ROOT}"
    return command is None or shutil.which(command, path=path) is not None


def _kernel() -> list[str]:
    problems = []
    try:
        find_hierarchies()
    except NotReadyError as error:
        problems.append(f"{error}: {error.hint}")
    if not _knows_overlay():
        problems.append("its kernel has no overlayfs, of which the hosts' root file systems are made")
    return problems


def _knows_overlay() -> bool:
    def listed() -> bool:
        return "\toverlay\n" in Path("/proc/filesystems").read_text()

    if not listed() and (modprobe := shutil.which("modprobe", path=_PATH_OF_ROOT)):
        subprocess.run([modprobe, "overlay"], capture_output=True, check=False)
    return listed()


def _space(hosts: int) -> list[str]:
    problems = []
    needed = _MEMORY_MIB + hosts * _MEMORY_PER_HOST_MIB
    available = available_memory_mib()
    if available < needed:
        problems.append(
            f"it has {available} MiB of free memory; {hosts} hosts and the data centre need about {needed} MiB: "
            "start fewer workstations (--workstations)"
        )
    folder = next(folder for folder in (cache_dir(), *cache_dir().parents) if folder.exists())
    free = shutil.disk_usage(folder).free // 2**20
    if free < _DISK_MIB:
        problems.append(f"{folder} has {free} MiB of free space; about {_DISK_MIB} MiB are needed")
    return problems


def available_memory_mib(meminfo: str | None = None) -> int:
    """Memory that programs could still use (proc(5), MemAvailable), in MiB."""
    text = Path("/proc/meminfo").read_text() if meminfo is None else meminfo
    line = next(line for line in text.splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) // 1024


def _warnings(shift: int, ssh_port: int) -> list[str]:
    found = []
    if ssh_port != _SSH_PORTS[0]:
        found.append(f"port {_SSH_PORTS[0]} is taken on this machine: the hosts' sshd uses port {ssh_port}")
    found += [
        f"port {port} is taken on this machine: {service} in the lab's hosts cannot start"
        for port, service in _SERVICE_PORTS.items()
        if not can_bind(shift, port)
    ]
    return found
