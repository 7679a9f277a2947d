"""An existing cluster is adopted and given its settings."""

from __future__ import annotations

import pulumi
import pulumi_vsphere as vsphere

percent = pulumi.Config().require_int("percent")
datacenter = vsphere.get_datacenter(name="Schwerin")
cluster = vsphere.ComputeCluster(
    "cluster",
    name="sn-cluster01",
    datacenter_id=datacenter.id,
    drs_enabled=True,
    drs_automation_level="fullyAutomated",
    ha_enabled=True,
    ha_admission_control_policy="resourcePercentage",
    ha_admission_control_resource_percentage_auto_compute=False,
    ha_admission_control_resource_percentage_cpu=percent,
    ha_admission_control_resource_percentage_memory=percent,
    ha_host_isolation_response="powerOff",
    ha_datastore_pdl_response="restartAggressive",
    opts=pulumi.ResourceOptions(
        import_="/Schwerin/host/sn-cluster01", retain_on_delete=True, ignore_changes=["host_system_ids"]
    ),
)
pulumi.export("cluster", cluster.id)
