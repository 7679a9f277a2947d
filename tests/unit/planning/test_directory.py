"""The directory: who logs in there, and who can reach it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.planning.directory import LOGGING_IN, computers_dn
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan, ServerPlan, WorkstationPlan
from ksm_onboard.planning.zones import LESSONS
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[3]
DECLARATIONS = Declarations(Project(ROOT))
# A town, a school with both kinds of nets, a company with control systems and machines in a DMZ.
MEMBERS = ("grabow", "schule-hagenow", "stadtwerke")
# Logging in (RFC 4120), changing a password (RFC 3244), the directory itself sealed and over TLS.
NEEDED = {("tcp", 88), ("udp", 88), ("tcp", 464), ("udp", 464), ("tcp", 389), ("udp", 389), ("tcp", 636)}


@pytest.fixture(scope="module", params=MEMBERS)
def plan(request: pytest.FixtureRequest) -> Plan:
    return DECLARATIONS.plan(request.param)


def test_no_machine_for_lessons_in_the_dmz_or_of_control_systems_logs_in(plan: Plan) -> None:
    assert not LOGGING_IN & {*LESSONS, "dmz", "ot-handover", "guest"}
    assert plan.member.directory is not None
    machines: tuple[ServerPlan | WorkstationPlan, ...] = (*plan.member.servers, *plan.member.workstations)
    for machine in machines:
        logs_in = machine.name in plan.member.directory.machines
        assert logs_in == (machine.platform == "linux" and machine.zone in LOGGING_IN), machine.name


def test_whoever_logs_in_reaches_every_controller_and_nobody_else_does(plan: Plan) -> None:
    addresses = {controller.address for controller in plan.platform.controllers}
    assert len(addresses) == 2
    opened: dict[str, set[tuple[str, int]]] = {}
    for flow in plan.member.flows:
        for rule in flow.rules:
            reached = {a for a in addresses if any(a in network for network in rule.target.networks)}
            if reached:
                assert reached == addresses
                ports = {(rule.protocol, port) for r in rule.ports for port in range(r.first, r.last + 1)}
                opened.setdefault(str(rule.source.zone), set()).update(ports)
    zones = {zone.key for zone in plan.member.zones}
    assert set(opened) == zones & LOGGING_IN
    assert all(ports == NEEDED for ports in opened.values())


def test_a_member_has_a_unit_with_a_group_for_all_and_one_for_each_department(plan: Plan) -> None:
    unit, directory, short = plan.member.directory, plan.platform.directory, plan.member.short
    assert unit is not None and directory is not None
    everybody, *departments = unit.groups
    assert everybody.name == unit.people == f"{short}-users"
    assert [group.name for group in departments] == [f"{short}-department-{key}" for key in plan.member.departments]
    assert {group.member_of for group in departments} <= {unit.people}
    # Whoever administers accounts is in none of the groups that they fill.
    assert unit.admins not in {group.name for group in unit.groups}
    assert len(unit.join_account) <= 20, "Windows' limit for names of accounts"
    assert computers_dn(directory, unit) == f"OU=Computers,OU={plan.member.key},OU=Members,DC=ad,DC=ksm,DC=internal"


def test_the_controllers_dump_the_directory_to_disks_that_are_backed_up_in_two_places() -> None:
    own = DECLARATIONS.own_plan()
    assert own is not None and own.member.directory is None
    dumps = [backup for backup in own.member.backups if backup.kind == "directory"]
    assert {backup.server for backup in dumps} == {controller.name for controller in own.platform.controllers}
    for backup in dumps:
        assert backup.backup_class == "hourly"
        places = {own.platform.backup_repository(key).location for key in backup.copies}
        assert places == {"outside", "B" if own.member.server(backup.server).section == "A" else "A"}


def test_without_controllers_there_is_no_directory(checkout: Project) -> None:
    file = checkout.stacks / "schwerin.yaml"
    text = file.read_text("utf-8")
    assert text.count("roles: [directory]") == 2
    changed = text.replace("roles: [directory]", "roles: [time]")
    changed = changed.replace(
        "directory: {title: Verzeichnis, role: directory}", "directory: {title: Verzeichnis, role: time}"
    )
    file.write_text(changed, encoding="utf-8")
    plan = Declarations(checkout).plan("grabow")
    assert plan.platform.directory is None and plan.member.directory is None
