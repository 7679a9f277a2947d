"""Waves in order and on days that are allowed; and what never changes once a member has been given something."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project


def found(checkout: Project) -> list[Finding]:
    return Declarations(checkout).findings()


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, old
    file.write_text(text.replace(old, new), encoding="utf-8")


def line(finding: Finding) -> str:
    return finding.place.file.read_text("utf-8").splitlines()[finding.place.line - 1].strip()


@pytest.mark.parametrize(
    ("old", "new", "rule", "accused"),
    [
        ("pilot: {first_day: 2027-02-01", "pilot: {after: [piolt], first_day: 2027-02-01", "wave-unknown", "pilot:"),
        ("pilot: {first_day: 2027-02-01", "pilot: {after: [finanzen]", "wave-cycle", "pilot:"),
        (
            "pilot: {first_day: 2027-02-01",
            "pilot: {first_day: 2027-02-01, last_day: 2027-01-31",
            "wave-days",
            "pilot:",
        ),
        ("pilot: {first_day: 2027-02-01", "pilot: {last_day: 2027-02-01", "wave-days", "pilot:"),
        # finanzen comes after buergerbuero (2027-02-15), which comes after pilot.
        ("finanzen: {first_day: 2027-03-01", "finanzen: {first_day: 2027-02-15", "wave-order", "finanzen:"),
        ("finanzen: {first_day: 2027-03-01", "finanzen: {first_day: 2027-01-25", "wave-order", "finanzen:"),
        # The year-end closing keeps still the finance department only, and until 2027-01-22.
        ("finanzen: {first_day: 2027-03-01", "finanzen: {first_day: 2027-01-22", "wave-in-freeze", "finanzen:"),
        (
            "pilot: {first_day: 2027-02-01",
            "pilot: {first_day: 2026-09-13, last_day: 2026-09-14",
            "wave-in-freeze",
            "pilot:",
        ),
    ],
)
def test_each_rule_is_found_at_its_place(
    checkout: Project, grabow: Path, old: str, new: str, rule: str, accused: str
) -> None:
    change(grabow, old, new)
    hits = [line(finding) for finding in found(checkout) if finding.rule == rule]
    assert hits and all(hit.startswith(accused) for hit in hits)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("finanzen: {first_day: 2027-03-01", "finanzen: {first_day: 2027-02-16"),  # the day after buergerbuero
        ("buergerbuero: {first_day: 2027-02-15", "buergerbuero: {first_day: null"),  # not fixed yet
    ],
)
def test_what_is_in_order_is_not_accused(checkout: Project, grabow: Path, old: str, new: str) -> None:
    change(grabow, old, new)
    assert [f for f in found(checkout) if f.rule.startswith("wave")] == []


def test_a_freeze_of_departments_leaves_others_alone(checkout: Project, grabow: Path, devices: Path) -> None:
    """The pilot wave in the year-end closing: allowed as long as no device of the finance department is in it."""
    text = devices.read_text("utf-8")
    devices.write_text(
        text.replace(";kaemmerei;kaemmerei;windows;pilot;", ";kaemmerei;kaemmerei;windows;finanzen;"), "utf-8"
    )
    change(grabow, "pilot: {first_day: 2027-02-01", "pilot: {first_day: 2027-01-11")
    assert found(checkout) == []
    text = devices.read_text("utf-8")
    devices.write_text(
        text.replace(";kaemmerei;kaemmerei;windows;finanzen;", ";kaemmerei;kaemmerei;windows;pilot;", 1), "utf-8"
    )
    [finding] = found(checkout)
    assert finding.rule == "wave-in-freeze"
    assert "it has devices of kaemmerei" in finding.message


def test_a_circle_names_its_waves(checkout: Project, grabow: Path) -> None:
    change(grabow, "pilot: {first_day: 2027-02-01", "pilot: {after: [finanzen]")
    [finding] = [f for f in found(checkout) if f.rule == "wave-cycle"]
    assert "buergerbuero → pilot → finanzen → buergerbuero" in finding.message


def test_the_prefix_of_host_names_never_changes(checkout: Project, grabow: Path) -> None:
    change(grabow, "short: gra", "short: grb")
    [finding] = [f for f in found(checkout) if f.rule == "immutable-changed"]
    assert (line(finding), finding.value, finding.allowed) == ("short: grb", "grb", "gra")


def test_the_key_never_changes(checkout: Project, grabow: Path, devices: Path) -> None:
    change(grabow, "key: grabow", "key: grabau")
    grabow.rename(grabow.with_name("grabau.yaml"))
    devices.rename(devices.with_name("grabau.devices.csv"))
    [finding] = [f for f in found(checkout) if f.rule == "immutable-changed"]
    assert (line(finding), finding.value, finding.allowed) == ("key: grabau", "grabau", "grabow")


def test_order_holds_through_waves_without_days(checkout: Project, grabow: Path) -> None:
    """finanzen comes after buergerbuero, whose days are open, and that after pilot on 2027-02-01."""
    change(grabow, "buergerbuero: {first_day: 2027-02-15}", "buergerbuero: {}")
    change(grabow, "finanzen: {first_day: 2027-03-01", "finanzen: {first_day: 2027-02-01")
    [finding] = found(checkout)
    assert (finding.rule, line(finding)) == ("wave-order", "finanzen: {first_day: 2027-02-01}")
    assert "and pilot, which comes before it, ends on 2027-02-01" in finding.message
