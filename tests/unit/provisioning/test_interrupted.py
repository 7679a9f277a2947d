"""Which VM may be removed after a killed run, and what is recorded of the rest."""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi,pyVim"

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from ksm_onboard.connection import Connection
from ksm_onboard.errors import OnboardError
from ksm_onboard.progress import Silent
from ksm_onboard.provisioning.interrupted import Interrupted, _is_ours, _never_answered, _record, settle
from ksm_onboard.vcenter import Found

BEGAN = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
INPUTS = {"name": "gra-dns01", "folder": "grabow", "extraConfig": {"guestinfo.metadata": "bWluZQ=="}}
OFF, ON = vim.VirtualMachine.PowerState.poweredOff, vim.VirtualMachine.PowerState.poweredOn


def vm(told: str | None, power: Any, made: datetime) -> Found:
    options = [vim.option.OptionValue(key="guestinfo.metadata", value=told)] if told else []
    return Found(
        vim.VirtualMachine("vm-1"),
        {"config.extraConfig": options, "runtime.powerState": power, "config.createDate": made},
    )


@pytest.mark.parametrize(
    ("found", "began", "ours"),
    [
        (vm("bWluZQ==", ON, BEGAN), BEGAN, True),
        (vm("bWluZQ==", ON, BEGAN), None, True),
        (vm("Zm9yZWlnbg==", OFF, BEGAN + timedelta(seconds=5)), BEGAN, False),
        (vm(None, OFF, BEGAN + timedelta(seconds=5)), BEGAN, True),
        (vm(None, OFF, BEGAN - timedelta(days=1)), BEGAN, False),
        (vm(None, ON, BEGAN + timedelta(seconds=5)), BEGAN, False),
        (vm(None, OFF, BEGAN + timedelta(seconds=5)), None, False),
    ],
    ids=["customised", "customised, lock gone", "foreign", "bare clone", "older", "runs", "bare clone, lock gone"],
)
def test_only_a_vm_that_provably_comes_from_the_run_is_ours(found: Found, began: datetime | None, ours: bool) -> None:
    assert _is_ours(found, INPUTS, began) is ours


def resource(**more: Any) -> dict[str, Any]:
    return {
        "urn": "urn:pulumi:grabow::ksm-onboard::x::gra-dns01",
        "type": "vsphere:index/virtualMachine:VirtualMachine",
        "created": "2026-11-22T20:14:38Z",
        "modified": "2026-11-22T20:14:38Z",
        "inputs": {},
        **more,
    }


def test_a_vm_that_works_is_never_taken_for_one_that_did_not_start() -> None:
    assert _never_answered(resource(initErrors=["timeout"]))
    assert not _never_answered(resource())
    assert not _never_answered(resource(initErrors=["timeout"], modified="2026-11-23T08:00:00Z"))
    assert not _never_answered(resource(initErrors=["timeout"], type="vsphere:index/folder:Folder"))


def test_a_record_has_the_planned_values_until_the_real_ones_are_read() -> None:
    disk = resource(type="vsphere:index/virtualDisk:VirtualDisk", protect=True, inputs={"size": 5, "__defaults": []})
    assert _record(disk, "a.vmdk") == {**disk, "id": "a.vmdk", "outputs": {"size": 5}}
    folder = _record(resource(type="vsphere:index/folder:Folder", inputs={"path": "grabow"}), "group-1")
    assert json.loads(folder["outputs"]["__meta"]) == {"schema_version": "1"}


class Stack:
    """A stack with one interrupted update, as the engine would tell of it."""

    def __init__(self) -> None:
        self.vm = resource()
        self.pending = [{"type": "updating", "resource": self.vm}]
        self.unreachable = True
        self.asked: list[str] = []

    def ask(self, *arguments: str, text: str | None = None) -> str:
        self.asked.append(" ".join(arguments[:2]) if arguments[0] == "stack" else arguments[0])
        if arguments[:2] == ("stack", "export"):
            return json.dumps({"deployment": {"resources": [self.vm], "pending_operations": self.pending}})
        if arguments[:2] == ("stack", "import"):
            assert text
            self.pending = json.loads(text)["deployment"]["pending_operations"]
        if arguments[0] == "refresh":
            assert self.vm["urn"] in arguments
            if self.unreachable:
                raise OnboardError("vCenter cannot be reached")
        return ""


def test_settling_that_is_interrupted_is_completed_by_the_next_run(connection: Connection, tmp_path: Path) -> None:
    stack = Stack()
    work = Interrupted("grabow", connection, f"file://{tmp_path}", tmp_path / "state" / "unread.json", stack.ask)
    with pytest.raises(OnboardError):
        settle(work, Silent())
    assert stack.pending == []
    stack.unreachable = False
    settle(work, Silent())
    assert stack.asked == ["stack export", "stack import", "refresh", "stack export", "refresh"]
    settle(work, Silent())
    assert stack.asked[5:] == ["stack export"], "a run that ended by itself leaves nothing to settle"
