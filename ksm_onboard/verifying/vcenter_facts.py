"""What vCenter says about one member: plain facts, read in bulk, nothing compared yet."""

from __future__ import annotations

import base64
import binascii
import gzip
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict
from pyVmomi import vim

from ksm_onboard.connection import Connection
from ksm_onboard.planning.plan import Plan
from ksm_onboard.storage_policies import AppliedPolicy, applied_policies
from ksm_onboard.vcenter import (
    Found,
    attached_tags,
    collect,
    collect_named,
    folder_paths,
    is_below,
    moid,
    session,
    settings,
)
from ksm_onboard.verifying.cluster_settings import Settings, settings_of
from ksm_onboard.verifying.storage_facts import (
    CLUSTER_PROPERTIES,
    DATASTORE_PROPERTIES,
    DatastoreClusterFacts,
    DatastoreFacts,
    datastore,
    datastore_cluster,
    refreshed,
)

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi"

_MIB = 1024 * 1024


class Fact(BaseModel):
    """Base of everything that was seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NicFacts(Fact):
    """A network card and the port group behind it (None: disconnected or on a foreign switch)."""

    label: str
    port_group: str | None
    connected: bool


class DiskFacts(Fact):
    """A virtual disk; ``path`` is relative to its datastore, ``mode`` is vSphere's (``persistent``, ...).

    ``policy`` is the name of its storage policy, None if it has none; ``compliance`` is what vCenter says of the disk's
    place by that policy (``compliant``, ``nonCompliant``, ...), empty without one.
    """

    label: str
    datastore: str
    path: str
    capacity_mib: int
    mode: str
    unit_number: int
    policy: str | None
    compliance: str


class HomeFacts(Fact):
    """Where a VM's own files lie (configuration, swap), with policy and compliance as a disk has them."""

    datastore: str
    policy: str | None
    compliance: str


class CustomisationFacts(Fact):
    """Who the VM is told to be, from the cloud-init metadata in its guestinfo."""

    host_name: str | None
    addresses: tuple[str, ...]


class VmFacts(Fact):
    """A VM. ``folder`` is an inventory path, ``tags`` category → names."""

    name: str
    folder: str
    resource_pool: str | None
    powered_on: bool
    cpus: int
    memory_mib: int
    guest_id: str
    host: str | None
    addresses: tuple[str, ...]
    nics: tuple[NicFacts, ...]
    home: HomeFacts
    disks: tuple[DiskFacts, ...]
    tags: Mapping[str, tuple[str, ...]]
    customisation: CustomisationFacts | None


class PortGroupFacts(Fact):
    """A distributed port group; ``vlan`` is None for trunks and private VLANs.

    ``overridable`` are the settings in which a single port may deviate from its group.
    """

    name: str
    switch: str
    vlan: int | None
    promiscuous: bool
    mac_changes: bool
    forged_transmits: bool
    active_uplinks: tuple[str, ...] = ()
    overridable: tuple[str, ...] = ()


class PoolFacts(Fact):
    """A resource pool's limits; -1 means unlimited."""

    name: str
    cpu_limit_mhz: int
    memory_limit_mib: int
    tags: Mapping[str, tuple[str, ...]]


class RuleFacts(Fact):
    """A cluster rule. ``apart`` keeps ``vms`` on different hosts; otherwise group to group."""

    name: str
    enabled: bool
    mandatory: bool
    apart: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    vm_group: str | None = None
    affine_host_group: str | None = None
    anti_affine_host_group: str | None = None


class ClusterFacts(Fact):
    """The cluster: DRS, which alone enforces rules, the rules, and the groups they speak of."""

    name: str
    drs_enabled: bool
    ha_enabled: bool
    settings: Settings
    restart_priorities: Mapping[str, str]
    """Of VMs that have one of their own."""
    rules: tuple[RuleFacts, ...]
    vm_groups: Mapping[str, tuple[str, ...]]
    host_groups: Mapping[str, tuple[str, ...]]
    own_settings: Mapping[str, tuple[str, ...]] = {}
    """Of VMs that DRS or HA treat differently from the others, apart from their restart priority: in which way."""


class PermissionFacts(Fact):
    """A permission set directly on an object; ``on`` is ``folder`` or ``pool``."""

    on: str
    principal: str
    role: str
    is_group: bool
    propagate: bool


class VCenterFacts(Fact):
    """All of it. ``vms`` and ``port_groups`` are those that touch the member, not all of vCenter.

    ``datastores`` and ``datastore_clusters`` are all that there are: which of them claim to be the
    member's only shows in their tags.
    """

    folders: tuple[str, ...]
    folder_tags: Mapping[str, tuple[str, ...]]
    vms: tuple[VmFacts, ...]
    port_groups: tuple[PortGroupFacts, ...]
    pool: PoolFacts | None
    datastores: tuple[DatastoreFacts, ...]
    datastore_clusters: tuple[DatastoreClusterFacts, ...]
    cluster: ClusterFacts
    permissions: tuple[PermissionFacts, ...]
    roles: Mapping[str, tuple[str, ...]]


def read_vcenter(connection: Connection, plan: Plan) -> VCenterFacts:
    """Everything in vCenter that concerns the member of ``plan``: what is declared, and what merely touches it.

    Raises NotReadyError if vCenter cannot be used or its datacenter or cluster is missing.
    """
    with session(connection) as instance:
        return _Reader(connection, instance, plan).read()


# --- reading ------------------------------------------------------------------------------

_VM_PROPERTIES = (
    "name",
    "parent",
    "resourcePool",
    "runtime.powerState",
    "runtime.host",
    "config.template",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "config.guestId",
    "config.files.vmPathName",
    "config.extraConfig",
    "guest.net",
    "guest.ipAddress",
)


@dataclass(frozen=True)
class _Names:
    """Managed object id → name (of folders: path; of port groups: their key → name)."""

    hosts: Mapping[str, str]
    stores: Mapping[str, str]
    folders: Mapping[str, str]
    pools: Mapping[str, str]
    port_groups: Mapping[str, str]


class _Reader:
    def __init__(self, connection: Connection, instance: vim.ServiceInstance, plan: Plan) -> None:
        self.connection = connection
        self.instance = instance
        self.member = plan.member
        self.platform = plan.platform
        self.datacenter = self._one(vim.Datacenter, self.platform.datacenter).ref

    def read(self) -> VCenterFacts:
        switches = self._names(vim.DistributedVirtualSwitch)
        groups = self._all(vim.dvs.DistributedVirtualPortgroup, "name", "key", "config")
        pools = self._all(vim.ResourcePool, "name", "parent", "config.cpuAllocation", "config.memoryAllocation")
        cluster = self._one(vim.ClusterComputeResource, self.platform.cluster, "configurationEx")
        refreshed(self._all(vim.Datastore, "name"), (store.name for store in self.member.datastores))
        stores = self._all(vim.Datastore, *DATASTORE_PROPERTIES)
        store_clusters = self._all(vim.StoragePod, *CLUSTER_PROPERTIES)
        paths = folder_paths(self.instance)
        folders = [f for f in self._all(vim.Folder, "name") if moid(f.ref) in paths]
        names = _Names(
            hosts=self._names(vim.HostSystem),
            stores={moid(store.ref): str(store.get("name")) for store in stores},
            folders={moid(f.ref): paths[moid(f.ref)] for f in folders},
            pools={moid(pool.ref): str(pool.get("name")) for pool in pools},
            port_groups={str(group.get("key")): str(group.get("name")) for group in groups},
        )
        member_folder = next((f for f in folders if names.folders[moid(f.ref)] == self.member.folder), None)
        member_pool = self._member_pool(pools)
        port_groups = self._own_port_groups(_port_group(group, switches) for group in groups)
        all_vms = self._all(vim.VirtualMachine, *_VM_PROPERTIES)
        own_groups = {group.name for group in port_groups}
        mine = [vm for vm in all_vms if not vm.get("config.template") and self._concerns_member(vm, names, own_groups)]
        refs = [vm.ref for vm in mine] + [found.ref for found in (member_folder, member_pool) if found]
        refs += [found.ref for found in (*stores, *store_clusters)]
        tags = attached_tags(self.connection, refs)
        policies = applied_policies(self.instance, (key for vm in mine for key in _policy_keys(vm)))
        vms = [_vm(vm, names, tags.get(moid(vm.ref), {}), policies) for vm in mine]
        cluster_names = {moid(found.ref): str(found.get("name")) for found in store_clusters}
        return VCenterFacts(
            folders=tuple(sorted(names.folders.values())),
            folder_tags=tags.get(moid(member_folder.ref), {}) if member_folder else {},
            vms=tuple(sorted(vms, key=lambda vm: vm.name)),
            port_groups=tuple(sorted(port_groups, key=lambda group: group.name)),
            pool=_pool(member_pool, tags.get(moid(member_pool.ref), {})) if member_pool else None,
            datastores=tuple(
                datastore(store, cluster_names, names.hosts, tags.get(moid(store.ref), {})) for store in stores
            ),
            datastore_clusters=tuple(
                datastore_cluster(found, names.stores, tags.get(moid(found.ref), {})) for found in store_clusters
            ),
            cluster=cluster_facts(cluster, {moid(vm.ref): str(vm.get("name")) for vm in all_vms}, names.hosts),
            permissions=tuple(self._permissions(member_folder, member_pool)),
            roles={
                str(role.name): tuple(sorted(role.privilege or ())) for role in self._authorization().roleList or ()
            },
        )

    def _member_pool(self, pools: Iterable[Found]) -> Found | None:
        """The pool of the member's name directly below a cluster's root pool; a namesake deeper down is not it."""
        roots = {moid(pool.ref) for pool in pools if not isinstance(pool.get("parent"), vim.ResourcePool)}
        for pool in pools:
            parent = pool.get("parent")
            if pool.get("name") == self.member.resource_pool.name and parent is not None and moid(parent) in roots:
                return pool
        return None

    def _all(self, kind: type[vim.ManagedEntity], *properties: str) -> list[Found]:
        return collect(self.instance, kind, properties, self.datacenter)

    def _one(self, kind: type[vim.ManagedEntity], name: str, *properties: str) -> Found:
        root = None if kind is vim.Datacenter else self.datacenter
        return collect_named(self.instance, kind, name, properties, root)

    def _names(self, kind: type[vim.ManagedEntity]) -> dict[str, str]:
        return {moid(found.ref): str(found.get("name")) for found in self._all(kind, "name")}

    def _own_port_groups(self, port_groups: Iterable[PortGroupFacts]) -> list[PortGroupFacts]:
        """Those the plan names, and every other one that carries a VLAN of the member or its name as a prefix."""
        names = {zone.port_group for zone in self.member.zones}
        vlans = {zone.vlan for zone in self.member.zones}
        prefix = f"{self.member.key}-"
        return [g for g in port_groups if g.name in names or g.vlan in vlans or g.name.startswith(prefix)]

    def _concerns_member(self, vm: Found, names: _Names, own_groups: set[str]) -> bool:
        folder, pool = vm.get("parent"), vm.get("resourcePool")
        return (
            vm.get("name") in {server.name for server in self.member.servers}
            or is_below(_named(folder, names.folders) or "", self.member.folder)
            or _named(pool, names.pools) == self.member.resource_pool.name
            or any(nic.port_group in own_groups for nic in _nics(vm, names))
        )

    def _authorization(self) -> vim.AuthorizationManager:
        manager = self.instance.RetrieveContent().authorizationManager
        assert manager is not None  # optional only on bare ESXi  # noqa: S101
        return manager

    def _permissions(self, folder: Found | None, pool: Found | None) -> Iterable[PermissionFacts]:
        manager = self._authorization()
        roles = {role.roleId: str(role.name) for role in manager.roleList or ()}
        for on, found in (("folder", folder), ("pool", pool)):
            if found is None:
                continue
            for permission in manager.RetrieveEntityPermissions(found.ref, False) or ():
                yield PermissionFacts(
                    on=on,
                    principal=permission.principal,
                    role=roles.get(permission.roleId, f"role {permission.roleId}"),
                    is_group=permission.group,
                    propagate=permission.propagate,
                )


def _vm(
    vm: Found, names: _Names, tags: Mapping[str, tuple[str, ...]], policies: Mapping[str, AppliedPolicy]
) -> VmFacts:
    return VmFacts(
        name=str(vm.get("name")),
        folder=_named(vm.get("parent"), names.folders) or "",
        resource_pool=_named(vm.get("resourcePool"), names.pools),
        powered_on=str(vm.get("runtime.powerState")) == "poweredOn",
        cpus=int(vm.get("config.hardware.numCPU", 0)),
        memory_mib=int(vm.get("config.hardware.memoryMB", 0)),
        guest_id=str(vm.get("config.guestId", "")),
        host=_named(vm.get("runtime.host"), names.hosts),
        addresses=_addresses(vm),
        nics=tuple(_nics(vm, names)),
        home=HomeFacts(
            datastore=split_datastore_path(str(vm.get("config.files.vmPathName", "")))[0],
            **_policy(policies.get(moid(vm.ref))),
        ),
        disks=tuple(_disks(vm, names, policies)),
        tags=tags,
        customisation=customisation(settings(vm.get("config.extraConfig"))),
    )


def _named(ref: vim.ManagedEntity | None, names: Mapping[str, str]) -> str | None:
    return None if ref is None else names.get(moid(ref))


def _addresses(vm: Found) -> tuple[str, ...]:
    seen = {address for net in vm.get("guest.net") or () for address in net.ipAddress or ()}
    if vm.get("guest.ipAddress"):
        seen.add(vm.get("guest.ipAddress"))
    return tuple(sorted(seen))


def _nics(vm: Found, names: _Names) -> Iterable[NicFacts]:
    for device in vm.get("config.hardware.device") or ():
        if isinstance(device, vim.vm.device.VirtualEthernetCard):
            backing = device.backing
            key = (
                backing.port.portgroupKey
                if isinstance(backing, vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo)
                else None
            )
            connected = device.connectable is None or bool(device.connectable.startConnected)
            yield NicFacts(
                label=device.deviceInfo.label if device.deviceInfo else str(device.key),
                port_group=names.port_groups.get(str(key)) if key else getattr(backing, "deviceName", None),
                connected=connected,
            )


def _policy_keys(vm: Found) -> Iterable[str]:
    """How the policy service calls the VM's home and its disks."""
    yield moid(vm.ref)
    for device in vm.get("config.hardware.device") or ():
        if isinstance(device, vim.vm.device.VirtualDisk):
            yield f"{moid(vm.ref)}:{device.key}"


def _disks(vm: Found, names: _Names, policies: Mapping[str, AppliedPolicy]) -> Iterable[DiskFacts]:
    for device in vm.get("config.hardware.device") or ():
        if isinstance(device, vim.vm.device.VirtualDisk):
            store, path = split_datastore_path(getattr(device.backing, "fileName", ""))
            capacity = device.capacityInBytes or (device.capacityInKB or 0) * 1024
            yield DiskFacts(
                label=device.deviceInfo.label if device.deviceInfo else str(device.key),
                datastore=_named(getattr(device.backing, "datastore", None), names.stores) or store,
                path=path,
                capacity_mib=capacity // _MIB,
                mode=str(getattr(device.backing, "diskMode", "")),
                unit_number=device.unitNumber if device.unitNumber is not None else -1,
                **_policy(policies.get(f"{moid(vm.ref)}:{device.key}")),
            )


def _policy(applied: AppliedPolicy | None) -> dict[str, Any]:
    return {"policy": applied and applied.name, "compliance": applied.compliance if applied else ""}


def split_datastore_path(path: str) -> tuple[str, str]:
    """``[store] folder/disk.vmdk`` → (``store``, ``folder/disk.vmdk``)."""
    if path.startswith("[") and "]" in path:
        store, _, rest = path[1:].partition("]")
        return store, rest.strip()
    return "", path


def customisation(extra: Mapping[str, str]) -> CustomisationFacts | None:
    """Host name and addresses out of ``guestinfo.metadata``; None if the VM has none.

    Encodings are those of cloud-init's VMware data source: plain, base64, gzip+base64.
    """
    text = extra.get("guestinfo.metadata")
    if not text:
        return None
    encoding = extra.get("guestinfo.metadata.encoding", "")
    try:
        if encoding in ("base64", "b64", "gzip+base64", "gz+b64"):
            raw = base64.b64decode(text)
            text = (gzip.decompress(raw) if encoding.startswith("gz") else raw).decode()
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except (binascii.Error, OSError, UnicodeDecodeError, yaml.YAMLError):
        return CustomisationFacts(host_name=None, addresses=())
    if not isinstance(data, dict):
        return CustomisationFacts(host_name=None, addresses=())
    name = data.get("local-hostname")
    return CustomisationFacts(
        host_name=name if isinstance(name, str) else None, addresses=tuple(sorted(_network_addresses(data)))
    )


def _network_addresses(metadata: Mapping[str, Any]) -> set[str]:
    network = metadata.get("network")
    inner = network.get("config", network) if isinstance(network, dict) else {}
    cards = inner.get("ethernets") if isinstance(inner, dict) else None
    if not isinstance(cards, dict):
        return set()
    return {str(address) for card in cards.values() if isinstance(card, dict) for address in card.get("addresses", ())}


def _port_group(group: Found, switches: Mapping[str, str]) -> PortGroupFacts:
    config = group.get("config")
    policy = getattr(config, "defaultPortConfig", None)
    vlan = getattr(getattr(policy, "vlan", None), "vlanId", None)
    switch = _named(getattr(config, "distributedVirtualSwitch", None), switches)
    return PortGroupFacts(
        name=str(group.get("name")),
        switch=switch or "",
        vlan=vlan if isinstance(vlan, int) else None,
        promiscuous=_allowed(policy, "allowPromiscuous"),
        mac_changes=_allowed(policy, "macChanges"),
        forged_transmits=_allowed(policy, "forgedTransmits"),
        active_uplinks=active_uplinks(policy),
        overridable=overridable(getattr(config, "policy", None)),
    )


def active_uplinks(policy: object) -> tuple[str, ...]:
    """The uplinks that a port group's traffic may take while they are up (vSphere API, UplinkPortTeamingPolicy)."""
    order = getattr(getattr(policy, "uplinkTeamingPolicy", None), "uplinkPortOrder", None)
    return tuple(sorted(str(name) for name in getattr(order, "activeUplinkPort", None) or ()))


_OVERRIDES = ("securityPolicy", "vlan", "uplinkTeaming", "block", "trafficFilter")


def overridable(policy: object) -> tuple[str, ...]:
    """The settings that a port may override (vSphere API, DVPortgroupPolicy); what is not set counts as not allowed."""
    return tuple(name for name in _OVERRIDES if getattr(policy, f"{name}OverrideAllowed", None))


def _allowed(policy: object, name: str) -> bool:
    """Whether a port's security policy allows something; what is not set counts as vSphere's default: refused.

    Source: vSphere 8, distributed switches reject all three by default.
    """
    security = getattr(policy, "securityPolicy", None) or getattr(policy, "macManagementPolicy", None)
    value = getattr(security, name, None)
    return bool(getattr(value, "value", value))


def _pool(pool: Found, tags: Mapping[str, tuple[str, ...]]) -> PoolFacts:
    return PoolFacts(
        name=str(pool.get("name")),
        cpu_limit_mhz=_limit(pool.get("config.cpuAllocation")),
        memory_limit_mib=_limit(pool.get("config.memoryAllocation")),
        tags=tags,
    )


def _limit(allocation: vim.ResourceAllocationInfo | None) -> int:
    return -1 if allocation is None or allocation.limit is None else int(allocation.limit)


def cluster_facts(cluster: Found, vm_names: Mapping[str, str], hosts: Mapping[str, str]) -> ClusterFacts:
    """The cluster of ``cluster`` (its ``name`` and ``configurationEx``); names are looked up by managed object id."""
    config = cluster.get("configurationEx")

    def members(refs: Iterable[vim.ManagedEntity] | None, names: Mapping[str, str]) -> tuple[str, ...]:
        # Groups and rules may still name a VM that was deleted; what does not exist is not a member.
        return tuple(sorted(names[moid(ref)] for ref in refs or () if moid(ref) in names))

    groups = getattr(config, "group", None) or ()
    return ClusterFacts(
        name=str(cluster.get("name")),
        drs_enabled=_enabled(config, "drsConfig"),
        ha_enabled=_enabled(config, "dasConfig"),
        settings=settings_of(config) if isinstance(config, vim.cluster.ConfigInfoEx) else {},
        restart_priorities={
            vm_names[moid(override.key)]: str(override.dasSettings.restartPriority)
            for override in getattr(config, "dasVmConfig", None) or ()
            if moid(override.key) in vm_names and override.dasSettings and override.dasSettings.restartPriority
        },
        rules=tuple(
            sorted(
                (_rule(rule, lambda refs: members(refs, vm_names)) for rule in getattr(config, "rule", None) or ()),
                key=lambda rule: rule.name,
            )
        ),
        vm_groups={g.name: members(g.vm, vm_names) for g in groups if isinstance(g, vim.cluster.VmGroup)},
        host_groups={g.name: members(g.host, hosts) for g in groups if isinstance(g, vim.cluster.HostGroup)},
        own_settings=_own_settings(config, vm_names) if isinstance(config, vim.cluster.ConfigInfoEx) else {},
    )


def _own_settings(config: vim.cluster.ConfigInfoEx, vm_names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """A VM that DRS leaves alone never returns to its fire section; one that stays on a host without network waits."""
    found: dict[str, tuple[str, ...]] = {}
    for override in config.drsVmConfig or ():
        usual = override.enabled is not False and override.behavior in (None, config.drsConfig.defaultVmBehavior)
        if moid(override.key) in vm_names and not usual:
            how = "off" if override.enabled is False else str(override.behavior)
            found[vm_names[moid(override.key)]] = (f"DRS: {how}",)
    usual_response = config.dasConfig.defaultVmSettings and config.dasConfig.defaultVmSettings.isolationResponse
    for own in config.dasVmConfig or ():
        response = own.dasSettings and own.dasSettings.isolationResponse
        if moid(own.key) in vm_names and response not in (None, "clusterIsolationResponse", usual_response):
            name = vm_names[moid(own.key)]
            found[name] = (*found.get(name, ()), f"isolation response: {response}")
    return found


def _enabled(config: object, section: str) -> bool:
    return bool(getattr(getattr(config, section, None), "enabled", False))


def _rule(
    rule: vim.cluster.RuleInfo, named: Callable[[Iterable[vim.ManagedEntity] | None], tuple[str, ...]]
) -> RuleFacts:
    return RuleFacts(
        name=str(rule.name),
        enabled=bool(rule.enabled),
        mandatory=bool(rule.mandatory),
        apart=named(rule.vm) if isinstance(rule, vim.cluster.AntiAffinityRuleSpec) else (),
        together=named(rule.vm) if isinstance(rule, vim.cluster.AffinityRuleSpec) else (),
        vm_group=rule.vmGroupName if isinstance(rule, vim.cluster.VmHostRuleInfo) else None,
        affine_host_group=rule.affineHostGroupName if isinstance(rule, vim.cluster.VmHostRuleInfo) else None,
        anti_affine_host_group=rule.antiAffineHostGroupName if isinstance(rule, vim.cluster.VmHostRuleInfo) else None,
    )
