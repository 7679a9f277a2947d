"""Datastores on the lab's array, in a datastore cluster, with a machine and its data on them.

Configuration: ``in_cluster`` (whether the datastores are in the cluster), ``data_gib`` (size of the data disk),
``disk_gib`` (size of a disk of the machine's own), ``tagged`` (whether the datastores carry the policy's tag).
"""

from __future__ import annotations

import pulumi
import pulumi_vsphere as vsphere

config = pulumi.Config()
in_cluster = config.require_bool("in_cluster")
data_gib = config.require_int("data_gib")
disk_gib = config.require_int("disk_gib")
tagged = config.require_bool("tagged")

datacenter = vsphere.get_datacenter(name="Schwerin")
compute = vsphere.get_compute_cluster(name="sn-cluster01", datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name="tpl-debian-12", datacenter_id=datacenter.id)
hosts = [
    vsphere.get_host(name=name, datacenter_id=datacenter.id).id
    for name in ("sn-esx-a01", "sn-esx-a02", "sn-esx-b01", "sn-esx-b02")
]

category = vsphere.TagCategory(
    "tiers", name="ksm-tier", cardinality="SINGLE", associable_types=["Datastore", "StoragePod"]
)
tag = vsphere.Tag("mirrored", name="mirrored", category_id=category.id)
policy = vsphere.VmStoragePolicy(
    "policy",
    name="ksm-mirrored",
    tag_rules=[{"tag_category": category.name, "tags": [tag.name], "include_datastores_with_tags": True}],
)

pod = vsphere.DatastoreCluster(
    "pod",
    name="gra-a",
    datacenter_id=datacenter.id,
    sdrs_enabled=True,
    sdrs_automation_level="manual",
    sdrs_default_intra_vm_affinity=True,
    sdrs_free_space_threshold_mode="utilization",
    sdrs_space_utilization_threshold=85,
    sdrs_free_space_utilization_difference=10,
    sdrs_io_load_balance_enabled=False,
    sdrs_load_balance_interval=240,
    sdrs_rule_enforcement_automation_level="automated",
    sdrs_advanced_options={"IgnoreAffinityRulesForMaintenance": "1"},
    tags=[tag.id],
)


def store(name: str, path: str, kind: str) -> vsphere.NasDatastore:
    """An export of the array, on all hosts."""
    return vsphere.NasDatastore(
        name,
        name=name,
        type=kind,
        remote_hosts=["sn-nas-a.ksm.internal"],
        remote_path=path,
        host_system_ids=hosts,
        datastore_cluster_id=pod.id if in_cluster else None,
        tags=[tag.id] if tagged else [],
    )


gold = store("gra-gold", "/ksm/grabow/gold", "NFS41")
silver = store("gra-silver", "/ksm/grabow/silver", "NFS")

data = vsphere.VirtualDisk(
    "data",
    vmdk_path="ksm-data/gra-file01-data.vmdk",
    datastore=silver.name,
    datacenter=datacenter.name,
    size=data_gib,
    type="thin",
    create_directories=True,
    # Its datastore's path changes when that moves into a cluster; by name it is the same.
    opts=pulumi.ResourceOptions(depends_on=[silver]),
)
switch = vsphere.get_distributed_virtual_switch(name="sn-dvs01", datacenter_id=datacenter.id)
network = vsphere.DistributedPortGroup("net", name="grabow", distributed_virtual_switch_uuid=switch.id, vlan_id=1210)
vsphere.VirtualMachine(
    "gra-file01",
    name="gra-file01",
    resource_pool_id=compute.resource_pool_id,
    datastore_id=gold.id,
    storage_policy_id=policy.id,
    guest_id=template.guest_id,
    num_cpus=1,
    memory=1024,
    scsi_type="pvscsi",
    network_interfaces=[{"network_id": network.id, "adapter_type": "vmxnet3"}],
    disks=[
        vsphere.VirtualMachineDiskArgs(label="disk0", unit_number=0, size=20, storage_policy_id=policy.id),
        vsphere.VirtualMachineDiskArgs(
            label="disk1", unit_number=1, attach=True, path=data.vmdk_path, datastore_id=silver.id
        ),
        vsphere.VirtualMachineDiskArgs(label="disk2", unit_number=2, size=disk_gib, datastore_id=gold.id),
    ],
    clone=vsphere.VirtualMachineCloneArgs(template_uuid=template.id, timeout=10),
    wait_for_guest_net_timeout=0,
    opts=pulumi.ResourceOptions(ignore_changes=["clone"]),
)
