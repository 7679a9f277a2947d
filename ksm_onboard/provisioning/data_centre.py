"""What stands in the vCenter before any stack: found by name, once per stack, never per VM."""

from __future__ import annotations

import copy

import pulumi
import pulumi_vsphere as vsphere

from ksm_onboard.connection import Connection
from ksm_onboard.planning.plan import PlatformPlan

API_TIMEOUT_MINUTES = 5


def vcenter_provider(connection: Connection) -> vsphere.Provider:
    """The one provider of a stack, logged in to the connection's vCenter over verified TLS.

    The password becomes a secret of the stack's state. Raises NotReadyError if it cannot be read.
    """
    return vsphere.Provider(
        "vcenter",
        vsphere_server=connection.vcenter.server,
        user=connection.vcenter.user,
        password=pulumi.Output.secret(connection.vcenter.password()),
        allow_unverified_ssl=False,
        api_timeout=API_TIMEOUT_MINUTES,
    )


class DataCentre:
    """The inventory that the plan names, as ids. Every look-up is made once and kept."""

    def __init__(self, plan: PlatformPlan, parent: pulumi.Resource) -> None:
        self._opts = pulumi.InvokeOutputOptions(parent=parent)
        self.name = plan.datacenter
        self.sections = plan.sections
        self.id = vsphere.get_datacenter_output(name=plan.datacenter, opts=self._opts).id
        cluster = vsphere.get_compute_cluster_output(name=plan.cluster, datacenter_id=self.id, opts=self._opts)
        self.cluster_id = cluster.id
        self.root_pool_id = cluster.resource_pool_id
        self._plan = plan
        self._hosts: dict[str, pulumi.Output[str]] = {}
        self._templates: dict[str, pulumi.Output[vsphere.GetVirtualMachineResult]] = {}

    def settled(self, cluster_id: pulumi.Output[str]) -> DataCentre:
        """The same, for what must wait until the platform's stack has set the cluster up."""
        same = copy.copy(self)
        same.cluster_id = cluster_id
        return same

    def host_id(self, name: str) -> pulumi.Output[str]:
        """The id of a hypervisor host."""
        if name not in self._hosts:
            self._hosts[name] = vsphere.get_host_output(name=name, datacenter_id=self.id, opts=self._opts).id
        return self._hosts[name]

    def switch_id(self) -> pulumi.Output[str]:
        """The id of the distributed switch that carries all port groups."""
        return vsphere.get_distributed_virtual_switch_output(
            name=self._plan.switch, datacenter_id=self.id, opts=self._opts
        ).id

    def template(self, key: str) -> pulumi.Output[vsphere.GetVirtualMachineResult]:
        """The template with the plan's ``key``, as vCenter describes it."""
        if key not in self._templates:
            name = next(template.name for template in self._plan.templates if template.key == key)
            self._templates[key] = vsphere.get_virtual_machine_output(name=name, datacenter_id=self.id, opts=self._opts)
        return self._templates[key]
