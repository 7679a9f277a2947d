"""Risk classes: of steps that the real engine and provider planned, and of every kind of step that there is."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.declaration.approvals import Approval, ApprovedResource, load_approval, write_approval
from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.planning.approving import objections
from ksm_onboard.planning.risk import Risk, Step, losses, risk_of, risks, worst_of
from ksm_onboard.provisioning.approvals import NotApprovedError, approved_only
from ksm_onboard.provisioning.steps import step_of

# Recorded with Grabow in the lab's vCenter: previews of the project's program, real engine and provider.
# What is told of VMs' first boot and clone was left out.
RECORDED: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "recorded_steps.json").read_text())


def recorded(name: str) -> tuple[Risk, ...]:
    steps = [step_of(metadata) for metadata in RECORDED[name]]
    return risks(step for step in steps if step is not None)


PORT_GROUPS = [
    ("harmless", f"the port group grabow-{zone} changes (description)")
    for zone in ("application", "clients", "database", "dmz", "infrastructure", "management", "printers")
]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("memory", [("disruptive", "the VM gra-file01 has to be restarted (memory)")]),
        ("cpus", [("disruptive", "the VM gra-file01 has to be restarted (numCpus)")]),
        (
            "section",
            [
                ("disruptive", "the VM group grabow-section-a takes in 1 running VMs: DRS may move them"),
                ("harmless", "the VM group grabow-section-b changes; no VM that runs has to move"),
                ("harmless", "the VM gra-archiv01 changes (tags)"),
            ],
        ),
        ("pool", [("harmless", "the resource pool grabow gets more (cpuLimit, memoryLimit)")]),
        ("name", [*PORT_GROUPS, ("harmless", "the tag ksm-member-grabow changes (description)")]),
        (
            "vlan",
            [("disruptive", "the port group grabow-clients changes (vlanId), which whatever uses it may notice")],
        ),
        (
            "no-archiv01",
            [
                ("data-loss", "the VM gra-archiv01 is deleted with its own disks (disk0) and everything on them"),
                ("harmless", "the VM group grabow-section-b changes; no VM that runs has to move"),
                ("harmless", "the restart priority gra-archiv01-restart is forgotten; vCenter drops it with its VM"),
            ],
        ),
        (
            "delete-file01",
            [
                (
                    "data-loss",
                    "the data disk gra-file01-data is deleted with everything on it "
                    "(declared with 500 GiB when it was made)",
                ),
                (
                    "data-loss",
                    "the VM gra-file01 is deleted with its own disks (disk0) and everything on them; "
                    "its data disks stay: ksm-data/grabow/gra-file01-data.vmdk",
                ),
                ("harmless", "the VM group grabow-section-a changes; no VM that runs has to move"),
            ],
        ),
        (
            "unprotect",
            [
                ("data-loss", f"the data disk {name} is no longer protected against being deleted")
                for name in ("gra-db01-pgdata", "gra-db02-pgdata", "gra-file01-data")
            ],
        ),
        (
            "replace-disk",
            [
                (
                    "data-loss",
                    f"the data disk {name} is deleted and made anew, empty (because of type) with everything on it "
                    f"(declared with {size} GiB when it was made)",
                )
                for name, size in (("gra-db01-pgdata", 100), ("gra-db02-pgdata", 100), ("gra-file01-data", 500))
            ],
        ),
    ],
)
def test_what_the_real_provider_planned(name: str, wanted: list[tuple[str, str]]) -> None:
    found = recorded(name)
    assert [(risk.risk, risk.text) for risk in found] == wanted
    assert worst_of(found) == wanted[0][0]


def urn(kind: str, name: str = "x") -> str:
    module = kind[0].lower() + kind[1:]
    return f"urn:pulumi:grabow::ksm-onboard::ksm:member:Member$vsphere:index/{module}:{kind}::{name}"


def step(kind: str, operation: str, changed: str = "", **more: Any) -> Step:
    return Step(urn(kind), operation, id="vm-1", changed=frozenset(changed.split()), **more)


SYSTEM = {"label": "disk0", "size": 20}
DATA = {"label": "disk1", "attach": True, "path": "data.vmdk"}


def disks(*now: dict[str, Any], was: tuple[dict[str, Any], ...] = (SYSTEM, DATA)) -> dict[str, Any]:
    return {"before": {"disks": list(was)}, "after": {"disks": list(now)}}


@pytest.mark.parametrize(
    ("given", "risk"),
    [
        (step("VirtualMachine", "create"), "harmless"),
        (step("VirtualMachine", "import"), "harmless"),
        (step("VirtualMachine", "same"), None),
        (step("VirtualMachine", "refresh"), None),
        (step("VirtualMachine", "read"), None),
        # Nothing differs, but the state says that an earlier run failed in the middle of it.
        (step("VirtualMachine", "update"), "disruptive"),
        (step("VirtualMachine", "update", "annotation tags"), "harmless"),
        (step("VirtualMachine", "update", "annotation datastoreId"), "disruptive"),
        (step("VirtualMachine", "update", "networkInterfaces"), "disruptive"),
        (step("VirtualMachine", "update", "somethingNew"), "disruptive"),
        (step("VirtualMachine", "delete"), "data-loss"),
        (step("VirtualMachine", "replace", replaced_by=frozenset(["clone"])), "data-loss"),
        (step("VirtualMachine", "delete-replaced"), "data-loss"),
        (
            step(
                "VirtualMachine",
                "update",
                "memory",
                before={"memory": 4096, "memoryHotAddEnabled": True},
                after={"memory": 8192},
            ),
            "harmless",
        ),
        (
            step(
                "VirtualMachine",
                "update",
                "memory",
                before={"memory": 8192, "memoryHotAddEnabled": True},
                after={"memory": 4096},
            ),
            "disruptive",
        ),
        (step("VirtualMachine", "update", "disks", **disks({**SYSTEM, "size": 40}, DATA)), "harmless"),
        (step("VirtualMachine", "update", "disks", **disks({**SYSTEM, "size": 10}, DATA)), "data-loss"),
        (step("VirtualMachine", "update", "disks", **disks(SYSTEM)), "disruptive"),
        (step("VirtualMachine", "update", "disks", **disks(DATA)), "data-loss"),
        (step("VirtualMachine", "update", "disks", **disks(SYSTEM, DATA, {"label": "disk2"})), "harmless"),
        (step("VirtualMachine", "update", "disks", **disks(SYSTEM, {**DATA, "path": "other.vmdk"})), "disruptive"),
        (
            step("VirtualMachine", "update", "disks", **disks(was=({**SYSTEM, "keepOnRemove": True},))),
            "disruptive",
        ),
        (step("VirtualDisk", "delete"), "data-loss"),
        (step("VirtualDisk", "update", "size"), "disruptive"),
        (step("VirtualDisk", "same", protected=True, stays_protected=True), None),
        (step("VirtualDisk", "same", protected=True), "data-loss"),
        (step("VirtualDisk", "update", "size", protected=True), "data-loss"),
        (step("NasDatastore", "replace"), "data-loss"),
        (step("NasDatastore", "update", "hostSystemIds"), "disruptive"),
        (step("NasDatastore", "update", "tags"), "harmless"),
        (step("SomethingNew", "delete"), "data-loss"),
        (step("SomethingNew", "update", "x"), "disruptive"),
        (step("SomethingNew", "delete", retained=True), "harmless"),
        (step("DistributedPortGroup", "replace"), "disruptive"),
        (step("DistributedPortGroup", "same", protected=True), "disruptive"),
        (step("ResourcePool", "update", "cpuLimit", before={"cpuLimit": 9}, after={"cpuLimit": 8}), "disruptive"),
        (step("ResourcePool", "update", "cpuLimit", before={"cpuLimit": -1}, after={"cpuLimit": 8}), "disruptive"),
        (step("ComputeClusterVmAntiAffinityRule", "delete"), "harmless"),
        (step("ComputeClusterVmAntiAffinityRule", "update", "enabled"), "disruptive"),
        (step("EntityPermissions", "update", "permissions"), "harmless"),
        (
            step(
                "ComputeClusterVmGroup",
                "update",
                "virtualMachineIds",
                before={"virtualMachineIds": ["a"]},
                after={"virtualMachineIds": ["a", "04da6b54-80e4-46f7-96ec-b56ff0331ba9"]},
            ),
            "harmless",
        ),
    ],
)
def test_every_kind_of_step(given: Step, risk: str | None) -> None:
    found = risk_of(given)
    assert (found and found.risk) == risk
    if found is not None:
        assert bool(found.digest) == (risk == "data-loss")


# --- approvals ----------------------------------------------------------------------------

TODAY = date(2026, 11, 23)
LOST = losses(recorded("delete-file01"))
STANDING = {risk.urn: risk.id for risk in LOST} | {urn("VirtualDisk", "gra-db01-pgdata"): "disk-7"}


def approval(*lost: Risk, **changes: Any) -> Approval:
    resources = tuple(ApprovedResource(urn=r.urn, id=r.id, what=r.text, digest=r.digest) for r in lost)
    given = {"who": "Erika Muster", "why": "moved", "granted": TODAY, "expires": TODAY, "resources": resources}
    return Approval.model_validate({**given, **changes})


def test_exactly_what_is_lost_is_approved() -> None:
    assert len(LOST) == 2
    assert objections(LOST, STANDING, approval(*LOST), TODAY) == []
    assert objections((), STANDING, None, TODAY) == []


def other(number: int = 7) -> Risk:
    found = risk_of(Step(urn("VirtualDisk", "gra-db01-pgdata"), "delete", id=f"disk-{number}"))
    assert found
    return found


@pytest.mark.parametrize(
    ("given", "today", "said"),
    [
        (None, TODAY, ["nobody has approved it"]),
        (approval(*LOST), date(2026, 11, 24), ["the approval by Erika Muster expired on 2026-11-23"]),
        (
            approval(*LOST),
            date(2026, 11, 22),
            ["the approval by Erika Muster is dated 2026-11-23, which is still to come"],
        ),
        (approval(LOST[0]), TODAY, ["the approval by Erika Muster does not name VirtualMachine gra-file01"]),
        (
            approval(other()),
            TODAY,
            [
                "the approval by Erika Muster does not name VirtualDisk gra-file01-data",
                "the approval by Erika Muster does not name VirtualMachine gra-file01",
                "the approval by Erika Muster is for other resources, too: nothing happens to gra-db01-pgdata",
            ],
        ),
        (
            approval(*LOST, other()),
            TODAY,
            ["the approval by Erika Muster is for other resources, too: nothing happens to gra-db01-pgdata"],
        ),
        # What it was approved for is gone already: used up, by a run that was interrupted for example.
        (approval(*LOST, other(3)), TODAY, []),
    ],
)
def test_anything_else_is_refused(given: Approval | None, today: date, said: list[str]) -> None:
    assert objections(LOST, STANDING, given, today) == said


def test_an_approval_ends_when_the_preview_shows_something_else() -> None:
    deleted = Step(urn("VirtualMachine"), "delete", id="vm-1")
    granted = approval(*losses(risks([deleted])))
    for changed in (
        Step(urn("VirtualMachine"), "delete", id="vm-2"),  # built anew since then
        Step(urn("VirtualMachine"), "replace", id="vm-1"),
        Step(urn("VirtualMachine"), "replace", id="vm-1", replaced_by=frozenset(["clone"])),
    ):
        (said,) = objections(losses(risks([changed])), {}, granted, TODAY)
        assert said == "what would happen to VirtualMachine x is not what Erika Muster approved"
    forced = [
        Step(urn("VirtualMachine"), "replace", "vm-1", replaced_by=frozenset(["clone"]), after={"clone": template})
        for template in ("a", "b")
    ]
    first, second = (losses(risks([one]))[0].digest for one in forced)
    assert first != second


def test_taking_the_protection_away_leaves_the_approval_as_it_is() -> None:
    """Otherwise what was approved could never be carried out."""
    before, after = (Step(urn("VirtualDisk"), "delete", id="d", protected=protected) for protected in (True, False))
    assert risks([before]) == risks([after])


@pytest.mark.parametrize("days", [-1, 15])
def test_an_approval_is_for_days_not_for_years(days: int) -> None:
    with pytest.raises(ValueError, match="expires must lie 0 to 14 days after granted"):
        approval(*LOST, expires=date.fromordinal(TODAY.toordinal() + days))


def test_an_approval_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = write_approval(tmp_path, "grabow", approval(*LOST))
    assert written == tmp_path / "approvals" / "grabow.yaml"
    assert load_approval(tmp_path, "grabow") == approval(*LOST)
    assert load_approval(tmp_path, "zoo") is None


@pytest.mark.parametrize(("old", "new"), [("who:", "whom:"), ("sha256:", "md5:"), ("resources:", "resources: [")])
def test_an_approval_that_cannot_be_read_approves_nothing(tmp_path: Path, old: str, new: str) -> None:
    file = write_approval(tmp_path, "grabow", approval(*LOST))
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(DeclarationRefusedError):
        approved_only(tmp_path, lambda: TODAY)("grabow", LOST, STANDING)


def test_the_gate_lets_pass_what_is_approved_today(tmp_path: Path) -> None:
    write_approval(tmp_path, "grabow", approval(*LOST))
    approved_only(tmp_path, lambda: TODAY)("grabow", LOST, STANDING)
    with pytest.raises(NotApprovedError, match="stack 'zoo' would lose data"):
        approved_only(tmp_path, lambda: TODAY)("zoo", LOST, STANDING)
    with pytest.raises(NotApprovedError, match="expired"):
        approved_only(tmp_path, lambda: date(2026, 12, 1))("grabow", LOST, STANDING)
    approved_only(tmp_path, lambda: TODAY)("zoo", recorded("memory"), {})
