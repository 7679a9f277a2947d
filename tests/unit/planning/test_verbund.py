"""All members that are declared in this repository, together and at their real size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import ServerPlan, WorkstationPlan
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[3]

# Workstations, servers, sites of each member (modelling assumptions). Stadt Grabow's eight
# servers are those that it begins with.
SIZES = {
    "grabow": (55, 8, 6),
    "amt-parchimer-umland": (35, 9, 3),
    "neustadt-glewe": (40, 10, 5),
    "ludwigslust": (83, 16, 10),
    "ludwigslust-parchim": (1250, 140, 25),
    "schwerin-stadt": (1150, 130, 40),
    "stadtwerke": (320, 60, 8),
    "wohnungsgesellschaft": (120, 20, 4),
    "zoo": (35, 8, 2),
    "schule-crivitz": (96, 2, 1),
    "schule-hagenow": (96, 2, 1),
    "schule-luebtheen": (96, 2, 1),
    "schule-sternberg": (96, 2, 1),
}


@pytest.fixture(scope="module")
def verbund() -> Declarations:
    return Declarations(Project(ROOT))


def test_there_is_nothing_to_put_right(verbund: Declarations) -> None:
    assert verbund.findings() == []


def test_every_member_has_its_size(verbund: Declarations) -> None:
    sizes = {}
    for key, member in verbund.members.items():
        assert member.file.content is not None
        sizes[key] = (len(member.devices.rows), len(member.file.content.servers), len(member.file.content.sites))
    assert sizes == SIZES
    assert sum(workstations for workstations, _, _ in sizes.values()) > 3000


def test_giving_out_again_changes_nothing(verbund: Declarations) -> None:
    assert new_records(verbund) == []


@pytest.mark.parametrize("key", SIZES)
def test_every_member_has_a_plan(verbund: Declarations, key: str) -> None:
    member = verbund.plan(key).member
    workstations, servers, _ = SIZES[key]
    assert (len(member.workstations), len(member.servers)) == (workstations, servers)
    machines: list[WorkstationPlan | ServerPlan] = [*member.workstations, *member.servers]
    assert max(len(machine.name) for machine in machines) <= 15
    addresses = [machine.address for machine in machines] + [queue.address for queue in member.print_queues]
    assert len(set(addresses)) == len(addresses)
    assert all(address in member.block for address in addresses)


def test_a_school_has_two_kinds_of_workplaces_and_tablets(verbund: Declarations) -> None:
    plan = verbund.plan("schule-hagenow").member
    assert Counter((w.zone, w.platform) for w in plan.workstations) == {
        ("school-administration", "windows"): 6,
        ("school-pedagogic", "windows"): 40,
        ("school-tablets", "tablet"): 50,
    }


def test_linux_workstations_get_packages_for_everything(verbund: Declarations) -> None:
    seen = 0
    for key in SIZES:
        member = verbund.plan(key).member
        packages = {a.key: a.packages for a in member.applications}
        for workstation in member.workstations:
            if workstation.platform == "linux":
                seen += 1
                assert all(
                    packages[a] or "web" in verbund.catalogue[a].application.platforms for a in workstation.applications
                )
    assert seen >= 55
