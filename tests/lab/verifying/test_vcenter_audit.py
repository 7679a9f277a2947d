"""The audit against a vCenter that the real provider has filled: nothing differs, until somebody interferes.

The tests share one data centre. Each looks before and after it interferes, and what comes
on top must be exactly what it did.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pyVmomi import vim

from ksm_onboard.declaration.record import write_record
from ksm_onboard.lab.array import set_exports
from ksm_onboard.onboarding.lab_world import array_exports
from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.load import Declarations, load_plan
from ksm_onboard.progress import Silent
from ksm_onboard.vcenter import collect, host_keys, moid, rest_session, session
from ksm_onboard.verifying.audit_vcenter import compare_vcenter, missing_servers
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.vcenter_facts import read_vcenter

LAB = "verifying-test"
_TAGS = "com/vmware/cis/tagging/tag"
pytestmark = pytest.mark.lab

TYPES: Any = vim  # its constructors have no types
Standing = Any  # the fixture's type lives in conftest
Row = tuple[str, str, str, str, str, str]


def differences(standing: Standing) -> list[Row]:
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
    while task.info.state in ("queued", "running"):
        time.sleep(0.05)
    assert task.info.state == "success", task.info.error


@contextlib.contextmanager
def without_tag(standing: Standing, ref: vim.ManagedEntity, tag: str) -> Iterator[None]:
    """The object does not carry the tag of this name while the block lasts."""
    target = {"object_id": {"type": "Datastore", "id": moid(ref)}}
    with rest_session(standing.connection.vcenter) as rest:
        tags = {rest.get(f"com/vmware/cis/tagging/tag/id:{id_}")["name"]: id_ for id_ in rest.get(_TAGS)}
        association = f"{rest.root}com/vmware/cis/tagging/tag-association/id:{tags[tag]}?~action="
        rest.web.post(f"{association}detach", json=target).raise_for_status()
        try:
            yield
        finally:
            rest.web.post(f"{association}attach", json=target).raise_for_status()


def test_what_was_provisioned_is_what_was_planned(standing: Standing) -> None:
    points = Comparison()
    compare_vcenter(standing.plan, read_vcenter(standing.connection, standing.plan), points)
    assert points.differences == []
    assert points.not_checked == []
    assert sum(tally.points for tally in points.tallies()) > 250


def test_a_disk_and_its_export_grow_in_place_with_their_content(standing: Standing) -> None:
    """The declaration says more, the record follows, the array's administrator acts, the stack comes last."""
    declaration = standing.project.stacks / "grabow.yaml"
    grown = "servers:\n  file01: {disks: {data: {size_gib: 800}}}\n\nshares:"
    declaration.write_text(declaration.read_text("utf-8").replace("shares:", grown, 1), encoding="utf-8")
    [change] = new_records(Declarations(standing.project), ["grabow"])
    write_record(standing.project.stacks, "grabow", change.after)
    plan = load_plan(standing.project, "grabow")
    [store] = [store for store in plan.member.datastores if store.name == "gra-gold-mirrored-a"]
    assert (store.size_gib, store.need_gib) == (1250, 900)
    assert set_exports(standing.project, LAB, array_exports(plan))
    [before] = [vm for vm in read_vcenter(standing.connection, plan).vms if vm.name == "gra-file01"]

    run = standing.driver.up("grabow", Silent())
    assert (run.replaced, run.deleted) == ((), ())
    facts = read_vcenter(standing.connection, plan)
    [after] = [vm for vm in facts.vms if vm.name == "gra-file01"]
    [was], [now] = ([d for d in vm.disks if d.unit_number == 1] for vm in (before, after))
    assert (was.path, was.datastore, was.capacity_mib) == (now.path, now.datastore, 500 * 1024)
    assert now.capacity_mib == 800 * 1024
    assert after.powered_on
    points = Comparison()
    compare_vcenter(plan, facts, points)
    assert points.differences == []

    assert standing.driver.up("grabow", Silent()).changes == 0
    assert standing.driver.outputs("grabow")["disks"]["gra-file01-data"]["size_gib"] == 800


def test_host_keys_come_from_vcenter(standing: Standing) -> None:
    with session(standing.connection) as instance:
        keys = host_keys(instance, standing.plan.member.folder)
        assert host_keys(instance, "no-such-folder") == {}
    assert keys == {server.name: f"ssh-ed25519 AAAA{server.name}" for server in standing.plan.member.servers}


def test_memory_taken_away_is_found(standing: Standing) -> None:
    before = differences(standing)
    with behind_the_back(standing, vim.VirtualMachine, "gra-app01") as vm:
        finish(vm.PowerOffVM_Task())
        finish(vm.ReconfigVM_Task(TYPES.vm.ConfigSpec(memoryMB=2048)))
    found = added(standing, before)
    assert ("different", "servers", "gra-app01", "memory_mib", "8192", "2048") in found
    assert ("different", "servers", "gra-app01", "powered_on", "yes", "no") in found


def added(standing: Standing, before: list[Row]) -> list[Row]:
    return [row for row in differences(standing) if row not in before]


def test_another_vlan_is_found(standing: Standing) -> None:
    before = differences(standing)
    with behind_the_back(standing, vim.dvs.DistributedVirtualPortgroup, "grabow-database") as group:
        port = group.config.defaultPortConfig
        port.vlan = TYPES.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec(vlanId=1999, inherited=False)
        spec = TYPES.dvs.DistributedVirtualPortgroup.ConfigSpec(
            configVersion=group.config.configVersion, defaultPortConfig=port
        )
        finish(group.ReconfigureDVPortgroup_Task(spec))
    assert added(standing, before) == [("different", "networks", "grabow-database", "vlan", "1221", "1999")]


def test_a_rule_switched_off_is_found(standing: Standing) -> None:
    before, name = differences(standing), "grabow-apart-database"
    with behind_the_back(standing, vim.ClusterComputeResource, standing.plan.platform.cluster) as cluster:
        [rule] = [rule for rule in cluster.configurationEx.rule if rule.name == name]
        rule.enabled = False
        change = TYPES.cluster.RuleSpec(operation="edit", info=rule)
        finish(cluster.ReconfigureComputeResource_Task(TYPES.cluster.ConfigSpecEx(rulesSpec=[change]), True))
    assert added(standing, before) == [("different", "redundancy", name, "rule_enabled", "yes", "no")]


def test_a_foreign_vm_in_the_folder_is_found(standing: Standing) -> None:
    before = differences(standing)
    with behind_the_back(standing, vim.VirtualMachine, "gra-app02") as vm:
        place = TYPES.vm.RelocateSpec(pool=vm.resourcePool, datastore=vm.datastore[0])
        finish(vm.CloneVM_Task(vm.parent, "gra-secret", TYPES.vm.CloneSpec(location=place, powerOn=False)))
    [found] = added(standing, before)
    assert found[:4] == ("extra", "servers", "gra-secret (grabow)", "vm")


def test_a_vm_deleted_behind_the_toolkits_back_is_found(standing: Standing) -> None:
    before = differences(standing)
    with behind_the_back(standing, vim.VirtualMachine, "gra-print01") as vm:
        finish(vm.PowerOffVM_Task())
        finish(vm.Destroy_Task())
    assert added(standing, before) == [("missing", "servers", "gra-print01", "vm", "yes", "none")]
    facts = read_vcenter(standing.connection, standing.plan)
    assert missing_servers(standing.plan, facts) == {"gra-print01"}


# --- storage ------------------------------------------------------------------------------


def test_every_disk_has_its_policy_and_lies_on_a_datastore_of_its_tier(standing: Standing) -> None:
    facts = read_vcenter(standing.connection, standing.plan)
    tier_of = {store.name: store.tags["ksm-storage-tier"] for store in facts.datastores if store.name[:4] == "gra-"}
    disks = [disk for vm in facts.vms if vm.name != "gra-secret" for disk in vm.disks]
    assert len(disks) >= 10
    assert all(disk.policy == f"ksm-{tier_of[disk.datastore][0]}" for disk in disks)
    assert {disk.compliance for disk in disks} == {"compliant"}
    homes = [vm.home for vm in facts.vms if vm.name != "gra-secret"]
    assert all(home.policy == f"ksm-{tier_of[home.datastore][0]}" for home in homes)
    assert {home.compliance for home in homes} == {"compliant"}
    assert {c.name: c.datastores for c in facts.datastore_clusters if c.name.startswith("gra-")} == {
        "gra-mirrored-a": ("gra-gold-mirrored-a", "gra-silver-mirrored-a"),
        "gra-mirrored-b": ("gra-silver-mirrored-b",),
    }


def test_disks_on_storage_that_lost_its_tier_are_found(standing: Standing) -> None:
    """vCenter itself says so, for each disk and for the VM's own files."""
    before, name = differences(standing), "gra-silver-mirrored-b"
    with session(standing.connection) as instance:
        [store] = [s.ref for s in collect(instance, vim.Datastore, ["name"]) if s.get("name") == name]
    with without_tag(standing, store, "silver-mirrored"):
        found = added(standing, before)
    assert ("different", "storage", name, "tag ksm-storage-tier", "silver-mirrored", "none") in found
    said = {(object_, *rest) for kind, area, object_, *rest in found if object_ != name}
    objects = {disk for disk, *_ in said}
    assert {"gra-db02", "gra-db02: system"} <= objects
    assert not {"gra-db01", "gra-db01: system", "gra-db02: pgdata"} & objects
    assert {tuple(rest) for _, *rest in said} == {("policy_compliance", "compliant", "nonCompliant")}
    assert added(standing, before) == []


def test_storage_drs_let_loose_is_found(standing: Standing) -> None:
    before = differences(standing)
    with session(standing.connection) as instance:
        [pod] = [p.ref for p in collect(instance, vim.StoragePod, ["name"]) if p.get("name") == "gra-mirrored-a"]
        loose = TYPES.storageDrs.PodConfigSpec(defaultVmBehavior="automated")
        manager: Any = instance.RetrieveContent().storageResourceManager
        finish(
            manager.ConfigureStorageDrsForPod_Task(pod, TYPES.storageDrs.ConfigSpec(podConfigSpec=loose), modify=True)
        )
    assert added(standing, before) == [("different", "storage", "gra-mirrored-a", "automation", "manual", "automated")]


def test_an_export_that_is_smaller_than_planned_is_found(standing: Standing) -> None:
    before = differences(standing)
    [export] = [e for e in array_exports(standing.plan) if e.path.endswith("gra-local-b")]
    set_exports(standing.project, LAB, [replace(export, capacity_gib=120)])
    assert added(standing, before) == [("different", "storage", "gra-local-b", "size_gib", "150", "120")]
    set_exports(standing.project, LAB, [export])
    assert added(standing, before) == []
