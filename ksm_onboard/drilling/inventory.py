"""The data centre as a drill sees it: hosts, machines, datastores, rules, and how HA is set. Read through pyVmomi."""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi"

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict
from pyVmomi import vim

from ksm_onboard.connection import Connection
from ksm_onboard.planning.plan import PlatformPlan
from ksm_onboard.vcenter import Found, collect, collect_named, moid, session
from ksm_onboard.verifying.vcenter_facts import ClusterFacts, cluster_facts, split_datastore_path

_MIB: Final = 1024 * 1024

Priority = Literal["highest", "high", "medium", "low", "lowest", "disabled"]
PRIORITIES: Final[tuple[Priority, ...]] = ("highest", "high", "medium", "low", "lowest", "disabled")
"""vSphere's restart priorities, first restarted first; ``disabled``: never restarted (ClusterDasVmSettings)."""


class _Seen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Host(_Seen):
    """A hypervisor host and the datastores that it can use."""

    name: str
    connected: bool
    memory_mib: int
    datastores: frozenset[str]


class Machine(_Seen):
    """A VM, the host that it runs on and every datastore that it has a disk on. ``memory_mib`` is its full size."""

    name: str
    host: str | None
    powered_on: bool
    memory_mib: int
    datastores: frozenset[str]
    priority: Priority


class Inventory(_Seen):
    """One cluster with everything that runs on it."""

    cluster: ClusterFacts
    hosts: tuple[Host, ...]
    machines: tuple[Machine, ...]


def read_inventory(connection: Connection, platform: PlatformPlan) -> Inventory:
    """Everything that a loss can concern, in four bulk queries; nothing is changed.

    Raises NotReadyError if vCenter cannot be used or the platform's cluster is missing.
    """
    with session(connection) as instance:
        found = collect_named(instance, vim.ClusterComputeResource, platform.cluster, ("configurationEx",))
        stores = {
            moid(store.ref): str(store.get("name")) for store in collect(instance, vim.Datastore, ("name",), None)
        }
        hosts = collect(
            instance,
            vim.HostSystem,
            ("name", "runtime.connectionState", "summary.hardware.memorySize", "datastore"),
            found.ref,
        )
        machines = collect(
            instance,
            vim.VirtualMachine,
            (
                "name",
                "runtime.host",
                "runtime.powerState",
                "config.template",
                "config.hardware.memoryMB",
                "config.hardware.device",
            ),
        )
    host_names = {moid(host.ref): str(host.get("name")) for host in hosts}
    machine_names = {moid(machine.ref): str(machine.get("name")) for machine in machines}
    cluster = cluster_facts(found, machine_names, host_names)
    return Inventory(
        cluster=cluster,
        hosts=tuple(sorted((_host(host, stores) for host in hosts), key=lambda host: host.name)),
        machines=tuple(
            sorted(
                (
                    _machine(machine, host_names, cluster)
                    for machine in machines
                    if not machine.get("config.template", False)
                ),
                key=lambda machine: machine.name,
            )
        ),
    )


def _host(host: Found, stores: Mapping[str, str]) -> Host:
    return Host(
        name=str(host.get("name")),
        connected=str(host.get("runtime.connectionState")) == "connected",
        memory_mib=int(host.get("summary.hardware.memorySize", 0)) // _MIB,
        datastores=frozenset(stores[moid(ref)] for ref in host.get("datastore", ()) if moid(ref) in stores),
    )


def _machine(machine: Found, hosts: Mapping[str, str], cluster: ClusterFacts) -> Machine:
    host, name = machine.get("runtime.host"), str(machine.get("name"))
    own = cluster.restart_priorities.get(name, cluster.settings["ha_restart_priority"])
    files = (getattr(device.backing, "fileName", None) for device in machine.get("config.hardware.device", ()))
    return Machine(
        name=name,
        host=hosts.get(moid(host)) if host is not None else None,
        powered_on=str(machine.get("runtime.powerState")) == "poweredOn",
        memory_mib=int(machine.get("config.hardware.memoryMB", 0)),
        datastores=frozenset(split_datastore_path(file)[0] for file in files if file),
        priority=_priority(own),
    )


def _priority(value: object) -> Priority:
    """vSphere's own default, medium, where a cluster says nothing."""
    return next((priority for priority in PRIORITIES if priority == str(value)), "medium")
