"""Backups: what is decided for each data disk, and every way in which a declaration can cheat 3-2-1-1-0."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.planning.backup import calendar, interval_minutes
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import BackupPlan, Plan
from ksm_onboard.project import Project

from .test_checks import change, line_of


@pytest.fixture
def platform(checkout: Project) -> Path:
    return checkout.stacks / "schwerin.yaml"


def found(checkout: Project) -> list[tuple[str, str, int]]:
    return [(f.rule, f.place.file.name, f.place.line) for f in Declarations(checkout).findings()]


def backup_of(plan: Plan, server: str) -> BackupPlan:
    [backup] = [backup for backup in plan.member.backups if backup.server == server]
    return backup


# --- what is decided ----------------------------------------------------------------------


def test_every_data_disk_is_backed_up_to_the_other_section_and_outside(plan: Plan) -> None:
    disks = {(server.name, disk.name) for server in plan.member.servers for disk in server.disks}
    assert {(backup.server, backup.name) for backup in plan.member.backups} == disks
    for backup in plan.member.backups:
        locations = [plan.platform.backup_repository(key).location for key in backup.copies]
        section = plan.member.server(backup.server).section
        assert locations == [{"A": "B", "B": "A"}[section], "outside"]


def test_the_service_level_decides_the_class_and_what_lies_on_the_disk_is_named(plan: Plan) -> None:
    files, databases = backup_of(plan, "gra-file01"), backup_of(plan, "gra-db02")
    assert (files.kind, files.backup_class, files.covers) == ("files", "daily", ("verwaltung", "kaemmerei", "bauamt"))
    assert (databases.kind, databases.backup_class, databases.covers) == ("databases", "four-hourly", ("fachdaten",))
    assert files.quota_gib == 1500


def test_a_member_may_deviate(checkout: Project, grabow: Path) -> None:
    change(
        grabow,
        ("shares:", "servers: {file01: {disks: {data: {backup: hourly}}, service_level: 3}}\nshares:"),
    )
    assert found(checkout) == []
    plan = Declarations(checkout).plan("grabow")
    assert backup_of(plan, "gra-file01").backup_class == "hourly"
    assert backup_of(plan, "gra-file01").schedule.startswith("*-*-* *:")


def test_what_is_not_backed_up_says_why(checkout: Project, grabow: Path) -> None:
    stated = "servers: {file01: {disks: {data: {backup: none, backup_reason: Kopie eines Bestands}}}}\nshares:"
    change(grabow, ("shares:", stated))
    assert found(checkout) == []
    backup = backup_of(Declarations(checkout).plan("grabow"), "gra-file01")
    assert (backup.backup_class, backup.copies, backup.schedule) == (None, (), "")
    assert backup.reason == "Kopie eines Bestands"


@given(rpo=st.integers(1, 168), name=st.text(min_size=1, max_size=20))
def test_backups_come_so_often_that_one_may_fail(rpo: int, name: str) -> None:
    interval = interval_minutes(rpo)
    assert interval * 2 <= rpo * 60
    starts = [60 * hour + minute for hour, minute in times(calendar(name, interval))]
    assert len(starts) == 1440 // interval
    following = [*starts[1:], starts[0] + 1440]
    assert {later - start for start, later in zip(starts, following, strict=True)} == {interval}


def times(expression: str) -> list[tuple[int, int]]:
    day, clock = expression.split(" ")
    hours, minutes, seconds = clock.split(":")
    assert (day, seconds) == ("*-*-*", "00")
    every_hour = range(24) if hours == "*" else [int(hour) for hour in hours.split(",")]
    return sorted((hour, int(minute)) for hour in every_hour for minute in minutes.split(","))


def test_servers_begin_at_different_times() -> None:
    assert len({calendar(f"gra-file{number:02d}/data", 720) for number in range(20)}) > 15


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disk", "rule", "fragment"),
    [
        ("backup: dayly", "backup-class-unknown", "dayly"),
        ("backup: none", "backup-none-unreasoned", "backup: none"),
        ("backup_reason: x", "backup-none-unreasoned", "backup_reason"),
        ("bakup: daily", "unknown-key", "bakup"),
    ],
)
def test_a_members_disks(checkout: Project, grabow: Path, disk: str, rule: str, fragment: str) -> None:
    change(grabow, ("shares:", f"servers: {{file01: {{disks: {{data: {{{disk}}}}}}}}}\nshares:"))
    assert found(checkout) == [(rule, "grabow.yaml", line_of(grabow, fragment))]


def test_a_class_that_breaks_the_service_levels_promise(checkout: Project, grabow: Path) -> None:
    change(grabow, ("shares:", "servers: {db01: {disks: {pgdata: {backup: daily}}}}\nshares:"))
    [finding] = Declarations(checkout).findings()
    assert finding.rule == "backup-rpo" and finding.place.line == line_of(grabow, "backup: daily")
    assert "24 h" in finding.message and "4 h" in finding.message and finding.allowed == "hourly, four-hourly"


def test_a_level_without_a_class_leaves_disks_without_one(checkout: Project, platform: Path) -> None:
    change(platform, (', "3": daily', ""))
    assert [rule for rule, _, _ in found(checkout)] == ["backup-class-missing"]


def test_databases_without_a_data_disk(checkout: Project, grabow: Path) -> None:
    change(grabow, ("shares:", "servers: {db02: {disks: {pgdata: null}}}\nshares:"))
    assert "backup-outside-data-disk" in [rule for rule, _, _ in found(checkout)]


CLASS = "copies: [other-section, outside]\n      restore_test_days: 90"


@pytest.mark.parametrize(
    ("old", "new", "rules", "fragment"),
    [
        (CLASS, CLASS.replace("other-section, ", ""), ["backup-copies"], "copies: [outside]"),
        (CLASS, CLASS.replace(", outside", ", own-section"), ["backup-outside"], "own-section"),
        (CLASS, CLASS.replace("other-section, outside", "outside, outside"), ["backup-copies"], "outside, outside"),
        (CLASS, CLASS.replace("other-section", "elsewhere"), ["value-not-allowed"], "elsewhere"),
        ('"1": hourly', '"1": four-hourly', ["backup-rpo"], '"1": four-hourly'),
        ('"4": daily', '"4": never', ["backup-class-unknown"], '"4": never'),
        ("outside: {server: backup03", "outside: {server: backup04", ["backup-host", "backup-place"], "backup04"),
        ("outside: {server: backup03", "outside: {server: backup02", ["backup-place"], "outside: {"),
        ("13, location: outside", "13, location: outside, directory: grabow.internal", ["backup-host"], "directory: g"),
        ("13, location: outside", "21, location: outside, zone: management", ["yaml-duplicate-key"], "21, location"),
        ("10.96.81.13", "10.96.81.12", ["shared-network"], "location: outside}"),
        ("10.96.81.13", "10.96.82.13", ["shared-network"], "10.96.82.13"),
        ("10.96.81.13", "10.96.81.1", ["shared-network"], "10.96.81.1, location"),
        ("cidr: 10.96.81.0/24, vlan: 181", "cidr: 10.96.81.0/24, vlan: 281", ["shared-network"], "vlan: 281"),
    ],
)  # fmt: skip
def test_the_platforms_concept(
    checkout: Project, platform: Path, old: str, new: str, rules: list[str], fragment: str
) -> None:
    change(platform, (old, new))
    told = found(checkout)
    assert sorted({rule for rule, _, _ in told}) == sorted(set(rules)), told
    assert (rules[0], "schwerin.yaml", line_of(platform, fragment)) in told


def test_a_backup_host_outside_its_zone(checkout: Project, platform: Path) -> None:
    change(
        platform,
        (
            "backup03: {role: backup, zone: backup, address: 10.96.81.13",
            "backup03: {role: backup, zone: core, address: 10.96.0.13",
        ),
    )
    assert [rule for rule, _, _ in found(checkout)] == ["backup-host"]


def test_a_shared_zone_in_a_members_pool(checkout: Project, platform: Path) -> None:
    text = platform.read_text(encoding="utf-8")
    platform.write_text(text.replace("10.96.81.", "10.70.81."), encoding="utf-8")
    assert [rule for rule, _, _ in found(checkout)] == ["shared-network"]


def test_backups_that_whoever_backs_up_can_delete(checkout: Project, platform: Path) -> None:
    text = platform.read_text(encoding="utf-8")
    platform.write_text(text.replace("medium: disk}", "medium: disk, append_only: false}"), encoding="utf-8")
    assert {rule for rule, _, _ in found(checkout)} == {"backup-changeable"}


def test_backups_on_the_medium_of_the_original(checkout: Project, platform: Path) -> None:
    text = platform.read_text(encoding="utf-8")
    platform.write_text(text.replace("medium: disk}", "medium: array}"), encoding="utf-8")
    assert {rule for rule, _, _ in found(checkout)} == {"backup-media"}


def test_a_platform_without_backup_has_members_without_backup(checkout: Project, platform: Path) -> None:
    text = platform.read_text(encoding="utf-8")
    start, end = text.index("\nbackup:"), text.index("# Licences")
    platform.write_text(text[:start] + "\n" + text[end:], encoding="utf-8")
    assert [rule for rule, _, _ in found(checkout)] == ["backup-undeclared"]
