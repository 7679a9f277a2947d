"""Lab hosts: real Debian machines, each with its own root file system, systemd and sshd.

A host is a container that shares the machine's network, with the base image as its read-only layer
and a memory file system for its changes. It serves at a loopback address of its own. What it needs
on this machine is written to its record before it exists, so that a kill at any point can be cleaned.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from ksm_onboard.atomic import write_atomically
from ksm_onboard.errors import InterruptedRunError, OnboardError
from ksm_onboard.lab.addresses import loopback_address
from ksm_onboard.lab.background import launch, tail
from ksm_onboard.lab.cgroups import Cgroup, find_hierarchies
from ksm_onboard.lab.customisation import Customisation, User
from ksm_onboard.lab.kernel_limits import allow_many_hosts
from ksm_onboard.lab.layout import LabPlaces, check_host_name
from ksm_onboard.lab.mounts import mount_overlay, mount_tmpfs, remove_tree, unmount_below

BOOT_TIMEOUT = 120.0
"""Seconds until a host must let users in. It takes 2 to 6 when eight start at once on two cores."""

SHUTDOWN_TIMEOUT = 10.0
"""Seconds a host gets to stop its services before it is switched off."""

_NSPAWN_LEFT_OVERS = Path("/run/systemd/nspawn/propagate")
_SAFE = "abcdefghijklmnopqrstuvwxyz0123456789-._"


class HostKind(StrEnum):
    """What a host stands for."""

    VM = "vm"
    WORKSTATION = "workstation"
    SHARED = "shared"
    """A server of the data centre's own that is no VM."""


class HostState(StrEnum):
    """``starting``: not yet reachable, or its start was killed. ``stopped``: ended, not yet cleaned up."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Disk:
    """A virtual disk of a VM; ``path`` is the datastore path of its VMDK."""

    unit_number: int
    path: str


@dataclass(frozen=True)
class HostSpec:
    """What to start."""

    name: str
    kind: HostKind
    uuid: str
    customisation: Customisation
    disks: tuple[Disk, ...] = ()

    def fingerprint(self) -> str:
        """Changes when anything about the host does."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class HostSettings:
    """What all hosts of a lab have in common; a file of the lab's state folder."""

    lab: str
    base_image: Path
    loopback_shift: int
    ssh_port: int
    apt_proxy: str | None = None
    root_size_mib: int = 6144

    def write(self, file: Path) -> None:
        write_atomically(file, json.dumps({**asdict(self), "base_image": str(self.base_image)}, indent=2) + "\n")

    @classmethod
    def read(cls, file: Path) -> HostSettings:
        data = json.loads(file.read_text())
        return cls(**{**data, "base_image": Path(data["base_image"])})


@dataclass(frozen=True)
class HostRecord:
    """What is known of a host, kept in ``/run/ksm-onboard/<lab>/hosts/<host>.json``."""

    name: str
    kind: HostKind
    uuid: str
    address: str
    """As declared."""
    reachable_at: str
    port: int
    host_key: str
    state: HostState
    fingerprint: str
    since: str
    """When it was started, ISO 8601, UTC."""
    system_disk: str = ""
    """Equal for two starts that share a system disk."""


class HostError(OnboardError):
    """A host could not be started or stopped."""


def start_host(
    spec: HostSpec,
    settings: HostSettings,
    *,
    cancelled: threading.Event | None = None,
) -> HostRecord:
    """Start a host and wait until users can log in.

    A host of that name that runs is removed first. A VM that was switched off has kept its system disk and goes on
    with it; one whose customisation changed meanwhile begins anew (cloud-init would want a new instance id for that).
    Raises HostError if it does not come up; nothing is left of it then.
    """
    places = LabPlaces(settings.lab)
    allow_many_hosts()
    with _host_lock(places, check_host_name(spec.name)):
        kept = _kept_system_disk(places, spec, settings)
        if kept is None:
            _remove_host(places, spec.name)
        _refuse_taken_address(places, spec)
        record = _new_record(spec, settings)
        _write_record(places, record)
        try:
            root = _mount_root(places, spec.name, settings, new=kept is None)
            record = replace(record, host_key=kept or _give_identity(root, spec, record, settings))
            _write_record(places, record)
            binds = _disk_binds(places, spec)
            _boot(places, record, binds, cancelled or threading.Event())
        except BaseException:
            _remove_host(places, spec.name)
            raise
        record = replace(record, state=HostState.RUNNING)
        _write_record(places, record)
        return record


def stop_host(lab: str, name: str, *, uuid: str | None = None) -> bool:
    """Shut a host down. False if there was none. A VM's disks stay, also the one with its system.

    With ``uuid`` only the host of that very VM: its name may meanwhile be another's, whose host is left alone.
    """
    places = LabPlaces(lab)
    if not _record_file(places, check_host_name(name)).exists():
        return False
    with _host_lock(places, name):
        if not _runs_for(places, name, uuid):
            return False
        _shut_down(places, name)
        _switch_off(places, name)
    return True


def kill_host(lab: str, name: str, *, uuid: str | None = None) -> bool:
    """End a host as a loss of power does: no service is stopped, nothing is saved. False if there was none.

    Its disks stay as they are at that moment. ``uuid`` as in stop_host.
    """
    places = LabPlaces(lab)
    if not _record_file(places, check_host_name(name)).exists():
        return False
    with _host_lock(places, name):
        if not _runs_for(places, name, uuid):
            return False
        _switch_off(places, name)
    return True


def discard_host(lab: str, name: str, *, uuid: str | None = None) -> bool:
    """Remove a host with its system disk, running or not; its data disks stay. False if there was none.

    ``uuid`` as in stop_host.
    """
    places = LabPlaces(lab)
    if not _record_file(places, check_host_name(name)).exists() and not _folder(places, name).exists():
        return False
    with _host_lock(places, name):
        if _record_file(places, name).exists() and not _runs_for(places, name, uuid):
            return False
        _remove_host(places, name)
    return True


def list_hosts(lab: str) -> list[HostRecord]:
    """All hosts of a lab in the order of their names, with the state they are really in."""
    places = LabPlaces(lab)
    found = []
    for file in sorted(places.hosts.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):  # being written or removed at this moment
            record = _read_record(file)
            if record.state is HostState.RUNNING and not _cgroup(places, record.name).populated():
                record = replace(record, state=HostState.STOPPED)
            found.append(record)
    return found


def remove_all_hosts(lab: str) -> list[str]:
    """Remove whatever hosts of a lab there are, whole or half; their disks as well. Returns their names."""
    places = LabPlaces(lab)
    names = sorted(
        {file.stem for file in places.hosts.glob("*.json")}
        | {folder.name for folder in places.hosts.glob("*") if folder.is_dir()}
    )
    for name in names:
        _ask_to_shut_down(places, name)
    deadline = time.monotonic() + SHUTDOWN_TIMEOUT
    for name in names:
        _wait_until_ended(places, name, deadline)
        _remove_host(places, name)
    remove_tree(places.hosts)
    remove_tree(places.disks)
    return names


# --- Records ---------------------------------------------------------------------------------


def _record_file(places: LabPlaces, name: str) -> Path:
    return places.hosts / f"{name}.json"


def _read_record(file: Path) -> HostRecord:
    data: dict[str, Any] = json.loads(file.read_text())
    return HostRecord(**{**data, "kind": HostKind(data["kind"]), "state": HostState(data["state"])})


def _runs_for(places: LabPlaces, name: str, uuid: str | None) -> bool:
    """Whether there is a host of this name; with ``uuid``, one of that VM. To be called with the host's lock."""
    file = _record_file(places, name)
    return file.exists() and uuid in (None, _read_record(file).uuid)


def _write_record(places: LabPlaces, record: HostRecord) -> None:
    write_atomically(_record_file(places, record.name), json.dumps(asdict(record), indent=2) + "\n")


def _new_record(spec: HostSpec, settings: HostSettings) -> HostRecord:
    declared = spec.customisation.address
    return HostRecord(
        name=spec.name,
        kind=spec.kind,
        uuid=spec.uuid,
        address=str(declared),
        reachable_at=str(loopback_address(declared, settings.loopback_shift)),
        port=settings.ssh_port,
        host_key="",
        state=HostState.STARTING,
        fingerprint=spec.fingerprint(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        system_disk=_belongs_to(spec, settings),
    )


def _refuse_taken_address(places: LabPlaces, spec: HostSpec) -> None:
    for other in list_hosts(places.name):
        if other.address == str(spec.customisation.address) and other.state is not HostState.STOPPED:
            raise HostError(
                f"{spec.name} cannot start: {other.name} already has the address {other.address}",
                hint="two machines with one address: correct the declaration, or switch the other one off",
            )


@contextmanager
def _host_lock(places: LabPlaces, name: str) -> Iterator[None]:
    """One start or stop of a host at a time."""
    places.hosts.mkdir(parents=True, exist_ok=True)
    places.run.chmod(0o700)  # holds the hosts' private keys
    with (places.hosts / f".{name}.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# --- Root file system and identity ------------------------------------------------------------


def _folder(places: LabPlaces, name: str) -> Path:
    return places.hosts / name


def _mount_root(places: LabPlaces, name: str, settings: HostSettings, *, new: bool) -> Path:
    """Mount the host's system: the base image, and over it what the host itself has written (its ``layer``)."""
    if not settings.base_image.is_dir():
        raise HostError(f"the base image {settings.base_image} is gone", hint="run: ksm-onboard lab up")
    folder = _folder(places, name)
    layer, root = folder / "layer", folder / "root"
    _kept_file(places, name).unlink(missing_ok=True)
    if new:
        mount_tmpfs(layer, size_mib=settings.root_size_mib)
    mount_overlay(root, lower=settings.base_image, upper=layer / "upper", work=layer / "work")
    return root


def _kept_system_disk(places: LabPlaces, spec: HostSpec, settings: HostSettings) -> str | None:
    """The ssh host key on the system disk that a VM has kept from before; None if it has to begin anew."""
    with suppress(OSError, ValueError):
        kept = json.loads(_kept_file(places, spec.name).read_text())
        if kept["belongs_to"] == _belongs_to(spec, settings):
            return str(kept["host_key"])
    return None


def _kept_file(places: LabPlaces, name: str) -> Path:
    """Says whose system disk lies in the folder of a host that is switched off."""
    return _folder(places, name) / "kept.json"


def _belongs_to(spec: HostSpec, settings: HostSettings) -> str:
    """Equal for starts that go on with the same system disk; data disks may come and go."""
    same = {**asdict(spec), "disks": (), "settings": asdict(settings)}
    return hashlib.sha256(json.dumps(same, sort_keys=True, default=str).encode()).hexdigest()


def _give_identity(root: Path, spec: HostSpec, record: HostRecord, settings: HostSettings) -> str:
    """Everything in which this host differs from the others. Returns its public ssh host key."""
    custom = spec.customisation
    _write(root / "etc/machine-id", spec.uuid.replace("-", "").lower() + "\n", 0o444)
    _write(root / "etc/hostname", f"{custom.hostname}\n")
    names = " ".join(dict.fromkeys((custom.fqdn, custom.hostname)))
    _write(root / "etc/hosts", f"127.0.0.1 localhost\n{record.reachable_at} {names}\n")
    with suppress(FileNotFoundError):
        _write(root / "etc/resolv.conf", Path("/etc/resolv.conf").read_text())
    proxy = settings.apt_proxy
    if proxy:
        _write(root / "etc/apt/apt.conf.d/30lab", f'Acquire::http::Proxy "{proxy}";\n')
    for user in custom.users:
        _add_user(root, user)
    return _configure_sshd(root, custom, record)


def _configure_sshd(root: Path, custom: Customisation, record: HostRecord) -> str:
    key = root / "etc/ssh/ssh_host_ed25519_key"
    _call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", custom.hostname, "-f", str(key)])
    ours = (f"ListenAddress {record.reachable_at}", f"Port {record.port}", f"HostKey /{key.relative_to(root)}")
    # Of several values sshd takes the first it reads: roles may overrule the second file, not the first.
    asked = (
        f"PasswordAuthentication {'yes' if custom.password_login else 'no'}",
        f"PermitRootLogin {'prohibit-password' if custom.root_login else 'no'}",
    )
    for name, lines in (("00-lab.conf", ours), ("50-cloud-init.conf", asked)):
        _write(root / "etc/ssh/sshd_config.d" / name, "".join(f"{line}\n" for line in lines))
    kind, blob, *_ = key.with_suffix(".pub").read_text().split()
    return f"{kind} {blob}"


def _add_user(root: Path, user: User) -> None:
    _call(["chroot", str(root), "useradd", "--create-home", "--shell", user.shell, user.name])
    entry = next(
        line.split(":") for line in (root / "etc/passwd").read_text().splitlines() if line.split(":")[0] == user.name
    )
    uid, gid, home = int(entry[2]), int(entry[3]), root / entry[5].lstrip("/")
    ssh = home / ".ssh"
    ssh.mkdir(mode=0o700)
    _write(ssh / "authorized_keys", "".join(f"{key}\n" for key in user.authorized_keys), 0o600)
    for path in (ssh, ssh / "authorized_keys"):
        os.chown(path, uid, gid)
    if user.sudo:
        rules = "".join(f"{user.name} {rule}\n" for rule in user.sudo)
        _write(root / f"etc/sudoers.d/90-{user.name}", rules, 0o440)


def _disk_binds(places: LabPlaces, spec: HostSpec) -> list[str]:
    """Options that mount each data disk where the customisation wants it."""
    disks = {disk.unit_number: disk for disk in spec.disks}
    options = []
    for mount in spec.customisation.mounts:
        if mount.unit_number not in disks:
            raise HostError(
                f"{spec.name} shall mount disk {mount.unit_number} at {mount.path}, but the VM has no such disk",
                hint="its customisation and its disks disagree",
            )
        content = places.disks / _disk_folder(disks[mount.unit_number].path)
        content.mkdir(parents=True, exist_ok=True)
        options.append(f"--bind={content}:{mount.path}")
    return options


def _disk_folder(path: str) -> str:
    """A folder name for a datastore path such as ``[sn-mirror01] grabow/data.vmdk``: readable, and unique."""
    readable = "".join(c if c in _SAFE else "-" for c in path.lower()).strip("-.")[-80:]
    return f"{readable}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


# --- Booting and ending ------------------------------------------------------------------------


def _cgroup(places: LabPlaces, name: str) -> Cgroup:
    return Cgroup(f"{places.cgroup}/hosts/{name}", find_hierarchies())


def _boot(places: LabPlaces, record: HostRecord, binds: list[str], cancelled: threading.Event) -> None:
    folder = _folder(places, record.name)
    group = _cgroup(places, record.name)
    log = folder / "console.log"
    deadline = time.monotonic() + BOOT_TIMEOUT
    with _ready_socket(folder / "ready") as (ready, address):
        nspawn = _nspawn(places, record, folder / "root", binds)
        process = launch(nspawn, group, log, {"NOTIFY_SOCKET": str(address)})
        while not _says_ready(ready):
            _still_booting(record, process, log, deadline, cancelled)
    while (seen := _answering_host_key(record)) != record.host_key:
        if seen:
            raise HostError(f"{record.reachable_at}:{record.port} answers with another host key than {record.name}'s")
        _still_booting(record, process, log, deadline, cancelled)
        time.sleep(0.1)


def _machine_name(places: LabPlaces, name: str) -> str:
    """Unique on this machine, and short enough for systemd-nspawn whatever the host is called."""
    return f"ksm-{hashlib.sha256(f'{places.name}/{name}'.encode()).hexdigest()[:12]}"


def _nspawn(places: LabPlaces, record: HostRecord, root: Path, binds: list[str]) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", "--boot", "--notify-ready=yes", "--console=passive"),
        # There may be no systemd on this machine that could register it; its cgroup is ours.
        *("--register=no", "--keep-unit"),
        f"--directory={root}",
        f"--machine={_machine_name(places, record.name)}",
        f"--hostname={record.name}",
        f"--uuid={record.uuid}",
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        *binds,
    ]


@contextmanager
def _ready_socket(path: Path) -> Iterator[tuple[socket.socket, Path]]:
    """A socket on which the host's systemd says that it has booted (sd_notify(3))."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(0.2)
        yield listener, path
    path.unlink(missing_ok=True)


def _says_ready(listener: socket.socket) -> bool:
    try:
        return b"READY=1" in listener.recv(8192).splitlines()
    except TimeoutError:
        return False


def _still_booting(
    record: HostRecord, process: subprocess.Popen[bytes], log: Path, deadline: float, cancelled: threading.Event
) -> None:
    """Raises when there is nothing to wait for any more."""
    if cancelled.is_set():
        raise InterruptedRunError(f"the start of {record.name} was interrupted")
    if process.poll() is not None:
        raise HostError(f"{record.name} ended while booting (exit code {process.returncode}):\n{tail(log)}")
    if time.monotonic() > deadline:
        raise HostError(f"{record.name} does not let users in after {BOOT_TIMEOUT:.0f} s:\n{tail(log)}")


def _answering_host_key(record: HostRecord) -> str:
    """The ed25519 key that the host's ssh port shows; empty if it does not answer."""
    done = subprocess.run(
        ["ssh-keyscan", "-t", "ed25519", "-T", "5", "-p", str(record.port), record.reachable_at],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        if not line.startswith("#"):
            return " ".join(line.split()[1:3])
    return ""


def _shut_down(places: LabPlaces, name: str) -> None:
    """Let the host stop its services, but not for ever."""
    _ask_to_shut_down(places, name)
    _wait_until_ended(places, name, time.monotonic() + SHUTDOWN_TIMEOUT)


def _ask_to_shut_down(places: LabPlaces, name: str) -> None:
    """systemd-nspawn passes SIGTERM on as an orderly shutdown. It lives in the group that it made for itself."""
    supervisor = Cgroup(f"{places.cgroup}/hosts/{name}/supervisor", find_hierarchies())
    for pid in supervisor.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _wait_until_ended(places: LabPlaces, name: str, deadline: float) -> None:
    group = _cgroup(places, name)
    supervisor = Cgroup(f"{group.path}/supervisor", group.hierarchies)
    while supervisor.populated() and time.monotonic() < deadline:
        time.sleep(0.05)


def _end(places: LabPlaces, name: str) -> None:
    """End every process of a host."""
    group = _cgroup(places, name)
    group.kill()
    group.remove()


def _switch_off(places: LabPlaces, name: str) -> None:
    """End a host; a VM that had come up keeps its system disk. Everything else that there is of it is removed."""
    record = _read_record(_record_file(places, name))
    if record.kind is not HostKind.VM or record.state is not HostState.RUNNING:
        _remove_host(places, name)
        return
    _end(places, name)
    unmount_below(_folder(places, name) / "root")
    kept = {"belongs_to": record.system_disk, "host_key": record.host_key}
    write_atomically(_kept_file(places, name), json.dumps(kept) + "\n")
    remove_tree(_NSPAWN_LEFT_OVERS / _machine_name(places, name))
    _record_file(places, name).unlink(missing_ok=True)


def _remove_host(places: LabPlaces, name: str) -> None:
    """Remove all there is of a host, however far its start had come; the record last."""
    _end(places, name)
    unmount_below(_folder(places, name))
    for folder in (_folder(places, name), _NSPAWN_LEFT_OVERS / _machine_name(places, name)):
        if folder.exists():
            shutil.rmtree(folder)
    _record_file(places, name).unlink(missing_ok=True)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of the host's own; the base image's file of that name is replaced, not followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _call(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(f"{' '.join(arguments[:4])} failed: {done.stderr.strip()}")
