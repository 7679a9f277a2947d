"""A member's own datastores: how many, how large, on which array, and which disk lies on which. Pure.

Every datastore belongs to one member, one storage tier and one preferred fire section, so that
nothing ever puts one member's disk among another's, or moves it there. What was given out stays:
a disk keeps its datastore, whatever becomes of its server, and a datastore only grows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ksm_onboard.declaration.models import (
    CentralVm,
    MemberDeclaration,
    PlatformDeclaration,
    SectionKey,
    Server,
    SharedMachines,
    StorageArray,
)
from ksm_onboard.declaration.record import AllocationRecord, RecordedDatastore, Retired
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.allocation import server_name
from ksm_onboard.planning.placement import section_of_tier

# Sizes are rounded up to full steps, so that they can be read, and adding little changes nothing.
_STEP_GIB = 50
_LARGE_GIB = 1000
_LARGE_STEP_GIB = 250


@dataclass(frozen=True)
class Disk:
    """What is declared to lie on a datastore; ``loc`` is the path of its tier in the declaration.

    ``name`` is that of the record: the server's for its system disk, ``<server>/<disk>`` for a
    data disk. ``size_gib`` of a system disk holds the VM's swap file, which vSphere keeps beside it
    and makes as large as the memory (vSphere Resource Management, "Swap Files").
    """

    name: str
    tier: str
    section: SectionKey
    size_gib: int
    loc: Loc


@dataclass(frozen=True)
class StorageWish:
    """Everything that a member's storage must hold, and how much room for growth it gets."""

    short: str
    disks: tuple[Disk, ...]
    growth_percent: int


@dataclass(frozen=True)
class Given:
    """The datastores of a member and which disk lies on which, with everything given that is declared."""

    datastores: Mapping[str, RecordedDatastore]
    disks: Mapping[str, str]


def disks_of(
    declared: MemberDeclaration, platform: PlatformDeclaration, sections: Mapping[str, SectionKey]
) -> tuple[Disk, ...]:
    """Every disk whose tier is known, in the order of the declaration; ``sections`` by the server's key."""
    return tuple(
        disk
        for key, server in declared.servers.items()
        for disk in _disks_of_server(
            server_name(declared.member.short, key), server, platform, sections[key], ("servers", key)
        )
        if disk.tier in platform.storage_tiers and arrays_of(disk.tier, platform)
    )


def disks_of_vms(shared: SharedMachines, platform: PlatformDeclaration) -> tuple[Disk, ...]:
    """The same for the platform's own VMs."""
    return tuple(
        disk
        for key, vm in shared.vms.items()
        for disk in _disks_of_server(f"{shared.short}-{key}", vm, platform, vm.section, ("shared", "vms", key))
        if disk.tier in platform.storage_tiers and arrays_of(disk.tier, platform)
    )


def _disks_of_server(
    name: str, server: Server | CentralVm, platform: PlatformDeclaration, section: SectionKey, loc: Loc
) -> Iterator[Disk]:
    if server.template in platform.templates:
        system_gib = platform.templates[server.template].disk_gib + server.memory_gib
        home = section_of_tier(server.tier, platform) or section
        yield Disk(name, server.tier, home, system_gib, (*loc, "tier"))
    for disk_key, disk in server.disks.items():
        home = section_of_tier(disk.tier, platform) or section
        yield Disk(f"{name}/{disk_key}", disk.tier, home, disk.size_gib, (*loc, "disks", disk_key, "tier"))


def arrays_of(tier: str, platform: PlatformDeclaration) -> dict[str, StorageArray]:
    """The arrays that serve ``tier``, by name, in the order of the declaration."""
    return {name: array for name, array in platform.arrays.items() if tier in array.tiers}


def needed(disks: Sequence[Disk], placed: Mapping[str, str]) -> Counter[str]:
    """How much of each datastore the declared disks need, in GiB; ``placed`` says which lies where."""
    need: Counter[str] = Counter()
    for disk in disks:
        if disk.name in placed:
            need[placed[disk.name]] += disk.size_gib
    return need


def sized(need_gib: int, growth_percent: int, size_gib: int = 0) -> int:
    """The size of a datastore that has ``size_gib`` now.

    It stays as long as what is declared fits; then it grows to the need with room for growth,
    rounded up to a full step.
    """
    if need_gib <= size_gib:
        return size_gib
    wanted = -(-need_gib * (100 + growth_percent) // 100)
    step = _STEP_GIB if wanted < _LARGE_GIB else _LARGE_STEP_GIB
    return -(-wanted // step) * step


def available_gib(array: StorageArray, platform: PlatformDeclaration) -> int:
    """How much of the array may be exported."""
    return array.capacity_gib * (100 - platform.reserves.array_percent) // 100


def exported(datastores: Mapping[str, RecordedDatastore]) -> Counter[str]:
    """How much of each array the datastores take, in GiB."""
    taken: Counter[str] = Counter()
    for store in datastores.values():
        taken[store.array] += store.size_gib
    return taken


def give(wish: StorageWish, record: AllocationRecord, platform: PlatformDeclaration, taken: Mapping[str, int]) -> Given:
    """Complete what ``record`` holds: a datastore for every disk, large enough for what lies on it.

    ``taken`` says how much of each array all other members have. A disk goes to the first of the
    member's datastores of its tier and section whose array has room for it, else to a new one on the
    first array that has. Where none has, it is given all the same, so that a check can say how much
    is missing. Disks are taken in the order of their names, so the order of the declaration is irrelevant.
    """
    giving = _Giving(wish, record, platform, taken)
    giving.keep({**record.retired.disks, **record.disks})
    for disk in sorted(wish.disks, key=lambda disk: disk.name):
        if disk.name not in giving.placed:
            giving.place(disk)
    return Given(dict(sorted(giving.stores.items())), {disk.name: giving.placed[disk.name] for disk in wish.disks})


class _Giving:
    def __init__(
        self, wish: StorageWish, record: AllocationRecord, platform: PlatformDeclaration, taken: Mapping[str, int]
    ) -> None:
        self.stores = dict(record.datastores)
        self.placed: dict[str, str] = {}
        self._wish = wish
        self._platform = platform
        self._taken = Counter(taken) + exported(record.datastores)
        self._need: Counter[str] = Counter()

    def keep(self, known: Mapping[str, str]) -> None:
        """What was placed stays; its datastores grow as far as they must."""
        self.placed = {d.name: known[d.name] for d in self._wish.disks if known.get(d.name) in self.stores}
        self._need = needed(self._wish.disks, self.placed)
        for name in self._need:
            self._resize(name)

    def place(self, disk: Disk) -> None:
        own = [name for name, s in sorted(self.stores.items()) if (s.tier, s.section) == (disk.tier, disk.section)]
        used = {self.stores[name].array for name in own}
        new = [array for array in arrays_of(disk.tier, self._platform) if array not in used]
        choice = next((name for name in own if self._fits(self.stores[name].array, disk, name)), None)
        if choice is None:
            array = next((array for array in new if self._fits(array, disk)), None)
            choice = own[0] if array is None and own else self._open(disk, array or new[0])
        self.placed[disk.name] = choice
        self._need[choice] += disk.size_gib
        self._resize(choice)

    def _open(self, disk: Disk, array: str) -> str:
        """A new datastore of the disk's tier and section, under a name that none of the member's has."""
        tier_has_sections = section_of_tier(disk.tier, self._platform) is None
        stem = f"{self._wish.short}-{disk.tier}" + (f"-{disk.section.lower()}" if tier_has_sections else "")
        number = 1
        while (name := stem if number == 1 else f"{stem}-{number}") in self.stores:
            number += 1
        size = sized(disk.size_gib, self._wish.growth_percent)
        self.stores[name] = RecordedDatastore(tier=disk.tier, section=disk.section, array=array, size_gib=size)
        self._taken[array] += size
        return name

    def _fits(self, array: str, disk: Disk, name: str | None = None) -> bool:
        size = self.stores[name].size_gib if name else 0
        more = sized((self._need[name] if name else 0) + disk.size_gib, self._wish.growth_percent, size) - size
        known = self._platform.arrays.get(array)
        return known is not None and self._taken[array] + more <= available_gib(known, self._platform)

    def _resize(self, name: str) -> None:
        store = self.stores[name]
        size = sized(self._need[name], self._wish.growth_percent, store.size_gib)
        self._taken[store.array] += size - store.size_gib
        self.stores[name] = store.model_copy(update={"size_gib": size})


def recorded(record: AllocationRecord, given: Given) -> AllocationRecord:
    """``record`` with what was given; disks that are no longer declared are retired."""
    known = {**record.retired.disks, **record.disks}
    retired = record.retired.model_dump() | {
        "disks": {name: known[name] for name in sorted(known) if name not in given.disks}
    }
    return record.model_copy(
        update={
            "datastores": dict(given.datastores),
            "disks": dict(sorted(given.disks.items())),
            "retired": Retired.model_validate(retired),
        }
    )


def storage_of(
    declared: MemberDeclaration, platform: PlatformDeclaration, sections: Mapping[str, SectionKey]
) -> StorageWish:
    """What a member's storage must hold; ``sections`` by the server's key."""
    disks = disks_of(declared, platform, sections)
    return StorageWish(declared.member.short, disks, declared.storage.growth_percent)


def storage_of_vms(shared: SharedMachines, platform: PlatformDeclaration) -> StorageWish:
    """What the storage of the platform's own VMs must hold."""
    return StorageWish(shared.short, disks_of_vms(shared, platform), shared.storage.growth_percent)


def give_to_all(
    asking: Mapping[str, tuple[StorageWish, AllocationRecord]],
    others: Mapping[str, AllocationRecord],
    platform: PlatformDeclaration,
) -> dict[str, Given]:
    """Complete the storage of everybody who is ``asking``, members and platform, in the order of their keys.

    ``others`` are the records of everybody else; what they were given stays reserved.
    """
    taken: Counter[str] = Counter()
    for record in (*others.values(), *(record for _, record in asking.values())):
        taken += exported(record.datastores)
    given: dict[str, Given] = {}
    for key in sorted(asking):
        wish, record = asking[key]
        own = exported(record.datastores)
        rest = Counter({array: size - own[array] for array, size in taken.items()})
        given[key] = give(wish, record, platform, rest)
        taken = rest + exported(given[key].datastores)
    return given


def lying_on(disks: Sequence[Disk], placed: Mapping[str, str]) -> dict[str, list[Disk]]:
    """The disks of each datastore, largest first."""
    on: dict[str, list[Disk]] = defaultdict(list)
    for disk in sorted(disks, key=lambda disk: (-disk.size_gib, disk.name)):
        if disk.name in placed:
            on[placed[disk.name]].append(disk)
    return on
