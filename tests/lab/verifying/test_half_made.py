"""Runs that vCenter stops in the middle of a pair: what stands half is said, and the next run completes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyVmomi import vim

from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.lab.array import set_exports
from ksm_onboard.onboarding.lab_world import array_exports
from ksm_onboard.progress import Silent
from ksm_onboard.vcenter import collect, session
from ksm_onboard.verifying.audit_vcenter import compare_vcenter
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.vcenter_facts import read_vcenter

LAB = "verifying-test"
SYSTEM_DISK_GIB = 20
pytestmark = pytest.mark.lab

TYPES: Any = vim  # its constructors have no types
Standing = Any  # the fixture's type lives in conftest


def finish(task: Any) -> None:
    while task.info.state in ("queued", "running"):
        time.sleep(0.05)
    assert task.info.state == "success", task.info.error


def deleted(standing: Standing, *names: str) -> None:
    """Their VMs are gone, as if they had never been made."""
    with session(standing.connection) as instance:
        for found in collect(instance, vim.VirtualMachine, ["name"]):
            if found.get("name") in names:
                finish(found.ref.PowerOffVM_Task())
                finish(found.ref.Destroy_Task())


def rule_deleted(standing: Standing, name: str) -> None:
    with session(standing.connection) as instance:
        [cluster] = collect(instance, vim.ClusterComputeResource, ["configurationEx"])
        [rule] = [rule for rule in cluster.get("configurationEx").rule if rule.name == name]
        removal = TYPES.cluster.RuleSpec(operation="remove", removeKey=rule.key)
        finish(
            cluster.ref.ReconfigureComputeResource_Task(TYPES.cluster.ConfigSpecEx(rulesSpec=[removal]), modify=True)
        )


def failing(standing: Standing) -> str:
    with pytest.raises(OnboardError) as stopped:
        standing.driver.up("grabow", Silent())
    assert stopped.value.exit_code is ExitCode.FAILED
    assert "run the same command again" in (stopped.value.hint or "")
    return str(stopped.value)


def completed(standing: Standing) -> None:
    """The next run makes what was missing, and then vCenter is as planned in every point."""
    assert standing.driver.up("grabow", Silent()).changes
    points = Comparison()
    compare_vcenter(standing.plan, read_vcenter(standing.connection, standing.plan), points)
    assert points.differences == []


FAULTS = {
    "clone": (
        lambda standing: deleted(standing, "gra-print02"),
        ("CloneVM_Task", "InsufficientResourcesFault", "gra-print02"),
        "of the pair print only gra-print01 stands, in section B; gra-print02 (section A) is missing",
    ),
    "power-on": (
        lambda standing: deleted(standing, "gra-app02"),
        ("PowerOnVM_Task", "InvalidHostConnectionState", "gra-app02"),
        "of the pair application only gra-app01 stands, in section B; gra-app02 (section A) is there, "
        "but its start was not finished",
    ),
    "rule": (
        lambda standing: rule_deleted(standing, "grabow-apart-web"),
        ("ReconfigureComputeResource_Task", "ConcurrentAccess", "grabow-apart-web"),
        "the servers of the pair web stand: gra-web01 (section B), gra-web02 (section A); "
        "but no rule keeps them on different hosts yet",
    ),
}


@pytest.mark.parametrize(("broken", "fault", "half"), FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_middle_of_a_pair(
    standing: Standing, broken: Callable[[Standing], None], fault: tuple[str, str, str], half: str
) -> None:
    broken(standing)
    method, kind, name = fault
    standing.control.plan_fault(method, kind, name=name, message="so says vCenter")
    try:
        said = failing(standing)
        assert standing.control.planned_faults() == []
    finally:
        standing.control.planned_faults(clear=True)
    assert f"{name}: " in said and "so says vCenter" in said
    told = said.partition("half made:")[2].splitlines()
    assert [line.strip() for line in told if line] == [half]
    completed(standing)


def test_a_datastore_that_is_full(standing: Standing) -> None:
    plan = standing.plan
    deleted(standing, "gra-app01")
    on_it = [server for server in plan.member.servers if server.datastore == "gra-silver-mirrored-b"]
    room = SYSTEM_DISK_GIB * len(on_it) - 1
    exports = array_exports(plan)
    full = [replace(e, capacity_gib=room) if e.path.endswith("/gra-silver-mirrored-b") else e for e in exports]
    assert set_exports(standing.project, LAB, full)
    try:
        said = failing(standing)
    finally:
        set_exports(standing.project, LAB, exports)
    assert "a datastore is full, so these could not be made: gra-app01" in said
    assert "'gra-silver-mirrored-b'" in said
    assert "of the pair application only gra-app02 stands, in section A; gra-app01 (section B) is missing" in said
    completed(standing)
