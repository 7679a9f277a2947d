"""Settings of the cluster as vCenter has them, in the words of its API."""

from __future__ import annotations

from pyVmomi import vim

from ksm_onboard.planning.plan import ClusterPlan

Settings = dict[str, str | int | bool | None]


def planned_settings(cluster: ClusterPlan) -> Settings:
    """What a plan says about the cluster, by the name of the setting."""
    ha = cluster.high_availability
    return {
        "drs_automation": "fullyAutomated",
        "drs_migration_threshold": cluster.drs_migration_threshold,
        "ha_host_monitoring": "enabled",
        "ha_admission_control": True,
        "ha_reserve_computed_by_vcenter": False,
        "ha_reserved_cpu_percent": ha.reserved_percent,
        "ha_reserved_memory_percent": ha.reserved_percent,
        "ha_isolation_response": ha.isolation_response,
        "ha_pdl_response": ha.pdl_response,
        "ha_apd_response": ha.apd_response,
        "ha_restart_priority": ha.restart_priority,
        "ha_ready_condition": ha.ready_condition,
        "ha_restart_timeout_seconds": ha.restart_timeout_seconds,
        "ha_vm_monitoring": ha.vm_monitoring,
    }


def settings_of(config: vim.cluster.ConfigInfoEx) -> Settings:
    """The same settings of a cluster in vCenter; None for one that it does not have."""
    das, drs = config.dasConfig, config.drsConfig
    policy = das.admissionControlPolicy
    if not isinstance(policy, vim.cluster.FailoverResourcesAdmissionControlPolicy):
        policy = None  # another policy keeps slots or hosts, not a share
    vm = das.defaultVmSettings
    storage = vm.vmComponentProtectionSettings if vm else None
    readiness = config.orchestration.defaultVmReadiness if config.orchestration else None
    return {
        "drs_automation": drs.defaultVmBehavior,
        "drs_migration_threshold": drs.vmotionRate,
        "ha_host_monitoring": das.hostMonitoring,
        "ha_admission_control": das.admissionControlEnabled,
        "ha_reserve_computed_by_vcenter": policy.autoComputePercentages if policy else None,
        "ha_reserved_cpu_percent": policy.cpuFailoverResourcesPercent if policy else None,
        "ha_reserved_memory_percent": policy.memoryFailoverResourcesPercent if policy else None,
        "ha_isolation_response": vm.isolationResponse if vm else None,
        "ha_pdl_response": storage.vmStorageProtectionForPDL if storage else None,
        "ha_apd_response": storage.vmStorageProtectionForAPD if storage else None,
        "ha_restart_priority": vm.restartPriority if vm else None,
        "ha_ready_condition": readiness.readyCondition if readiness else None,
        "ha_restart_timeout_seconds": vm.restartPriorityTimeout if vm else None,
        "ha_vm_monitoring": das.vmMonitoring,
    }
