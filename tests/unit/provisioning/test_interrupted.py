"""Which VM may be removed after a killed run, and what is recorded of the rest."""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi,pyVim"

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyVmomi import vim

from ksm_onboard.provisioning.interrupted import _is_ours, _never_answered, _record
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
    assert _record(resource(type="vsphere:index/tag:Tag", inputs={"name": "x"}), "{}")["outputs"] == {}
