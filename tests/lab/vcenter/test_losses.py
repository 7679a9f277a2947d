"""What is lost in the lab, and faults that the API answers, as the real engine and provider meet them."""

from __future__ import annotations

import pytest

from ksm_onboard.lab.losses import LabFailureError, LabState, Section
from tests.lab.vcenter.conftest import Stack, VCenter
from tests.lab.vcenter.door import Door

pytestmark = pytest.mark.lab


def hosts_of(state: LabState, *names: str) -> set[str]:
    return {state.machine(name).host[:8] for name in names}


def test_section_fails_over_and_everything_is_in_its_place_again(stack: Stack, vcenter: VCenter) -> None:
    stack.up()
    with Door(vcenter) as door:
        door.eventually(lambda: door.machines()["gra-dns01"].runtime.host.name.startswith("sn-esx-a"))
        door.eventually(lambda: door.machines()["gra-dns02"].runtime.host.name.startswith("sn-esx-b"))
    vcenter.control.lose(Section("A"))
    lost = vcenter.control.settled()
    assert hosts_of(lost, "gra-dns01", "gra-dns02") == {"sn-esx-b"}
    assert {machine.power for machine in lost.machines} == {"poweredOn"}
    with Door(vcenter) as door:
        door.eventually(lambda: bool(door.machines()["gra-dns01"].guest.ipAddress))
    vcenter.control.restore(Section("A"))
    back = vcenter.control.settled()
    assert hosts_of(back, "gra-dns01") == {"sn-esx-a"}
    verbs = [verb for verb, call in vcenter.guest_calls() if call["name"] == "gra-dns01"]
    assert verbs == ["start", "kill", "start"], "its way back must not stop it"
    stack.assert_settled()


def test_a_half_made_pair_is_said_and_completed(stack: Stack, vcenter: VCenter) -> None:
    control = vcenter.control
    control.plan_fault("CloneVM_Task", "InsufficientResourcesFault", name="gra-dns02", message="the host is full")
    said = stack.pulumi("up", "--yes", "--skip-preview", fails=True)
    assert "the host is full" in said
    assert "gra-dns02" in said
    assert control.planned_faults() == []
    with Door(vcenter) as door:
        assert "gra-dns02" not in door.machines()
    stack.up()
    stack.assert_settled()
    with Door(vcenter) as door:
        rules = {rule.name: rule for rule in door.cluster().configurationEx.rule}
        assert {vm.name for vm in rules["grabow-dns-apart"].vm} == {"gra-dns01", "gra-dns02"}


def test_calls_are_counted_and_wrong_commands_refused(vcenter: VCenter) -> None:
    vcenter.control.calls(reset=True)
    with Door(vcenter) as door:
        door.cluster()
    calls = vcenter.control.calls()
    assert calls["Login"] == 1
    with pytest.raises(LabFailureError, match='no section "C"'):
        vcenter.control.lose(Section("C"))
