"""Declarations that look redundant and are not: each is found, by one finding that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.declaration.record import write_record
from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project

APP = "role: application, zone: application, cpus: 1, memory_gib: 1"


def declared(checkout: Project, grabow: Path, servers: str) -> list[tuple[str, str]]:
    """Rules and messages of what is found, once everything that can be given out has been."""
    text = grabow.read_text("utf-8").replace("departments:", f"servers:\n{servers}\n\ndepartments:", 1)
    grabow.write_text(text, encoding="utf-8")
    found = Declarations(checkout).findings()
    if any(finding.rule == "not-allocated" for finding in found) and len({f.rule for f in found}) == 1:
        allocate_all(checkout)
        found = Declarations(checkout).findings()
    return [(finding.rule, finding.message) for finding in found if finding.rule != "not-allocated"]


@pytest.mark.parametrize(
    ("servers", "rule", "said"),
    [
        (  # a pair that section: puts together
            "  dns01: {section: A}\n  dns02: {section: A}",
            "pair-in-one-section",
            "the pair 'dns' is forced into fire section A",
        ),
        (  # both on one section's storage
            "  xd: {count: 2, pair: xd, role: dns, zone: infrastructure, tier: local-a, cpus: 1, memory_gib: 1}",
            "pair-in-one-section",
            "forced into fire section A",
        ),
        (f"  x: {{{APP}, pair: allein}}", "pair-of-one", "the pair 'allein' has only gra-x"),
        (f"  x: {{{APP}, count: 1, pair: allein}}", "pair-of-one", "the pair 'allein' has only gra-x01"),
        ("  app01: {role: file}", "pair-of-different-roles", "different roles"),
        (
            f"  xa: {{{APP}, pair: x}}\n  xb: {{{APP.replace('zone: application', 'zone: infrastructure')}, pair: x}}",
            "pair-in-different-zones",
            "different zones",
        ),
        ("  app02: {service_level: 4}", "pair-of-different-levels", "different service levels"),
        (f"  leitstelle: {{{APP}, service_level: 1}}", "partner-missing", "has service level 1, and no partner"),
        (  # spread by section:, with the data in one place
            f"  xa: {{{APP}, pair: x, section: A}}\n"
            f"  xb: {{{APP}, pair: x, section: B, disks: {{d: {{size_gib: 9, tier: local-a, mount: /srv/d}}}}}}",
            "section-conflict",
            "gra-xb is bound to both fire sections",
        ),
        (  # the storage of a file server, which keeps no copy elsewhere
            "  file01: {disks: {archiv: {size_gib: 10, tier: local-a, mount: /srv/archiv}}}",
            "tier-not-replicated",
            "the data disk archiv of gra-file01 lies in fire section A only, "
            "and a server of the role file keeps no copy of its data elsewhere",
        ),
        (  # the same with its system disk
            f"  x: {{{APP}, tier: local-b}}",
            "tier-not-replicated",
            "the system disk of gra-x lies in fire section B only",
        ),
        (  # called a database server, without any database
            "  ablage: {role: database, zone: database, count: 2, pair: ablage, cpus: 1, memory_gib: 1}\n"
            "  ablage01: {disks: {d: {size_gib: 9, tier: local-a, mount: /srv/d}}}",
            "tier-not-replicated",
            "no database is declared on its pair 'ablage', so nothing is replicated",
        ),
        (  # the copy that accepts writes in one section only, as if the standby took over by itself
            "  db01: {disks: {pgdata: {tier: local-a}}}",
            "writable-in-one-section",
            "only gra-db01 accepts writes for fachdaten, and its data disk pgdata lies in fire section A only",
        ),
        (  # the same with its system disk
            "  db01: {tier: local-a}",
            "writable-in-one-section",
            "and its system disk lies in fire section A only",
        ),
        (  # both copies in one section: told as that
            "  db01: {disks: {pgdata: {tier: local-b}}}",
            "pair-in-one-section",
            "the pair 'database' is forced into fire section B",
        ),
        (  # both renamed, to escape the rules for their role: told of each
            "  dns01: {role: application}\n  dns02: {role: application}",
            "role-changed",
            "gra-dns01 is a server of the role dns for every member of the kind stadt; here it is made application",
        ),
        (  # a group that cannot keep apart
            f"  x: {{{APP}, count: 5, pair: x}}",
            "pair-too-large",
            "only the 4 hosts of section A are left",
        ),
        (
            "  db03: {role: database, zone: database, pair: database, cpus: 1, memory_gib: 1, service_level: 2,"
            " disks: {pgdata: {size_gib: 100, tier: gold-mirrored, mount: /srv/postgresql}}}",
            "quorum-in-two-sections",
            "of the 3 servers of 'database' one of the two fire sections holds 2",
        ),
        (f"  x: {{{APP.replace('cpus: 1', 'cpus: 64')}, memory_gib: 1}}", "yaml-duplicate-key", "memory_gib"),
        (  # two machines that are one
            f"  xa: {{{APP}, pair: x, address: 10.64.10.90}}\n  xb: {{{APP}, pair: x, address: 10.64.10.90}}",
            "address-twice",
            "10.64.10.90",
        ),
        (  # a partner that does something else
            "  app02: {applications: []}",
            "pair-of-different-work",
            "the servers of the pair 'application' run different applications",
        ),
        (
            f"  xa: {{{APP}, pair: x}}\n  xb: {{{APP}, pair: x, template: windows-server-2022}}",
            "pair-of-different-work",
            "the servers of the pair 'x' are made from different templates",
        ),
        (  # a copy that ends when its disk is full
            "  db02: {disks: {pgdata: {size_gib: 10}}}",
            "standby-too-small",
            "gra-db02 keeps the copy of gra-db01, and has 10 GiB of data disks for its 100",
        ),
        (  # all but one of a group in one section
            f"  x: {{{APP}, count: 4, pair: x}}\n  x01: {{section: A}}\n  x02: {{section: A}}\n  x03: {{section: A}}",
            "pair-lopsided",
            "of the 4 servers of 'x' 3 stand in fire section A",
        ),
        (  # no partner needed any more, by a figure
            "  dns: {service_level: 4}",
            "level-lowered",
            "gra-dns01, gra-dns02: service level 1 for every member of the kind stadt, which needs a partner",
        ),
        (  # names of datastores are given out, never declared
            "  file01: {disks: {data: {datastore: zoo-gold-mirrored-a}}}",
            "unknown-key",
            "datastore",
        ),
        ("  file01: {disks: {data: {tier: zoo-gold-mirrored-a}}}", "tier-unknown", "zoo-gold-mirrored-a"),
    ],
)
def test_what_only_looks_redundant(checkout: Project, grabow: Path, servers: str, rule: str, said: str) -> None:
    found = declared(checkout, grabow, servers)
    assert {r for r, _ in found} == {rule}, found
    assert len(found) == (2 if rule == "role-changed" else 1)
    assert said in found[0][1]


@pytest.mark.parametrize(
    ("old", "new", "rule", "said"),
    [
        (
            "gra-dns01: gra-silver-mirrored-a",
            "gra-dns01: zoo-silver-mirrored-a",
            "datastore-unknown",
            "zoo-silver-mirrored-a",
        ),
        ("array: sn-mirror01", "array: sn-nirgends", "datastore-unknown", "no such array is declared"),
        (
            "tier: gold-mirrored, section: A, array: sn-mirror01",
            "tier: gold-mirrored, section: A, array: sn-local-a01",
            "datastore-unknown",
            "which that array does not serve",
        ),
        ("array: sn-local-b01, size_gib: 150", "array: sn-local-b01, size_gib: 99", "storage-quota", "1 GiB more"),
    ],
)
def test_a_record_that_was_tampered_with(
    checkout: Project, record: Path, old: str, new: str, rule: str, said: str
) -> None:
    text = record.read_text("utf-8")
    assert text.count(old) == 1
    record.write_text(text.replace(old, new), encoding="utf-8")
    found = Declarations(checkout).findings()
    assert [finding.rule for finding in found] == [rule], found
    assert said in found[0].message
    assert found[0].place.file in (record, checkout.stacks / "grabow.yaml") or rule == "storage-quota"


def test_another_members_datastore(checkout: Project, record: Path) -> None:
    record.write_text(record.read_text("utf-8").replace("gra-gold-mirrored-a", "zoo-gold-mirrored-a"), encoding="utf-8")
    [finding] = Declarations(checkout).findings()
    assert finding.rule == "datastore-foreign"
    assert finding.allowed == "a name that begins with gra-"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("sections: [A]\n", "sections: [A, A]\n", "array-section-twice"),
        ("address: 10.255.16.12", "address: 10.255.16.11", "array-twice"),
        (
            "    sections: [A]\n    capacity_gib: 10240\n    tiers: [local-a]",
            "    sections: [A]\n    capacity_gib: 10240\n    tiers: [local-a, gold-mirrored]",
            "tier-mixed",
        ),
    ],
)
def test_arrays_that_only_look_mirrored(checkout: Project, old: str, new: str, rule: str) -> None:
    platform = checkout.stacks / "schwerin.yaml"
    text = platform.read_text("utf-8")
    assert text.count(old) == 1
    platform.write_text(text.replace(old, new), encoding="utf-8")
    assert [finding.rule for finding in Declarations(checkout).findings()] == [rule]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("isolation_response: power-off", "isolation_response: none", "ha-response"),
        ("storage_loss: restart", "storage_loss: warn", "ha-response"),
        ("uplinks: [uplink1, uplink2]", "uplinks: [uplink1]", "uplink-single"),
        ("uplinks: [uplink1, uplink2]", "uplinks: [uplink1, uplink1]", "uplink-single"),
        ("reserved_percent: 50", "reserved_percent: 40", "ha-reserve"),
        ("hosts: [sn-esx-b01, sn-esx-b02", "hosts: [sn-esx-a01, sn-esx-b02", "hypervisor-twice"),
    ],
)
def test_a_data_centre_that_only_looks_available(checkout: Project, old: str, new: str, rule: str) -> None:
    platform = checkout.stacks / "schwerin.yaml"
    text = platform.read_text("utf-8")
    assert text.count(old) == 1
    platform.write_text(text.replace(old, new), encoding="utf-8")
    assert [finding.rule for finding in Declarations(checkout).findings()] == [rule]


@pytest.mark.parametrize(
    ("pattern", "rules"), [("*", ["waiver-too-broad"]), ("gra-*", ["waiver-too-broad"]), ("gra-dns*", [])]
)
def test_a_waiver_of_everything(checkout: Project, grabow: Path, pattern: str, rules: list[str]) -> None:
    waiver = (
        f'waivers:\n  alles: {{rule: level-1-partner, resource: "{pattern}", reason: Wird bald nachgezogen., '
        "owner: Leitung IT, granted: 2026-11-23, expires: 2027-01-31}\n\n"
    )
    grabow.write_text(grabow.read_text("utf-8").replace("departments:", f"{waiver}departments:", 1), encoding="utf-8")
    assert [finding.rule for finding in Declarations(checkout).findings()] == rules


MIGRATION = """compute: {memory_gib: 128}

servers:
  db01: {disks: {pgdata: {tier: local-a}}}
  dbneu: {count: 2, pair: dbneu, role: database, zone: database, cpus: 4, memory_gib: 16, service_level: 2}
  dbneu01: {disks: {pgdata: {size_gib: 100, tier: gold-mirrored, mount: /srv/postgresql}}}
  dbneu02: {disks: {pgdata: {size_gib: 100, tier: local-b, mount: /srv/postgresql}}}

databases:
  fachdaten_neu: {pair: dbneu}

waivers:
  datenbankumzug:
    rule: writing-survives-section
    resource: gra-db01
    reason: Die Datenbank zieht auf das Paar dbneu um, dessen erster Server gespiegelt liegt.
    owner: Leitung IT
    granted: 2026-11-23
    expires: 2027-01-31

"""
MOVED = """servers:
  db: null
  db01: null
  db02: null
  dbneu: {count: 2, pair: dbneu, role: database, zone: database, cpus: 4, memory_gib: 16, service_level: 2}
  dbneu01: {disks: {pgdata: {size_gib: 100, tier: gold-mirrored, mount: /srv/postgresql}}}
  dbneu02: {disks: {pgdata: {size_gib: 100, tier: local-b, mount: /srv/postgresql}}}

databases:
  fachdaten: null
  fachdaten_neu: {pair: dbneu}

"""


def test_a_primary_that_stands_in_one_section_can_move(checkout: Project, grabow: Path, record: Path) -> None:
    """Step by step as docs/how-to/grow-storage.md has it; what is out of place is never out of sight."""
    before = grabow.read_text("utf-8")
    on_local = record.read_text("utf-8").replace("gra-db01/pgdata: gra-gold-mirrored-a", "gra-db01/pgdata: gra-local-a")
    on_local = on_local.replace(
        "  gra-local-b: {",
        "  gra-local-a: {tier: local-a, section: A, array: sn-local-a01, size_gib: 150}\n  gra-local-b: {",
    )
    record.write_text(on_local, encoding="utf-8")
    assert [f.rule for f in Declarations(checkout).findings()] == ["allocation-contradicts"]

    grabow.write_text(before.replace("departments:", f"{MIGRATION}departments:", 1), encoding="utf-8")
    allocate_all(checkout)
    [moving] = Declarations(checkout).findings()
    assert (moving.rule, moving.severity) == ("writable-in-one-section", "warning")
    plan = Declarations(checkout).plan("grabow")
    assert plan.member.server("gra-db01").disks[0].datastore == "gra-local-a"
    assert plan.member.server("gra-dbneu01").disks[0].datastore == "gra-gold-mirrored-a"

    grabow.write_text(before.replace("departments:", f"{MOVED}departments:", 1), encoding="utf-8")
    allocate_all(checkout)
    assert Declarations(checkout).findings() == []
    assert "gra-db01/pgdata" in next(iter(Declarations(checkout).members.values())).allocated.retired.disks


def allocate_all(checkout: Project) -> None:
    for change in new_records(Declarations(checkout), ["grabow"]):
        write_record(checkout.stacks, "grabow", change.after)
