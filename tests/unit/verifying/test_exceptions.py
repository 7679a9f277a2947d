"""Single VMs that DRS, HA or storage DRS treat differently from all others, as vCenter's API tells of them."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from ksm_onboard.vcenter import Found
from ksm_onboard.verifying.storage_facts import datastore_cluster
from ksm_onboard.verifying.vcenter_facts import cluster_facts

TYPES: Any = vim  # its constructors have no types
VM = TYPES.VirtualMachine("vm-7")


def config(**exceptions: Any) -> Any:
    return TYPES.cluster.ConfigInfoEx(
        dasConfig=TYPES.cluster.DasConfigInfo(
            defaultVmSettings=TYPES.cluster.DasVmSettings(isolationResponse="powerOff")
        ),
        drsConfig=TYPES.cluster.DrsConfigInfo(enabled=True, defaultVmBehavior="fullyAutomated"),
        **exceptions,
    )


def ha(response: str | None) -> Any:
    settings = TYPES.cluster.DasVmSettings(restartPriority="high", isolationResponse=response)
    return config(dasVmConfig=[TYPES.cluster.DasVmConfigInfo(key=VM, dasSettings=settings)])


def drs(**how: Any) -> Any:
    return config(drsVmConfig=[TYPES.cluster.DrsVmConfigInfo(key=VM, **how)])


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (config(), None),
        (ha(None), None),
        (ha("clusterIsolationResponse"), None),
        (ha("powerOff"), None),
        (ha("none"), ("isolation response: none",)),
        (drs(enabled=True), None),
        (drs(enabled=True, behavior="fullyAutomated"), None),
        (drs(enabled=False), ("DRS: off",)),
        (drs(enabled=True, behavior="manual"), ("DRS: manual",)),
    ],
)
def test_a_vm_with_settings_of_its_own(seen: Any, told: tuple[str, ...] | None) -> None:
    cluster = Found(TYPES.ClusterComputeResource("domain-c1"), {"name": "c", "configurationEx": seen})
    assert cluster_facts(cluster, {"vm-7": "gra-dns01"}, {}).own_settings.get("gra-dns01") == told


def test_storage_drs_with_exceptions() -> None:
    pod = TYPES.storageDrs.PodConfigInfo(
        enabled=True,
        defaultVmBehavior="manual",
        automationOverrides=TYPES.storageDrs.AutomationConfig(
            spaceLoadBalanceAutomationMode="automated", ioLoadBalanceAutomationMode="manual"
        ),
    )
    vms = [
        TYPES.storageDrs.VmConfigInfo(vm=VM, behavior="automated"),
        TYPES.storageDrs.VmConfigInfo(vm=TYPES.VirtualMachine("vm-8"), behavior="manual"),
    ]
    found = Found(
        TYPES.StoragePod("group-p1"),
        {
            "name": "gra-mirrored-a",
            "podStorageDrsEntry.storageDrsConfig.podConfig": pod,
            "podStorageDrsEntry.storageDrsConfig.vmConfig": vms,
        },
    )
    assert datastore_cluster(found, {}, {}).overrides == ("spaceLoadBalance", "vm-7")
