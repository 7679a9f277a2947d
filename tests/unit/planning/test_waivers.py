"""Waivers: what check says of them, and that they come through to the plan."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from ksm_onboard.planning.checks_waivers import resource_names
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project
from tests.unit.provisioning.conftest import Recorder, connection, member, platform

TODAY = date(2026, 11, 22)
GOOD = {
    "rule": "alike-apart",
    "resource": "gra-print*",
    "reason": "Der zweite Druckserver wird im März 2027 geliefert.",
    "owner": "Leitung IT",
    "granted": date(2026, 11, 1),
    "expires": date(2027, 3, 31),
}

__all__ = ["connection", "member", "platform"]


def found(project: Project, file: Path, *, today: date | None = TODAY, **changes: object) -> list[tuple[str, str, int]]:
    content = yaml.safe_load(file.read_text())
    content["waivers"] = {"printing": {**GOOD, **changes}}
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    wanted = Declarations(project, today=today).findings(["grabow"])
    return [(f.rule, f.severity, f.place.line) for f in wanted if f.rule.startswith("waiver") or f.severity == "error"]


def line_of(file: Path, text: str) -> int:
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if line.strip().startswith(text))


def test_a_good_waiver_comes_through_to_the_plan(checkout: Project, grabow: Path) -> None:
    assert found(checkout, grabow) == []
    (planned,) = Declarations(checkout).plan("grabow").member.waivers
    assert planned.model_dump() == {"key": "printing", **GOOD}


@pytest.mark.parametrize(
    ("changes", "rule", "severity", "key"),
    [
        ({"rule": "alike-part"}, "waiver-rule-unknown", "error", "rule:"),
        ({"resource": "gra-fax*"}, "waiver-resource-unknown", "error", "resource:"),
        ({"expires": date(2026, 10, 31)}, "waiver-days", "error", "expires:"),
        ({"expires": date(2027, 11, 3)}, "waiver-too-long", "error", "expires:"),
        ({"expires": date(2026, 11, 21)}, "waiver-expired", "warning", "expires:"),
        ({"reason": "so"}, "wrong-format", "error", "reason:"),
        ({"until": "forever"}, "unknown-key", "error", "until:"),
        ({"expires": "soon"}, "wrong-type", "error", "expires:"),
    ],
)
def test_a_bad_waiver_is_found(
    checkout: Project, grabow: Path, changes: dict[str, Any], rule: str, severity: str, key: str
) -> None:
    findings = found(checkout, grabow, **changes)
    assert [f[:2] for f in findings] == [(rule, severity)]
    assert findings[0][2] == line_of(grabow, key)


def test_the_last_day_still_holds_and_without_a_clock_nothing_expires(checkout: Project, grabow: Path) -> None:
    assert found(checkout, grabow, expires=TODAY) == []
    assert found(checkout, grabow, today=None, expires=date(2026, 11, 2)) == []


def test_whoever_is_named_in_a_waiver_is_in_the_stack(member: tuple[Recorder, object], plan: Plan) -> None:
    made = {m.name for m in member[0].made if m.type.startswith("vsphere:")} - {"ksm-member-grabow"}
    assert resource_names(plan.member) == made
