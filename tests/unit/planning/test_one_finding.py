"""One defect, one finding: at the right place, with something that helps. Grabow, broken in one place at a time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ksm_onboard.declaration.findings import Finding, relative
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project

GROUP = (
    "workstations: {x: {department: bauamt, site: rathaus, profile: PROFILE, count: 2, platform: linux, wave: pilot}}"
)

# What is declared anew in grabow.yaml, the rule, and the text that the finding points at.
DECLARED = [
    ("sits: {}", "unknown-key", "sits"),
    ("zones: [1]", "wrong-type", "[1]"),
    ("zones: {clientes: {prefix: 24}}", "value-not-allowed", "clientes"),
    ("zones: {voip: {prefix: null}}", "zone-size-missing", "voip"),
    ("zones: {clients: {prefix: 30}}", "out-of-range", "30}}"),
    ("zones: {clients: {prefix: /23}}", "wrong-type", "/23"),
    ("zones: {clients: {cidr: 10.64.0.1/23}}", "wrong-format", "10.64.0.1/23"),
    ("zones: {clients: {cidr: 10.99.0.0/23}}", "zone-outside-block", "10.99.0.0/23"),
    ("zones: {clients: {cidr: 10.64.10.0/23}}", "zone-overlap", "10.64.10.0/23"),
    ("zones: {clients: {vlan: 1}}", "out-of-range", "1}}"),
    ("zones: {clients: {vlan: 1220}}", "vlan-twice", "1220"),
    ("zones: {voip: {prefix: 26}}", "not-allocated", "voip"),
    ("zones: {printers: null}", "zone-unknown", "null"),
    ("zones: {clients: null}", "zone-unknown", "null"),
    ("zones: {clents: null}", "removes-nothing", "clents"),
    ("networks: {block: 10.65.0.0/20}", "allocation-contradicts", "10.65.0.0/20"),
    ("networks: {pool: smal}", "pool-unknown", "smal"),
    ("networks: {legacy: {alt: {cidr: 192.168.1.0/24, nat: 10.96.0.0/25}}}", "nat-size", "10.96.0.0/25"),
    ("networks: {legacy: {alt: {cidr: 10.64.0.0/24}}}", "legacy-overlap", "10.64.0.0/24"),
    ("networks: {legacy: {alt: {cidr: 192.168.1.0/24, quarantine: true}}}", "zone-unknown", "true"),
    ("servers: []", "wrong-type", "[]"),
    ("servers: {app01: 1}", "wrong-type", "1}"),
    ("servers: {app01: {role: aplication}}", "value-not-allowed", "aplication"),
    ("servers: {app01: {zone: aplication}}", "value-not-allowed", "aplication"),
    ("servers: {app01: {address: 10.64.10.300}}", "wrong-format", "10.64.10.300"),
    ("servers: {app01: {address: 5}}", "wrong-type", "5}}"),
    ("servers: {app01: {address: 10.64.12.50}}", "address-outside-zone", "10.64.12.50"),
    ("servers: {app01: {address: 10.64.10.1}}", "address-reserved", "10.64.10.1"),
    ("servers: {app01: {address: 10.64.10.12}}", "address-twice", "10.64.10.12"),
    ("servers: {app01: {address: 10.64.10.50}}", "allocation-contradicts", "10.64.10.50"),
    ("servers: {app01: {template: debian-11}}", "template-unknown", "debian-11"),
    ("servers: {app01: {tier: gold}}", "tier-unknown", "gold"),
    ("servers: {app01: {cpus: two}}", "wrong-type", "two"),
    ("servers: {app01: {cpus: 2.5}}", "wrong-type", "2.5"),
    ("servers: {app01: {cpus: 0}}", "out-of-range", "0}}"),
    ("servers: {app01: {memory_gib: 900}}", "pool-too-small", "900"),
    ("servers: {app01: {service_level: 5}}", "value-not-allowed", "5}}"),
    ("servers: {file01: {service_level: 1}}", "partner-missing", "1}}"),
    ("servers: {x01: {role: application, zone: application}}", "missing-key", "{role"),
    ("servers: {x01: {}}", "missing-key", "{}}"),
    ("servers: {dns: {count: 0}}", "out-of-range", "0}}"),
    ("servers: {dns: {count: 1}}", "pair-of-one", "1}}"),
    ("servers: {dns02: null}", "pair-of-one", "null"),
    ("servers: {db02: null}", "pair-of-one", "null"),
    ("servers: {dns: {pair: null}}", "partner-missing", "null"),
    ("servers: {dns02: {pair: null}}", "partner-missing", "null"),
    ("servers: {dns01: {section: A}, dns02: {section: A}}", "pair-in-one-section", "A}}"),
    ("servers: {app01: {section: C}}", "value-not-allowed", "C}}"),
    ("servers: {db01: {section: B}}", "pair-in-one-section", "B}}"),
    ("servers: {db02: {section: A}}", "section-conflict", "A}}"),
    ("servers: {db01: {disks: {pgdata: {tier: local-a}}}}", "writable-in-one-section", "local-a"),
    ("servers: {db01: {disks: {pgdata: {tier: local-b}}}}", "pair-in-one-section", "local-b"),
    ("servers: {db02: {disks: {pgdata: {tier: local-a}}}}", "pair-placed-together", "local-a"),
    ("servers: {file01: {disks: {data: {tier: local-a}}}}", "tier-not-replicated", "local-a"),
    ("servers: {app09: null}", "removes-nothing", "app09"),
    ("servers: {file01: null}", "server-unknown", "null"),
    ("servers: {print01: null}", "server-unknown", "null"),
    ("servers: {file01: {disks: {data: {tier: gold}}}}", "tier-unknown", "gold"),
    ("servers: {file01: {disks: {data: {size_gib: 0}}}}", "out-of-range", "0}}}}"),
    ("servers: {file01: {disks: {data: {mount: srv}}}}", "wrong-format", "srv"),
    ("servers: {file01: {disks: {data: null}}}", "share-outside-data-disk", "null"),
    ("servers: {app01: {applications: [ngnix]}}", "application-unknown", "ngnix"),
    ("servers: {app01: {applications: [7zip]}}", "application-misplaced", "7zip"),
    ("servers: {app01: {applications: nginx}}", "wrong-type", "nginx"),
    ("databases: {fachdaten: {pair: db}}", "pair-unknown", "db}"),
    ("databases: {fach-daten: {}}", "wrong-format", "fach-daten"),
    ("extra_applications: [keepasxc]", "application-unknown", "keepasxc"),
    ("extra_applications: [gdal-tools]\nwithout_applications: [gdal-tools]", "application-contradiction", "gdal-tools"),
    ("without_applications: [keepasxc]", "application-unknown", "keepasxc"),
    ("applications: {7zip: true}", "wrong-type", "{7zip"),
    ("extra_applications: [7]", "wrong-type", "7]"),
    ("profiles: {standard: {zone: clientes}}", "value-not-allowed", "clientes"),
    ("profiles: {standard: {zone: laptops}}", "zone-unknown", "laptops"),
    ("profiles: {standard: {zone: management}}", "workplace-zone", "management"),
    ("profiles: {standard: {extra_applications: [qgiss]}}", "application-unknown", "qgiss"),
    ("freezes: {wahl: {first_day: 2027-02-01, last_day: 2027-02-02, reason: Wahl}}", "wave-in-freeze", "2027-02-01"),
    ("freezes: {wahl: {first_day: 2027-05-01}}", "missing-key", "{first_day"),
    (
        "freezes: {wahl: {first_day: 2027-05-01, last_day: 2027-05-02, reason: Wahl, departments: [kaemerei]}}",
        "department-unknown",
        "kaemerei",
    ),
    ("protection: {availability: hoch}", "value-not-allowed", "hoch"),
    ("compute: {memory_gib: 10}", "pool-too-small", "10}"),
    ("compute: {memory_gib: 96 GiB}", "wrong-type", "96 GiB"),
    (
        "devices: [{hostname: x1, site: rathaus, department: bauamt, profile: standard, platform: linux, wave: pilot}]",
        "devices-twice",
        "devices",
    ),
    ("devices: [1]", "devices-twice", "devices"),
    ("devices: [{hostname: x1}]", "devices-twice", "devices"),
    ("devices: {hostname: x1}", "devices-twice", "devices"),
    ("devices: 3", "devices-twice", "devices"),
    ("servers: {app01: {applications: [nginx, nginx]}}", "listed-twice", "nginx]"),
    ("extra_applications: [gdal-tools, gdal-tools]", "listed-twice", "gdal-tools]"),
    ("without_applications: [gdal-tools, gdal-tools]", "listed-twice", "gdal-tools]"),
    ("profiles: {standard: {extra_applications: [gdal-tools, gdal-tools]}}", "listed-twice", "gdal-tools]"),
    (
        GROUP.replace("PROFILE", "standard"),
        "not-allocated",
        "2, platform: l",
    ),
    (
        GROUP.replace("PROFILE", "standart"),
        "profile-unknown",
        "standart",
    ),
    ('servers: {"*": {cpus: 4}}', "value-not-allowed", '"*"'),
]

# File, text and what it is replaced by, the rule, the text that the finding points at, and its file.
EDITED: list[tuple[str, str | re.Pattern[str], str, str, str, str]] = [
    ("grabow.yaml", "kind: stadt", "kind: staadt", "value-not-allowed", "staadt", "grabow.yaml"),
    ("grabow.yaml", "kind: stadt", "kind:", "null-not-allowed", "", "grabow.yaml"),
    ("grabow.yaml", "  kind: stadt\n", "", "missing-key", "key", "grabow.yaml"),
    ("grabow.yaml", "key: grabow", "key: grabau", "key-differs-from-file", "grabau", "grabow.yaml"),
    ("grabow.yaml", "key: grabow", "key: Grabow", "wrong-format", "Grabow", "grabow.yaml"),
    ("grabow.yaml", "short: gra", "short: gr4", "wrong-format", "gr4", "grabow.yaml"),
    ("grabow.yaml", "  short: gra\n", "", "missing-key", "key", "grabow.yaml"),
    ("grabow.yaml", "short: gra", "short: grb", "immutable-changed", "grb", "grabow.yaml"),
    ("grabow.yaml", "grabow.internal", "ksm.internal", "domain-twice", "ksm.internal", "grabow.yaml"),
    ("grabow.yaml", "grabow.internal", "grabow", "wrong-format", "grabow", "grabow.yaml"),
    ("grabow.yaml", "grabow.internal", "Grabow.internal", "wrong-format", "Grabow.internal", "grabow.yaml"),
    ("grabow.yaml", "  responsible: Bürgermeisteramt der Stadt Grabow\n", "", "missing-key", "key", "grabow.yaml"),
    (
        "grabow.yaml",
        "responsible: Bürgermeisteramt der Stadt Grabow",
        "responsible:",
        "null-not-allowed",
        "",
        "grabow.yaml",
    ),
    ("grabow.yaml", "name: Stadt Grabow", "name: 12", "wrong-type", "12", "grabow.yaml"),
    ("grabow.yaml", "  short: gra", "  short: gra\n  shrot: gra", "unknown-key", "shrot", "grabow.yaml"),
    ("grabow.yaml", re.compile("member:\\n(  .*\\n)+"), "", "missing-key", "sites", "grabow.yaml"),
    ("grabow.yaml", re.compile("member:\\n(  .*\\n)+"), "member: []\n", "wrong-type", "[]", "grabow.yaml"),
    ("grabow.yaml", "  short: gra", "\tshort: gra", "yaml-syntax", "\tshort", "grabow.yaml"),
    ("grabow.yaml", "  short: gra", "  short: gra\n  short: grb", "yaml-duplicate-key", "short", "grabow.yaml"),
    (
        "grabow.yaml",
        '  museum: {name: Stadtmuseum, address: "Kirchenplatz 1, 19300 Grabow"}',
        "  museum: {name: Stadtmuseum}",
        "missing-key",
        "{name",
        "grabow.yaml",
    ),
    ("grabow.yaml", "  museum:", "  Museum:", "wrong-format", "Museum", "grabow.yaml"),
    ("grabow.yaml", re.compile("sites:\\n(  .*\\n)+"), "sites: [rathaus]\n", "wrong-type", "[rathaus", "grabow.yaml"),
    ("grabow.yaml", re.compile("sites:\\n(  .*\\n)+"), "", "missing-key", "member", "grabow.yaml"),
    ("grabow.yaml", re.compile("  hauptamt: .*\n"), "", "department-unknown", "hauptamt", "grabow.devices.csv"),
    ("grabow.yaml", "{site: bauhof, model", "{site: bauhoff, model", "site-unknown", "bauhoff", "grabow.yaml"),
    (
        "grabow.yaml",
        "bauamt: {comment: Bauakten und Pläne}",
        "bauamt: {server: file02}",
        "server-unknown",
        "file02",
        "grabow.yaml",
    ),
    (
        "grabow.yaml",
        "bauamt: {comment: Bauakten und Pläne}",
        "bauamt: {path: /home/bauamt}",
        "share-outside-data-disk",
        "/home/bauamt",
        "grabow.yaml",
    ),
    ("grabow.yaml", "bauamt: {comment: Bauakten und Pläne}", "bauamt: {groups: []}", "too-few", "[]}", "grabow.yaml"),
    ("grabow.yaml", "  bauamt: {comment", "  Bauamt: {comment", "wrong-format", "Bauamt", "grabow.yaml"),
    (
        "grabow.yaml",
        "bauamt: {comment: Bauakten und Pläne}",
        "bauamt: Bauakten",
        "wrong-type",
        "Bauakten",
        "grabow.yaml",
    ),
    (
        "grabow.yaml",
        "bauhof: {site: bauhof, model: Kyocera ECOSYS P3260dn}",
        "bauhof: {site: bauhof}",
        "missing-key",
        "{site",
        "grabow.yaml",
    ),
    (
        "grabow.yaml",
        "printers:\n",
        "printers:\n  neu: {site: bauhof, model: Kyocera}\n",
        "not-allocated",
        "neu",
        "grabow.yaml",
    ),
    ("grabow.yaml", "first_day: 2027-02-01", "first_day: 1.2.2027", "wrong-type", "1.2.2027", "grabow.yaml"),
    ("grabow.yaml", "first_day: 2027-02-01", "first_day: 2027-02-30", "wrong-type", "2027-02-30", "grabow.yaml"),
    ("grabow.yaml", "first_day: 2027-02-01", "first_day: 0", "wrong-type", "0}", "grabow.yaml"),
    (
        "grabow.yaml",
        "pilot: {first_day: 2027-02-01}",
        "pilot: {first_day: 2027-02-01, last_day: 2027-01-01}",
        "wave-days",
        "2027-01-01",
        "grabow.yaml",
    ),
    (
        "grabow.yaml",
        "pilot: {first_day: 2027-02-01}",
        "pilot: {last_day: 2027-02-01}",
        "wave-days",
        "2027-02-01",
        "grabow.yaml",
    ),
    (
        "grabow.yaml",
        "pilot: {first_day: 2027-02-01}",
        "pilot: {first_day: 2027-02-01, after: [pilott]}",
        "wave-unknown",
        "pilott",
        "grabow.yaml",
    ),
    (
        "grabow.yaml",
        "pilot: {first_day: 2027-02-01}",
        "pilot: {first_day: 2027-02-01, after: [pilot]}",
        "wave-cycle",
        "[pilot",
        "grabow.yaml",
    ),
    (
        "grabow.yaml",
        "pilot: {first_day: 2027-02-01}",
        "pilot: {first_day: 2027-03-30}",
        "wave-order",
        "2027-03-30",
        "grabow.yaml",
    ),
    (
        "grabow.yaml",
        "  aussenstellen: {first_day: 2027-03-22}\n",
        "  aussenstellen: null\n",
        "wave-unknown",
        "aussenstellen",
        "grabow.devices.csv",
    ),
    ("grabow.devices.csv", re.compile(";rathaus;"), ";ratshaus;", "site-unknown", "ratshaus", "grabow.devices.csv"),
    (
        "grabow.devices.csv",
        re.compile(";kaemmerei;kaemmerei;"),
        ";kaemmerei;kaemerei;",
        "profile-unknown",
        "kaemerei",
        "grabow.devices.csv",
    ),
    ("grabow.devices.csv", ";pilot;", ";pilott;", "wave-unknown", "pilott", "grabow.devices.csv"),
    ("grabow.devices.csv", ";linux;", ";linx;", "wrong-format", "linx", "grabow.devices.csv"),
    (
        "grabow.devices.csv",
        "gra-ws0001;",
        "gra-workstation0001;",
        "name-too-long",
        "gra-workstation0001",
        "grabow.devices.csv",
    ),
    ("grabow.devices.csv", "gra-ws0001;", "GRA-WS0001;", "wrong-format", "GRA-WS0001", "grabow.devices.csv"),
    ("grabow.devices.csv", "gra-ws0002;", "gra-ws0001;", "name-twice", "gra-ws0001", "grabow.devices.csv"),
    ("grabow.devices.csv", "gra-ws0001;", "gra-dns01;", "name-twice", "gra-dns01", "grabow.devices.csv"),
    ("grabow.devices.csv", "gra-ws0001;", "gra-ws9999;", "not-allocated", "gra-ws9999", "grabow.devices.csv"),
    ("grabow.devices.csv", "hostname;", "name;", "csv-unknown-column", "name", "grabow.devices.csv"),
    (
        "grabow.devices.csv",
        re.compile("(gra-ws0001.*);([^;\\n]*)\\n"),
        "\\1\\n",
        "csv-cells",
        "pilot",
        "grabow.devices.csv",
    ),
    ("grabow.devices.csv", "gra-ws0001;", "=1+1;", "csv-formula", "=1+1", "grabow.devices.csv"),
    ("allocations/grabow.yaml", "vlan: 1220", "vlan: 1221", "vlan-twice", "1221", "allocations/grabow.yaml"),
    (
        "allocations/grabow.yaml",
        "gra-app01: 10.64.10.11",
        "gra-app01: 10.65.10.11",
        "address-outside-zone",
        "10.65.10.11",
        "allocations/grabow.yaml",
    ),
    (
        "allocations/grabow.yaml",
        "gra-app01: 10.64.10.11",
        "gra-app01: 10.64.10.12",
        "address-twice",
        "10.64.10.12",
        "allocations/grabow.yaml",
    ),
    ("allocations/grabow.yaml", "  gra-app01: 10.64.10.11\n", "", "not-allocated", "app", "stadt.yaml"),
    (
        "allocations/grabow.yaml",
        "block: 10.64.0.0/20",
        "block: 10.64.32.0/20",
        "zone-outside-block",
        "10.64.32.0/20",
        "allocations/grabow.yaml",
    ),
    ("allocations/grabow.yaml", "hosts:", "host:", "unknown-key", "host", "allocations/grabow.yaml"),
    ("allocations/grabow.yaml", "  gra-ws0001: 10.64.0.21\n", "", "not-allocated", "gra-ws0001", "grabow.devices.csv"),
    ("schwerin.yaml", "tier: silver-mirrored", "tier: silver-miror", "tier-unknown", "silver-miror", "schwerin.yaml"),
    ("schwerin.yaml", "templates:", "templats:", "unknown-key", "templats", "schwerin.yaml"),
]


def the_only_finding(checkout: Project) -> tuple[Finding, str, str]:
    """The finding, its file below stacks/, and the text at its place."""
    (finding,) = Declarations(checkout).findings()
    line = finding.place.file.read_text("utf-8").splitlines()[finding.place.line - 1]
    return finding, relative(finding.place.file, checkout.stacks), line[finding.place.column - 1 :]


@pytest.mark.parametrize(("text", "rule", "at"), DECLARED, ids=[text for text, _, _ in DECLARED])
def test_a_wrong_declaration(checkout: Project, grabow: Path, text: str, rule: str, at: str) -> None:
    grabow.write_text(grabow.read_text("utf-8").replace("departments:", f"{text}\ndepartments:", 1), encoding="utf-8")
    finding, file, there = the_only_finding(checkout)
    assert (finding.rule, file) == (rule, "grabow.yaml")
    assert there.startswith(at)
    assert "input should" not in finding.message or finding.allowed


@pytest.mark.parametrize(
    ("file", "old", "new", "rule", "at", "accused"), EDITED, ids=[f"{case[0]} {case[2]}" for case in EDITED]
)
def test_a_wrong_edit(
    checkout: Project, file: str, old: str | re.Pattern[str], new: str, rule: str, at: str, accused: str
) -> None:
    path = checkout.stacks / file
    before = path.read_text("utf-8")
    after = before.replace(old, new, 1) if isinstance(old, str) else old.sub(new, before, count=1)
    assert after != before
    path.write_text(after, encoding="utf-8")
    finding, found_in, there = the_only_finding(checkout)
    assert (finding.rule, found_in.endswith(accused)) == (rule, True)
    assert there.startswith(at)
