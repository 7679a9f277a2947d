"""The plan: pure, stable, and right about sections, addresses and disks."""

from __future__ import annotations

import json
from collections import defaultdict
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.declaration.load import load_file
from ksm_onboard.declaration.models import PlatformDeclaration, Server
from ksm_onboard.planning.addressing import FIRST_SERVER, FIRST_WORKSTATION, capacity, free_addresses, is_host_address
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.placement import place
from ksm_onboard.planning.plan import Plan, ServerPlan, WorkstationPlan
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[3]
SNAPSHOT = Path(__file__).parent / "grabow.plan.json"


def rendered(plan: Plan) -> str:
    return json.dumps(plan.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def test_grabows_plan_is_as_reviewed(plan: Plan) -> None:
    """After a wanted change: ``ksm-onboard plan grabow --json > tests/unit/planning/grabow.plan.json``."""
    assert rendered(plan) == SNAPSHOT.read_text(encoding="utf-8")


def test_same_declaration_same_plan(plan: Plan) -> None:
    assert rendered(Declarations(Project(ROOT)).plan("grabow")) == rendered(plan)


def test_pairs_are_spread_over_sections(plan: Plan) -> None:
    sections = defaultdict(set)
    for server in plan.member.servers:
        sections[server.pair].add(server.section)
    assert len(plan.member.pairs) == 5
    assert all(sections[pair.key] == {"A", "B"} for pair in plan.member.pairs)


def test_every_address_is_unique_and_inside_its_zone(plan: Plan) -> None:
    zones = {zone.key: zone.cidr for zone in plan.member.zones}
    hosts: list[ServerPlan | WorkstationPlan] = [*plan.member.servers, *plan.member.workstations]
    assert len(hosts) == 12 + 55
    assert len({host.address for host in hosts}) == len(hosts)
    assert len({host.name for host in hosts}) == len(hosts)
    assert all(is_host_address(host.address, zones[host.zone]) for host in hosts)


def test_data_disks_lie_where_the_section_is(plan: Plan) -> None:
    datastores = {d.name: d for d in plan.platform.datastores}
    disks = [(server.section, disk) for server in plan.member.servers for disk in server.disks]
    assert len(disks) == 3
    assert all(section in datastores[disk.datastore].sections for section, disk in disks)


PLATFORM = load_file(ROOT / "stacks" / "schwerin.yaml", PlatformDeclaration).content
assert PLATFORM is not None


@st.composite
def servers(draw: st.DrawFn) -> dict[str, Server]:
    entries = draw(
        st.lists(
            st.tuples(st.sampled_from([None, "p", "q", "r"]), st.sampled_from([None, "A", "B"]), st.integers(1, 64)),
            min_size=1,
            max_size=16,
        )
    )
    return {
        f"s{i}": Server.model_validate(
            {
                "role": "application",
                "zone": "application",
                "pair": pair,
                "section": section,
                "template": "debian-12",
                "cpus": 1,
                "memory_gib": memory,
                "tier": "gold-mirrored",
                "service_level": 3,
            }
        )
        for i, (pair, section, memory) in enumerate(entries)
    }


@given(servers())
def test_placement_keeps_what_is_declared_and_spreads_every_pair(declared: dict[str, Server]) -> None:
    assert PLATFORM is not None
    placed = place(declared, PLATFORM)
    assert set(placed) == set(declared)
    assert all(placed[key] == server.section for key, server in declared.items() if server.section)
    pairs = defaultdict(list)
    for key, server in declared.items():
        if server.pair:
            pairs[server.pair].append(key)
    for members in pairs.values():
        bound = {declared[key].section for key in members if declared[key].section}
        if len(members) > 1 and not (len(bound) == 1 and all(declared[key].section for key in members)):
            assert {placed[key] for key in members} == {"A", "B"}


@given(servers(), st.data())
def test_placed_servers_stay_when_others_come_and_go(declared: dict[str, Server], data: st.DataObject) -> None:
    assert PLATFORM is not None
    placed = place(declared, PLATFORM)
    assert place(declared, PLATFORM, placed) == placed
    single = {key: server for key, server in declared.items() if server.pair is None}
    fewer = {key: server for key, server in declared.items() if data.draw(st.booleans())}
    again = place(fewer, PLATFORM, placed)
    assert all(again[key] == placed[key] for key in fewer if key in single)


@given(
    prefix=st.integers(22, 29),
    taken=st.sets(st.integers(0, 1023), max_size=60),
    first=st.sampled_from([FIRST_SERVER, FIRST_WORKSTATION]),
)
def test_free_addresses_are_free_inside_and_as_many_as_promised(prefix: int, taken: set[int], first: int) -> None:
    network = IPv4Network((int(IPv4Network("10.1.0.0/16").network_address), prefix))
    reserved = {int(network.network_address) + offset for offset in taken if offset < network.num_addresses - 1}
    addresses = list(free_addresses(network, first, reserved))
    assert len(addresses) == capacity(network, first, reserved)
    assert not set(addresses) & reserved
    assert all(is_host_address(IPv4Address(address), network) for address in addresses)
