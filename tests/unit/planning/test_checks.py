"""Every rule is broken once, and must be found at its place; all errors of a file are found in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project


def change(file: Path, *replacements: tuple[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text, f"the declaration no longer holds {old!r}"
        text = text.replace(old, new, 1)
    file.write_text(text, encoding="utf-8")


def line_of(file: Path, fragment: str) -> int:
    lines = [n for n, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1) if fragment in line]
    assert lines, f"{fragment!r} is not in {file}"
    return lines[-1]


def found(checkout: Project) -> list[tuple[str, str, int]]:
    return [(f.rule, f.place.file.name, f.place.line) for f in Declarations(checkout).findings()]


def test_the_committed_declarations_have_no_findings(checkout: Project) -> None:
    assert found(checkout) == []


@pytest.mark.parametrize(
    ("old", "new", "rule", "fragment"),
    [
        ("kind: stadt", "kind: staadt", "value-not-allowed", "kind: staadt"),
        ("  short: gra", "  shrot: gra", "unknown-key", "shrot"),
        ("  short: gra", "  short: GRABOW", "wrong-format", "short: GRABOW"),
        ("vlan_base: 1200", "vlan_base: viele", "wrong-type", "vlan_base"),
        ("vlan_base: 1200", "vlan_base: true", "wrong-type", "vlan_base"),
        ("vlan_base: 1200", "vlan_base: 9000", "out-of-range", "vlan_base"),
        ("key: grabow", "key: grabau", "key-differs-from-file", "key: grabau"),
        ("cidr: 10.64.10.0/24", "cidr: 10.65.10.0/24", "zone-outside-block", "cidr: 10.65.10.0/24"),
        ("cidr: 10.64.10.0/24", "cidr: 10.64.10.7/24", "wrong-format", "cidr: 10.64.10.7/24"),
        ("cidr: 10.64.10.0/24", "cidr: 10.64.11.0/25", "zone-overlap", "database: {"),
        ("cidr: 10.64.15.0/24", "cidr: 10.64.15.0/30", "zone-too-small", "10.64.15.0/30"),
        ("address: 10.64.12.11", "address: 10.64.11.99", "address-outside-zone", "10.64.11.99"),
        ("address: 10.64.12.11", "address: 10.64.12.1", "address-reserved", "address: 10.64.12.1,"),
        ("address: 10.64.12.11", "address: 10.64.12.12", "address-twice", "gra-dns02"),
        ("address: 10.64.12.11", "address: 10.64.12.256", "wrong-format", "10.64.12.256"),
        ("name: gra-dns01", "name: gra-dns02", "name-twice", "gra-dns02"),
        ("name: gra-dns01", "name: gra-ws0001", "name-twice", "gra-ws0001"),
        ("name: gra-dns01", "name: gra-nameserver-01", "wrong-format", "gra-nameserver-01"),
        ("role: print, zone: infrastructure", "role: print, zone: voip", "zone-unknown", "zone: voip"),
        ("size_gib: 500, tier: gold-mirrored", "size_gib: 500, tier: platinum", "tier-unknown", "platinum"),
        ("tier: local-b", "tier: local-a", "pair-in-one-section", "name: gra-db02"),
        ("pair: application", "pair: app", "pair-of-one", "gra-app01"),
        ("server: gra-file01, path", "server: gra-fiel01, path", "server-unknown", "gra-fiel01"),
        ("path: /srv/data/bauamt", "path: /home/bauamt", "share-outside-data-disk", "/home/bauamt"),
        ("site: bauhof, address", "site: bauhoff, address", "site-unknown", "site: bauhoff"),
        ("pair: database, owner", "pair: db, owner", "pair-unknown", "pair: db,"),
        ("profile: bauamt", "profile: bauambt", "profile-unknown", "bauambt"),
        ("department: bauamt", "department: bauambt", "department-unknown", "bauambt"),
        ("count: 14", "count: 1400", "zone-full", "clients: {"),
        ("[7zip, keepassxc]", "[7zip, keepasxc]", "application-unknown", "keepasxc"),
        ("[7zip, keepassxc]", "[7zip, nginx]", "application-misplaced", "[7zip, nginx]"),
        ("memory_gib: 96", "memory_gib: 16", "pool-too-small", "memory_gib: 16}"),
    ],
)
def test_a_broken_rule_is_found_at_its_place(
    checkout: Project, grabow: Path, old: str, new: str, rule: str, fragment: str
) -> None:
    change(grabow, (old, new))
    hits = [(name, line) for found_rule, name, line in found(checkout) if found_rule == rule]
    assert ("grabow.yaml", line_of(grabow, fragment)) in hits or (
        # an entry that spans lines is reported on one of them
        rule in ("pair-in-one-section",) and any(line >= line_of(grabow, fragment) for _, line in hits)
    )


def test_all_errors_of_a_file_are_found_in_one_run(checkout: Project, grabow: Path) -> None:
    change(
        grabow,
        ("  short: gra", "  short: gra\n  colour: blau"),  # unknown key
        ("vlan_base: 1200", "vlan_base: viele"),  # wrong type
        ("address: 10.64.12.31", "address: 10.64.99.31"),  # outside its zone
        ("name: gra-app02", "name: gra-app01"),  # two hosts with one name
        ("keepassxc", "keepass-deluxe"),  # not in the catalogue
    )
    rules = {rule for rule, _, _ in found(checkout)}
    assert {"unknown-key", "wrong-type", "address-outside-zone", "name-twice", "application-unknown"} <= rules


def test_an_error_does_not_cause_others(checkout: Project, grabow: Path) -> None:
    """A site with a mistake is set aside; those who refer to it are not accused of it."""
    change(grabow, ("bauhof: {name: Bauhof,", "bauhof: {nmae: Bauhof,"))
    assert {rule for rule, _, _ in found(checkout)} == {"unknown-key", "missing-key"}


def test_a_declaration_with_errors_is_not_planned(checkout: Project, grabow: Path) -> None:
    change(grabow, ("cpus: 2", "cpus: 2, colour: blau"))
    with pytest.raises(DeclarationRefusedError) as refused:
        Declarations(checkout).plan("grabow")
    assert [f.rule for f in refused.value.findings] == ["unknown-key"]


def test_two_members_must_not_share_blocks_vlans_or_prefixes(checkout: Project, grabow: Path) -> None:
    other = checkout.stacks / "grobaw.yaml"
    other.write_text(grabow.read_text(encoding="utf-8").replace("key: grabow", "key: grobaw"), encoding="utf-8")
    rules = {rule for rule, name, _ in found(checkout) if name == "grobaw.yaml"}
    assert rules == {"block-overlap", "vlan-twice", "short-twice"}


def test_cycles_of_requirements_name_their_members(checkout: Project) -> None:
    (checkout.catalogue / "x.yaml").write_text(
        "domain: test\napplications:\n"
        "  a-app: {product: A, vendor: V, platforms: [linux], component: client, licence: free, requires: [b-app]}\n"
        "  b-app: {product: B, vendor: V, platforms: [linux], component: client, licence: free, requires: [a-app]}\n"
    )
    cycles = [f for f in Declarations(checkout).findings() if f.rule == "application-cycle"]
    assert len(cycles) == 1
    assert "a-app → b-app → a-app" in cycles[0].message


def test_the_platform_is_checked_too(checkout: Project) -> None:
    platform = checkout.stacks / "schwerin.yaml"
    change(
        platform,
        ("datastores: [sn-mirror01]", "datastores: [sn-mirror09]"),
        ("sn-esx-b04]", "sn-esx-a01]"),
    )
    assert {rule for rule, name, _ in found(checkout) if name == "schwerin.yaml"} == {
        "datastore-unknown",
        "hypervisor-twice",
    }
