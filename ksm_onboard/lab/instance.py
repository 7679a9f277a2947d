"""A lab: its data centre and its hosts, up and down, and what can be told about it.

One process serves the vCenter; each host is a container. Whether they run is read from their cgroups,
never from files, so that a lab that was killed is seen as what it is, and the next ``up`` clears it away.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict

from ksm_onboard.atomic import write_atomically
from ksm_onboard.errors import InterruptedRunError, NotReadyError, OnboardError
from ksm_onboard.lab import background
from ksm_onboard.lab.array import ensure_array
from ksm_onboard.lab.base_image import ensure_base_image
from ksm_onboard.lab.cache import key_of, locked
from ksm_onboard.lab.certificates import ensure_certificates, ensure_password, ensure_ssh_key
from ksm_onboard.lab.cgroups import Cgroup, find_hierarchies
from ksm_onboard.lab.customisation import customise_without_metadata
from ksm_onboard.lab.engine import ensure_vcenter
from ksm_onboard.lab.guest_driver import write_guest_driver
from ksm_onboard.lab.hosts import (
    Disk,
    HostKind,
    HostRecord,
    HostSettings,
    HostSpec,
    HostState,
    list_hosts,
    remove_all_hosts,
    start_host,
    stop_host,
)
from ksm_onboard.lab.layout import RUN_ROOT, LabPlaces
from ksm_onboard.lab.losses import control_socket
from ksm_onboard.lab.mounts import remove_tree
from ksm_onboard.lab.packages import acquire_apt_proxy, release_apt_proxy
from ksm_onboard.lab.ports import free_port
from ksm_onboard.lab.preflight import check_machine
from ksm_onboard.lab.windows import machine as windows
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

VCENTER_USER = "svc-ksm-onboard@vsphere.local"
GUEST_USER = "ops"

_PREFERRED_PORT = 8989
_VCENTER_STARTS_WITHIN = 30.0
_VCENTER_ENDS_WITHIN = 30.0
"""Seconds; it shuts its guests down first."""
_MACHINES = uuid.UUID("5b1f0d0e-6c1c-5e0f-9a51-6d0c8f7a4b11")
"""Name space of the machine ids of what is no VM, so that each keeps its own."""


class LabState(StrEnum):
    """``broken``: its vCenter is gone, but something of it is left."""

    UP = "up"
    DOWN = "down"
    BROKEN = "broken"


class HostStatus(BaseModel):
    """One host, as ``lab status`` tells it."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: HostKind
    state: HostState
    address: str
    """As declared."""
    reachable_at: str
    port: int
    host_key: str
    since: str


class LabStatus(BaseModel):
    """What ``lab status --json`` prints."""

    model_config = ConfigDict(frozen=True)

    name: str
    state: LabState
    simulated: bool = True
    owner: Path | None = None
    """The checkout that started it."""
    since: str | None = None
    endpoint: str | None = None
    """host:port of the vCenter."""
    user: str | None = None
    credentials_file: Path | None = None
    connection_file: Path | None = None
    ca_file: Path | None = None
    apt_proxy: str | None = None
    log: Path | None = None
    hosts: tuple[HostStatus, ...] = ()


@dataclass(frozen=True)
class MachineSpec:
    """A machine to start that is no VM: its name, its declared address, its cloud-init user data.

    ``disks`` are the unit numbers of its data disks.
    """

    hostname: str
    address: IPv4Address
    userdata: str
    kind: HostKind = HostKind.WORKSTATION
    disks: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Record:
    """What is kept about a lab in ``/run/ksm-onboard/<name>/lab.json``."""

    owner: str
    endpoint: str
    shift: int
    ssh_port: int
    apt_proxy: str | None
    inventory_key: str
    since: str


# --- Up ----------------------------------------------------------------------------------------


def up(
    project: Project,
    name: str,
    inventory: Mapping[str, Any],
    *,
    shift: int,
    progress: Progress,
    expected_hosts: int = 16,
) -> LabStatus:
    """Start the lab, unless it is up already.

    ``inventory`` describes the data centre; ``shift`` moves the hosts' loopback addresses (see ``addresses``).
    Raises NotReadyError if this machine lacks something or another checkout's lab has the name,
    OnboardError if something fails to start; nothing is left running then.
    """
    places = LabPlaces(name)
    with _lab_lock(places, progress):
        running = _read(places) if _vcenter_group(places).populated() else None
        if running:
            _refuse_other_owner(places, running, project)
        if running and _is_usable(running, project, name):
            _tell_about_present_lab(project, name, running, inventory, progress)
            return status(name)
        progress.step("check this machine")
        machine = check_machine(shift=shift, hosts=expected_hosts)
        for warning in machine.warnings:
            progress.line(f"note: {warning}")
        program = ensure_vcenter(project, progress)
        image = ensure_base_image(progress)
        _clear(places, progress)
        try:
            settings = HostSettings(name, image, shift, machine.ssh_port, acquire_apt_proxy(name, progress))
            _start(project, inventory, settings, program, progress)
        except BaseException:
            _clear(places, progress)
            raise
        return status(name)


def _is_usable(running: _Record, project: Project, name: str) -> bool:
    """A lab whose checkout or secrets were deleted can only be started anew."""
    state = project.state / name
    return running.owner == str(project.root) and all(
        (state / file).exists() for file in ("vcenter-password", "guest-driver.json", "ssh/ops_ed25519", "tls/ca.pem")
    )


def _tell_about_present_lab(
    project: Project, name: str, running: _Record, inventory: Mapping[str, Any], progress: Progress
) -> None:
    progress.line(f"the lab {name} is already up (since {running.since})")
    if running.inventory_key != _inventory_key(inventory):
        progress.line(
            "its data centre is not what the platform's declaration says now; to rebuild it: "
            "ksm-onboard lab down, then lab up"
        )
    proxy = acquire_apt_proxy(name, progress)  # it may have been ended; starting it again harms nothing
    if proxy != running.apt_proxy:
        progress.line(f"note: the package cache moved to {proxy}; hosts that run already don't know")
    _write_connection(project, name, replace(running, apt_proxy=proxy))


def _start(
    project: Project, inventory: Mapping[str, Any], settings: HostSettings, program: Path, progress: Progress
) -> None:
    places = LabPlaces(settings.lab)
    state = project.state / places.name
    _set_stale_backend_aside(state, progress)
    progress.step(f"start the lab's vCenter (simulated), {_describe(inventory)}")
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    ensure_certificates(state / "tls", places.name)
    ensure_password(state / "vcenter-password")
    ensure_ssh_key(state / "ssh" / "ops_ed25519", f"{GUEST_USER}@{places.name}")
    driver = write_guest_driver(state / "guest-driver", settings)
    write_atomically(state / "inventory.json", json.dumps(inventory, indent=2) + "\n")
    places.run.mkdir(mode=0o700, exist_ok=True)
    record = _Record(
        owner=str(project.root),
        endpoint=f"127.0.0.1:{free_port(_PREFERRED_PORT)}",
        shift=settings.loopback_shift,
        ssh_port=settings.ssh_port,
        apt_proxy=settings.apt_proxy,
        inventory_key=_inventory_key(inventory),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_atomically(_record_file(places), json.dumps(asdict(record), indent=2) + "\n")
    ensure_array(project, places.name)
    _start_vcenter(places, state, program, driver, record.endpoint)
    _write_connection(project, places.name, record)
    progress.line(f"vCenter serves at https://{record.endpoint}/sdk")


def _start_vcenter(places: LabPlaces, state: Path, program: Path, driver: Path, endpoint: str) -> None:
    ready, log = places.run / "vcenter-ready.json", state / "vcenter.log"
    ready.unlink(missing_ok=True)
    process = background.launch(
        [
            str(program),
            *("--inventory", str(state / "inventory.json"), "--listen", endpoint),
            *("--tls-cert", str(state / "tls" / "server.pem"), "--tls-key", str(state / "tls" / "server.key")),
            *("--user", VCENTER_USER, "--password-file", str(state / "vcenter-password")),
            *("--guest-driver", str(driver), "--ready-file", str(ready)),
            *("--array", str(state / "array.json"), "--control", str(control_socket(places.name))),
        ],
        _vcenter_group(places),
        log,
        # The simulator keeps its datastores in temporary folders; here they are cleared away even if it is killed.
        {"TMPDIR": str(places.run)},
    )
    background.wait_until(ready.exists, process, log, what="the lab's vCenter", seconds=_VCENTER_STARTS_WITHIN)


def _set_stale_backend_aside(state: Path, progress: Progress) -> None:
    """A new data centre knows nothing of what Pulumi once made in the old one."""
    backend = state / "pulumi"
    if not any(backend.rglob("*.json")):
        return
    kept = state / "history" / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    kept.mkdir(parents=True, exist_ok=True)
    backend.rename(kept / "pulumi")
    progress.line(f"the data centre is a new one: moved the Pulumi state of the previous one to {kept / 'pulumi'}")


def _write_connection(project: Project, name: str, record: _Record) -> None:
    connection = {
        "name": name,
        "simulated": True,
        "vcenter": {
            "server": record.endpoint,
            "user": VCENTER_USER,
            "password_file": "vcenter-password",
            "ca_file": "tls/ca.pem",
        },
        "guests": {
            "user": GUEST_USER,
            "private_key_file": "ssh/ops_ed25519",
            "port": record.ssh_port,
            "loopback_shift": record.shift,
        },
        "trust": {
            "root_ca_file": "tls/ca.pem",
            "issuing": {"certificate_file": "tls/issuing.pem", "key_file": "tls/issuing.key"},
        },
        "packages": {"apt_proxy": record.apt_proxy},
        # Nobody is logged in to: Windows workstations are simulated.
        "windows": {"user": GUEST_USER},
    }
    text = "# Written by `ksm-onboard lab up`, removed by `ksm-onboard lab down`.\n"
    write_atomically(_connection_file(project, name), text + yaml.safe_dump(connection, sort_keys=False))


# --- Down --------------------------------------------------------------------------------------


def down(project: Project, name: str, progress: Progress) -> bool:
    """Stop the lab and remove everything it runs on this machine. False if there was nothing.

    Keys, certificates, logs and the Pulumi state stay in ``.state/<name>``.
    Raises NotReadyError if the lab belongs to another checkout.
    """
    places = LabPlaces(name)
    with _lab_lock(places, progress):
        record = _read(places)
        alive = _vcenter_group(places).populated()
        if record and alive:
            _refuse_other_owner(places, record, project)
        if record is None and not alive and not list_hosts(name):
            _clear(places, progress)
            return False
        progress.step(f"stop the lab {name}")
        _clear(places, progress)
        if record is None or record.owner == str(project.root):
            _connection_file(project, name).unlink(missing_ok=True)
            remove_tree(_connection_file(project, name).with_name(windows.FOLDER))
    return True


def sweep(name: str, progress: Progress) -> None:
    """Remove whatever of a lab is on this machine, whoever started it. For tests and for broken labs."""
    places = LabPlaces(name)
    with _lab_lock(places, progress):
        _clear(places, progress)


def _clear(places: LabPlaces, progress: Progress) -> None:
    """Remove all processes, mounts and files of a lab, however far it had come."""
    background.end(_vcenter_group(places), patience=_VCENTER_ENDS_WITHIN)
    removed = remove_all_hosts(places.name)
    if removed:
        progress.line(f"removed {len(removed)} hosts: {', '.join(removed)}")
    everything = Cgroup(places.cgroup, find_hierarchies())
    everything.kill()
    everything.remove()
    release_apt_proxy(places.name)
    for folder in (places.run, places.data):
        remove_tree(folder)


# --- Machines that are no VMs ------------------------------------------------------------------------------


def start_machines(
    project: Project,
    name: str,
    specs: Sequence[MachineSpec],
    progress: Progress,
    *,
    at_once: int | None = None,
) -> list[HostRecord]:
    """Start those machines that don't run as specified, ``at_once`` at a time. Returns all of them.

    Raises NotReadyError if the lab is not up, OnboardError naming every one that did not start.
    """
    with _lab_lock(LabPlaces(name), progress):
        return _start_machines(_settings(project, name), specs, progress, at_once or 2 * (os.cpu_count() or 1))


def _start_machines(
    settings: HostSettings, specs: Sequence[MachineSpec], progress: Progress, at_once: int
) -> list[HostRecord]:
    present = {host.name: host for host in list_hosts(settings.lab) if host.state is HostState.RUNNING}
    wanted = [_host_spec(settings.lab, spec) for spec in specs]
    to_start = [s for s in wanted if s.name not in present or present[s.name].fingerprint != s.fingerprint()]
    if to_start:
        kinds = "workstations" if to_start[0].kind is HostKind.WORKSTATION else "shared machines"
        progress.step(f"start {len(to_start)} {kinds}")
    cancelled = threading.Event()
    results = _each(
        to_start,
        lambda spec: start_host(spec, settings, cancelled=cancelled),
        lambda spec, record: progress.line(f"{spec.name} answers at {record.reachable_at}:{record.port}"),
        at_once,
        cancelled,
    )
    started = {record.name: record for record in results}
    return [started.get(spec.name) or present[spec.name] for spec in wanted]


def stop_workstations(name: str, progress: Progress, *, only: Sequence[str] | None = None) -> list[str]:
    """Stop all workstations, or ``only`` these. Returns the names of those that ran."""
    names = [
        host.name
        for host in list_hosts(name)
        if host.kind is HostKind.WORKSTATION and (only is None or host.name in only)
    ]
    if names:
        progress.step(f"stop {len(names)} workstations")
    cancelled = threading.Event()
    _each(names, lambda host: stop_host(name, host), lambda host, _: progress.line(host), len(names) or 1, cancelled)
    return names


def _host_spec(lab: str, spec: MachineSpec) -> HostSpec:
    return HostSpec(
        name=spec.hostname,
        kind=spec.kind,
        uuid=str(uuid.uuid5(_MACHINES, f"{lab}/{spec.hostname}")),
        customisation=customise_without_metadata(spec.hostname, spec.address, spec.userdata),
        disks=tuple(Disk(unit, f"[local] {spec.hostname}/disk{unit}") for unit in spec.disks),
    )


def _each(
    items: Sequence[_Item],
    work: Callable[[_Item], _Result],
    done: Callable[[_Item, _Result], None],
    at_once: int,
    cancelled: threading.Event,
) -> list[_Result]:
    """Do ``work`` for every item, some at once. Failures are collected; an interruption ends what runs."""
    results: list[_Result] = []
    failures: list[OnboardError] = []
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        running = {pool.submit(work, item): item for item in items}
        try:
            for future in as_completed(running):
                try:
                    result = future.result()
                except InterruptedRunError:
                    raise
                except OnboardError as error:
                    failures.append(error)
                else:
                    results.append(result)
                    done(running[future], result)
        except BaseException:
            cancelled.set()
            pool.shutdown(cancel_futures=True)
            raise
    if failures:
        lines = "\n".join(f"  {error}" for error in failures)
        raise OnboardError(f"{len(failures)} of {len(items)} hosts failed:\n{lines}", hint=failures[0].hint)
    return results


def _settings(project: Project, name: str) -> HostSettings:
    if not _vcenter_group(LabPlaces(name)).populated():
        raise NotReadyError(f"the lab {name} is not up", hint="run: ksm-onboard lab up")
    return HostSettings.read(project.state / name / "guest-driver.json")


# --- Status ------------------------------------------------------------------------------------


def status(name: str) -> LabStatus:
    """What is true of the lab now. Raises NotReadyError for accounts that may not see it."""
    places = LabPlaces(name)
    if places.run.exists() and not os.access(places.run, os.R_OK):
        raise NotReadyError("only root may look into the lab", hint="run the command as root")
    record = _read(places)
    hosts = tuple(
        HostStatus(
            name=host.name,
            kind=host.kind,
            state=host.state,
            address=host.address,
            reachable_at=host.reachable_at,
            port=host.port,
            host_key=host.host_key,
            since=host.since,
        )
        for host in list_hosts(name)
    )
    alive = _vcenter_group(places).populated()
    if record is None or not alive:
        broken = alive or bool(hosts) or record is not None
        return LabStatus(name=name, state=LabState.BROKEN if broken else LabState.DOWN, hosts=hosts)
    state = Path(record.owner) / ".state" / name
    return LabStatus(
        name=name,
        state=LabState.UP,
        owner=Path(record.owner),
        since=record.since,
        endpoint=record.endpoint,
        user=VCENTER_USER,
        credentials_file=state / "vcenter-password",
        connection_file=_connection_file(Project(Path(record.owner)), name),
        ca_file=state / "tls" / "ca.pem",
        apt_proxy=record.apt_proxy,
        log=state / "vcenter.log",
        hosts=hosts,
    )


# --- Small parts -------------------------------------------------------------------------------


@contextmanager
def _lab_lock(places: LabPlaces, progress: Progress) -> Iterator[None]:
    """One ``up`` or ``down`` of a lab at a time on this machine."""
    if os.geteuid() != 0:
        raise NotReadyError("the lab runs real Debian machines, which needs root", hint="run the command as root")
    RUN_ROOT.mkdir(mode=0o755, exist_ok=True)
    with locked(RUN_ROOT / ".locks" / places.name, progress, f"the lab {places.name}"):
        yield


def _record_file(places: LabPlaces) -> Path:
    return places.run / "lab.json"


def _read(places: LabPlaces) -> _Record | None:
    try:
        return _Record(**json.loads(_record_file(places).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _vcenter_group(places: LabPlaces) -> Cgroup:
    return Cgroup(f"{places.cgroup}/vcenter", find_hierarchies())


def _connection_file(project: Project, name: str) -> Path:
    return project.state / name / "connection.yaml"


def _refuse_other_owner(places: LabPlaces, record: _Record, project: Project) -> None:
    owner = Path(record.owner)
    if owner == project.root or not owner.exists():
        return
    raise NotReadyError(
        f"a lab called {places.name} is already running, started from {owner} ({record.since})",
        hint=f"stop it there (cd {owner} && ksm-onboard lab down), or work in that checkout",
    )


def _inventory_key(inventory: Mapping[str, Any]) -> str:
    return key_of(json.dumps(inventory, sort_keys=True))


def _describe(inventory: Mapping[str, Any]) -> str:
    sections = inventory.get("sections") or []
    hosts = sum(len(section.get("hosts", [])) for section in sections)
    return f"{len(sections)} fire sections with {hosts} hosts"
