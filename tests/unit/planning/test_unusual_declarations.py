"""Declarations as other people write them: unusual but right ones pass, broken ones get one finding in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project


def errors(project: Project) -> list[tuple[str, str, int, int]]:
    findings = Declarations(project).findings()
    return [(f.place.file.name, f.rule, f.place.line, f.place.column) for f in findings if f.severity == "error"]


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


def added(block: str) -> Callable[[str], str]:
    return lambda text: f"{text}\n{block}\n"


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "%YAML 1.1\n---\n" + text + "...\n",
        lambda text: text.replace("\n", "  # Grüße aus Grabow ✓\n\n").rstrip(),
        replaced("short: gra", "short: 'gra'\t# prefix"),
        replaced("name: Stadt Grabow", 'name: "Stadt: Grabow # kein Kommentar, 100 % & {x} $HOME `id`"'),
        replaced("name: Stadt Grabow", "name: >-\n    Stadt\n    Grabow"),
        replaced("name: Stadt Grabow", "name: Sta\u0308dtchen Grâbow „an der Elde“ 🏰"),
        replaced("departments:\n", "departments:\n  10: {name: Amt 10}\n  no: {name: Nordost}\n  y: {name: Ypsilon}\n"),
        added("applications: []\nwithout_applications: [7zip]\nextra_applications: [vlc]"),
        added("profiles:\n  kaemmerei: {applications: []}\n  standard: {without_applications: [keepassxc]}"),
        added("servers:\n  app02: ~\n  app01: {pair: null}"),
        added("servers:\n  file01: {disks: {archiv: {size_gib: 9, tier: gold-mirrored, mount: /srv/.a/..b/c}}}"),
        added("networks:\n  legacy:\n    alt: {cidr: 10.64.0.0/24, nat: 10.200.1.0/24}"),
        added("freezes:\n  wahl: {first_day: 2027-09-20, last_day: '2027-09-27', reason: Landtagswahl}"),
    ],
)
def test_unusual_but_right(checkout: Project, grabow: Path, rewrite: Callable[[str], str]) -> None:
    grabow.write_bytes(rewrite(grabow.read_text("utf-8")).encode())
    # A disk that is new has no place yet, which is no fault of how it is written.
    assert [found for found in errors(checkout) if found[1] != "not-allocated"] == []


@pytest.mark.parametrize(
    ("old", "new", "rule", "fragment"),
    [
        ("name: Stadt Grabow", "name: No", "wrong-type", "No\n"),
        ("name: Stadt Grabow", "name: 19300", "wrong-type", "19300\n"),
        ("name: Stadt Grabow", 'name: "Stadt\\nGrabow"', "hidden-character", '"Stadt'),
        ("kind: stadt", "kind: st\u0430dt", "value-not-allowed", "st\u0430dt"),
        ("kind: stadt", "kind: stadt\u200b", "hidden-character", "stadt\u200b"),
        ("key: grabow", "key: gra\0bow", "yaml-syntax", "\0"),
        ("first_day: 2027-02-01", "first_day: 2027-02-30", "wrong-type", "2027-02-30"),
        ("first_day: 2027-02-01", "first_day: 20270201", "wrong-type", "20270201"),
        ("shares:", "servers: {file01: {memory_gib: 010}}\nshares:", "yaml-value", "010"),
        ("shares:", "servers: {file01: {memory_gib: 12:30}}\nshares:", "wrong-type", "12:30"),
        ("shares:", "servers: {file01: {memory_gib: yes}}\nshares:", "wrong-type", "yes"),
        ("shares:", "servers: {file01: {memory_gib: 90}}\nshares:", "pool-too-small", "90}"),
        ("shares:", "servers: {file01: {disks: {x: {mount: /srv/../etc}}}}\nshares:", "wrong-format", "/srv/.."),
        ("shares:", "servers: {db01: {disks: {pgdata: {mount: /etc}}}}\nshares:", "mount-reserved", "/etc"),
        ("shares:", "networks: {legacy: {alt: {cidr: 192.168.1.0}}}\nshares:", "wrong-format", "192.168.1.0"),
        ("shares:", "networks: {legacy: {alt: {cidr: 192.168.1.1/24}}}\nshares:", "wrong-format", "192.168.1.1"),
        ("shares:", "networks: {legacy: [192.168.1.0/24]}\nshares:", "wrong-type", "[192"),
        ("shares:", "applications: 7zip\nshares:", "wrong-type", "7zip"),
    ],
)
def test_one_finding_at_the_right_place(
    checkout: Project, grabow: Path, old: str, new: str, rule: str, fragment: str
) -> None:
    text = grabow.read_text("utf-8").replace(old, new, 1)
    grabow.write_text(text, encoding="utf-8")
    start = text.index(fragment)
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    # A swap file as large as the memory asks for a larger datastore, which is told, too.
    besides = ("missing-key", "storage-quota")
    assert [found for found in errors(checkout) if found[1] not in besides] == [("grabow.yaml", rule, line, column)]


@pytest.mark.parametrize("target", ["grabow.devices.csv", "nowhere"])
@pytest.mark.parametrize("file", ["grabow.yaml", "grabow.devices.csv"])
def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read(checkout: Project, file: str, target: str) -> None:
    link = checkout.stacks / file
    link.unlink()
    link.symlink_to(file if target == "grabow.devices.csv" else target)
    assert os.path.lexists(link)
    assert (file, "file-unreadable", 1, 1) in errors(checkout)


def test_a_column_that_is_there_twice_is_one_finding(checkout: Project) -> None:
    file = checkout.stacks / "grabow.devices.csv"
    file.write_text(file.read_text("utf-8").replace("serial;mac", "mac;mac", 1), encoding="utf-8")
    assert errors(checkout) == [("grabow.devices.csv", "csv-duplicate-column", 1, 14)]
