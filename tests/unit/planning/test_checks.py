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
        ("departments:", "networks: {vlan_base: viele}\ndepartments:", "wrong-type", "vlan_base"),
        ("departments:", "networks: {vlan_base: true}\ndepartments:", "wrong-type", "vlan_base"),
        ("departments:", "networks: {vlan_base: 9000}\ndepartments:", "out-of-range", "vlan_base"),
        ("departments:", "networks: {pool: smal}\ndepartments:", "pool-unknown", "smal"),
        ("departments:", "networks: {block: 10.65.0.0/20}\ndepartments:", "allocation-contradicts", "10.65.0.0/20"),
        ("key: grabow", "key: grabau", "key-differs-from-file", "key: grabau"),
        (
            "departments:",
            "zones: {application: {cidr: 10.65.10.0/24}}\ndepartments:",
            "zone-outside-block",
            "10.65.10.0",
        ),
        ("departments:", "zones: {application: {cidr: 10.64.10.7/24}}\ndepartments:", "wrong-format", "10.64.10.7/24"),
        ("departments:", "zones: {management: {cidr: 10.64.11.0/25}}\ndepartments:", "zone-overlap", "10.64.11.0/25"),
        ("departments:", "zones: {management: {cidr: 10.64.15.0/30}}\ndepartments:", "zone-too-small", "10.64.15.0/30"),
        ("departments:", "zones: {management: {prefix: 23}}\ndepartments:", "allocation-contradicts", "prefix: 23"),
        ("departments:", "zones: {management: {vlan: 1281}}\ndepartments:", "allocation-contradicts", "vlan: 1281"),
        ("departments:", "zones: {application: {cidr: 5}}\ndepartments:", "wrong-type", "cidr: 5}"),
        ("departments:", "zones: {voip: {}}\ndepartments:", "zone-size-missing", "voip"),
        ("departments:", "zones: {voip: {prefix: 24}}\ndepartments:", "not-allocated", "voip"),
        ("departments:", "servers: {dns01: {address: 10.64.11.99}}\ndepartments:", "address-outside-zone", "11.99"),
        ("departments:", "servers: {dns01: {address: 10.64.12.1}}\ndepartments:", "address-reserved", "10.64.12.1}"),
        ("departments:", "servers: {dns02: {address: 10.64.12.11}}\ndepartments:", "address-twice", "10.64.12.11"),
        ("departments:", "servers: {dns01: {address: 10.64.12.256}}\ndepartments:", "wrong-format", "10.64.12.256"),
        ("departments:", "servers: {dns01: {address: 10.64.12.99}}\ndepartments:", "allocation-contradicts", "12.99"),
        ("departments:", "servers: {nameserver-01: {role: dns}}\ndepartments:", "wrong-format", "nameserver-01"),
        ("departments:", "servers: {print01: {zone: voip}}\ndepartments:", "zone-unknown", "zone: voip"),
        ("departments:", "servers: {print01: {template: cpm}}\ndepartments:", "template-unknown", "cpm"),
        (
            "departments:",
            "servers: {file01: {disks: {data: {tier: platinum}}}}\ndepartments:",
            "tier-unknown",
            "platinum",
        ),
        (
            "departments:",
            "servers: {db02: {disks: {pgdata: {tier: local-a}}}}\ndepartments:",
            "pair-placed-together",
            "db02",
        ),
        ("departments:", "servers: {file01: {section: B, tier: local-a}}\ndepartments:", "section-conflict", "file01"),
        ("departments:", "servers: {app01: {pair: app}}\ndepartments:", "pair-of-one", "pair: app"),
        ("departments:", "servers: {app01: {role: file}}\ndepartments:", "pair-of-different-roles", "app01"),
        ("departments:", "servers: {app03: null}\ndepartments:", "removes-nothing", "app03"),
        ("departments:", "servers: {app01: {cpus: null}}\ndepartments:", "null-not-allowed", "cpus: null"),
        ("departments:", "zones:\ndepartments:", "null-not-allowed", "zones:"),
        ("{comment: Bauakten und Pläne}", "{server: fiel01}", "server-unknown", "fiel01"),
        ("{comment: Bauakten und Pläne}", "{path: /home/bauamt}", "share-outside-data-disk", "/home/bauamt"),
        ("bauhof: {site: bauhof,", "bauhof: {site: bauhoff,", "site-unknown", "site: bauhoff"),
        ("departments:", "databases: {fachdaten: {pair: db}}\ndepartments:", "pair-unknown", "pair: db"),
        ("printers:", "applications: [7zip, keepasxc]\nprinters:", "application-unknown", "keepasxc"),
        ("printers:", "applications: [7zip, nginx]\nprinters:", "application-misplaced", "[7zip, nginx]"),
        ("printers:", "profiles: {bauamt: {applications: [qgiss]}}\nprinters:", "application-unknown", "qgiss"),
        (
            "printers:",
            "extra_applications: [git]\nwithout_applications: [git]\nprinters:",
            "application-contradiction",
            "extra_applications",
        ),
        ("departments:", "compute: {memory_gib: 16}\ndepartments:", "pool-too-small", "memory_gib: 16}"),
        (
            "departments:",
            "networks: {legacy: {alt: {cidr: 10.64.3.0/24}}}\ndepartments:",
            "legacy-overlap",
            "cidr: 10.64.3.0/24",
        ),
        (
            "departments:",
            "networks: {legacy: {alt: {cidr: 10.64.3.0/24, nat: 10.95.0.0/25}}}\ndepartments:",
            "nat-size",
            "nat: 10.95.0.0/25",
        ),
    ],
)
def test_a_broken_rule_is_found_at_its_place(
    checkout: Project, grabow: Path, old: str, new: str, rule: str, fragment: str
) -> None:
    change(grabow, (old, new))
    hits = [(name, line) for found_rule, name, line in found(checkout) if found_rule == rule]
    assert ("grabow.yaml", line_of(grabow, fragment)) in hits


@pytest.mark.parametrize(
    ("old", "new", "rule", "fragment"),
    [
        ("gra-dns01: 10.64.12.11", "gra-dns01: 10.64.11.99", "address-outside-zone", "10.64.11.99"),
        ("gra-dns01: 10.64.12.11", "gra-dns01: 10.64.12.12", "address-twice", "gra-dns02: 10"),
        ("gra-dns01: 10.64.12.11", "gra-dns01: 10.64.12.256", "wrong-format", "10.64.12.256"),
        ("gra-ws0007: 10.64.0.27", "gra-ws0007: 10.64.0.28", "address-twice", "gra-ws0008"),
        ("gra-ws0007: 10.64.0.27", "gra-ws0007: 10.64.4.27", "address-outside-zone", "gra-ws0007"),
        ("cidr: 10.64.10.0/24", "cidr: 10.65.10.0/24", "zone-outside-block", "cidr: 10.65.10.0/24"),
        ("vlan: 1220", "vlan: 1221", "vlan-twice", "database: {"),
        ("rathaus-og: 10.64.13.12", "rathaus-og: 10.64.13.11", "address-twice", "rathaus-og"),
        ("block: 10.64.0.0/20", "blok: 10.64.0.0/20", "unknown-key", "blok"),
    ],
)
def test_a_damaged_record_is_found_at_its_place(
    checkout: Project, record: Path, old: str, new: str, rule: str, fragment: str
) -> None:
    change(record, (old, new))
    assert (rule, "allocations", line_of(record, fragment)) in [
        (f.rule, f.place.file.parent.name, f.place.line) for f in Declarations(checkout).findings()
    ]


@pytest.mark.parametrize(
    ("old", "new", "rule", "column"),
    [
        (";kaemmerei;kaemmerei;", ";kaemmerei;kaemerei;", "profile-unknown", "kaemerei"),
        (";kaemmerei;kaemmerei;", ";kemmerei;kaemmerei;", "department-unknown", "kemmerei"),
        (";rathaus;bauamt;", ";ratshaus;bauamt;", "site-unknown", "ratshaus"),
        (";pilot;", ";pliot;", "wave-unknown", "pliot"),
        ("gra-ws0011;", "gra-ws0012;", "name-twice", "gra-ws0012"),
        ("gra-ws0011;", "gra-dns02;", "name-twice", "gra-dns02"),
        (";GRA20260011;", ";GRA20260012;", "serial-twice", "GRA20260012"),
        (":0b;", ":0C;", "mac-twice", "02:4b:53:0c:00:0"),
        ("gra-ws0055;", "gra-ws0155;", "not-allocated", "gra-ws0155"),
    ],
)
def test_a_wrong_device_is_found_at_its_cell(
    checkout: Project, devices: Path, old: str, new: str, rule: str, column: str
) -> None:
    change(devices, (old, new))
    hits = [f for f in Declarations(checkout).findings() if f.rule == rule and f.place.file == devices]
    assert hits
    line = devices.read_text(encoding="utf-8").splitlines()[hits[0].place.line - 1]
    assert line[hits[0].place.column - 1 :].startswith(column)


def test_more_workstations_than_a_zone_has_room_for(checkout: Project, grabow: Path) -> None:
    change(
        grabow,
        (
            "departments:",
            "workstations:\n  halle: {department: bauhof, site: bauhof, profile: standard, count: 1400, "
            "platform: linux, wave: verwaltung}\ndepartments:",
        ),
    )
    assert {rule for rule, _, _ in found(checkout)} == {"zone-full", "not-allocated"}


def test_what_is_not_given_out_is_one_finding(checkout: Project, record: Path) -> None:
    record.unlink()
    findings = Declarations(checkout).findings()
    assert [(f.rule, f.place.file.name) for f in findings] == [("not-allocated", "grabow.yaml")]
    assert findings[0].hint == "run: ksm-onboard allocate grabow"


def test_a_record_without_its_member_is_a_warning_and_stays_reserved(checkout: Project, record: Path) -> None:
    record.rename(record.with_name("grabau.yaml"))
    findings = Declarations(checkout).findings()
    assert [(f.rule, f.severity) for f in findings if f.place.file.name == "grabau.yaml"] == [
        ("allocation-orphan", "warning")
    ]


def test_devices_are_listed_in_one_place(checkout: Project, grabow: Path) -> None:
    change(
        grabow,
        (
            "departments:",
            "devices:\n  - {hostname: gra-x, site: rathaus, department: bauamt, profile: bauamt, platform: linux, "
            "wave: pilot}\ndepartments:",
        ),
    )
    assert "devices-twice" in {rule for rule, _, _ in found(checkout)}


def test_all_errors_of_all_layers_are_found_in_one_run(
    checkout: Project, grabow: Path, record: Path, devices: Path
) -> None:
    change(
        grabow,
        ("  short: gra", "  short: gra\n  colour: blau"),  # unknown key
        ("departments:", "networks: {vlan_base: viele}\ndepartments:"),  # wrong type
        ("printers:", "applications: [7zip, keepass-deluxe]\nprinters:"),  # not in the catalogue
    )
    change(record, ("gra-print01: 10.64.12.31", "gra-print01: 10.64.99.31"))  # outside its zone
    change(
        devices, ("gra-ws0011;", "gra-ws0012;"), (";rathaus;bauamt;", ";=rathaus;bauamt;")
    )  # a name twice, a formula
    change(checkout.stacks / "schwerin.yaml", ("template: debian-12", "template: debian-21"))  # a default
    rules = {rule for rule, _, _ in found(checkout)}
    assert {
        "unknown-key",
        "wrong-type",
        "address-outside-zone",
        "name-twice",
        "application-unknown",
        "csv-formula",
        "template-unknown",
    } <= rules


def test_a_wrong_default_is_reported_where_it_stands_and_says_whom_it_concerns(checkout: Project) -> None:
    change(checkout.stacks / "schwerin.yaml", ("template: debian-12", "template: debian-21"))
    findings = [f for f in Declarations(checkout).findings() if f.rule == "template-unknown"]
    assert len(findings) == 1
    assert findings[0].place.file.name == "schwerin.yaml"
    assert findings[0].hint == "did you mean 'debian-12'?; concerns grabow, where it can be stated differently"


def test_an_error_does_not_cause_others(checkout: Project, grabow: Path) -> None:
    """A site with a mistake is set aside; those who refer to it are not accused. A misspelt key is not missing."""
    change(grabow, ("bauhof: {name: Bauhof,", "bauhof: {nmae: Bauhof,"))
    assert [rule for rule, _, _ in found(checkout)] == ["unknown-key"]


def test_a_declaration_with_errors_is_not_planned(checkout: Project, grabow: Path) -> None:
    change(grabow, ("site: bauhof", "colour: blau, site: bauhof"))
    with pytest.raises(DeclarationRefusedError) as refused:
        Declarations(checkout).plan("grabow")
    assert [f.rule for f in refused.value.findings] == ["unknown-key"]


def test_two_members_must_not_share_blocks_vlans_prefixes_or_hosts(checkout: Project, grabow: Path) -> None:
    other = checkout.stacks / "grobaw.yaml"
    other.write_text(grabow.read_text(encoding="utf-8").replace("key: grabow", "key: grobaw"), encoding="utf-8")
    for file in ("allocations/grabow.yaml", "grabow.devices.csv"):
        copy = checkout.stacks / file.replace("grabow", "grobaw")
        copy.write_text((checkout.stacks / file).read_text(encoding="utf-8"), encoding="utf-8")
    findings = Declarations(checkout).findings()
    rules = {f.rule for f in findings if "grobaw" in f.place.file.name or "allocations/grobaw" in str(f.place.file)}
    twice = {"short-twice", "domain-twice", "name-twice", "serial-twice", "mac-twice", "published-twice"}
    assert rules == {"block-overlap", "vlan-twice", *twice}
    assert {f.place.file.name for f in findings} == {"grobaw.yaml", "grobaw.devices.csv"}
    # Whoever is checked alone hears of it, too, whatever the order of the names.
    assert "block-overlap" in {f.rule for f in Declarations(checkout).findings(["grabow"])}


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
        ("sections: [A]\n", "sections: [A, A]\n"),
        ("sn-esx-b04]", "sn-esx-a01]"),
    )
    assert {rule for rule, name, _ in found(checkout) if name == "schwerin.yaml"} == {
        "array-section-twice",
        "hypervisor-twice",
    }


def test_a_long_file_that_is_wrong_throughout_is_not_told_line_by_line(checkout: Project, grabow: Path) -> None:
    lines = "".join(f"key{n}: 1\n" for n in range(100_000))
    grabow.write_text(grabow.read_text(encoding="utf-8") + lines, encoding="utf-8")
    findings = Declarations(checkout).findings()
    assert [f.rule for f in findings] == ["unknown-key"] * 1000 + ["too-many-findings"]


def test_a_long_table_that_is_wrong_throughout_says_that_there_is_more(checkout: Project, grabow: Path) -> None:
    """Its 800 entries have four errors each, and of what is left nothing else is concluded."""
    servers = "".join(f"  x{n}: {{role: fil, cpus: 0}}\n" for n in range(800))
    change(grabow, ("departments:", f"servers:\n{servers}departments:"))
    findings = Declarations(checkout).findings()
    assert {f.rule for f in findings} == {"value-not-allowed", "missing-key", "out-of-range", "too-many-findings"}
    (last,) = [f for f in findings if f.rule == "too-many-findings"]
    assert last.place == max(f.place for f in findings)
    assert {f.place.file for f in findings} == {grabow}
