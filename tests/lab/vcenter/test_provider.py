"""The real engine and the real vSphere provider against the lab's vCenter."""

from __future__ import annotations

import pytest

from ksm_onboard.verifying.vcenter_facts import active_uplinks, overridable
from tests.lab.vcenter.conftest import Stack, VCenter
from tests.lab.vcenter.door import Door

pytestmark = pytest.mark.lab

MACHINES = {"gra-file01", "gra-dns01", "gra-dns02"}
DATA_DISK = "[sn-mirror01] ksm-data/grabow/gra-file01-data.vmdk"


def test_everything_is_created_and_nothing_differs_afterwards(stack: Stack, vcenter: VCenter) -> None:
    stack.up()
    stack.assert_settled()
    assert stack.pulumi("stack", "output", "address").strip() == "10.64.12.21"
    with Door(vcenter) as door:
        machines = door.machines()
        assert set(machines) == MACHINES | {"tpl-debian-12"}
        assert {vm.guest.ipAddress for name, vm in machines.items() if name in MACHINES} == {
            "10.64.12.11",
            "10.64.12.12",
            "10.64.12.21",
        }
        assert [disk.backing.fileName for disk in door.disks(machines["gra-file01"])] == [
            "[sn-mirror01] gra-file01/gra-file01.vmdk",
            DATA_DISK,
        ]
        assert [disk.capacityInKB >> 20 for disk in door.disks(machines["gra-file01"])] == [20, 10]
        portgroup = machines["gra-dns01"].network[0]
        assert portgroup.name == "grabow-server"
        assert portgroup.config.defaultPortConfig.vlan.vlanId == 1210
        assert not portgroup.config.defaultPortConfig.securityPolicy.allowPromiscuous.value
        assert portgroup.config.distributedVirtualSwitch.name == "sn-dvs01"
        teaming = portgroup.config.defaultPortConfig.uplinkTeamingPolicy
        assert teaming.policy.value == "loadbalance_srcid"
        assert list(teaming.uplinkPortOrder.activeUplinkPort) == ["uplink1", "uplink2"]
        assert not teaming.uplinkPortOrder.standbyUplinkPort
        # The audit reads the same.
        assert active_uplinks(portgroup.config.defaultPortConfig) == ("uplink1", "uplink2")
        assert overridable(portgroup.config.policy) == ()


def test_cluster_rules_are_readable_and_obeyed(stack: Stack, vcenter: VCenter) -> None:
    stack.up()
    with Door(vcenter) as door:
        cluster = door.cluster()
        assert {rule.name for rule in cluster.configurationEx.rule} == {
            "grabow-dns-apart",
            "grabow-first-in-a",
            "grabow-second-in-b",
        }
        override = cluster.configurationEx.dasVmConfig[0]
        assert (override.key.name, override.dasSettings.restartPriority) == ("gra-dns01", "highest")
        door.eventually(lambda: door.machines()["gra-dns01"].runtime.host.name.startswith("sn-esx-a"))
        door.eventually(lambda: door.machines()["gra-dns02"].runtime.host.name.startswith("sn-esx-b"))


def test_ownership_is_readable(stack: Stack, vcenter: VCenter) -> None:
    stack.up()
    with Door(vcenter) as door:
        machine = door.machines()["gra-dns01"]
        assert door.tags_of(machine) == {"grabow"}
        assert [value.value for value in machine.customValue] == ["grabow"]
        folder = machine.parent
        assert door.tags_of(folder) == {"grabow"}
        assert door.permissions(folder) == {"vsphere.local\\grabow-it": "ksm-member"}
        assert machine.resourcePool.config.memoryAllocation.limit == 65536


def test_machines_grow_in_place(stack: Stack, vcenter: VCenter) -> None:
    stack.up()
    started = len(vcenter.guest_calls())
    stack.configure(cpus=4, extra_disk=30)
    assert "3 updated" in stack.up()
    stack.configure(extra_disk=40)
    assert "3 updated" in stack.up()
    stack.assert_settled()
    assert len(vcenter.guest_calls()) == started, "adding CPUs and disks restarted a guest"
    with Door(vcenter) as door:
        machine = door.machines()["gra-dns01"]
        assert machine.config.hardware.numCPU == 4
        assert [disk.capacityInKB >> 20 for disk in door.disks(machine)] == [20, 40]


def test_memory_needs_a_restart_of_the_guest(stack: Stack, vcenter: VCenter) -> None:
    stack.up()
    stack.configure(memory=4096)
    stack.up()
    stack.assert_settled()
    verbs = [verb for verb, call in vcenter.guest_calls() if call["name"] == "gra-dns01"]
    assert verbs == ["start", "stop", "start"]
    assert vcenter.guest_calls()[-1][1]["memory_mib"] == 4096


def test_data_disk_survives_its_machine(stack: Stack, vcenter: VCenter) -> None:
    stack.up()
    stack.configure(machines=False)
    stack.up()
    with Door(vcenter) as door:
        assert set(door.machines()) == {"tpl-debian-12"}
        assert door.files("[sn-mirror01] ksm-data/grabow") == {"gra-file01-data.vmdk": 10}
    stack.configure(machines=True)
    stack.up()
    stack.assert_settled()
    starts = [call for verb, call in vcenter.guest_calls() if verb == "start" and call["name"] == "gra-file01"]
    assert [disk["path"] for disk in starts[-1]["disks"]][1] == DATA_DISK
    assert starts[-1]["disks"][1]["capacity_bytes"] == 10 << 30


def test_machine_deleted_by_hand_comes_back(stack: Stack, vcenter: VCenter) -> None:
    stack.up()
    with Door(vcenter) as door:
        door.delete(door.machines()["gra-dns01"])
        door.delete(door.machines()["gra-dns02"])
    assert "cannot locate virtual machine" in stack.pulumi("refresh", "--yes", "--skip-preview", fails=True)
    stack.pulumi(
        "state", "delete", "--yes", "urn:pulumi:test::vcenter-test::vsphere:index/haVmOverride:HaVmOverride::restart"
    )
    stack.refresh()
    stack.up()
    stack.assert_settled()
    with Door(vcenter) as door:
        rules = {rule.name: rule for rule in door.cluster().configurationEx.rule}
        assert {vm.name for vm in rules["grabow-dns-apart"].vm} == {"gra-dns01", "gra-dns02"}
        door.eventually(lambda: door.machines()["gra-dns02"].runtime.host.name.startswith("sn-esx-b"))
        (override,) = door.cluster().configurationEx.dasVmConfig
        assert (override.key.name, override.dasSettings.restartPriority) == ("gra-dns01", "highest")


def test_destroy_leaves_only_the_empty_data_centre(stack: Stack, vcenter: VCenter) -> None:
    stack.up()
    stack.pulumi("destroy", "--yes", "--skip-preview")
    with Door(vcenter) as door:
        assert set(door.machines()) == {"tpl-debian-12"}
        assert not door.cluster().configurationEx.rule
        assert not door.cluster().configurationEx.group
        assert door.files("[sn-mirror01] ksm-data/grabow") == {}
        assert {network.name.split("-DVUplinks")[0] for network in door.datacenter().network} == {
            "sn-dvs01",
            "sn-dvs01-templates",
        }
    stopped = [call["name"] for verb, call in vcenter.guest_calls() if verb == "stop"]
    assert sorted(stopped) == sorted(MACHINES)


def test_wrong_password_is_said(stack: Stack) -> None:
    stack.environment["VSPHERE_PASSWORD"] = "wrong"
    assert "Login failure" in stack.pulumi("preview", fails=True)


def test_unknown_authority_is_said(stack: Stack) -> None:
    del stack.environment["SSL_CERT_FILE"]
    assert "certificate signed by unknown authority" in stack.pulumi("preview", fails=True)
