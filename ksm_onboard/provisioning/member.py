"""A member's stack: everything that is the member's own. It never creates shared things.

The platform's own VMs are such a component, too, in the platform's stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_vsphere as vsphere

from ksm_onboard.planning.plan import MemberPlan, Plan
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.provisioning.data_centre import DataCentre
from ksm_onboard.provisioning.growth import DiskGrowth
from ksm_onboard.provisioning.platform import PlatformReference
from ksm_onboard.provisioning.server import Server

# Storage DRS keeps to storage policies strictly (2), not merely where it can (1): vSphere Resource Management.
ENFORCE_STORAGE_POLICIES = {"EnforceStorageProfiles": "2"}


class MemberStack(pulumi.ComponentResource):
    """Folder, pool, networks, datastores, servers with their disks, placement and permissions of one member."""

    def __init__(
        self,
        plan: Plan,
        platform: PlatformReference,
        customisation: Customisation,
        growth: DiskGrowth,
        opts: pulumi.ResourceOptions | None = None,
        *,
        centre: DataCentre | None = None,
    ) -> None:
        member = plan.member
        super().__init__("ksm:member:Member", member.key, _for_the_policies(member, platform), opts)
        self._child = pulumi.ResourceOptions(parent=self)
        self._platform = platform
        self._centre = centre or DataCentre(plan.platform, self)
        self._own_tags = self._tags(member)
        self.folder = self._folder(member)
        self.resource_pool = self._resource_pool(member)
        self.port_groups = self._port_groups(member, plan.platform.uplinks)
        self.datastores = self._datastores(member, self._datastore_clusters(member))
        self.servers = {
            server.name: Server(
                server,
                centre=self._centre,
                platform=platform,
                customisation=customisation,
                growth=growth,
                datastores=self.datastores,
                folder=self.folder.path,
                resource_pool_id=self.resource_pool.id,
                network_id=self.port_groups[server.zone].id,
                tag_ids=self._tag_ids(server.tags),
                opts=self._child,
            )
            for server in member.servers
        }
        self._placements(member)
        self._pairs(member)
        self._restart_priorities(member)
        self._permissions(member)
        self.register_outputs(self.outputs())

    def outputs(self) -> dict[str, Any]:
        """What later stages need to find the member's objects."""
        return {
            "folder": self.folder.path,
            "resource_pool": self.resource_pool.id,
            "port_groups": {zone: {"id": group.id, "name": group.name} for zone, group in self.port_groups.items()},
            "datastores": {name: store.id for name, store in self.datastores.items()},
            "servers": {name: server.outputs() for name, server in self.servers.items()},
            "disks": {
                f"{name}-{disk}": {
                    "id": made.id,
                    "datastore": made.datastore,
                    "path": made.vmdk_path,
                    "size_gib": server.sizes[disk],
                }
                for name, server in self.servers.items()
                for disk, made in server.disks.items()
            },
        }

    def _tags(self, member: MemberPlan) -> dict[str, vsphere.Tag]:
        return {
            category: vsphere.Tag(
                f"{category}-{tag}",
                name=tag,
                description=member.name,
                category_id=self._platform.category(category),
                opts=self._child,
            )
            for category, tag in member.tags.items()
        }

    def _tag_ids(self, tags: Mapping[str, str]) -> list[pulumi.Output[str]]:
        """Ids of ``tags`` (category to name): the member's own, otherwise the platform's."""
        return [
            self._own_tags[category].id if category in self._own_tags else self._platform.tag(category, name)
            for category, name in tags.items()
        ]

    def _folder(self, member: MemberPlan) -> vsphere.Folder:
        return vsphere.Folder(
            member.folder,
            path=member.folder,
            type="vm",
            datacenter_id=self._centre.id,
            tags=self._tag_ids(member.tags),
            opts=self._child,
        )

    def _resource_pool(self, member: MemberPlan) -> vsphere.ResourcePool:
        pool = member.resource_pool
        return vsphere.ResourcePool(
            pool.name,
            name=pool.name,
            parent_resource_pool_id=self._centre.root_pool_id,
            cpu_limit=pool.cpu_limit_mhz,
            memory_limit=pool.memory_limit_mib,
            tags=self._tag_ids(member.tags),
            opts=self._child,
        )

    def _port_groups(self, member: MemberPlan, uplinks: tuple[str, ...]) -> dict[str, vsphere.DistributedPortGroup]:
        switch_id = self._centre.switch_id()
        return {
            zone.key: vsphere.DistributedPortGroup(
                zone.port_group,
                name=zone.port_group,
                description=f"{member.name}, {zone.title}, {zone.cidr}",
                distributed_virtual_switch_uuid=switch_id,
                vlan_id=zone.vlan,
                allow_promiscuous=False,
                allow_forged_transmits=False,
                allow_mac_changes=False,
                # Both uplinks carry traffic, and either carries all of it while the other is lost.
                active_uplinks=list(uplinks),
                standby_uplinks=[],
                teaming_policy="loadbalance_srcid",
                notify_switches=True,
                failback=True,
                # No port deviates from its group.
                security_policy_override_allowed=False,
                vlan_override_allowed=False,
                uplink_teaming_override_allowed=False,
                block_override_allowed=False,
                traffic_filter_override_allowed=False,
                port_config_reset_at_disconnect=True,
                opts=self._child,
            )
            for zone in member.zones
        }

    def _datastore_clusters(self, member: MemberPlan) -> dict[str, vsphere.DatastoreCluster]:
        return {
            cluster.name: vsphere.DatastoreCluster(
                cluster.name,
                name=cluster.name,
                datacenter_id=self._centre.id,
                sdrs_enabled=True,
                sdrs_automation_level=cluster.automation,
                # vSphere deprecates it; arrays balance load themselves.
                sdrs_io_load_balance_enabled=False,
                # Datastores of different tiers share the cluster: not even a recommendation may leave the policy.
                sdrs_advanced_options=ENFORCE_STORAGE_POLICIES,
                tags=self._tag_ids(cluster.tags),
                opts=self._child,
            )
            for cluster in member.datastore_clusters
        }

    def _datastores(
        self, member: MemberPlan, clusters: Mapping[str, vsphere.DatastoreCluster]
    ) -> dict[str, vsphere.NasDatastore]:
        """Mounted on every host of the sections that hold the data, so that HA can restart VMs on any of them."""
        hosts = {section.key: section.hosts for section in self._centre.sections}
        return {
            store.name: vsphere.NasDatastore(
                store.name,
                name=store.name,
                type="NFS",
                remote_hosts=[str(store.remote_host)],
                remote_path=store.remote_path,
                host_system_ids=[self._centre.host_id(host) for key in store.sections for host in hosts[key]],
                datastore_cluster_id=clusters[store.cluster].id if store.cluster else None,
                tags=self._tag_ids(store.tags),
                opts=pulumi.ResourceOptions(parent=self, protect=True),
            )
            for store in member.datastores
        }

    def _placements(self, member: MemberPlan) -> None:
        """Each section's servers *should* run on its hosts, so that HA may restart them in the other one."""
        for placement in member.placements:
            group = vsphere.ComputeClusterVmGroup(
                placement.vm_group,
                name=placement.vm_group,
                compute_cluster_id=self._centre.cluster_id,
                virtual_machine_ids=self._vm_ids(placement.servers),
                opts=self._child,
            )
            vsphere.ComputeClusterVmHostRule(
                placement.rule,
                name=placement.rule,
                compute_cluster_id=self._centre.cluster_id,
                vm_group_name=group.name,
                affinity_host_group_name=self._platform.host_group(placement.section),
                enabled=True,
                mandatory=False,
                opts=self._child,
            )

    def _pairs(self, member: MemberPlan) -> None:
        """Anti-affinity separates hosts, not sections: it completes the placement, and does not replace it."""
        for pair in member.pairs:
            vsphere.ComputeClusterVmAntiAffinityRule(
                pair.rule,
                name=pair.rule,
                compute_cluster_id=self._centre.cluster_id,
                virtual_machine_ids=self._vm_ids(pair.servers),
                enabled=True,
                mandatory=False,
                opts=self._child,
            )

    def _restart_priorities(self, member: MemberPlan) -> None:
        """For servers that differ from the cluster's priority.

        vCenter drops an override together with its VM. The provider cannot delete one whose VM is gone, and a VM that
        was deleted by hand could never be rebuilt; so the engine never asks it to.
        """
        for server in member.servers:
            if server.restart_priority is not None:
                vsphere.HaVmOverride(
                    f"{server.name}-restart",
                    compute_cluster_id=self._centre.cluster_id,
                    virtual_machine_id=self.servers[server.name].vm.id,
                    ha_vm_restart_priority=server.restart_priority,
                    opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(retain_on_delete=True)),
                )

    def _permissions(self, member: MemberPlan) -> None:
        vsphere.EntityPermissions(
            f"{member.key}-permissions",
            entity_id=self.folder.id,
            entity_type="Folder",
            permissions=[
                vsphere.EntityPermissionsPermissionArgs(
                    user_or_group=permission.principal,
                    is_group=permission.is_group,
                    propagate=permission.propagate,
                    role_id=self._platform.role(permission.role),
                )
                for permission in sorted(member.permissions, key=lambda permission: permission.principal.lower())
            ],
            opts=self._child,
        )

    def _vm_ids(self, names: tuple[str, ...]) -> list[pulumi.Output[str]]:
        return [self.servers[name].vm.id for name in names]


def _for_the_policies(member: MemberPlan, platform: PlatformReference) -> dict[str, Any]:
    """What the policy pack cannot see in resources: need for protection, exceptions, and whom ids belong to."""
    protection = member.protection
    return {
        "member": member.key,
        "protection": protection and protection.model_dump(mode="json"),
        "waivers": [waiver.model_dump(mode="json") for waiver in member.waivers],
        "platform": platform.for_the_policies(),
    }
