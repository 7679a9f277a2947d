"""One server: its data disks, which outlive it, and its VM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_vsphere as vsphere

from ksm_onboard.planning.plan import DataDiskPlan, ServerPlan
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.provisioning.data_centre import DataCentre
from ksm_onboard.provisioning.growth import DiskGrowth
from ksm_onboard.provisioning.platform import PlatformReference

# Minutes, as the provider counts them; its own defaults vary from release to release.
CLONE_TIMEOUT_MINUTES = 30
GUEST_ADDRESS_TIMEOUT_MINUTES = 5
SHUTDOWN_TIMEOUT_MINUTES = 3
POWER_ON_TIMEOUT_SECONDS = 300

# terraform-provider-vsphere, virtual_machine_disk_subresource.go: diskDatastoreComputedName.
PROVIDERS_UNKNOWN_DATASTORE = "<computed>"


class Server(pulumi.ComponentResource):
    """A VM cloned from its template, with its protected data disks attached."""

    def __init__(
        self,
        plan: ServerPlan,
        *,
        centre: DataCentre,
        platform: PlatformReference,
        customisation: Customisation,
        growth: DiskGrowth,
        datastores: Mapping[str, vsphere.NasDatastore],
        folder: pulumi.Input[str],
        resource_pool_id: pulumi.Input[str],
        network_id: pulumi.Input[str],
        tag_ids: list[pulumi.Output[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        # Read from the state: by the policies, and where a run has stopped, to tell what is left of a pair.
        told = {"role": plan.role, "section": plan.section} | ({"pair": plan.pair} if plan.pair else {})
        super().__init__("ksm:member:Server", plan.name, told, opts)
        self.plan = plan
        self._datastores = datastores
        self._growth = growth
        self.disks = {disk.name: self._data_disk(disk, centre) for disk in plan.disks}
        template = centre.template(plan.template)
        self.vm = vsphere.VirtualMachine(
            plan.name,
            name=plan.name,
            annotation=f"{plan.fqdn}, {plan.role}; declared in stacks/, provisioned by ksm-onboard",
            folder=folder,
            resource_pool_id=resource_pool_id,
            datastore_id=datastores[plan.datastore].id,
            storage_policy_id=platform.policy(plan.tier),
            host_system_id=centre.host_id(plan.first_host) if plan.first_host else None,
            guest_id=template.guest_id,
            firmware=template.firmware,
            scsi_type=template.scsi_type,
            num_cpus=plan.cpus,
            memory=plan.memory_mib,
            # Left out, the provider sees a difference after every change in vCenter's defaults and reboots the VM.
            ept_rvi_mode="automatic",
            hv_mode="hvAuto",
            network_interfaces=[
                vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network_id, adapter_type="vmxnet3")
            ],
            disks=[self._system_disk(platform), *(self._attached(disk, platform) for disk in plan.disks)],
            clone=vsphere.VirtualMachineCloneArgs(
                template_uuid=template.uuid, linked_clone=False, timeout=CLONE_TIMEOUT_MINUTES
            ),
            extra_config=customisation.guestinfo(plan),
            tags=tag_ids,
            wait_for_guest_ip_timeout=0,
            wait_for_guest_net_timeout=GUEST_ADDRESS_TIMEOUT_MINUTES,
            wait_for_guest_net_routable=False,
            shutdown_wait_timeout=SHUTDOWN_TIMEOUT_MINUTES,
            poweron_timeout=POWER_ON_TIMEOUT_SECONDS,
            opts=pulumi.ResourceOptions(
                parent=self,
                # A newer template must not rebuild servers that run. Userdata is read at the first boot
                # only: a later change would reboot the VM and have no effect. DRS moves VMs.
                ignore_changes=["clone", 'extraConfig["guestinfo.userdata"]', "host_system_id"],
                # Two VMs of one name cannot stand in one folder.
                delete_before_replace=True,
            ),
        )
        self.sizes = {disk.name: self._size(disk) for disk in plan.disks}
        self.register_outputs(self.outputs())

    def outputs(self) -> dict[str, pulumi.Input[str]]:
        """How later stages find the VM; ``address`` is what the guest itself reports."""
        return {
            "id": self.vm.id,
            "uuid": self.vm.uuid,
            "moid": self.vm.moid,
            "address": self.vm.default_ip_address,
        }

    def _data_disk(self, disk: DataDiskPlan, centre: DataCentre) -> vsphere.VirtualDisk:
        return vsphere.VirtualDisk(
            f"{self.plan.name}-{disk.name}",
            datacenter=centre.name,
            datastore=self._datastores[disk.datastore].name,
            vmdk_path=disk.vmdk,
            size=disk.size_gib,
            type="thin",
            create_directories=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=True,
                # The provider would replace the disk; it grows in place instead (growth.py).
                ignore_changes=["size"],
            ),
        )

    def _size(self, disk: DataDiskPlan) -> pulumi.Output[int]:
        """The disk's size in GiB, which is that of the plan once this is resolved; a preview changes nothing."""
        if pulumi.runtime.is_dry_run():
            return pulumi.Output.from_input(disk.size_gib)
        seen = pulumi.Output.all(self.disks[disk.name].size, self.vm.moid)
        return seen.apply(
            lambda known: (
                self._growth.grow(self.plan.name, known[1], disk) if known[0] < disk.size_gib else int(known[0])
            )
        )

    def _system_disk(self, platform: PlatformReference) -> vsphere.VirtualMachineDiskArgs:
        return vsphere.VirtualMachineDiskArgs(
            label="disk0",
            unit_number=0,
            size=self.plan.system_disk_gib,
            thin_provisioned=True,
            datastore_id=self._datastores[self.plan.datastore].id,
            storage_policy_id=platform.policy(self.plan.tier),
        )

    def _attached(self, disk: DataDiskPlan, platform: PlatformReference) -> vsphere.VirtualMachineDiskArgs:
        return vsphere.VirtualMachineDiskArgs(
            label=f"disk{disk.unit_number}",
            unit_number=disk.unit_number,
            attach=True,
            path=self.disks[disk.name].vmdk_path,
            datastore_id=_known(self._datastores[disk.datastore].id),
            storage_policy_id=platform.policy(disk.tier),
        )


def _known(datastore_id: pulumi.Output[str]) -> pulumi.Output[str]:
    """``datastore_id``, where a preview cannot know it yet as the provider itself writes such an id.

    In a preview the provider takes an unknown datastore of an attached disk for a missing one, and refuses it.
    """

    def named(value: Any) -> str:
        return value if isinstance(value, str) else PROVIDERS_UNKNOWN_DATASTORE

    return datastore_id.apply(named, run_with_unknowns=True)
