"""What a killed run leaves behind, and how the next run goes on from there.

The engine notes every operation before it starts it. A killed run therefore leaves a lock
of a process that is gone, and notes of operations whose outcome nobody recorded. Whether
they took effect is asked of vCenter itself:

- what was created is taken over into the state, and what was not is created again;
- a VM is the exception: cloning and starting it are many steps, so a VM that is not finished
  is removed, its data disks detached first, and built again. That is done only with a VM
  that provably comes from the interrupted run.
"""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi,pyVim"

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
from pyVmomi import vim

from ksm_onboard import vcenter
from ksm_onboard.connection import Connection
from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.progress import Progress
from ksm_onboard.storage_policies import policy_id

Ask = Callable[..., str]

# How far vCenter's clock and ours may differ.
_CLOCK_TOLERANCE = timedelta(minutes=5)
_TASK_TIMEOUT_SECONDS = 30 * 60

_VM = "vsphere:index/virtualMachine:VirtualMachine"
_DISK = "vsphere:index/virtualDisk:VirtualDisk"


@dataclass(frozen=True)
class Interrupted:
    """A stack that an earlier run may have left unfinished.

    ``ask`` runs an engine command; ``unread`` is where it is noted what settling has still to
    read from vCenter, in case that settling is interrupted in its turn.
    """

    stack: str
    connection: Connection
    backend_url: str
    unread: Path
    ask: Ask


@dataclass(frozen=True)
class _Doors:
    """Both ways into vCenter: an open session, and what its REST API needs."""

    instance: vim.ServiceInstance
    connection: Connection


def settle(work: Interrupted, progress: Progress) -> None:
    """Bring the stack's state in line with what an interrupted run really did.

    Does nothing, and contacts nobody, after a run that ended by itself. Raises NotReadyError
    while another run holds the stack, OnboardError if something of unknown origin is in the way.
    """
    began = _dead_since(work)
    exported = json.loads(work.ask("stack", "export", "--stack", work.stack))
    deployment = exported["deployment"]
    pending = deployment.get("pending_operations") or []
    unanswered = [resource for resource in deployment.get("resources") or [] if _never_answered(resource)]
    if not pending and not unanswered and not work.unread.exists():
        _release(work, began, progress)
        return
    progress.step(f"Settling what an interrupted run of '{work.stack}' left behind")
    known = {resource["urn"] for resource in deployment["resources"]}
    creating = [op["resource"] for op in pending if op["type"] == "creating" and op["resource"]["urn"] not in known]
    adopted = list(_found_again(work, creating, began, progress))
    # Only now: until here, the lock tells a further run when the interrupted one began.
    _release(work, began, progress)
    if pending:
        touched = [op["resource"]["urn"] for op in pending if op["resource"]["urn"] in known]
        _note(work, touched + [resource["urn"] for resource in adopted])
        deployment["resources"] += adopted
        deployment["pending_operations"] = []
        work.ask("stack", "import", "--stack", work.stack, text=json.dumps(exported))
    _read_noted(work, known.union(resource["urn"] for resource in adopted))
    _remove_unanswered(work, unanswered, progress)


# --- locks ----------------------------------------------------------------------------------


def _dead_since(work: Interrupted) -> datetime | None:
    """When a run began that is gone without releasing its lock; None if there is no lock.

    Raises NotReadyError if the stack is locked by a run that is under way, or by another machine.
    """
    taken = []
    for lock in _locks(work):
        since = datetime.fromisoformat(lock["timestamp"])
        if lock["hostname"] != socket.gethostname():
            raise NotReadyError(
                f"stack '{work.stack}' is being worked on by {lock['username']} on {lock['hostname']} since {since:%c}",
                hint=f"wait for it to end; if it is dead, release it: pulumi cancel -s {work.stack}",
            )
        if _alive(lock["pid"], since):
            raise NotReadyError(
                f"stack '{work.stack}' is being worked on by process {lock['pid']} since {since:%H:%M:%S}",
                hint="wait for it to end, then run the command again",
            )
        taken.append(since)
    return min(taken, default=None)


def _release(work: Interrupted, began: datetime | None, progress: Progress) -> None:
    if began:
        progress.line(f"releasing the lock of a run that died (begun {began.astimezone():%Y-%m-%d %H:%M:%S})")
        work.ask("cancel", "--yes", "--stack", work.stack)


def _locks(work: Interrupted) -> Iterator[dict[str, Any]]:
    """The locks on the stack, if the backend is a folder (other backends keep theirs to themselves)."""
    address = urlsplit(work.backend_url)
    if address.scheme != "file":
        return
    folder = Path(unquote(address.path)) / ".pulumi" / "locks" / "organization"
    for file in sorted(folder.glob(f"*/{work.stack}/*.json")):
        try:
            yield json.loads(file.read_text())
        except (OSError, ValueError):
            continue  # released, or not written to its end, in this very moment


def _alive(pid: int, since: datetime) -> bool:
    """Whether the process that took a lock at ``since`` still runs: a later process may bear its number."""
    try:
        return psutil.Process(pid).create_time() <= since.timestamp() + 1
    except psutil.NoSuchProcess:
        return False


# --- operations without a recorded outcome ----------------------------------------------------


def _found_again(
    work: Interrupted, creating: list[dict[str, Any]], began: datetime | None, progress: Progress
) -> Iterator[dict[str, Any]]:
    """The resources among ``creating`` that exist, as records for the state."""
    if not creating:
        return
    with vcenter.session(work.connection) as instance:
        doors = _Doors(instance, work.connection)
        for resource in creating:
            if resource["type"] == _VM:
                _remove_unfinished(instance, resource, began, progress)
                continue
            identity = _IDENTITIES.get(resource["type"], _unknown)(doors, resource)
            if identity is None:
                continue
            progress.line(f"reading {_name(resource)}, whose creation was under way")
            yield _record(resource, identity)


def _record(resource: dict[str, Any], identity: str) -> dict[str, Any]:
    """A record that the engine's refresh completes by reading the real thing, or drops if there is none."""
    outputs = {key: value for key, value in resource["inputs"].items() if not key.startswith("__")}
    if resource["type"] in _SCHEMA_VERSIONS:
        outputs["__meta"] = json.dumps({"schema_version": _SCHEMA_VERSIONS[resource["type"]]})
    return {**resource, "id": identity, "outputs": outputs}


def _unknown(_: _Doors, resource: dict[str, Any]) -> str | None:
    raise OnboardError(
        f"an interrupted run may have created {resource['type']} '{_name(resource)}', and nothing tells whether it did",
        hint="look in vCenter and settle it by hand: pulumi refresh",
    )


def _folder(doors: _Doors, resource: dict[str, Any]) -> str | None:
    paths = vcenter.folder_paths(doors.instance)
    return next((key for key, path in paths.items() if path == resource["inputs"]["path"]), None)


def _pool(doors: _Doors, resource: dict[str, Any]) -> str | None:
    wanted = (resource["inputs"]["name"], resource["inputs"]["parentResourcePoolId"])
    for found in vcenter.collect(doors.instance, vim.ResourcePool, ["name", "parent"]):
        if (found.get("name"), vcenter.moid(found.get("parent"))) == wanted:
            return vcenter.moid(found.ref)
    return None


def _port_group(doors: _Doors, resource: dict[str, Any]) -> str | None:
    for found in vcenter.collect(doors.instance, vim.dvs.DistributedVirtualPortgroup, ["name"]):
        if found.get("name") == resource["inputs"]["name"]:
            return vcenter.moid(found.ref)
    return None


def _group(_: _Doors, resource: dict[str, Any]) -> str | None:
    return f"{resource['inputs']['computeClusterId']}:{resource['inputs']['name']}"


def _rule(doors: _Doors, resource: dict[str, Any]) -> str | None:
    cluster_id = resource["inputs"]["computeClusterId"]
    for found in vcenter.collect(doors.instance, vim.ClusterComputeResource, ["configurationEx"]):
        if vcenter.moid(found.ref) != cluster_id:
            continue
        for rule in found.get("configurationEx").rule or ():
            if rule.name == resource["inputs"]["name"]:
                return f"{cluster_id}:{rule.key}"
    return None


def _role(doors: _Doors, resource: dict[str, Any]) -> str | None:
    manager = doors.instance.RetrieveContent().authorizationManager
    for role in manager.roleList if manager else ():
        if role.name == resource["inputs"]["name"]:
            return str(role.roleId)
    return None


def _policy(doors: _Doors, resource: dict[str, Any]) -> str | None:
    return policy_id(doors.instance, resource["inputs"]["name"])


def _permissions(_: _Doors, resource: dict[str, Any]) -> str | None:
    return str(resource["inputs"]["entityId"])


def _disk(_: _Doors, resource: dict[str, Any]) -> str | None:
    return str(resource["inputs"]["vmdkPath"])


def _tag_category(doors: _Doors, resource: dict[str, Any]) -> str | None:
    path = "com/vmware/cis/tagging/category"
    with vcenter.rest_session(doors.connection.vcenter) as rest:
        return _named(rest, path, rest.get(path), resource["inputs"]["name"])


def _tag(doors: _Doors, resource: dict[str, Any]) -> str | None:
    path, category = "com/vmware/cis/tagging/tag", resource["inputs"]["categoryId"]
    with vcenter.rest_session(doors.connection.vcenter) as rest:
        tags = rest.post(f"{path}/id:{category}?~action=list-tags-for-category")
        return _named(rest, path, tags, resource["inputs"]["name"])


def _named(rest: vcenter.RestSession, path: str, ids: Iterable[str] | None, name: str) -> str | None:
    """The one of ``ids`` that bears ``name``."""
    return next((key for key in ids or () if rest.get(f"{path}/id:{key}")["name"] == name), None)


# How the provider identifies a resource of each type.
_IDENTITIES: Mapping[str, Callable[[_Doors, dict[str, Any]], str | None]] = {
    "vsphere:index/folder:Folder": _folder,
    "vsphere:index/resourcePool:ResourcePool": _pool,
    "vsphere:index/distributedPortGroup:DistributedPortGroup": _port_group,
    "vsphere:index/computeClusterHostGroup:ComputeClusterHostGroup": _group,
    "vsphere:index/computeClusterVmGroup:ComputeClusterVmGroup": _group,
    "vsphere:index/computeClusterVmHostRule:ComputeClusterVmHostRule": _rule,
    "vsphere:index/computeClusterVmAntiAffinityRule:ComputeClusterVmAntiAffinityRule": _rule,
    "vsphere:index/entityPermissions:EntityPermissions": _permissions,
    "vsphere:index/role:Role": _role,
    "vsphere:index/vmStoragePolicy:VmStoragePolicy": _policy,
    "vsphere:index/tagCategory:TagCategory": _tag_category,
    "vsphere:index/tag:Tag": _tag,
    _DISK: _disk,
}
_SCHEMA_VERSIONS = {"vsphere:index/folder:Folder": "1"}


def _note(work: Interrupted, urns: list[str]) -> None:
    work.unread.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    work.unread.write_text(json.dumps(sorted({*urns, *_noted(work)})))


def _noted(work: Interrupted) -> list[str]:
    try:
        return list(json.loads(work.unread.read_text()))
    except (OSError, ValueError):
        return []


def _read_noted(work: Interrupted, known: set[str]) -> None:
    """Have the engine read what is noted; it drops from its state what does not exist."""
    if urns := [urn for urn in _noted(work) if urn in known]:
        targets = [flag for urn in urns for flag in ("--target", urn)]
        work.ask("refresh", "--yes", "--skip-preview", *targets, "--stack", work.stack)
    work.unread.unlink(missing_ok=True)


def _name(resource: Mapping[str, Any]) -> str:
    return str(resource["urn"]).rsplit("::", 1)[-1]


# --- VMs --------------------------------------------------------------------------------------


def _never_answered(resource: Mapping[str, Any]) -> bool:
    """Whether a VM was created but its creation never succeeded: it was started and did not report an address.

    A later change that failed leaves the same mark on a VM that works; that one has been modified since.
    """
    return bool(
        resource["type"] == _VM and resource.get("initErrors") and resource.get("created") == resource.get("modified")
    )


def _remove_unanswered(work: Interrupted, resources: list[Mapping[str, Any]], progress: Progress) -> None:
    """Remove such VMs through the engine, so that ``up`` builds them again; their data disks stay."""
    for resource in resources:
        progress.line(f"removing {_name(resource)}, which never reported an address, to build it again")
    if resources:
        targets = [flag for resource in resources for flag in ("--target", resource["urn"])]
        work.ask("destroy", "--yes", "--skip-preview", "--target-dependents", *targets, "--stack", work.stack)


def _remove_unfinished(
    instance: vim.ServiceInstance, resource: dict[str, Any], began: datetime | None, progress: Progress
) -> None:
    """Remove the VM that an interrupted run was creating, if it is there; its data disks are detached first."""
    inputs = resource["inputs"]
    vm = _find_vm(instance, inputs, progress)
    if vm is None:
        return
    if not _is_ours(vm, inputs, began):
        raise OnboardError(
            f"a VM {inputs['folder']}/{inputs['name']} stands where an interrupted run was about to create one,"
            " and nothing proves that it comes from that run",
            hint="look at it in vCenter; rename or remove it, then run the command again",
        )
    progress.line(f"removing the unfinished VM {inputs['name']} to build it again; its data disks are kept")
    machine = vm.ref
    assert isinstance(machine, vim.VirtualMachine)  # noqa: S101 - what was asked for
    if not _is_off(vm):
        _finish(machine.PowerOffVM_Task())
    own_folder = str(vm.get("config.files.vmPathName")).rpartition("/")[0] + "/"
    disks = [device for device in vm.get("config.hardware.device") if isinstance(device, vim.vm.device.VirtualDisk)]
    foreign = [disk for disk in disks if not str(getattr(disk.backing, "fileName", "")).startswith(own_folder)]
    if foreign:
        remove = vim.vm.device.VirtualDeviceSpec.Operation.remove
        changes = [vim.vm.device.VirtualDeviceSpec(operation=remove, device=disk) for disk in foreign]
        _finish(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=changes)))
    _finish(machine.Destroy_Task())


def _find_vm(instance: vim.ServiceInstance, inputs: Mapping[str, Any], progress: Progress) -> vcenter.Found | None:
    """The VM of that name and folder, once vCenter has ended its work on it: a clone goes on without its client."""
    paths = vcenter.folder_paths(instance)
    deadline = time.monotonic() + _TASK_TIMEOUT_SECONDS
    while True:
        vms = vcenter.collect(instance, vim.VirtualMachine, _VM_PROPERTIES)
        found = [
            vm
            for vm in vms
            if vm.get("name") == inputs["name"]
            and vm.get("parent") is not None
            and paths.get(vcenter.moid(vm.get("parent"))) == inputs["folder"]
        ]
        busy = [task for vm in found for task in vm.get("recentTask", ()) if _unfinished(task)]
        if not busy:
            return found[0] if found else None
        progress.line(f"waiting for vCenter to end its work on {inputs['name']}")
        for task in busy:
            _finish(task, deadline)


_VM_PROPERTIES = (
    "name",
    "parent",
    "recentTask",
    "runtime.powerState",
    "config.createDate",
    "config.extraConfig",
    "config.files.vmPathName",
    "config.hardware.device",
)


def _is_off(vm: vcenter.Found) -> bool:
    return bool(vm.get("runtime.powerState") == vim.VirtualMachine.PowerState.poweredOff)


def _is_ours(vm: vcenter.Found, inputs: Mapping[str, Any], began: datetime | None) -> bool:
    """Whether a VM comes from the interrupted run that began at ``began``.

    Either it carries the very customisation that the run was to give it, or it is still a bare
    clone that was made since then and does not run.
    """
    told = vcenter.settings(vm.get("config.extraConfig")).get("guestinfo.metadata")
    if told is not None:
        return bool(told == inputs["extraConfig"]["guestinfo.metadata"])
    made = vm.get("config.createDate")
    return bool(began and made and made >= began - _CLOCK_TOLERANCE and _is_off(vm))


def _unfinished(task: vim.Task) -> bool:
    return task.info.state in (vim.TaskInfo.State.queued, vim.TaskInfo.State.running)


def _finish(task: vim.Task, deadline: float | None = None) -> None:
    deadline = deadline or time.monotonic() + _TASK_TIMEOUT_SECONDS
    while _unfinished(task):
        if time.monotonic() > deadline:
            raise OnboardError(f"vCenter does not finish {task.info.descriptionId}", hint="look at its tasks")
        time.sleep(0.5)
    if task.info.state == vim.TaskInfo.State.error:
        reason = getattr(task.info.error, "localizedMessage", None) or getattr(task.info.error, "msg", "")
        raise OnboardError(f"vCenter could not finish {task.info.descriptionId}: {reason}")
