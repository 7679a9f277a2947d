"""The resources of a stack as plain data, so that others can create the very same ones: for comparison. Pure.

``resources_of`` reads them from the stack's state (``pulumi stack export``). What came from another resource of the
stack is a reference again; what came from outside, such as the id of a template, is a value of this data centre.
``as_replay`` writes them for bench/replay, a program that decides nothing, ``as_terraform`` in HCL's JSON syntax.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PROVIDER = "pulumi:providers:"
_BUILT_IN = "pulumi:"
_OF_THE_BRIDGE = ("__defaults", "__meta")

# What one resource hands to another. Other outputs that happen to be equal, such as "normal", are no reference.
_HANDED_ON = ("id", "name", "path", "vmdkPath")

# Where the bridge names a list in the plural, and for a resource: terraform-provider-vsphere's own names.
_BLOCKS = {"disks": "disk", "networkInterfaces": "network_interface"}
_TYPES = {
    "ComputeClusterVmAntiAffinityRule": "vsphere_compute_cluster_vm_anti_affinity_rule",
    "ComputeClusterVmGroup": "vsphere_compute_cluster_vm_group",
    "ComputeClusterVmHostRule": "vsphere_compute_cluster_vm_host_rule",
    "DatastoreCluster": "vsphere_datastore_cluster",
    "DistributedPortGroup": "vsphere_distributed_port_group",
    "EntityPermissions": "vsphere_entity_permissions",
    "Folder": "vsphere_folder",
    "HaVmOverride": "vsphere_ha_vm_override",
    "NasDatastore": "vsphere_nas_datastore",
    "ResourcePool": "vsphere_resource_pool",
    "Tag": "vsphere_tag",
    "VirtualDisk": "vsphere_virtual_disk",
    "VirtualMachine": "vsphere_virtual_machine",
}


@dataclass(frozen=True)
class Reference:
    """An output of another resource; ``output`` is the engine's name of it, for example ``defaultIpAddress``."""

    resource: str
    """Its key."""
    output: str


@dataclass(frozen=True)
class Resource:
    """``name`` is unique within its type; ``inputs`` are plain values and references, lists and tables of them."""

    name: str
    token: str
    """The engine's type, for example ``vsphere:index/folder:Folder``."""
    inputs: Mapping[str, Any]
    ignored: tuple[str, ...]
    """Properties whose later changes are left alone."""

    @property
    def kind(self) -> str:
        return self.token.rsplit(":", 1)[-1]

    @property
    def key(self) -> str:
        """Unique among all: a folder and a pool may have one name."""
        return f"{self.kind} {self.name}"


def resources_of(entries: Sequence[Mapping[str, Any]]) -> tuple[Resource, ...]:
    """Every resource of the provider among the ``resources`` of a state, each after those that it refers to."""
    ours = [entry for entry in entries if entry.get("custom") and not entry["type"].startswith((_PROVIDER, _BUILT_IN))]
    by_urn = {entry["urn"]: entry for entry in ours}
    found = []
    for entry in ours:
        needed = entry.get("propertyDependencies") or {}
        inputs = {
            key: _with_references(value, [by_urn[urn] for urn in needed.get(key) or () if urn in by_urn])
            for key, value in entry["inputs"].items()
            if key not in _OF_THE_BRIDGE
        }
        found.append(Resource(_name(entry), entry["type"], inputs, tuple(entry.get("ignoreChanges") or ())))
    return tuple(found)


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["urn"].rsplit("::", 1)[-1])


def _with_references(value: Any, needed: Sequence[Mapping[str, Any]]) -> Any:
    """``value``, in which every text that is an output of a resource it depends on refers to it."""
    if isinstance(value, dict):
        return {key: _with_references(part, needed) for key, part in value.items() if key not in _OF_THE_BRIDGE}
    if isinstance(value, list):
        return [_with_references(part, needed) for part in value]
    if isinstance(value, str) and value:
        for entry in needed:
            outputs = {**entry["outputs"], "id": entry["id"]}
            if (output := next((name for name in _HANDED_ON if outputs.get(name) == value), None)) is not None:
                return Reference(f"{entry['type'].rsplit(':', 1)[-1]} {_name(entry)}", output)
    return value


def mapped(value: Any, refer: Callable[[Reference], Any]) -> Any:
    """A copy of inputs in which ``refer`` writes the references."""
    match value:
        case Reference():
            return refer(value)
        case dict():
            return {key: mapped(part, refer) for key, part in value.items()}
        case list():
            return [mapped(part, refer) for part in value]
    return value


# --- for a program that decides nothing -------------------------------------------------------


def as_replay(resources: Sequence[Resource]) -> list[dict[str, Any]]:
    """Plain JSON for bench/replay/__main__.py; the id of another resource is ``{"id_of": key}``.

    Other outputs are what their resource was asked for, such as its name: they are written as they are, and who needs
    them comes ``after`` it. Raises ValueError for an output that is only known once its resource is made.
    """
    inputs = {resource.key: resource.inputs for resource in resources}

    def entry(resource: Resource) -> dict[str, Any]:
        after: list[str] = []

        def refer(reference: Reference) -> Any:
            if reference.output == "id":
                return {"id_of": reference.resource}
            after.append(reference.resource)
            known = inputs[reference.resource].get(reference.output)
            if not isinstance(known, str):
                raise ValueError(f"{resource.name}: {reference} is not known before it is made")
            return known

        return {
            "name": resource.key,
            "token": resource.token,
            "inputs": mapped(dict(resource.inputs), refer),
            "after": sorted(set(after)),
            "ignored": list(resource.ignored),
        }

    return [entry(resource) for resource in resources]


# --- for terraform ----------------------------------------------------------------------------


def as_terraform(resources: Sequence[Resource], server: str, user: str) -> dict[str, Any]:
    """The configuration in HCL's JSON syntax (``main.tf.json``). The password comes from ``VSPHERE_PASSWORD``."""
    labels = {resource.key: f"{_TYPES[resource.kind]}.{_label(resource.name)}" for resource in resources}

    def refer(reference: Reference) -> str:
        return f"${{{labels[reference.resource]}.{_snake(reference.output)}}}"

    blocks: dict[str, dict[str, Any]] = {}
    for resource in resources:
        body = _body(mapped(dict(resource.inputs), refer))
        if ignored := list(_ignored(resource)):
            body["lifecycle"] = {"ignore_changes": ignored}
        blocks.setdefault(_TYPES[resource.kind], {})[_label(resource.name)] = body
    return {
        "terraform": {"required_providers": {"vsphere": {"source": "hashicorp/vsphere"}}},
        "provider": {"vsphere": {"vsphere_server": server, "user": user, "allow_unverified_ssl": False}},
        "resource": blocks,
    }


# Tables whose keys are names of the data centre, not of the provider.
_FREE_TABLES = ("extraConfig", "sdrsAdvancedOptions")


def _body(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _BLOCKS.get(key, _snake(key)): value if key in _FREE_TABLES else _nested(value) for key, value in inputs.items()
    }


def _nested(value: Any) -> Any:
    if isinstance(value, dict):
        return _body(value)
    return [_nested(part) for part in value] if isinstance(value, list) else value


def _ignored(resource: Resource) -> Iterator[str]:
    for path in resource.ignored:
        table, bracket, key = path.partition("[")
        # Terraform cannot ignore a quoted path in JSON syntax other than as it stands.
        yield f"{_snake(table)}[{key}" if bracket else _BLOCKS.get(path, _snake(path))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _label(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
