"""What members publish: only what is declared, reachable and their own."""

from __future__ import annotations

import shutil

import pytest

from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project
from tests.unit.conftest import ROOT

PORTAL = "  portal.grabow.internal: {server: web01}\n"


def told(checkout: Project) -> list[tuple[str, str]]:
    """Rule and accused line of every error."""
    return [
        (f.rule, f.place.file.read_text("utf-8").splitlines()[f.place.line - 1].strip())
        for f in Declarations(checkout).findings()
        if f.severity == "error"
    ]


def declare(checkout: Project, published: str, more: str = "") -> None:
    file = checkout.stacks / "grabow.yaml"
    text = file.read_text("utf-8")
    assert PORTAL in text
    file.write_text(text.replace(PORTAL, published) + more, encoding="utf-8")


def test_a_published_application_is_served_by_the_whole_pair(checkout: Project) -> None:
    declare(checkout, PORTAL + "  www.example.org: {server: web02, port: 443, health: /health}\n")
    assert told(checkout) == []
    published = {p.name: p for p in Declarations(checkout).plan("grabow").member.published}
    assert published["portal.grabow.internal"].servers == ("gra-web01", "gra-web02")
    assert published["www.example.org"].servers == ("gra-web01", "gra-web02")
    assert (published["www.example.org"].port, published["www.example.org"].health) == (443, "/health")


@pytest.mark.parametrize(
    ("published", "rule"),
    [
        ("portal.grabow.internal: {server: app01}", "published-unreachable"),
        ("portal.grabow.internal: {server: web01, port: 8080}", "published-unreachable"),
        ("portal.grabow.internal: {server: web09}", "server-unknown"),
        ("portal.grabow.internal: {server: file01}", "server-unknown"),
        ("gra-file01.grabow.internal: {server: web01}", "published-name"),
        ("gra-ws0001.grabow.internal: {server: web01}", "published-name"),
        ("grabow.internal: {server: web01}", "published-name"),
        ("portal.ksm.internal: {server: web01}", "published-name"),
        ("ksm.internal: {server: web01}", "published-name"),
        (f"{'a' * 64}.grabow.internal: {{server: web01}}", "published-name"),
        ("Portal.grabow.internal: {server: web01}", "wrong-format"),
        ("portal.grabow.internal: {server: web01, health: health}", "wrong-format"),
        ('portal.grabow.internal: {server: web01, health: "/ HTTP/1.0"}', "wrong-format"),
        ("portal.grabow.internal: {server: web01, port: 0}", "out-of-range"),
        ("portal.grabow.internal: {server: web01, tls: false}", "unknown-key"),
    ],
)
def test_one_defect_is_one_finding(checkout: Project, published: str, rule: str) -> None:
    declare(checkout, f"  {published}\n")
    assert told(checkout) == [(rule, published)]


def test_a_flow_that_is_taken_away_leaves_nothing_to_publish(checkout: Project) -> None:
    declare(checkout, PORTAL, "\nflows:\n  publishing: null\n")
    assert [rule for rule, _ in told(checkout)] == ["published-unreachable"]


@pytest.fixture
def two_members(checkout: Project) -> Project:
    for file in ("stadtwerke.yaml", "stadtwerke.devices.csv", "allocations/stadtwerke.yaml"):
        shutil.copy(ROOT / "stacks" / file, checkout.stacks / file)
    return checkout


def test_a_name_leads_to_one_member(two_members: Project) -> None:
    declare(two_members, "  portal.example.org: {server: web01}\n")
    other = two_members.stacks / "stadtwerke.yaml"
    line = "  portal.example.org: {server: portal01}"
    other.write_text(other.read_text("utf-8") + f"\npublished:\n{line}\n", encoding="utf-8")
    assert told(two_members) == [("published-twice", line.strip())]


def test_nobody_publishes_a_name_in_another_members_domain(two_members: Project) -> None:
    line = "kunden.stadtwerke.internal: {server: web01}"
    declare(two_members, f"  {line}\n")
    assert told(two_members) == [("published-name", line)]


def test_without_reverse_proxies_nothing_is_published(checkout: Project) -> None:
    file = checkout.stacks / "schwerin.yaml"
    lines = [line for line in file.read_text("utf-8").splitlines(keepends=True) if "roles: [reverse-proxy]" not in line]
    text = "".join(lines).replace("role: reverse-proxy}", "networks: [10.96.1.11/32]}")
    file.write_text(text, encoding="utf-8")
    assert told(checkout) == [("published-nowhere", "published:")]
