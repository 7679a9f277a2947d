"""How often vCenter is asked: per VM always the same, however many there are. Counted, never timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from bench.lab_site import LabSite, lab_site
from ksm_onboard.drilling.inventory import read_inventory
from ksm_onboard.progress import Silent
from ksm_onboard.verifying.vcenter_facts import read_vcenter

pytestmark = pytest.mark.lab

SIZES = (8, 12, 24)
MEMBERS = {f"member-{size}": size for size in SIZES}
Calls = Mapping[str, int]

# How often a task is asked whether it is done says how long it took.
WAITING = "WaitForUpdatesEx"
# The provider reads objects in several steps, and some again when they are not as it wants them yet.
LEEWAY = 1.2


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    with lab_site(tmp_path_factory.mktemp("calls"), "calls-test", MEMBERS) as running:
        yield running


@pytest.fixture(scope="module")
def created(site: LabSite) -> list[Calls]:
    """The calls that bring up each member."""
    return [_counted(site, lambda key=key: site.driver.up(key, Silent())) for key in MEMBERS]


def _counted(site: LabSite, work: object) -> Calls:
    assert callable(work)
    site.calls()
    work()
    return {method: times for method, times in site.calls().items() if method != WAITING}


def _per_vm(calls: list[Calls]) -> list[float]:
    """How many calls each further VM costs: from the first size to the second, from the second to the third."""
    total = [sum(of_size.values()) for of_size in calls]
    return [
        (more - less) / (larger - smaller)
        for less, more, smaller, larger in zip(total, total[1:], SIZES, SIZES[1:], strict=False)
    ]


def test_bringing_up_a_vm_costs_as_many_calls_among_many_as_among_few(created: list[Calls]) -> None:
    few, many = _per_vm(created)
    assert 0 < many <= LEEWAY * few, created
    assert [calls["CloneVM_Task"] for calls in created] == list(SIZES)
    assert [calls["PowerOnVM_Task"] for calls in created] == list(SIZES)
    # One change at creation sets the VM up; nothing is changed a second time.
    assert [calls["ReconfigVM_Task"] for calls in created] == list(SIZES)
    # Datastores, networks, pool, rules and logins are the member's, not the VM's.
    for method in ("CreateNasDatastore", "CreateDVPortgroup_Task", "ReconfigureComputeResource_Task", "Login"):
        assert len({calls[method] for calls in created}) == 1, method


def test_a_run_without_changes_costs_as_many_calls_per_vm(site: LabSite, created: list[Calls]) -> None:
    assert created
    calls = [_counted(site, lambda key=key: site.driver.preview(key, Silent())) for key in MEMBERS]
    few, many = _per_vm(calls)
    assert 0 < many <= LEEWAY * few, calls
    assert all(sum(preview.values()) < sum(up.values()) for preview, up in zip(calls, created, strict=True))
    assert {preview["Login"] for preview in calls} == {1}
    assert not any(method.endswith("_Task") and method not in READING for preview in calls for method in preview)


# Tasks that only look.
READING = {"QueryVirtualDiskInfo_Task", "SearchDatastore_Task"}


def test_without_reading_anew_each_vm_costs_one_question_at_most(site: LabSite, created: list[Calls]) -> None:
    """What is left is what the program looks up, which is the same for all, and what the provider asks to compare."""
    assert created
    calls = [
        dict(_counted(site, lambda key=key: site.pulumi("preview", "--refresh=false", "--stack", key)))
        for key in MEMBERS
    ]
    reading = [of_size.pop("RetrieveProperties") for of_size in calls]
    assert calls[1:] == calls[:-1]
    for less, more, smaller, larger in zip(reading, reading[1:], SIZES, SIZES[1:], strict=False):
        assert more - less <= larger - smaller, reading


def test_the_audit_and_the_forecast_ask_in_bulk(site: LabSite, created: list[Calls]) -> None:
    assert created
    connection = site.connection
    plans = [site.plan(key) for key in MEMBERS]
    audits = [_counted(site, lambda plan=plan: read_vcenter(connection, plan)) for plan in plans]
    assert audits[1:] == audits[:-1]
    forecasts = [_counted(site, lambda: read_inventory(connection, plans[0].platform)) for _ in range(2)]
    assert sum(SIZES) > sum(forecasts[0].values()), "fewer calls than VMs"
    assert forecasts[0] == forecasts[1]
