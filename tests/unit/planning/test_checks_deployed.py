"""Grabow's declaration, changed in one place, against what stands of it (a recorded state)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.planning.deployed import Deployed, DeployedDisk, DeployedServer
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project
from ksm_onboard.provisioning.deployed import read_exported
from tests.unit.conftest import RECORDED_STATE


@pytest.fixture(scope="session")
def stands(plan: Plan) -> Deployed:
    """What stands, with each disk on the datastore that the plan gives it: placement has tests of its own."""
    recorded = read_exported([RECORDED_STATE], ["grabow"]).deployed["grabow"]
    lies_on = {(server.name, disk.name): disk.datastore for server in plan.member.servers for disk in server.disks}

    def placed(name: str, server: DeployedServer) -> DeployedServer:
        disks = {key: replace(disk, datastore=lies_on[name, key]) for key, disk in server.disks.items()}
        return replace(server, disks=disks)

    return replace(recorded, servers={name: placed(name, server) for name, server in recorded.servers.items()})


def declare(grabow: Path, text: str) -> None:
    grabow.write_text(grabow.read_text("utf-8").replace("departments:", f"{text}\ndepartments:", 1), encoding="utf-8")


def found(checkout: Project, stands: Deployed) -> list[Finding]:
    return Declarations(checkout, deployed={"grabow": stands}).findings()


def told(checkout: Project, stands: Deployed, *also: str) -> list[tuple[str, str, str]]:
    """Rule, file and the line's text of every finding about what stands, and of those of the rules ``also``."""
    return [
        (f.rule, f.place.file.name, f.place.file.read_text("utf-8").splitlines()[f.place.line - 1].strip())
        for f in found(checkout, stands)
        if f.rule in ("immutable-changed", "deployed-removed", *also)
    ]


def with_server(stands: Deployed, name: str, server: DeployedServer) -> Deployed:
    return replace(stands, servers={**stands.servers, name: server})


def with_disk(stands: Deployed, name: str, key: str, disk: DeployedDisk) -> Deployed:
    server = stands.servers[name]
    return with_server(stands, name, replace(server, disks={**server.disks, key: disk}))


def test_what_stands_is_what_is_declared(checkout: Project, stands: Deployed) -> None:
    assert found(checkout, stands) == []


DECLARED = [
    # (what is declared anew, the line that is accused, a part of the message)
    ("servers:\n  dns01: {address: 10.64.12.99}", "dns01: {address", "has the address 10.64.12.11"),
    ("zones:\n  clients: {vlan: 1999}", "clients: {vlan", "stands in VLAN 1210, and would move to VLAN 1999"),
    ("zones:\n  voip: {}\n  building: {}\n  clients: {cidr: 10.64.2.0/23}", "clients: {cidr", "network 10.64.0.0/23"),
    ("servers:\n  app01: {zone: infrastructure}", "app01: {zone", "stands in the zone application"),
    ("servers:\n  file01: {disks: {data: {size_gib: 20}}}", "file01: {disks", "would shrink to 20 GiB"),
    ("servers:\n  file01: {disks: {data: {mount: /srv/daten}}}", "file01: {disks", "is mounted at /srv/data"),
]


@pytest.mark.parametrize(("text", "line", "message"), DECLARED, ids=[line for _, line, _ in DECLARED])
def test_a_value_that_moves_or_loses_something_is_refused_once(
    checkout: Project, grabow: Path, stands: Deployed, text: str, line: str, message: str
) -> None:
    declare(grabow, text)
    # The record contradicts, too; it has the worse advice, for nothing is built by what it says.
    wrong = [f for f in found(checkout, stands) if f.rule in ("immutable-changed", "allocation-contradicts")]
    assert [f.rule for f in wrong] == ["immutable-changed"]
    assert wrong[0].severity == "error"
    assert message in wrong[0].message
    assert grabow.read_text("utf-8").splitlines()[wrong[0].place.line - 1].strip().startswith(line)
    assert stands.source in (wrong[0].allowed or "")
    assert wrong[0].hint


@pytest.mark.parametrize(("was", "now"), [("short: gra", "short: grb"), ("grabow.internal", "grabow.example")])
def test_who_the_member_is_never_changes(checkout: Project, grabow: Path, stands: Deployed, was: str, now: str) -> None:
    grabow.write_text(grabow.read_text("utf-8").replace(was, now), encoding="utf-8")
    ((rule, _, line),) = told(checkout, stands)
    assert (rule, now in line) == ("immutable-changed", True)


def test_a_record_that_was_edited_is_found_at_its_line(checkout: Project, record: Path, stands: Deployed) -> None:
    record.write_text(
        record.read_text("utf-8").replace("gra-app01: 10.64.10.11", "gra-app01: 10.64.10.99"), encoding="utf-8"
    )
    assert told(checkout, stands) == [("immutable-changed", "grabow.yaml", "gra-app01: 10.64.10.99")]


def test_another_template_never_changes_a_server(checkout: Project, stands: Deployed) -> None:
    platform = checkout.stacks / "schwerin.yaml"
    text = platform.read_text("utf-8")
    platform.write_text(text.replace("guest_id: debian12_64Guest", "guest_id: debian13_64Guest"), encoding="utf-8")
    wrong = [f for f in found(checkout, stands) if f.rule == "immutable-changed"]
    assert len(wrong) == len(stands.servers)
    assert "was made for debian12_64Guest" in wrong[0].message


def test_a_system_disk_never_shrinks(checkout: Project, stands: Deployed) -> None:
    larger = replace(stands.servers["gra-dns01"], system_disk_gib=4000)
    (wrong,) = found(checkout, with_server(stands, "gra-dns01", larger))
    assert "the system disk of gra-dns01 has 4000 GiB" in wrong.message


def test_a_disk_is_never_created_anew_elsewhere(checkout: Project, stands: Deployed) -> None:
    disk = stands.servers["gra-file01"].disks["data"]
    (wrong,) = found(checkout, with_disk(stands, "gra-file01", "data", replace(disk, datastore="elsewhere")))
    assert "lies on elsewhere, and would be created anew, empty" in wrong.message
    (wrong,) = found(checkout, with_disk(stands, "gra-file01", "data", replace(disk, unit_number=3)))
    assert "is number 3 of its VM, and would become number 1" in wrong.message
    (wrong,) = found(checkout, with_disk(stands, "gra-file01", "data", replace(disk, datacenter="Wismar")))
    assert (wrong.place.file.name, "in the datacenter Wismar" in wrong.message) == ("schwerin.yaml", True)


def test_what_may_change_may_change(checkout: Project, grabow: Path, stands: Deployed) -> None:
    declare(grabow, "servers:\n  file01: {memory_gib: 16, cpus: 8, disks: {data: {size_gib: 550}}}")
    assert found(checkout, stands) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("servers:\n  app02: null", "gra-app02 stands and is no longer declared: up will delete it"),
        ("servers:\n  file01: {disks: {data: null, daten: {size_gib: 500, tier: gold-mirrored, mount: /srv/daten}}}",
         "the data disk data of gra-file01 (500 GiB) stands and is no longer declared"),
    ],
)  # fmt: skip
def test_what_is_no_longer_declared_is_told(
    checkout: Project, grabow: Path, stands: Deployed, text: str, message: str
) -> None:
    declare(grabow, text)
    (gone,) = [f for f in found(checkout, stands) if f.rule == "deployed-removed"]
    assert gone.severity == "warning"
    assert message in gone.message
    assert gone.place.file == grabow


def test_a_server_with_data_that_is_no_longer_declared_names_the_data(checkout: Project, stands: Deployed) -> None:
    moved = with_server(stands, "gra-old01", stands.servers["gra-file01"])
    (gone,) = found(checkout, moved)
    assert gone.message.endswith("and stop at its data: data (500 GiB)")


def test_a_wrong_value_is_only_told_as_wrong(checkout: Project, grabow: Path, stands: Deployed) -> None:
    declare(grabow, "servers:\n  dns01: {address: 10.64.12.300}\n  file01: {disks: {data: {size_gib: x}}}")
    assert told(checkout, stands) == []


def test_only_members_of_which_something_is_known_are_compared(
    checkout: Project, grabow: Path, stands: Deployed
) -> None:
    declare(grabow, "servers:\n  file01: {disks: {data: {size_gib: 20}}}")
    assert Declarations(checkout, deployed={"zoo": stands}).findings() == []
    assert Declarations(checkout).findings() == []
