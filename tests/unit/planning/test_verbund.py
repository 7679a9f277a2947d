"""All members that are declared in this repository, together and at their real size."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import MemberPlan, ServerPlan, WorkstationPlan
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[3]


class Size(NamedTuple):
    """What a member consists of; applications: different catalogue keys that any of its machines is given."""

    workplaces: int
    servers: int
    sites: int
    applications: int


# The members as KSM's own figures and modelling assumptions have them. Only Ludwigslust's 83 workplaces are sourced
# (press); every other figure is an assumption. A school has 6 workplaces in its administration and 90 for lessons.
SCHOOL = Size(6 + 90, 2, 1, 40)
SIZES = {
    "grabow": Size(55, 12, 6, 46),
    "amt-parchimer-umland": Size(35, 9, 3, 40),
    "neustadt-glewe": Size(40, 10, 5, 42),
    "ludwigslust": Size(83, 16, 10, 60),
    "ludwigslust-parchim": Size(1250, 140, 25, 180),
    "schwerin-stadt": Size(1150, 130, 40, 170),
    "stadtwerke": Size(320, 60, 8, 60),
    "wohnungsgesellschaft": Size(120, 20, 4, 35),
    "zoo": Size(35, 8, 2, 25),
    "schule-crivitz": SCHOOL,
    "schule-hagenow": SCHOOL,
    "schule-luebtheen": SCHOOL,
    "schule-sternberg": SCHOOL,
}

# Days on which nobody works: public holidays of Mecklenburg-Vorpommern (FTG M-V, Frauentag since 2023).
EASTER = (date(2027, 3, 28), date(2028, 4, 16))
HOLIDAYS = {
    date(year, month, day)
    for year in (2027, 2028)
    for month, day in ((1, 1), (3, 8), (5, 1), (10, 3), (10, 31), (12, 25), (12, 26))
} | {easter + timedelta(days=after) for easter in EASTER for after in (-2, 1, 39, 50)}


@pytest.fixture(scope="module")
def verbund() -> Declarations:
    return Declarations(Project(ROOT))


@pytest.fixture(scope="module")
def plans(verbund: Declarations) -> dict[str, MemberPlan]:
    return {key: verbund.plan(key).member for key in SIZES}


def test_there_is_nothing_to_put_right_but_the_media_of_one_application(verbund: Declarations) -> None:
    """Nobody here has checked what its project hands out; machines get a stand-in, and everybody is told."""
    assert [(f.rule, f.severity, f.value) for f in verbund.findings()] == [
        ("application-media", "warning", "quba-viewer")
    ]


def test_every_member_has_its_size(plans: dict[str, MemberPlan]) -> None:
    sizes = {
        key: Size(len(plan.workstations), len(plan.servers), len(plan.sites), len(plan.applications))
        for key, plan in plans.items()
    }
    assert sizes == SIZES
    assert sum(size.workplaces for size in sizes.values()) > 3000


def test_somebody_works_at_every_site(plans: dict[str, MemberPlan]) -> None:
    """A site without workplaces would be one that nobody switches over."""
    assert {(key, site.key) for key, plan in plans.items() for site in plan.sites} - {
        (key, w.site) for key, plan in plans.items() for w in plan.workstations
    } == set()


def test_every_wave_has_days_and_devices_and_begins_and_ends_on_working_days(plans: dict[str, MemberPlan]) -> None:
    for key, plan in plans.items():
        assert {wave.key for wave in plan.waves} == {w.wave for w in plan.workstations}, key
        for wave in plan.waves:
            assert wave.first_day is not None, (key, wave.key)
            for day in (wave.first_day, wave.last_day or wave.first_day):
                assert day.weekday() < 5 and day not in HOLIDAYS, (key, wave.key, day)
    larger = [key for key, plan in plans.items() if len(plan.workstations) > 1000]
    assert {len(plans[key].waves) for key in larger} == {10}


def test_the_calendar_knows_every_year_end(plans: dict[str, MemberPlan]) -> None:
    for plan in plans.values():
        closed = {day.year for freeze in plan.freezes for day in (freeze.first_day,) if "abschluss" in freeze.key}
        assert closed >= {2026, 2027, 2028}


def test_giving_out_again_changes_nothing(verbund: Declarations) -> None:
    assert new_records(verbund) == []


@pytest.mark.parametrize("key", SIZES)
def test_every_machine_has_a_name_and_an_address_of_its_own(plans: dict[str, MemberPlan], key: str) -> None:
    member = plans[key]
    machines: list[WorkstationPlan | ServerPlan] = [*member.workstations, *member.servers]
    assert max(len(machine.name) for machine in machines) <= 15
    addresses = [machine.address for machine in machines]
    addresses += {queue.name: queue.address for queue in member.print_queues}.values()
    assert len(set(addresses)) == len(addresses)
    assert all(address in member.block for address in addresses)


def test_a_school_has_two_kinds_of_workplaces_and_tablets(plans: dict[str, MemberPlan]) -> None:
    plan = plans["schule-hagenow"]
    assert Counter((w.zone, w.platform) for w in plan.workstations) == {
        ("school-administration", "windows"): 6,
        ("school-pedagogic", "windows"): 40,
        ("school-tablets", "tablet"): 50,
    }


def test_linux_workstations_get_packages_for_everything_that_is_not_in_the_browser(
    plans: dict[str, MemberPlan],
) -> None:
    seen = 0
    for member in plans.values():
        applications = {a.key: a for a in member.applications}
        for workstation in member.workstations:
            if workstation.platform == "linux":
                seen += 1
                assert all(
                    applications[key].packages or applications[key].in_browser for key in workstation.applications
                )
    assert seen >= 55


def test_grabow_has_linux_where_it_tries_it_out_and_windows_where_procedures_need_it(
    plans: dict[str, MemberPlan],
) -> None:
    platforms = Counter((w.department, w.platform) for w in plans["grabow"].workstations)
    assert platforms == {
        ("buergerbuero", "linux"): 6,
        ("buergerbuero", "windows"): 4,
        ("kaemmerei", "windows"): 9,
        ("bauamt", "windows"): 10,
        ("hauptamt", "windows"): 14,
        ("bauhof", "linux"): 4,
        ("einrichtungen", "linux"): 8,
    }
