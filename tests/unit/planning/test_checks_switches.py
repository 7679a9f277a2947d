"""Switches that ask who may be connected: they stand somewhere, have an address of their own, and are heard."""

from __future__ import annotations

import pytest

from ksm_onboard.planning.central import networks_of_devices
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project

RATHAUS = "  rathaus: {site: rathaus, address: 10.64.15.31}\n"


def told(checkout: Project) -> list[tuple[str, str]]:
    """Rule and accused line of every error."""
    return [
        (f.rule, f.place.file.read_text("utf-8").splitlines()[f.place.line - 1].strip())
        for f in Declarations(checkout).findings()
        if f.severity == "error"
    ]


def change(checkout: Project, name: str, old: str, new: str) -> None:
    file = checkout.stacks / name
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("switch", "rule"),
    [
        ("rathaus: {site: rathuas, address: 10.64.15.31}", "site-unknown"),
        ("rathaus: {site: rathaus, address: 10.64.14.31}", "address-outside-zone"),
        ("rathaus: {site: rathaus, address: 10.64.15.32}", "address-twice"),
        ("rathaus: {site: rathaus}", "missing-key"),
        ("rathaus: {site: rathaus, address: 10.64.15.31, secret: geheim}", "unknown-key"),
        ("Rathaus: {site: rathaus, address: 10.64.15.31}", "wrong-format"),
    ],
)
def test_one_defect_is_one_finding(checkout: Project, switch: str, rule: str) -> None:
    change(checkout, "grabow.yaml", RATHAUS, f"  {switch}\n")
    assert [found for found, _ in told(checkout)] == [rule]


def test_a_switch_that_nobody_hears_is_refused(checkout: Project) -> None:
    change(checkout, "grabow.yaml", "printers:\n", "flows:\n  network-access: null\n\nprinters:\n")
    assert told(checkout) == [("switch-unheard", "switches:")]


def test_without_radius_servers_no_switch_has_anybody_to_ask(checkout: Project) -> None:
    change(checkout, "schwerin.yaml", ", radius]", "]")
    change(checkout, "schwerin.yaml", "  radius: {title: Netzzugang, role: radius}\n", "")
    change(checkout, "schwerin.yaml", "targets: [data-centre:radius]", "targets: [data-centre:dns]")
    assert told(checkout) == [("switch-unheard", "switches:")]


def test_every_workplace_belongs_into_the_network_of_its_zone(checkout: Project) -> None:
    plan = Declarations(checkout).plan("grabow")
    vlans = {zone.key: zone.vlan for zone in plan.member.zones}
    told_to_switches = {name: vlan for vlan, names in networks_of_devices(plan).items() for name in names}
    assert told_to_switches == {w.fqdn: vlans[w.zone] for w in plan.member.workstations}
