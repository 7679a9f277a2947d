"""What a loss would do, on inventories small enough to be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.drilling.forecast import Fate, forecast
from ksm_onboard.drilling.inventory import Host, Inventory, Machine, Priority
from ksm_onboard.drilling.loss import Loss
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan, PlatformPlan
from ksm_onboard.project import find_project
from ksm_onboard.verifying.cluster_settings import Settings
from ksm_onboard.verifying.vcenter_facts import ClusterFacts, RuleFacts

SECTION_A = (Loss(kind="section", name="A"),)
HOSTS = ("sn-esx-a01", "sn-esx-a02", "sn-esx-b01", "sn-esx-b02")
COPIES = {"mirror": ("A", "B"), "local-a": ("A",), "local-b": ("B",)}


@pytest.fixture(scope="module")
def platform() -> PlatformPlan:
    plan: Plan = Declarations(find_project()).plan("grabow")
    return plan.platform


def host(name: str, memory_mib: int = 100) -> Host:
    local = "local-a" if "-a0" in name else "local-b"
    return Host(name=name, connected=True, memory_mib=memory_mib, datastores=frozenset(("mirror", local)))


def machine(name: str, on: str, *, memory_mib: int = 10, priority: Priority = "medium", **other: Any) -> Machine:
    stores = other.pop("datastores", ("mirror",))
    return Machine(
        name=name,
        host=on,
        powered_on=other.pop("powered_on", True),
        memory_mib=memory_mib,
        datastores=frozenset(stores),
        priority=priority,
    )


def inventory(*machines: Machine, rules: tuple[RuleFacts, ...] = (), memory_mib: int = 100, **other: Any) -> Inventory:
    cluster = ClusterFacts(
        name="sn-cluster01",
        drs_enabled=True,
        ha_enabled=other.get("ha_enabled", True),
        settings={},
        restart_priorities={},
        rules=rules,
        vm_groups=other.get("vm_groups", {}),
        host_groups={"section-a": HOSTS[:2], "section-b": HOSTS[2:]},
    )
    return Inventory(cluster=cluster, hosts=tuple(host(name, memory_mib) for name in HOSTS), machines=machines)


def fates(found: tuple[Fate, ...]) -> dict[str, Fate]:
    return {fate.machine: fate for fate in found}


def test_the_other_section_goes_on_and_takes_over_by_priority(platform: PlatformPlan) -> None:
    seen = inventory(
        machine("file01", "sn-esx-a01"),
        machine("dns01", "sn-esx-a01", priority="highest"),
        machine("db01", "sn-esx-a02", priority="high"),
        machine("dns02", "sn-esx-b01", priority="highest"),
        machine("off", "sn-esx-a01", powered_on=False),
    )
    found = forecast(seen, SECTION_A, platform, COPIES)
    assert [(fate.machine, fate.order) for fate in found if fate.outcome == "restarts"] == [
        ("dns01", 1),
        ("db01", 2),
        ("file01", 3),
    ]
    assert fates(found)["dns02"] == Fate(machine="dns02", outcome="stays", host="sn-esx-b01")
    assert fates(found)["off"].outcome == "off"
    assert all(fate.host in HOSTS[2:] for fate in found if fate.outcome == "restarts")


def test_what_lies_in_one_section_only_is_lost_with_it_and_stays_with_the_other(platform: PlatformPlan) -> None:
    seen = inventory(
        machine("db01", "sn-esx-a01", datastores=("mirror", "local-a")),
        machine("db02", "sn-esx-b01", datastores=("mirror", "local-b")),
    )
    found = fates(forecast(seen, SECTION_A, platform, COPIES))
    assert found["db01"].outcome == "lost" and "local-a" in found["db01"].reason
    assert found["db02"].outcome == "stays"


def test_a_lost_datastore_stops_what_lies_on_it_and_nothing_else(platform: PlatformPlan) -> None:
    seen = inventory(machine("file01", "sn-esx-a01"), machine("db02", "sn-esx-b01", datastores=("local-b",)))
    found = fates(forecast(seen, (Loss(kind="datastore", name="local-b"),), platform, COPIES))
    assert (found["file01"].outcome, found["db02"].outcome) == ("stays", "lost")


def test_one_link_of_two_stops_nothing(platform: PlatformPlan) -> None:
    losses = (Loss(kind="link", name="sn-esx-a01", uplink="uplink1"),)
    [fate] = forecast(inventory(machine("file01", "sn-esx-a01")), losses, platform, COPIES)
    assert fate.outcome == "stays"


def link(host: str, uplink: str) -> Loss:
    return Loss(kind="link", name=host, uplink=uplink)


def test_every_link_of_a_host_is_a_host(platform: PlatformPlan) -> None:
    losses = (link("sn-esx-a01", "uplink1"), link("sn-esx-a01", "uplink2"), link("sn-esx-b01", "uplink1"))
    found = fates(forecast(inventory(machine("a", "sn-esx-a01"), machine("b", "sn-esx-b01")), losses, platform, COPIES))
    assert (found["a"].outcome, found["b"].outcome) == ("restarts", "stays")


@pytest.mark.parametrize(
    ("settings", "losses", "outcome"),
    [
        ({"ha_isolation_response": "none"}, (link("sn-esx-a01", "uplink1"), link("sn-esx-a01", "uplink2")), "lost"),
        ({"ha_isolation_response": "none"}, SECTION_A, "restarts"),
        (
            {"ha_isolation_response": "none"},
            (*SECTION_A, link("sn-esx-a01", "uplink1"), link("sn-esx-a01", "uplink2")),
            "restarts",
        ),
        ({"ha_host_monitoring": "disabled"}, SECTION_A, "lost"),
    ],
)
def test_ha_acts_only_as_it_is_set(
    platform: PlatformPlan, settings: Settings, losses: tuple[Loss, ...], outcome: str
) -> None:
    seen = inventory(machine("file01", "sn-esx-a01"))
    seen = seen.model_copy(update={"cluster": seen.cluster.model_copy(update={"settings": settings})})
    [fate] = forecast(seen, losses, platform, COPIES)
    assert fate.outcome == outcome and bool(fate.reason) is (outcome == "lost")


def test_a_section_and_the_other_ones_storage_leave_nothing_of_a_pair(platform: PlatformPlan) -> None:
    seen = inventory(
        machine("db01", "sn-esx-a01"),
        machine("db02", "sn-esx-b01", datastores=("local-b",)),
        machine("dns02", "sn-esx-b01"),
    )
    losses = (*SECTION_A, Loss(kind="datastore", name="local-b"))
    found = fates(forecast(seen, losses, platform, COPIES))
    assert {name: fate.outcome for name, fate in found.items()} == {
        "db01": "restarts",
        "db02": "lost",
        "dns02": "stays",
    }


def test_both_sections_are_everything(platform: PlatformPlan) -> None:
    seen = inventory(machine("a", "sn-esx-a01"), machine("b", "sn-esx-b01"))
    found = forecast(seen, (*SECTION_A, Loss(kind="section", name="B")), platform, COPIES)
    assert [fate.outcome for fate in found] == ["lost", "lost"]
    assert all("mirror" in fate.reason for fate in found)


def test_a_lost_host_is_replaced_first_in_its_own_section(platform: PlatformPlan) -> None:
    rule = RuleFacts(name="a", enabled=True, mandatory=False, vm_group="grabow-a", affine_host_group="section-a")
    seen = inventory(
        machine("file01", "sn-esx-a01"),
        machine("filler", "sn-esx-a02", memory_mib=50),
        rules=(rule,),
        vm_groups={"grabow-a": ("file01",)},
    )
    found = fates(forecast(seen, (Loss(kind="host", name="sn-esx-a01"),), platform, COPIES))
    assert found["file01"].host == "sn-esx-a02"


def test_a_mandatory_rule_forbids_the_other_section(platform: PlatformPlan) -> None:
    rule = RuleFacts(name="a", enabled=True, mandatory=True, vm_group="grabow-a", affine_host_group="section-a")
    seen = inventory(machine("file01", "sn-esx-a01"), rules=(rule,), vm_groups={"grabow-a": ("file01",)})
    [fate] = forecast(seen, SECTION_A, platform, COPIES)
    assert fate.outcome == "lost" and "Regel" in fate.reason


def test_partners_are_kept_apart_where_there_is_room(platform: PlatformPlan) -> None:
    rule = RuleFacts(name="apart", enabled=True, mandatory=False, apart=("dns01", "dns02"))
    seen = inventory(
        machine("dns01", "sn-esx-a01"),
        machine("dns02", "sn-esx-b01"),
        machine("filler", "sn-esx-b02", memory_mib=80),
        rules=(rule,),
    )
    found = fates(forecast(seen, SECTION_A, platform, COPIES))
    assert found["dns01"].host == "sn-esx-b02"


def test_without_ha_or_with_restarts_disabled_nothing_comes_back(platform: PlatformPlan) -> None:
    without = forecast(inventory(machine("file01", "sn-esx-a01"), ha_enabled=False), SECTION_A, platform, COPIES)
    disabled = forecast(inventory(machine("f", "sn-esx-a01", priority="disabled")), SECTION_A, platform, COPIES)
    assert "HA" in without[0].reason and "disabled" in disabled[0].reason


def test_too_little_memory_is_told_with_figures(platform: PlatformPlan) -> None:
    seen = inventory(
        machine("big", "sn-esx-a01", memory_mib=90),
        machine("b1", "sn-esx-b01", memory_mib=50),
        machine("b2", "sn-esx-b02", memory_mib=30),
    )
    fate = fates(forecast(seen, SECTION_A, platform, COPIES))["big"]
    assert fate.outcome == "lost"
    assert fate.reason == "90 MiB Speicher nötig, auf einem Host höchstens 70 MiB frei"


MACHINES = st.lists(
    st.builds(
        lambda on, memory, priority, store: (on, memory, priority, store),
        st.sampled_from(HOSTS),
        st.integers(1, 60),
        st.sampled_from(("highest", "medium", "lowest", "disabled")),
        st.sampled_from(("mirror", "local-a", "local-b")),
    ),
    max_size=12,
)


@given(MACHINES)
def test_no_host_is_given_more_than_it_has_and_each_machine_has_one_fate(
    platform: PlatformPlan, drawn: list[tuple[str, int, Priority, str]]
) -> None:
    machines = [
        machine(f"m{i:02}", on, memory_mib=memory, priority=priority, datastores=(store,))
        for i, (on, memory, priority, store) in enumerate(drawn)
    ]
    found = forecast(inventory(*machines, memory_mib=1000), SECTION_A, platform, COPIES)
    assert sorted(fate.machine for fate in found) == [m.name for m in machines]
    small = forecast(inventory(*machines, memory_mib=100), SECTION_A, platform, COPIES)
    sizes = {m.name: m.memory_mib for m in machines}
    for name in HOSTS[2:]:
        stay = sum(sizes[fate.machine] for fate in small if fate.outcome == "stays" and fate.host == name)
        taken = sum(sizes[fate.machine] for fate in small if fate.outcome == "restarts" and fate.host == name)
        assert not taken or stay + taken <= 100
    orders = [fate.order for fate in small if fate.outcome == "restarts"]
    assert orders == list(range(1, len(orders) + 1))
    assert not any(fate.outcome == "stays" and fate.host in HOSTS[:2] for fate in found)
