"""A small member with every kind of resource that the onboarding uses, against the lab's vCenter.

Configuration: ``cpus``, ``memory``, ``extra_disk`` (GiB, 0 for none), ``machines`` (whether there are any).
"""

from __future__ import annotations

import base64

import pulumi
import pulumi_vsphere as vsphere

config = pulumi.Config()
cpus = config.require_int("cpus")
memory = config.require_int("memory")
extra_disk = config.require_int("extra_disk")
with_machines = config.require_bool("machines")

datacenter = vsphere.get_datacenter(name="Schwerin")
cluster = vsphere.get_compute_cluster(name="sn-cluster01", datacenter_id=datacenter.id)
store = vsphere.get_datastore(name="sn-mirror01", datacenter_id=datacenter.id)
switch = vsphere.get_distributed_virtual_switch(name="sn-dvs01", datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name="tpl-debian-12", datacenter_id=datacenter.id)

category = vsphere.TagCategory(
    "category",
    name="ksm-member",
    cardinality="SINGLE",
    associable_types=["VirtualMachine", "Folder", "ResourcePool", "DistributedVirtualPortgroup", "Datastore"],
)
tag = vsphere.Tag("tag", name="grabow", category_id=category.id)
tiers = vsphere.TagCategory("tiers", name="ksm-tier", cardinality="SINGLE", associable_types=["Datastore"])
mirrored = vsphere.Tag("mirrored", name="mirrored", category_id=tiers.id)
policy = vsphere.VmStoragePolicy(
    "policy",
    name="ksm-mirrored",
    description="both fire sections",
    tag_rules=[{"tag_category": tiers.name, "tags": [mirrored.name], "include_datastores_with_tags": True}],
)
attribute = vsphere.CustomAttribute("attribute", name="ksm.member", managed_object_type="VirtualMachine")
role = vsphere.Role("role", name="ksm-member", role_privileges=["VirtualMachine.Interact.PowerOn"])

folder = vsphere.Folder("folder", path="grabow", type="vm", datacenter_id=datacenter.id, tags=[tag.id])
vsphere.EntityPermissions(
    "permissions",
    entity_id=folder.id,
    entity_type="Folder",
    permissions=[
        {"user_or_group": "vsphere.local\\grabow-it", "is_group": True, "propagate": True, "role_id": role.id}
    ],
)
pool = vsphere.ResourcePool(
    "pool",
    name="grabow",
    parent_resource_pool_id=cluster.resource_pool_id,
    cpu_limit=20000,
    memory_limit=65536,
    memory_reservation=1024,
    memory_expandable=False,
    tags=[tag.id],
)
network = vsphere.DistributedPortGroup(
    "network",
    name="grabow-server",
    distributed_virtual_switch_uuid=switch.id,
    vlan_id=1210,
    number_of_ports=16,
    active_uplinks=["uplink1", "uplink2"],
    standby_uplinks=[],
    teaming_policy="loadbalance_srcid",
    notify_switches=True,
    failback=True,
    allow_promiscuous=False,
    allow_forged_transmits=False,
    allow_mac_changes=False,
    security_policy_override_allowed=False,
    vlan_override_allowed=False,
    uplink_teaming_override_allowed=False,
    block_override_allowed=False,
    traffic_filter_override_allowed=False,
    netflow_override_allowed=False,
    live_port_moving_allowed=False,
    port_config_reset_at_disconnect=True,
    tags=[tag.id],
)
data = vsphere.VirtualDisk(
    "data",
    vmdk_path="ksm-data/grabow/gra-file01-data.vmdk",
    datastore=store.name,
    datacenter=datacenter.name,
    size=10,
    # Anything but thin reads back as thin: the simulator provisions nothing else.
    type="thin",
    create_directories=True,
)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def machine(name: str, address: str, attached: vsphere.VirtualDisk | None = None) -> vsphere.VirtualMachine:
    """A clone of the Debian template, customised through guestinfo."""
    disks = [
        vsphere.VirtualMachineDiskArgs(label="disk0", unit_number=0, size=20, storage_policy_id=policy.id),
    ]
    if attached is not None:
        disks.append(
            vsphere.VirtualMachineDiskArgs(
                label="disk1", unit_number=1, attach=True, path=attached.vmdk_path, datastore_id=store.id
            )
        )
    if extra_disk:
        disks.append(vsphere.VirtualMachineDiskArgs(label="disk2", unit_number=2, size=extra_disk))
    metadata = f"""\
instance-id: {name}
local-hostname: {name}
network:
  version: 2
  ethernets:
    primary:
      addresses: ["{address}/24"]
      routes: [{{to: default, via: 10.64.12.1}}]
"""
    return vsphere.VirtualMachine(
        name,
        name=name,
        folder=folder.path,
        resource_pool_id=pool.id,
        datastore_id=store.id,
        storage_policy_id=policy.id,
        guest_id=template.guest_id,
        num_cpus=cpus,
        memory=memory,
        cpu_hot_add_enabled=True,
        scsi_type="pvscsi",
        network_interfaces=[{"network_id": network.id, "adapter_type": "vmxnet3"}],
        disks=disks,
        clone=vsphere.VirtualMachineCloneArgs(template_uuid=template.id, timeout=10),
        extra_config={
            "guestinfo.metadata": _encoded(metadata),
            "guestinfo.metadata.encoding": "base64",
            "guestinfo.userdata": _encoded("#cloud-config\n"),
            "guestinfo.userdata.encoding": "base64",
        },
        wait_for_guest_net_timeout=2,
        tags=[tag.id],
        custom_attributes=attribute.id.apply(lambda key: {key: "grabow"}),
        opts=pulumi.ResourceOptions(ignore_changes=["clone"]),
    )


def hosts(prefix: str) -> list[str]:
    """The hosts of a fire section."""
    names = [f"{prefix}{number:02}" for number in (1, 2)]
    return [vsphere.get_host(name=name, datacenter_id=datacenter.id).id for name in names]


def place(name: str, section: str, group: vsphere.ComputeClusterHostGroup, vm: vsphere.VirtualMachine) -> None:
    """Prefer one fire section for a machine."""
    machines = vsphere.ComputeClusterVmGroup(
        f"machines-{section}", name=name, compute_cluster_id=cluster.id, virtual_machine_ids=[vm.id]
    )
    vsphere.ComputeClusterVmHostRule(
        f"rule-{section}",
        name=f"{name}-in-{section}",
        compute_cluster_id=cluster.id,
        vm_group_name=machines.name,
        affinity_host_group_name=group.name,
        mandatory=False,
    )


groups = {
    section: vsphere.ComputeClusterHostGroup(
        f"section-{section}",
        name=f"section-{section}",
        compute_cluster_id=cluster.id,
        host_system_ids=hosts(f"sn-esx-{section}"),
    )
    for section in ("a", "b")
}

if with_machines:
    file01 = machine("gra-file01", "10.64.12.21", data)
    dns01 = machine("gra-dns01", "10.64.12.11")
    dns02 = machine("gra-dns02", "10.64.12.12")
    place("grabow-first", "a", groups["a"], dns01)
    place("grabow-second", "b", groups["b"], dns02)
    vsphere.ComputeClusterVmAntiAffinityRule(
        "apart",
        name="grabow-dns-apart",
        compute_cluster_id=cluster.id,
        virtual_machine_ids=[dns01.id, dns02.id],
        mandatory=False,
    )
    vsphere.HaVmOverride(
        "restart",
        compute_cluster_id=cluster.id,
        virtual_machine_id=dns01.id,
        ha_vm_restart_priority="highest",
        # The provider cannot delete an override whose machine is gone; vCenter drops it with the machine.
        opts=pulumi.ResourceOptions(retain_on_delete=True),
    )
    pulumi.export("address", file01.default_ip_address)
