"""The plan: pure, stable, and right about sections, addresses and disks."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from random import Random
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.declaration.load import load_file
from ksm_onboard.declaration.models import PlatformDeclaration, SectionKey, Server
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
    datastores = {d.name: d for d in plan.member.datastores}
    disks = [(server.section, disk) for server in plan.member.servers for disk in server.disks]
    assert len(disks) == 3
    assert all(section in datastores[disk.datastore].sections for section, disk in disks)
    assert all(datastores[disk.datastore].tier == disk.tier for _, disk in disks)


def test_datastore_clusters_hold_mirrored_datastores_of_one_section_only(plan: Plan) -> None:
    assert {c.name: c.datastores for c in plan.member.datastore_clusters} == {
        "gra-mirrored-a": ("gra-gold-mirrored-a", "gra-silver-mirrored-a"),
        "gra-mirrored-b": ("gra-silver-mirrored-b",),
    }
    clustered = {name for cluster in plan.member.datastore_clusters for name in cluster.datastores}
    for store in plan.member.datastores:
        assert (store.name in clustered) is (len(store.sections) == 2)
        assert store.need_gib <= store.size_gib


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
def test_placed_servers_never_move_when_others_come_and_go(declared: dict[str, Server], data: st.DataObject) -> None:
    assert PLATFORM is not None
    known: dict[str, SectionKey] = {
        key: data.draw(st.sampled_from(get_args(SectionKey))) for key in declared if data.draw(st.booleans())
    }
    placed = place(declared, PLATFORM, known)
    assert all(placed[key] == known[key] for key, server in declared.items() if key in known and not server.section)
    assert place(declared, PLATFORM, placed) == placed


@given(servers(), st.randoms(use_true_random=False))
def test_the_order_of_the_declaration_is_irrelevant(declared: dict[str, Server], random: Random) -> None:
    assert PLATFORM is not None
    shuffled = list(declared.items())
    random.shuffle(shuffled)
    assert place(dict(shuffled), PLATFORM) == place(declared, PLATFORM)


@given(servers())
def test_groups_are_halved_and_memory_is_balanced_as_far_as_possible(declared: dict[str, Server]) -> None:
    assert PLATFORM is not None
    free = {key: server.model_copy(update={"section": None}) for key, server in declared.items()}
    placed = place(free, PLATFORM)
    for pair in {server.pair for server in free.values() if server.pair}:
        counts = Counter(placed[key] for key, server in free.items() if server.pair == pair)
        assert abs(counts["A"] - counts["B"]) <= 1
    # No single server could go to the other section and leave both more alike.
    memory = Counter({"A": 0, "B": 0})
    for key, server in free.items():
        memory[placed[key]] += server.memory_gib
    apart = abs(memory["A"] - memory["B"])
    heavier = max(memory, key=lambda section: memory[section])
    movable = [s.memory_gib for key, s in free.items() if s.pair is None and placed[key] == heavier]
    assert all(abs(apart - 2 * size) >= apart for size in movable)


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
