"""Real hosts, asked over real ssh: what a machine says before anybody has configured it, and what is not believed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.connection import Connection, GuestAccess, Trust, VCenterAccess
from ksm_onboard.lab import instance
from ksm_onboard.lab.base_image import ensure_base_image
from ksm_onboard.lab.certificates import ensure_certificates, ensure_ssh_key
from ksm_onboard.lab.customisation import customise_without_metadata
from ksm_onboard.lab.hosts import HostKind, HostRecord, HostSettings, HostSpec, start_host, stop_host
from ksm_onboard.planning.load import load_plan
from ksm_onboard.planning.plan import Plan
from ksm_onboard.progress import Silent
from ksm_onboard.project import find_project
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.verifying.audit_hosts import compare_hosts, hosts_to_ask
from ksm_onboard.verifying.audit_report import Area, Reason
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.host_facts import HostFacts, HostSilent, HostToAsk
from ksm_onboard.verifying.hosts import ask_hosts

pytestmark = pytest.mark.lab

LAB = "asking-test"
SHIFT = 101
NAME = "gra-ws0001"
PROJECT = find_project(Path(__file__).parent)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(PROJECT, "grabow")


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Connection:
    folder = tmp_path_factory.mktemp("connection")
    ensure_certificates(folder, LAB)
    ensure_ssh_key(folder / "ops", "ops@test")
    return Connection(
        name=LAB,
        simulated=True,
        vcenter=VCenterAccess(server="127.0.0.1:1", user="nobody", password_file=folder / "password"),
        guests=GuestAccess(private_key_file=folder / "ops", loopback_shift=SHIFT),
        trust=Trust(root_ca_file=folder / "ca.pem"),
    )


@pytest.fixture(scope="module")
def host(plan: Plan, connection: Connection) -> Iterator[HostRecord]:
    """One workstation of the plan, as the lab starts it."""
    if os.geteuid() != 0:
        pytest.skip("real hosts need root")
    instance.sweep(LAB, Silent())
    [workstation] = [w for w in plan.member.workstations if w.name == NAME]
    guests = connection.guests
    userdata = Customisation(PROJECT.templates, guests.user, guests.public_key()).userdata(workstation)
    custom = customise_without_metadata(NAME, workstation.address, userdata)
    spec = HostSpec(NAME, HostKind.WORKSTATION, "5b1f0d0e-6c1c-4e0f-9a51-000000000001", custom)
    yield start_host(spec, HostSettings(LAB, ensure_base_image(Silent()), SHIFT, guests.port))
    instance.sweep(LAB, Silent())


def others(plan: Plan) -> list[str]:
    names = [server.name for server in plan.member.servers] + [w.name for w in plan.member.workstations]
    return [name for name in names if name != NAME]


def asked(plan: Plan, connection: Connection, known: Path) -> tuple[Any, HostToAsk]:
    [to_ask] = hosts_to_ask(plan, connection, others(plan))
    [answer] = ask_hosts([to_ask], connection.guests, known, Silent())
    return answer, to_ask


def known_hosts(folder: Path, host: HostRecord, key: str) -> Path:
    file = folder / "known_hosts"
    file.write_text(f"{host.reachable_at} {key}\n")
    return file


def test_a_machine_that_nobody_has_configured_yet(
    plan: Plan, connection: Connection, host: HostRecord, tmp_path: Path
) -> None:
    answer, _ = asked(plan, connection, known_hosts(tmp_path, host, host.host_key))
    assert isinstance(answer, HostFacts)
    assert answer.host_name == NAME
    assert answer.fqdn == f"{NAME}.grabow.internal"
    assert answer.operating_system.startswith("Debian GNU/Linux 12")
    assert answer.packages["bash"] and "keepassxc" not in answer.packages
    assert len(answer.trusted_roots) > 100

    points = Comparison()
    away = dict.fromkeys(others(plan), Reason.NOT_STARTED)
    [seen] = compare_hosts(plan, connection, [answer], away, points)
    found = {(d.kind, d.area, d.attribute) for d in points.differences if d.object.startswith(NAME)}
    assert ("missing", Area.APPLICATIONS, "package") in found
    assert ("different", Area.MACHINES, "root_ca") in found
    assert ("different", Area.MACHINES, "screen_lock_seconds") in found
    assert ("different", Area.MACHINES, "login_banner") in found
    assert ("different", Area.NAMES, "dns_answer") in found
    assert not [entry for entry in found if entry[2] in ("host_name", "fqdn", "answers")]
    assert seen.applications["keepassxc"] == {"keepassxc": None}


def test_a_machine_with_another_key_is_not_believed(
    plan: Plan, connection: Connection, host: HostRecord, tmp_path: Path
) -> None:
    stranger = ensure_ssh_key(tmp_path / "stranger", "x")
    answer, _ = asked(plan, connection, known_hosts(tmp_path, host, " ".join(stranger.split()[:2])))
    assert isinstance(answer, HostSilent)
    assert "erification failed" in answer.reason


def test_a_machine_whose_key_nobody_told_is_not_believed(
    plan: Plan, connection: Connection, host: HostRecord, tmp_path: Path
) -> None:
    (tmp_path / "known_hosts").write_text("")
    answer, _ = asked(plan, connection, tmp_path / "known_hosts")
    assert isinstance(answer, HostSilent)
    assert "erification failed" in answer.reason


def test_a_machine_that_was_switched_off_is_silent(
    plan: Plan, connection: Connection, host: HostRecord, tmp_path: Path
) -> None:
    assert stop_host(LAB, NAME)
    answer, to_ask = asked(plan, connection, known_hosts(tmp_path, host, host.host_key))
    assert isinstance(answer, HostSilent)
    assert "refused" in answer.reason
    assert to_ask.address == IPv4Address(host.reachable_at)
