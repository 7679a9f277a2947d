"""The driver against a stand-in for the engine: a program that plays back events, and waits to be interrupted."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.connection import Connection
from ksm_onboard.errors import ExitCode, InterruptedRunError, NotReadyError, OnboardError
from ksm_onboard.project import Project
from ksm_onboard.provisioning.approvals import NotApprovedError
from ksm_onboard.provisioning.driver import Driver
from ksm_onboard.provisioning.policy_events import PoliciesNotRunError, PoliciesViolatedError
from tests.unit.told import Told

STAND_IN = """#!{python}
import json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
answers = json.loads((here / "answers.json").read_text())
command = arguments[0] if arguments[0] != "stack" else " ".join(arguments[:2])
answer = answers.get(command, {{}})
interrupted = []
signal.signal(signal.SIGINT, lambda *_: interrupted.append(1))
for line in answer.get("lines", []):
    print(line, flush=True)
    if line == "WAIT":
        (here / "waiting").touch()
        while not interrupted:
            time.sleep(0.01)
        (here / "interrupted").write_text(str(len(interrupted)))
sys.stderr.write(answer.get("errors", ""))
sys.exit(answer.get("code", 0))
"""

PREFIX = "urn:pulumi:grabow::ksm-onboard::ksm:member:Member$"
VM = PREFIX + "ksm:member:Server$vsphere:index/virtualMachine:VirtualMachine::gra-dns01"
POOL = PREFIX + "vsphere:index/resourcePool:ResourcePool::grabow"
SERVER = PREFIX + "ksm:member:Server::gra-dns01"


class Engine:
    def __init__(self, bin_: Path) -> None:
        self.bin = bin_

    def environment(self) -> dict[str, str]:
        return {}

    def answer(self, **answers: dict[str, Any]) -> None:
        usual: dict[str, Any] = {
            "stack ls": {"lines": [json.dumps([{"name": "grabow"}, {"name": "organization/ksm-onboard/schwerin"}])]},
            "preview": {"lines": [passed(1)]},
            "up": {"lines": [passed(1)]},
            "stack export": {"lines": [json.dumps({"version": 3, "deployment": {"resources": []}})]},
        }
        named = {name.replace("_", " "): answer for name, answer in answers.items()}
        for judged in {"preview", "up"} & named.keys():
            if not named[judged].get("code") and not named[judged].pop("without_policies", False):
                named[judged] = {**named[judged], "lines": [*named[judged].get("lines", []), passed(1)]}
        (self.bin / "answers.json").write_text(json.dumps(usual | named))

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.bin / "calls").read_text().splitlines()]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "pulumi"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    engine = Engine(folder)
    engine.answer()
    return engine


@pytest.fixture
def driver(tmp_path: Path, connection: Connection, engine: Engine) -> Driver:
    (tmp_path / "Pulumi.yaml").touch()
    return Driver(Project(tmp_path), connection, engine)


def event(kind: str, urn: str, op: str, *, planning: bool = False) -> str:
    return json.dumps({kind: {"metadata": {"urn": urn, "op": op}, "planning": planning}})


def done(urn: str, op: str, *, planning: bool = False) -> str:
    return event("resOutputsEvent", urn, op, planning=planning)


def summary(**counts: int) -> str:
    return json.dumps({"summaryEvent": {"resourceChanges": counts}})


def passed(number: int) -> str:
    names = [f"rule-{index}" for index in range(number)]
    return json.dumps({"policyAnalyzeStackSummaryEvent": {"policyPackName": "ksm-grundschutz", "passed": names}})


def violation(rule: str, message: str, level: str, severity: str = "high") -> str:
    told = {"policyPackName": "ksm-grundschutz", "policyName": rule, "enforcementLevel": level, "severity": severity}
    return json.dumps({"policyEvent": {**told, "message": f"<{{%fg 13%}}>{message}<{{%reset%}}>\n"}})


def error(urn: str, message: str) -> str:
    return json.dumps({"diagnosticEvent": {"severity": "error", "urn": urn, "message": message}})


def test_an_override_whose_vm_was_deleted_by_hand_is_forgotten_and_the_run_repeated(
    driver: Driver, engine: Engine
) -> None:
    override = PREFIX + "vsphere:index/haVmOverride:HaVmOverride::gra-dns01-restart"
    failed = {"lines": [error(override, "cannot locate virtual machine: uuid not found")], "code": 1}
    engine.answer(up=failed)
    told = Told()
    with pytest.raises(OnboardError, match="somebody deleted VMs in vCenter"):
        driver.up("grabow", told)
    assert ["state", "delete", override, "--yes", "--stack", "grabow"] in [call[:6] for call in engine.calls]
    assert [call[0] for call in engine.calls].count("up") == 2, "once more, and not for ever"
    assert "gra-dns01-restart: its VM is gone" in "\n".join(told.lines)


def test_a_preview_forgets_nothing(driver: Driver, engine: Engine) -> None:
    override = PREFIX + "vsphere:index/haVmOverride:HaVmOverride::gra-dns01-restart"
    engine.answer(preview={"lines": [error(override, "cannot locate virtual machine: x")], "code": 1})
    with pytest.raises(OnboardError, match="gra-dns01-restart"):
        driver.preview("grabow", Told())
    assert "state" not in [call[0] for call in engine.calls]


def test_a_run_that_stops_says_what_is_half_made(driver: Driver, engine: Engine) -> None:
    server, vm = "ksm:member:Server", "vsphere:index/virtualMachine:VirtualMachine"
    resources = [
        {"urn": PREFIX + f"{server}::gra-dns0{n}", "type": server, "inputs": {"pair": "dns", "section": section}}
        for n, section in ((1, "A"), (2, "B"))
    ]
    resources.append({"urn": VM, "type": vm, "parent": PREFIX + f"{server}::gra-dns01", "id": "v1"})
    engine.answer(
        up={"lines": [error(VM.replace("dns01", "dns02"), "the host is full")], "code": 1},
        stack_export={"lines": [json.dumps({"deployment": {"resources": resources}})]},
    )
    with pytest.raises(OnboardError) as failed:
        driver.up("grabow", Told())
    assert "gra-dns02: the host is full" in str(failed.value)
    assert "of the pair dns only gra-dns01 stands, in section A; gra-dns02 (section B) is missing" in str(failed.value)
    assert "goes on where this run stopped" in (failed.value.hint or "")


def test_a_line_per_finished_resource_with_a_running_count(driver: Driver, engine: Engine) -> None:
    planned = [done(urn, "create", planning=True) for urn in (SERVER, POOL, VM)]
    engine.answer(
        up={
            "lines": [
                *planned,
                summary(create=3),
                done(POOL, "create"),
                done(SERVER, "create"),
                done(VM, "create"),
                summary(create=3, same=4),
            ]
        }
    )
    told = Told()
    run = driver.up("grabow", told)
    assert told.lines == ["created ResourcePool grabow (1 of 2)", "created VirtualMachine gra-dns01 (2 of 2)"]
    assert (run.changes, run.unchanged) == (3, 4)


def test_nothing_changed_is_recognisable(driver: Driver, engine: Engine) -> None:
    engine.answer(up={"lines": [summary(same=39, read=1)]})
    told = Told()
    run = driver.up("grabow", told)
    assert (run.changes, run.unchanged, told.lines) == (0, 39, [])


def test_what_would_be_replaced_or_deleted_is_named(driver: Driver, engine: Engine) -> None:
    lines = [done(VM, "replace", planning=True), done(POOL, "delete", planning=True), summary(replace=1, delete=1)]
    engine.answer(preview={"lines": lines})
    run = driver.preview("grabow", Told())
    assert run.replaced == ("VirtualMachine gra-dns01",)
    assert run.deleted == ("ResourcePool grabow",)
    assert run.changes == 2


def test_a_new_stack_is_made_an_old_one_is_not(driver: Driver, engine: Engine) -> None:
    driver.up("grabow", Told())
    assert ["stack", "init"] not in [call[:2] for call in engine.calls]
    driver.up("goldberg", Told())
    (made,) = [call for call in engine.calls if call[:2] == ["stack", "init"]]
    assert made[2:5] == ["--no-select", "--stack", "goldberg"]


def test_every_call_names_its_stack_and_none_asks_questions(driver: Driver, engine: Engine) -> None:
    driver.up("grabow", Told())
    (up,) = [call for call in engine.calls if call[0] == "up"]
    assert up[1:3] == ["--stack", "grabow"]
    assert {"--yes", "--json", "--parallel"} <= set(up)
    assert up[up.index("--parallel") + 1] == "8"
    assert all("--non-interactive" in call for call in engine.calls)
    (preview,) = [call for call in engine.calls if call[0] == "preview"]
    assert preview[1:3] == ["--stack", "grabow"]
    assert engine.calls.index(preview) < engine.calls.index(up), "the preview stops a run that would lose data"


def test_no_secret_is_in_any_call(driver: Driver, engine: Engine, connection: Connection) -> None:
    driver.up("grabow", Told())
    passphrase = (driver.project.state / "passphrase").read_text().strip()
    written = json.dumps(engine.calls)
    assert passphrase not in written
    assert connection.vcenter.password() not in written


def test_destroying_leaves_protected_disks(driver: Driver, engine: Engine) -> None:
    driver.destroy("grabow", Told())
    (call,) = [call for call in engine.calls if call[0] == "destroy"]
    assert "--exclude-protected" in call


def test_a_failed_run_says_why(driver: Driver, engine: Engine) -> None:
    failed = [event("resOpFailedEvent", VM, "create"), error(VM, "1 error occurred:\n\t* out of luck")]
    engine.answer(up={"lines": failed, "code": 1})
    told = Told()
    with pytest.raises(OnboardError, match="gra-dns01: out of luck"):
        driver.up("grabow", told)
    assert told.lines == ["failed: VirtualMachine gra-dns01"]


def test_what_the_engine_writes_besides_its_events_is_heard(driver: Driver, engine: Engine) -> None:
    engine.answer(up={"errors": "error: incorrect passphrase\n", "code": 1})
    with pytest.raises(NotReadyError, match="passphrase"):
        driver.up("grabow", Told())


def test_an_unknown_stack_has_no_outputs(driver: Driver) -> None:
    with pytest.raises(NotReadyError, match="'nosuch' is not set up yet"):
        driver.outputs("nosuch")


def test_outputs(driver: Driver, engine: Engine) -> None:
    engine.answer(stack_output={"lines": ['{"folder": "grabow"}']})
    assert driver.outputs("grabow") == {"folder": "grabow"}


def test_a_missing_engine_is_named(driver: Driver, engine: Engine, tmp_path: Path) -> None:
    (engine.bin / "pulumi").unlink()
    with pytest.raises(NotReadyError, match="cannot start the engine"):
        driver.up("grabow", Told())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_passed_on_once_and_waited_for(
    driver: Driver, engine: Engine, number: signal.Signals
) -> None:
    engine.answer(up={"lines": ["WAIT", done(POOL, "create"), summary(create=1)], "code": 1})
    threading.Thread(target=_signal_once_waiting, args=(engine.bin / "waiting", number)).start()
    before = signal.getsignal(number)
    told = Told()
    with pytest.raises(InterruptedRunError) as raised:
        driver.up("grabow", told)
    assert raised.value.exit_code is ExitCode.INTERRUPTED
    assert (engine.bin / "interrupted").read_text() == "1"
    assert "created ResourcePool grabow (1)" in told.lines
    assert signal.getsignal(number) is before


def test_long_work_says_what_it_waits_for(driver: Driver, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ksm_onboard.provisioning.driver._SAYS_IT_WAITS_AFTER_SECONDS", 0.03)
    begun = [
        event("resourcePreEvent", POOL, "create", planning=True),
        event("resourcePreEvent", SERVER, "create"),
        event("resourcePreEvent", POOL, "same"),
        event("resourcePreEvent", VM, "create"),
    ]
    engine.answer(up={"lines": [*begun, "WAIT"], "code": 1})
    threading.Thread(target=_signal_once_waiting, args=(engine.bin / "waiting", signal.SIGINT)).start()
    told = Told()
    with pytest.raises(InterruptedRunError):
        driver.up("grabow", told)
    assert {line for line in told.lines if line.startswith("waiting")} == {"waiting for VirtualMachine gra-dns01 (0 s)"}


def _signal_once_waiting(waiting: Path, number: signal.Signals) -> None:
    while not waiting.exists():
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(os.getpid(), number)


def test_a_held_stack_is_left_alone(driver: Driver, engine: Engine) -> None:
    lock = driver.project.state / "lab/pulumi/.pulumi/locks/organization/ksm-onboard/grabow/1.json"
    lock.parent.mkdir(parents=True)
    held = {"pid": os.getpid(), "username": "ops", "hostname": os.uname().nodename}
    lock.write_text(json.dumps({**held, "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime())}))
    with pytest.raises(NotReadyError, match=f"worked on by process {os.getpid()}"):
        driver.up("grabow", Told())
    assert "up" not in [call[0] for call in engine.calls]
    lock.write_text(json.dumps({**held, "hostname": "elsewhere", "timestamp": "2026-01-01T00:00:00Z"}))
    with pytest.raises(NotReadyError, match="by ops on elsewhere"):
        driver.up("grabow", Told())


def test_the_lock_of_a_dead_run_is_released(driver: Driver, engine: Engine) -> None:
    lock = driver.project.state / "lab/pulumi/.pulumi/locks/organization/ksm-onboard/grabow/1.json"
    lock.parent.mkdir(parents=True)
    # A process of that number exists, but began after the lock was taken: it is another one.
    dead = {"pid": os.getpid(), "username": "ops", "hostname": os.uname().nodename}
    lock.write_text(json.dumps({**dead, "timestamp": "2020-01-01T00:00:00.5Z"}))
    told = Told()
    driver.up("grabow", told)
    assert [call[0] for call in engine.calls][-3:] == ["cancel", "preview", "up"]
    assert "releasing the lock of a run that died" in told.lines[0]


def test_what_the_policies_said_is_told_of_the_update_not_of_its_preview(driver: Driver, engine: Engine) -> None:
    advice = violation("alike-apart", "gra-x: alone", "advisory", "medium")
    waived = violation("alike-apart", "gra-y: alone", "advisory", "low")
    engine.answer(up={"lines": [advice, passed(3), advice, waived, passed(4)], "without_policies": True})
    policies = driver.up("grabow", Told()).policies
    assert policies is not None
    assert (policies.passed, len(policies.advice), len(policies.waived)) == (4, 1, 1)
    assert policies.advice[0].message == "gra-x: alone"


def test_a_refused_run_names_every_violation_that_stops_it(driver: Driver, engine: Engine) -> None:
    lines = [
        violation("network-closed", "rogue: VMs may listen\nwhat to do: close it", "mandatory"),
        violation("alike-apart", "gra-x: alone", "advisory", "medium"),
        violation("data-kept", "disk: is not protected", "mandatory"),
        passed(3),
        error(PREFIX + "x:y::z", "preview failed"),
    ]
    engine.answer(up={"lines": lines, "code": 1})
    with pytest.raises(PoliciesViolatedError) as caught:
        driver.up("grabow", Told())
    assert str(caught.value) == (
        "the policies refuse stack 'grabow' (2 violations):\n"
        "  [network-closed] rogue: VMs may listen\n    what to do: close it\n"
        "  [data-kept] disk: is not protected"
    )
    assert caught.value.exit_code == ExitCode.FAILED


@pytest.mark.parametrize("operation", ["preview", "up"])
def test_a_run_without_its_policies_is_never_taken_for_a_good_one(
    driver: Driver, engine: Engine, operation: str
) -> None:
    engine.answer(**{operation: {"lines": [summary(same=39)], "without_policies": True}})
    with pytest.raises(PoliciesNotRunError):
        getattr(driver, operation)("grabow", Told())


def test_other_packs_do_not_stand_in_for_ours(driver: Driver, engine: Engine) -> None:
    foreign = json.dumps({"policyAnalyzeStackSummaryEvent": {"policyPackName": "other", "passed": ["a"]}})
    engine.answer(up={"lines": [foreign, summary(same=39)], "without_policies": True})
    with pytest.raises(PoliciesNotRunError):
        driver.up("grabow", Told())


# --- data loss ----------------------------------------------------------------------------

DISK = PREFIX + "ksm:member:Server$vsphere:index/virtualDisk:VirtualDisk::gra-dns01-data"


def step(urn: str, op: str, **old: Any) -> str:
    metadata = {"op": op, "urn": urn, "old": {"id": f"id-of-{urn[-5:]}", **old}}
    return json.dumps({"resourcePreEvent": {"metadata": metadata, "planning": True}})


PROTECTED = error(
    DISK, f'Preview failed: resource "{DISK}" cannot be deleted\nbecause it is protected. To unprotect ...'
)
FAILED = error("", "preview failed")


def commands(engine: Engine) -> list[str]:
    return [" ".join(call[:2]) if call[0] in ("state", "stack") else call[0] for call in engine.calls]


def test_a_run_that_would_lose_data_is_stopped_before_anything_is_touched(driver: Driver, engine: Engine) -> None:
    engine.answer(preview={"lines": [step(VM, "delete"), summary(delete=1)]})
    with pytest.raises(NotApprovedError, match="the VM gra-dns01 is deleted with its own disks") as refused:
        driver.up("grabow", Told())
    assert refused.value.exit_code is ExitCode.NOT_APPROVED
    assert "up" not in commands(engine)


def test_what_disturbs_but_loses_nothing_is_not_stopped(driver: Driver, engine: Engine) -> None:
    engine.answer(preview={"lines": [step(POOL, "delete"), summary(delete=1)]})
    run = driver.up("grabow", Told())
    assert [risk.risk for risk in run.risks] == ["disruptive"]
    assert "--skip-preview" in next(call for call in engine.calls if call[0] == "up")


def test_a_preview_that_stops_at_protected_data_still_tells_everything(driver: Driver, engine: Engine) -> None:
    lines = [step(VM, "delete"), step(DISK, "delete", protect=True), PROTECTED, FAILED]
    engine.answer(preview={"lines": lines, "code": 1, "without_policies": True})
    run = driver.preview("grabow", Told())
    assert [(risk.kind, risk.effect) for risk in run.risks] == [("VirtualDisk", "delete"), ("VirtualMachine", "delete")]
    assert run.protected == (DISK,)
    assert run.policies is None


def test_another_failure_beside_protection_is_a_failure(driver: Driver, engine: Engine) -> None:
    lines = [step(DISK, "delete", protect=True), PROTECTED, error(VM, "out of luck"), FAILED]
    engine.answer(preview={"lines": lines, "code": 1, "without_policies": True})
    with pytest.raises(OnboardError, match="outlives its server"):
        driver.preview("grabow", Told())


def test_protection_is_taken_away_only_from_what_is_approved_and_given_back(driver: Driver, engine: Engine) -> None:
    """The stand-in always previews alike, so the second preview is stopped, too, and the run fails."""
    left = {"deployment": {"resources": [{"urn": DISK, "type": "vsphere:index/virtualDisk:VirtualDisk"}]}}
    lines = [step(DISK, "delete", protect=True), PROTECTED, FAILED]
    engine.answer(
        preview={"lines": lines, "code": 1, "without_policies": True},
        up={"lines": [error(DISK, "out of luck")], "code": 1},
        stack_export={"lines": [json.dumps(left)]},
    )
    judged: list[tuple[str, ...]] = []
    with pytest.raises(OnboardError, match="out of luck"):
        driver.up("grabow", Told(), lambda stack, found, standing: judged.append((stack, found[0].urn, standing[DISK])))
    assert judged == [("grabow", DISK, f"id-of-{DISK[-5:]}")] * 2
    told = [call for call in engine.calls if call[0] == "state"]
    assert [(call[1], call[2]) for call in told] == [("unprotect", DISK), ("protect", DISK)]
    assert commands(engine).index("state unprotect") > commands(engine).index("preview")
