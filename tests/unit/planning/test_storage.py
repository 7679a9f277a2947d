"""Giving out datastores: nothing moves, nothing shrinks, everything fits unless it is said, in any order alike."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.declaration.models import PlatformDeclaration, SectionKey, StorageArray
from ksm_onboard.declaration.record import AllocationRecord
from ksm_onboard.planning.exports import as_csv, exports_of
from ksm_onboard.planning.plan import Plan
from ksm_onboard.planning.storage import Disk, StorageWish, available_gib, exported, give, needed, recorded, sized
from tests.unit.planning.test_plan import PLATFORM

SECTIONS: tuple[SectionKey, ...] = get_args(SectionKey)
assert PLATFORM is not None


def platform(*sizes_gib: int) -> PlatformDeclaration:
    """Schwerin with so many arrays for the tier gold-mirrored."""
    assert PLATFORM is not None
    arrays = {
        f"array{number}": StorageArray.model_validate(
            {
                "address": f"10.255.16.{20 + number}",
                "sections": ["A", "B"],
                "capacity_gib": size,
                "tiers": ["gold-mirrored"],
            }
        )
        for number, size in enumerate(sizes_gib)
    }
    return PLATFORM.model_copy(update={"arrays": {**PLATFORM.arrays, "sn-mirror01": arrays.pop("array0"), **arrays}})


TIERS = ("gold-mirrored", "silver-mirrored", "local-a", "local-b")


@st.composite
def disks(draw: st.DrawFn) -> tuple[Disk, ...]:
    names = draw(st.lists(st.from_regex(r"m-[a-d][0-9]{1,2}(/[a-c])?", fullmatch=True), unique=True, max_size=20))
    found = []
    for name in names:
        tier = draw(st.sampled_from(TIERS))
        section = {"local-a": SECTIONS[0], "local-b": SECTIONS[1]}.get(tier, draw(st.sampled_from(SECTIONS)))
        found.append(Disk(name, tier, section, draw(st.integers(1, 3000)), ("servers", name, "tier")))
    return tuple(found)


PLATFORMS = st.lists(st.integers(1, 12_000), min_size=1, max_size=3).map(lambda sizes: platform(*sizes))


@given(disks(), PLATFORMS, st.integers(0, 100))
def test_every_disk_gets_a_datastore_of_its_tier_and_section_that_holds_it(
    wanted: tuple[Disk, ...], schwerin: PlatformDeclaration, growth: int
) -> None:
    given_out = give(StorageWish("m", wanted, growth), AllocationRecord(), schwerin, {})
    assert set(given_out.disks) == {disk.name for disk in wanted}
    for disk in wanted:
        store = given_out.datastores[given_out.disks[disk.name]]
        assert (store.tier, store.section) == (disk.tier, disk.section)
        assert disk.tier in schwerin.arrays[store.array].tiers
    for name, need in needed(wanted, given_out.disks).items():
        assert need <= given_out.datastores[name].size_gib
    assert all(name.startswith("m-") for name in given_out.datastores)


@given(disks(), PLATFORMS, st.integers(0, 100), st.data())
def test_nothing_moves_or_shrinks_whatever_comes_grows_or_goes(
    wanted: tuple[Disk, ...], schwerin: PlatformDeclaration, growth: int, data: st.DataObject
) -> None:
    first = give(StorageWish("m", wanted, growth), AllocationRecord(), schwerin, {})
    record = recorded(AllocationRecord(), first)
    assert recorded(record, give(StorageWish("m", wanted, growth), record, schwerin, {})) == record
    later = {disk.name: disk for disk in wanted if data.draw(st.booleans())}
    for disk in data.draw(disks()):
        old = next((other for other in wanted if other.name == disk.name), None)
        tier, section = (old.tier, old.section) if old else (disk.tier, disk.section)
        later[disk.name] = Disk(disk.name, tier, section, disk.size_gib, disk.loc)
    second = give(StorageWish("m", tuple(later.values()), growth), record, schwerin, {})
    for name, store in first.datastores.items():
        assert second.datastores[name].size_gib >= store.size_gib
        assert second.datastores[name].array == store.array
    assert all(second.disks[name] == on for name, on in first.disks.items() if name in later)
    gone = first.disks.keys() - later.keys()
    assert recorded(record, second).retired.disks == {name: first.disks[name] for name in sorted(gone)}


@given(disks(), PLATFORMS, st.randoms(use_true_random=False))
def test_the_order_of_the_declaration_is_irrelevant(
    wanted: tuple[Disk, ...], schwerin: PlatformDeclaration, random: Random
) -> None:
    shuffled = list(wanted)
    random.shuffle(shuffled)
    one = give(StorageWish("m", wanted, 25), AllocationRecord(), schwerin, {})
    other = give(StorageWish("m", tuple(shuffled), 25), AllocationRecord(), schwerin, {})
    assert one == other


@given(disks(), PLATFORMS, st.integers(0, 12_000))
def test_an_array_is_only_overfilled_where_no_array_of_the_tier_has_room(
    wanted: tuple[Disk, ...], schwerin: PlatformDeclaration, others_gib: int
) -> None:
    taken = Counter({"sn-mirror01": others_gib})
    given_out = give(StorageWish("m", wanted, 0), AllocationRecord(), schwerin, taken)
    full = exported(given_out.datastores) + taken
    for name, array in schwerin.arrays.items():
        over = full[name] - available_gib(array, schwerin)
        if over <= 0 or (name == "sn-mirror01" and not exported(given_out.datastores)[name]):
            continue
        largest = max(sized(disk.size_gib, 0) for disk in wanted if disk.tier in array.tiers)
        for other, alike in schwerin.arrays.items():
            if set(alike.tiers) & set(array.tiers) and other != name:
                # Whatever did not fit here fitted nowhere else either, up to the steps of sizes.
                assert available_gib(alike, schwerin) - full[other] < largest + 250


@pytest.mark.parametrize(
    ("need", "growth", "size", "becomes"),
    [
        (500, 25, 0, 650),
        (650, 25, 650, 650),  # fits to the last GiB
        (651, 25, 650, 850),
        (100, 25, 650, 650),  # never smaller
        (1, 0, 0, 50),
        (800, 25, 0, 1000),
        (801, 25, 0, 1250),  # larger steps from 1000 GiB on
    ],
)
def test_sizes(need: int, growth: int, size: int, becomes: int) -> None:
    assert sized(need, growth, size) == becomes


def test_exports_are_handed_over_with_all_hosts_of_their_sections(plan: Plan) -> None:
    gold, local_b, *_ = exports_of(plan)
    assert (gold.address, gold.path, gold.size_gib) == ("10.255.16.11", "/ksm/gra/gra-gold-mirrored-a", 650)
    assert (len(gold.hosts), gold.sections) == (8, ("A", "B"))
    assert local_b.hosts == ("sn-esx-b01", "sn-esx-b02", "sn-esx-b03", "sn-esx-b04")
    header, first, *others = as_csv(exports_of(plan)).splitlines()
    assert header == "member,datastore,array,address,path,size_gib,sections,hosts"
    assert first.startswith("grabow,gra-gold-mirrored-a,sn-mirror01,10.255.16.11,/ksm/gra/gra-gold-mirrored-a,650,A B,")
    assert len(others) == 3
