"""What a member's people rely on."""

from __future__ import annotations

import pytest

from ksm_onboard.planning.it_services import it_services
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import find_project


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Declarations(find_project()).plan("grabow")


def test_servers_that_stand_in_for_each_other_are_one_service(plan: Plan) -> None:
    [names] = [service for service in it_services(plan) if service.probe == "dns"]
    assert names.servers == ("gra-dns01", "gra-dns02")
    assert (names.title, names.service_level, names.rto_hours) == ("Namensauflösung", 1, 4)


def test_writing_needs_the_primary_reading_any(plan: Plan) -> None:
    by_key = {service.key: service for service in it_services(plan)}
    database = plan.member.databases[0]
    assert by_key[f"{database.name}-write"].servers == (database.primary,)
    assert by_key[f"{database.name}-read"].servers == (database.primary, *database.standbys)


def test_the_most_urgent_come_first_and_every_server_serves(plan: Plan) -> None:
    found = it_services(plan)
    assert [s.service_level for s in found] == sorted(s.service_level for s in found)
    assert {name for s in found for name in s.servers} == {s.name for s in plan.member.servers}
    assert len({s.key for s in found}) == len(found)


def test_without_promises_there_is_no_time_to_keep(plan: Plan) -> None:
    silent = plan.model_copy(update={"platform": plan.platform.model_copy(update={"service_levels": ()})})
    assert {service.rto_hours for service in it_services(silent)} == {None}


def test_every_member_has_services(plan: Plan) -> None:
    declarations = Declarations(find_project())
    for key in declarations.member_keys:
        assert it_services(declarations.plan(key)), key
