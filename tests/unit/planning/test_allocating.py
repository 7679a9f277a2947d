"""``allocate`` upon files: what is written is what was there and what is new; release takes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.declaration.load import load_file
from ksm_onboard.declaration.record import AllocationRecord, rendered, write_record
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project


def allocated(project: Project, *release: str) -> list[str]:
    """What ``allocate grabow`` changes; written, too."""
    changes = new_records(Declarations(project), ["grabow"], release)
    for change in changes:
        write_record(project.stacks, change.member, change.after)
    return [line for change in changes for line in change.lines]


def declare(grabow: Path, text: str) -> None:
    grabow.write_text(grabow.read_text("utf-8").replace("departments:", f"{text}\ndepartments:", 1), encoding="utf-8")


def test_there_is_nothing_to_do_for_what_is_committed(checkout: Project) -> None:
    assert new_records(Declarations(checkout)) == []


def test_a_record_is_read_as_it_was_written(checkout: Project, record: Path) -> None:
    content = load_file(record, AllocationRecord).content
    assert content is not None
    assert rendered("grabow", content) == record.read_text(encoding="utf-8")


def test_a_new_server_is_given_an_address_and_moves_nothing(checkout: Project, grabow: Path) -> None:
    declare(grabow, "servers:\n  app: {count: 3}")
    assert allocated(checkout) == [
        "gra-app03: 10.64.10.14",
        "section of gra-app03: B",
        "disk gra-app03: gra-silver-mirrored-b",
    ]
    assert Declarations(checkout).findings() == []


def test_a_server_that_goes_is_retired_and_comes_back_as_it_was(checkout: Project, grabow: Path) -> None:
    before = grabow.read_text("utf-8")
    declare(
        grabow,
        "servers:\n  app02: null\n  app01: {pair: null}\n"
        "  xapp: {role: application, zone: application, cpus: 1, memory_gib: 1}",
    )
    assert allocated(checkout) == [
        "gra-app02: retired (10.64.10.12)",
        "gra-xapp: 10.64.10.14",
        "section of gra-xapp: A",
        "disk gra-app02: retired (gra-silver-mirrored-a)",
        "disk gra-xapp: gra-silver-mirrored-a",
    ]
    grabow.write_text(before, encoding="utf-8")
    assert "gra-app02: 10.64.10.12" in allocated(checkout)
    assert "gra-xapp: released (10.64.10.14)" in allocated(checkout, "gra-xapp")


def test_groups_grow_and_shrink_from_the_end(checkout: Project, grabow: Path) -> None:
    where = "department: bauhof, site: bauhof, profile: standard, platform: linux, wave: pilot"
    group = f"workstations:\n  neu: {{{where}, count: %d}}"
    text = grabow.read_text("utf-8")
    declare(grabow, group % 3)
    assert allocated(checkout) == [f"gra-ws00{n}: 10.64.0.{n + 20}" for n in (56, 57, 58)]
    assert len(Declarations(checkout).plan("grabow").member.workstations) == 58
    grabow.write_text(text, encoding="utf-8")
    declare(grabow, group % 2)
    assert [f.rule for f in Declarations(checkout).findings()] == ["not-allocated"]
    assert allocated(checkout) == ["gra-ws0058: retired (10.64.0.78)"]
    assert Declarations(checkout).findings() == []


def test_a_zone_is_given_another_size_only_when_it_is_released(checkout: Project, grabow: Path) -> None:
    declare(grabow, "zones:\n  printers: {prefix: 25}")
    assert allocated(checkout) == []
    assert [f.rule for f in Declarations(checkout).findings()] == ["allocation-contradicts"]
    assert allocated(checkout, "zones.printers") == [
        "zone printers: 10.64.13.0/24, VLAN 1230 → 10.64.2.128/25, VLAN 1230",
        "printer bauhof: 10.64.13.13 → 10.64.2.139",
        "printer rathaus-eg: 10.64.13.11 → 10.64.2.140",
        "printer rathaus-og: 10.64.13.12 → 10.64.2.141",
    ]
    assert Declarations(checkout).findings() == []


@pytest.mark.parametrize(
    ("name", "words"), [("gra-dns11", "gra-dns"), ("clients", "zones.clients"), ("nonsense", "one of: ")]
)
def test_releasing_what_is_not_there_or_not_clear(checkout: Project, grabow: Path, name: str, words: str) -> None:
    text = grabow.read_text("utf-8").replace("printers:\n", "printers:\n  clients: {site: bauhof, model: HP}\n", 1)
    grabow.write_text(text, encoding="utf-8")
    allocated(checkout)
    with pytest.raises(OnboardError) as refused:
        new_records(Declarations(checkout), ["grabow"], [name])
    assert refused.value.hint is not None and words in refused.value.hint


def test_nothing_is_given_out_from_a_declaration_with_errors(checkout: Project, grabow: Path) -> None:
    declare(grabow, "servers:\n  app: {count: 3, cpus: viele}")
    with pytest.raises(DeclarationRefusedError):
        new_records(Declarations(checkout))


def test_nothing_is_given_out_past_a_record_that_cannot_be_read(checkout: Project, record: Path) -> None:
    damaged = record.with_name("gone.yaml")
    damaged.write_text("block: [", encoding="utf-8")
    with pytest.raises(DeclarationRefusedError) as refused:
        new_records(Declarations(checkout))
    assert {f.place.file for f in refused.value.findings if f.severity == "error"} == {damaged}


def test_what_is_used_up_is_a_finding_at_what_asks_for_it(checkout: Project, grabow: Path) -> None:
    declare(grabow, "zones:\n  voip: {prefix: 21}")
    with pytest.raises(DeclarationRefusedError) as refused:
        new_records(Declarations(checkout))
    (finding,) = refused.value.findings
    assert (finding.rule, finding.place.file) == ("block-full", grabow)


# --- storage ------------------------------------------------------------------------------


def test_a_disk_that_still_fits_changes_no_datastore(checkout: Project, grabow: Path) -> None:
    declare(grabow, "servers:\n  file01: {disks: {data: {size_gib: 550}}}")
    assert Declarations(checkout).findings() == []
    assert allocated(checkout) == []


def test_a_datastore_grows_by_steps_and_never_shrinks(checkout: Project, grabow: Path) -> None:
    before = grabow.read_text("utf-8")
    declare(grabow, "servers:\n  file01: {disks: {data: {size_gib: 551}}}")
    [finding] = Declarations(checkout).findings()
    assert finding.rule == "storage-quota"
    assert "651 GiB are declared for the datastore gra-gold-mirrored-a, 1 GiB more than it has" in finding.message
    assert finding.hint is not None and "grow to 850 GiB: ksm-onboard allocate grabow" in finding.hint
    assert allocated(checkout) == [
        "datastore gra-gold-mirrored-a: 650 GiB on sn-mirror01 → 850 GiB on sn-mirror01",
    ]
    assert Declarations(checkout).findings() == []
    grabow.write_text(before, encoding="utf-8")
    assert allocated(checkout) == []


def test_disks_stay_when_their_server_is_bound_to_the_other_section(checkout: Project, grabow: Path) -> None:
    declare(grabow, "servers:\n  file01: {section: B}")
    assert allocated(checkout) == ["section of gra-file01: A → B"]
    server = Declarations(checkout).plan("grabow").member.server("gra-file01")
    assert (server.section, server.disks[0].datastore) == ("B", "gra-gold-mirrored-a")


def test_another_tier_for_a_disk_that_lies_somewhere_is_a_decision(checkout: Project, grabow: Path) -> None:
    declare(grabow, "servers:\n  file01: {disks: {data: {tier: silver-mirrored}}}")
    [finding] = Declarations(checkout).findings()
    assert finding.rule == "allocation-contradicts"
    assert "it lies on gra-gold-mirrored-a of the tier gold-mirrored" in finding.message
    assert allocated(checkout) == []
    assert allocated(checkout, "gra-file01/data") == [
        "datastore gra-silver-mirrored-a: 250 GiB on sn-mirror02 → 850 GiB on sn-mirror02",
        "disk gra-file01/data: gra-gold-mirrored-a → gra-silver-mirrored-a",
    ]
    assert Declarations(checkout).findings() == []


def test_releasing_a_datastore_releases_what_lies_on_it(checkout: Project, record: Path) -> None:
    assert "gra-local-b" in record.read_text("utf-8")
    allocated(checkout, "datastores.gra-local-b")
    assert "gra-db02/pgdata: gra-local-b" in record.read_text("utf-8")  # given out anew, under the same name


def test_a_second_array_takes_what_the_first_has_no_room_for(checkout: Project, grabow: Path) -> None:
    platform = checkout.stacks / "schwerin.yaml"
    text = platform.read_text("utf-8").replace(
        "  sn-mirror02:\n",
        "  sn-mirror03: {address: 10.255.16.13, sections: [A, B], capacity_gib: 9000, tiers: [gold-mirrored]}\n"
        "  sn-mirror02:\n",
    )
    platform.write_text(text.replace("capacity_gib: 51200", "capacity_gib: 1000", 1), encoding="utf-8")
    declare(grabow, "servers:\n  file01: {disks: {archiv: {size_gib: 900, tier: gold-mirrored, mount: /srv/archiv}}}")
    assert allocated(checkout) == [
        "datastore gra-gold-mirrored-a-2: 1250 GiB on sn-mirror03",
        "disk gra-file01/archiv: gra-gold-mirrored-a-2",
    ]
    assert Declarations(checkout).findings() == []


def test_servers_that_become_a_pair_in_one_section_are_told_and_one_can_be_let_go(
    checkout: Project, grabow: Path
) -> None:
    one = "role: application, zone: application, cpus: 1, memory_gib: 1, section: A"
    before = grabow.read_text("utf-8")
    declare(grabow, f"servers:\n  xa: {{{one}}}\n  xb: {{{one}}}")
    allocated(checkout)
    grabow.write_text(before, encoding="utf-8")
    pair = one.replace("section: A", "pair: x")
    declare(grabow, f"servers:\n  xa: {{{pair}}}\n  xb: {{{pair}}}")
    [finding] = Declarations(checkout).findings()
    assert finding.rule == "pair-placed-together"
    assert finding.hint is not None and "--release sections.gra-xb" in finding.hint
    assert allocated(checkout, "sections.gra-xb") == ["section of gra-xb: A → B"]
    assert Declarations(checkout).findings() == []
