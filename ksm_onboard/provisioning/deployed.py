"""What Pulumi's state says of a member: read from its file, offline, without credentials and without the engine.

Two forms of the same content: the checkpoint that the ``file://`` backend keeps, and what
``pulumi stack export`` prints. Secrets are encrypted in both; they are neither decrypted nor needed.
After every ``up`` the state holds what vCenter reported, because the project refreshes first.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ksm_onboard.connection import CONNECTION_VARIABLE, connection_file, lab_name, load_connection
from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.deployed import Deployed, DeployedDisk, DeployedServer, DeployedZone
from ksm_onboard.project import Project

_VM = "vsphere:index/virtualMachine:VirtualMachine"
_DISK = "vsphere:index/virtualDisk:VirtualDisk"
_PORT_GROUP = "vsphere:index/distributedPortGroup:DistributedPortGroup"
_STACK = "pulumi:pulumi:Stack"
_BACKEND_VARIABLE = "PULUMI_BACKEND_URL"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Found:
    """The states that were found, by member, and for every other member why there is none."""

    deployed: Mapping[str, Deployed] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def find_deployed(project: Project, members: Iterable[str], environment: Mapping[str, str] | None = None) -> Found:
    """The states of ``members`` in the backend of the data centre in force.

    Raises NotReadyError if a state is there and cannot be read, or the connection file in force is unusable.
    """
    given = os.environ if environment is None else environment
    folder = _backend(project, given)
    states: dict[str, Deployed] = {}
    missing: dict[str, str] = {}
    for member in members:
        if folder is None:
            missing[member] = f"its state is kept at {given[_BACKEND_VARIABLE].split(':', 1)[0]}:…, not in a file"
            continue
        files = sorted(folder.glob(f".pulumi/stacks/*/{member}.json"))
        if not files:
            missing[member] = f"no stack of it in {_shown(folder, project)}"
            continue
        _, states[member] = _read(files[0], _shown(files[0], project))
    return _found(states, missing)


def read_exported(files: Iterable[Path], members: Iterable[str]) -> Found:
    """The states in ``files``, made with ``pulumi stack export``; the stack's name says whose they are.

    Raises NotReadyError for a file that cannot be read, or holds the state of none of ``members``.
    """
    wanted = list(members)
    states: dict[str, Deployed] = {}
    for file in files:
        stack, read = _read(file, str(file))
        if stack not in wanted:
            raise NotReadyError(
                f"{file} holds the state of the stack '{stack}', which is not checked here",
                hint=f"checked are: {', '.join(wanted) or 'no members'}",
            )
        states[stack] = read
    return _found(states, {member: "no state of it was given" for member in wanted if member not in states})


def _found(states: Mapping[str, Deployed], missing: Mapping[str, str]) -> Found:
    """``states`` of members of which something stands; a stack that was destroyed says nothing."""
    gone = {key: f"nothing of it stands, by {s.source}" for key, s in states.items() if not (s.servers or s.zones)}
    return Found({key: state for key, state in states.items() if key not in gone}, {**missing, **gone})


def _backend(project: Project, given: Mapping[str, str]) -> Path | None:
    """The folder of the file backend in force; None if a person has chosen one that is no folder."""
    chosen = given.get(_BACKEND_VARIABLE)
    if chosen:
        return Path(chosen.removeprefix("file://")).expanduser() if chosen.startswith("file://") else None
    if given.get(CONNECTION_VARIABLE):
        return load_connection(connection_file(project, given)).state_dir(project) / "pulumi"
    return project.state / lab_name(given) / "pulumi"


def _shown(path: Path, project: Project) -> str:
    return str(path.relative_to(project.root)) if path.is_relative_to(project.root) else str(path)


def _read(file: Path, source: str) -> tuple[str, Deployed]:
    """The stack's name and what it says."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise _unreadable(source, str(reason)) from None
    deployment = _at(content, "deployment", dict) or _at(_at(content, "checkpoint", dict), "latest", dict)
    if deployment is None:
        raise _unreadable(source, "it is not the state of a stack")
    resources = [r for r in _at(deployment, "resources", list) or () if _stands(r)]
    if not resources:
        # A stack that was destroyed has no resources, so only its file says whose it was.
        return file.stem, Deployed(source, {}, {})
    return resources[0]["urn"].split("::")[0].rsplit(":", 1)[-1], _deployed(source, resources)


def _stands(resource: object) -> bool:
    """Whether this is a resource, and not one that is about to be deleted after its replacement was made."""
    return len((_at(resource, "urn", str) or "").split("::")) == 4 and not _at(resource, "delete", bool)


def _unreadable(source: str, reason: str) -> NotReadyError:
    return NotReadyError(
        f"cannot read the deployed state {source}: {reason}",
        hint="export it again: pulumi stack export -s MEMBER --file FILE; or check without it: --no-deployed",
    )


def _deployed(source: str, resources: list[dict[str, Any]]) -> Deployed:
    groups = {str(r.get("id")): r for r in _of_type(resources, _PORT_GROUP)}
    sizes = _grown(resources)
    disks: dict[str, dict[str, DeployedDisk]] = {}
    vms = {_name(r): r for r in _of_type(resources, _VM)}
    for resource in _of_type(resources, _DISK):
        server = str(resource.get("parent", "")).rsplit("::", 1)[-1]
        key = _name(resource).removeprefix(f"{server}-")
        disk = _disk(resource, sizes.get(_name(resource), 0), vms.get(server), key)
        if disk is not None:
            disks.setdefault(server, {})[key] = disk
    return Deployed(
        source=source,
        zones={_name(group): _zone(group) for group in groups.values()},
        servers={name: _server(vm, groups, disks.get(name, {})) for name, vm in vms.items()},
    )


def _of_type(resources: list[dict[str, Any]], wanted: str) -> Iterator[dict[str, Any]]:
    return (resource for resource in resources if resource.get("type") == wanted)


def _name(resource: Mapping[str, Any]) -> str:
    return str(resource["urn"]).rsplit("::", 1)[-1]


def _property(resource: Mapping[str, Any], name: str, kind: type[Value]) -> Value | None:
    """What vCenter reported, else what was asked for; None where it is neither, or a secret."""
    reported = _at(_at(resource, "outputs", dict), name, kind)
    return reported if reported is not None else _at(_at(resource, "inputs", dict), name, kind)


def _at(holder: object, key: str, kind: type[Value]) -> Value | None:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, kind) and not (kind is int and isinstance(value, bool)) else None


def _grown(resources: list[dict[str, Any]]) -> dict[str, int]:
    """Sizes by disk, of disks that grew since they were made, as the stack puts them out."""
    for stack in _of_type(resources, _STACK):
        made = _at(_at(stack, "outputs", dict), "disks", dict) or {}
        return {name: _at(disk, "size_gib", int) or 0 for name, disk in made.items() if isinstance(disk, dict)}
    return {}


def _zone(group: Mapping[str, Any]) -> DeployedZone:
    described = (_property(group, "description", str) or "").rsplit(", ", 1)[-1]
    return DeployedZone(_property(group, "vlanId", int), _parsed(described, IPv4Network))


def _server(
    vm: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]], disks: Mapping[str, DeployedDisk]
) -> DeployedServer:
    metadata = _guestinfo(vm, "guestinfo.metadata")
    primary = _at(_at(_at(metadata, "network", dict), "ethernets", dict), "primary", dict)
    addresses = _at(primary, "addresses", list) or []
    domains = _at(_at(primary, "nameservers", dict), "search", list) or []
    interfaces = _property(vm, "networkInterfaces", list) or [{}]
    attached_to = groups.get(str(_at(interfaces[0], "networkId", str)))
    system = [disk for disk in _property(vm, "disks", list) or () if _at(disk, "unitNumber", int) == 0]
    return DeployedServer(
        address=_parsed(str(addresses[0]), IPv4Interface) if addresses else None,
        dns_domain=str(domains[0]) if domains else None,
        port_group=_name(attached_to) if attached_to is not None else None,
        guest_id=_property(vm, "guestId", str),
        system_disk_gib=_at(system[0], "size", int) if system else None,
        disks=disks,
    )


def _disk(resource: Mapping[str, Any], grown: int, vm: Mapping[str, Any] | None, key: str) -> DeployedDisk | None:
    size, vmdk = _property(resource, "size", int), _property(resource, "vmdkPath", str)
    datacenter, datastore = _property(resource, "datacenter", str), _property(resource, "datastore", str)
    if size is None or vmdk is None or datacenter is None or datastore is None:
        return None
    attached = [d for d in (_property(vm, "disks", list) if vm else None) or () if _at(d, "path", str) == vmdk]
    unit = _at(attached[0], "unitNumber", int) if attached else None
    mounts = _at(_guestinfo(vm, "guestinfo.userdata") if vm else None, "mounts", list) or []
    # ext4 labels have at most 16 characters, so the guest knows the disk under a shortened name.
    mount = next(
        (str(m[1]) for m in mounts if isinstance(m, list) and len(m) > 1 and m[0] == f"LABEL={key[:16]}"), None
    )
    return DeployedDisk(max(size, grown), datacenter, datastore, vmdk, unit, mount)


def _guestinfo(vm: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """What cloud-init was told; None if it is not there or not readable."""
    encoded = _at(_property(vm, "extraConfig", dict), key, str)
    try:
        told = yaml.load(base64.b64decode(encoded or "", validate=True), Loader=yaml.CSafeLoader)
    except (binascii.Error, ValueError, yaml.YAMLError):
        return None
    return told if isinstance(told, dict) else None


def _parsed(text: str, kind: Callable[[str], Value]) -> Value | None:
    try:
        return kind(text)
    except ValueError:
        return None
