"""The audit against a vCenter that the real provider has filled: nothing differs, until somebody interferes.

The tests share one data centre and run in their order; each puts right what it has spoilt,
except for the last, which deletes a VM.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim

from ksm_onboard.vcenter import collect, host_keys, session
from ksm_onboard.verifying.audit_vcenter import compare_vcenter, missing_servers
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.vcenter_facts import read_vcenter

pytestmark = pytest.mark.lab

TYPES: Any = vim  # its constructors have no types
Standing = Any  # the fixture's type lives in conftest


def differences(standing: Standing) -> list[tuple[str, str, str, str, str, str]]:
    points = Comparison()
    compare_vcenter(standing.plan, read_vcenter(standing.connection, standing.plan), points)
    return [(d.kind, d.area.value, d.object, d.attribute, d.expected, d.found) for d in points.differences]


@contextlib.contextmanager
def behind_the_back(standing: Standing, kind: Any, name: str) -> Iterator[Any]:
    """An object of vCenter, in a session of its own."""
    with session(standing.connection) as instance:
        [found] = [entry.ref for entry in collect(instance, kind, ["name"]) if entry.get("name") == name]
        yield found


def finish(task: Any) -> None:
    wait: Any = WaitForTask  # untyped
    wait(task)


def test_what_was_provisioned_is_what_was_planned(standing: Standing) -> None:
    points = Comparison()
    compare_vcenter(standing.plan, read_vcenter(standing.connection, standing.plan), points)
    assert points.differences == []
    assert points.not_checked == []
    assert sum(tally.points for tally in points.tallies()) > 250


def test_host_keys_come_from_vcenter(standing: Standing) -> None:
    with session(standing.connection) as instance:
        keys = host_keys(instance, standing.plan.member.folder)
        assert host_keys(instance, "no-such-folder") == {}
    assert keys == {server.name: f"ssh-ed25519 AAAA{server.name}" for server in standing.plan.member.servers}


def test_memory_taken_away_is_found(standing: Standing) -> None:
    with behind_the_back(standing, vim.VirtualMachine, "gra-app01") as vm:
        finish(vm.PowerOffVM_Task())
        finish(vm.ReconfigVM_Task(TYPES.vm.ConfigSpec(memoryMB=2048)))
    found = differences(standing)
    assert ("different", "servers", "gra-app01", "memory_mib", "8192", "2048") in found
    assert ("different", "servers", "gra-app01", "powered_on", "yes", "no") in found
    with behind_the_back(standing, vim.VirtualMachine, "gra-app01") as vm:
        finish(vm.ReconfigVM_Task(TYPES.vm.ConfigSpec(memoryMB=8192)))
        finish(vm.PowerOnVM_Task())


def test_another_vlan_is_found(standing: Standing) -> None:
    with behind_the_back(standing, vim.dvs.DistributedVirtualPortgroup, "grabow-database") as group:
        finish(group.ReconfigureDVPortgroup_Task(vlan(group, 1999)))
    assert differences(standing) == [("different", "networks", "grabow-database", "vlan", "1221", "1999")]
    with behind_the_back(standing, vim.dvs.DistributedVirtualPortgroup, "grabow-database") as group:
        finish(group.ReconfigureDVPortgroup_Task(vlan(group, 1221)))


def vlan(group: Any, number: int) -> Any:
    port = group.config.defaultPortConfig
    port.vlan = TYPES.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec(vlanId=number, inherited=False)
    return TYPES.dvs.DistributedVirtualPortgroup.ConfigSpec(
        configVersion=group.config.configVersion, defaultPortConfig=port
    )


def test_a_rule_switched_off_is_found(standing: Standing) -> None:
    with behind_the_back(standing, vim.ClusterComputeResource, standing.plan.platform.cluster) as cluster:
        switch_rule(cluster, "grabow-apart-database", on=False)
    assert differences(standing) == [("different", "redundancy", "grabow-apart-database", "rule_enabled", "yes", "no")]
    with behind_the_back(standing, vim.ClusterComputeResource, standing.plan.platform.cluster) as cluster:
        switch_rule(cluster, "grabow-apart-database", on=True)


def switch_rule(cluster: Any, name: str, *, on: bool) -> None:
    [rule] = [rule for rule in cluster.configurationEx.rule if rule.name == name]
    rule.enabled = on
    spec = TYPES.cluster.ConfigSpecEx(rulesSpec=[TYPES.cluster.RuleSpec(operation="edit", info=rule)])
    finish(cluster.ReconfigureComputeResource_Task(spec, True))


def test_a_foreign_vm_in_the_folder_is_found(standing: Standing) -> None:
    with behind_the_back(standing, vim.VirtualMachine, "gra-app01") as vm:
        place = TYPES.vm.RelocateSpec(pool=vm.resourcePool, datastore=vm.datastore[0])
        finish(vm.CloneVM_Task(vm.parent, "gra-secret", TYPES.vm.CloneSpec(location=place, powerOn=False)))
    [found] = [d for d in differences(standing) if d[1] == "servers"]
    assert found[:4] == ("extra", "servers", "gra-secret (grabow)", "vm")
    with behind_the_back(standing, vim.VirtualMachine, "gra-secret") as vm:
        finish(vm.Destroy_Task())
    assert differences(standing) == []


def test_a_vm_deleted_behind_the_toolkits_back_is_found(standing: Standing) -> None:
    with behind_the_back(standing, vim.VirtualMachine, "gra-print01") as vm:
        finish(vm.PowerOffVM_Task())
        finish(vm.Destroy_Task())
    assert differences(standing) == [("missing", "servers", "gra-print01", "vm", "yes", "none")]
    facts = read_vcenter(standing.connection, standing.plan)
    assert missing_servers(standing.plan, facts) == {"gra-print01"}
