"""Whether the cluster carries all members' servers while one fire section is lost.

Memory and processors: everything that can run in the sections that are left must fit there.
A server whose disks lie in the lost section only is lost with it, and not counted. Storage:
every array keeps its declared reserve; a mirrored one has the same room in each section.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.load import Loaded
from ksm_onboard.declaration.models import CentralVm, PlatformDeclaration, SectionKey, Server
from ksm_onboard.declaration.record import AllocationRecord
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.declaration.source import Loc
from ksm_onboard.planning.allocation import server_name
from ksm_onboard.planning.checks_across import Across, Members
from ksm_onboard.planning.member_plan import placed
from ksm_onboard.planning.placement import section_of_tier
from ksm_onboard.planning.storage import available_gib, exported, give_to_all, storage_of, storage_of_vms

_LARGEST = 3


@dataclass
class Demand:
    """What is needed of one thing, by member."""

    by_member: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """The sum over all members."""
        return sum(self.by_member.values())

    def largest(self, unit: str) -> str:
        """The members that need most, for people."""
        most = sorted(self.by_member.items(), key=lambda item: (-item[1], item[0]))[:_LARGEST]
        return ", ".join(f"{member} {amount} {unit}" for member, amount in most)


@dataclass(frozen=True)
class Without:
    """What is needed and what is there while one fire section is lost: GiB of memory, and vCPU."""

    lost: SectionKey
    hosts: int
    memory: Demand
    memory_gib: int
    cpus: Demand
    vcpus: int


Servers = Mapping[str, Mapping[str, Server | CentralVm]]
"""By member (the platform is one of them) and name."""


def servers_of_all(members: Members, platform: PlatformDeclaration) -> Servers:
    """Every VM that is declared, the platform's own ones with them."""
    servers: dict[str, Mapping[str, Server | CentralVm]] = {
        key: {server_name(declared.member.short, name): server for name, server in declared.servers.items()}
        for key, (_, declared) in members.items()
    }
    if platform.shared is not None:
        servers[platform.platform.key] = platform.shared.vms
    return servers


def without_each_section(servers: Servers, platform: PlatformDeclaration) -> Iterator[Without]:
    """For each fire section: what everything that can run in the others asks of them."""
    hosts, size, reserves = platform.sections, platform.hypervisor, platform.reserves
    for lost in hosts:
        left = sum(len(section.hosts) for key, section in hosts.items() if key != lost)
        memory, cpus = Demand(), Demand()
        for member, own in servers.items():
            for server in own.values():
                if _home(server, platform) != lost:
                    memory.by_member[member] += server.memory_gib
                    cpus.by_member[member] += server.cpus
        room = left * size.memory_gib * (100 - reserves.memory_percent) // 100
        yield Without(lost, left, memory, room, cpus, left * size.cpu_cores * reserves.vcpus_per_core)


def check_capacity(
    members: Members,
    orphans: Mapping[str, Loaded[AllocationRecord]],
    own: AllocationRecord,
    platform: PlatformDeclaration,
    file: Loaded[PlatformDeclaration],
) -> list[Across]:
    """Findings for everything that is too small for all members and the platform's own VMs together.

    ``own`` is what was given out to the platform itself. Where a figure of the platform itself is wrong, nothing is
    summed up against what stands in for it.
    """
    concerned, servers = frozenset(members), servers_of_all(members, platform)
    return [
        Across(concerned, finding)
        for findings in (_compute(servers, platform, file), _storage(members, orphans, own, platform, file))
        for finding in findings
        if not file.accuses_a_stand_in(finding)
    ]


def _compute(
    servers: Servers,
    platform: PlatformDeclaration,
    file: Loaded[PlatformDeclaration],
) -> Iterator[Finding]:
    if any(file.mentions(area) for area in ("sections", "reserves")):
        return
    reserves = platform.reserves
    short: dict[str, tuple[int, Finding]] = {}
    for without in without_each_section(servers, platform):
        lost, left = without.lost, without.hosts
        kept, spread = f"{reserves.memory_percent} % kept free", f"{reserves.vcpus_per_core} vCPU per core"
        for rule, what, unit, demand, available, how in (
            ("capacity-memory", "memory", "GiB", without.memory, without.memory_gib, kept),
            ("capacity-cpu", "processors", "vCPU", without.cpus, without.vcpus, spread),
        ):
            missing = demand.total - available
            # The section whose loss hurts most speaks for both.
            if missing > 0 and missing > short.get(rule, (0, None))[0]:
                place: Loc = ("hypervisor", "memory_gib" if rule == "capacity-memory" else "cpu_cores")
                told: Rule = "capacity-memory" if rule == "capacity-memory" else "capacity-cpu"
                short[rule] = (
                    missing,
                    Finding(
                        rule=told,
                        place=file.place(*place),
                        message=f"without fire section {lost} the cluster lacks {missing} {unit} of {what}: "
                        f"{demand.total} {unit} are needed, {available} are there ({left} hosts, {how})",
                        value=f"{demand.total} {unit}",
                        allowed=f"at most {available} {unit}",
                        hint=f"largest: {demand.largest(unit)}; add hosts to both sections, or make servers smaller",
                    ),
                )
    for _, finding in short.values():
        yield finding
    if "capacity-memory" not in short:
        yield from _packing(servers, platform, file)


def _packing(
    servers: Servers,
    platform: PlatformDeclaration,
    file: Loaded[PlatformDeclaration],
) -> Iterator[Finding]:
    """What would fit by its sum and still finds no host: a VM runs on one, and cannot be spread over what is left.

    The largest are placed first, each where most is free. Another order might do better, so this only warns.
    """
    size, reserves = platform.hypervisor, platform.reserves
    room = size.memory_gib * (100 - reserves.memory_percent) // 100
    for lost in platform.sections:
        free = [room for key, section in platform.sections.items() if key != lost for _ in section.hosts]
        wanted = sorted(
            (-server.memory_gib, name)
            for own in servers.values()
            for name, server in own.items()
            # One larger than any host is told as such.
            if _home(server, platform) != lost and server.memory_gib <= room
        )
        for negative, name in wanted:
            emptiest = max(range(len(free)), key=lambda host: free[host])
            if free[emptiest] < -negative:
                yield Finding(
                    rule="capacity-packing",
                    severity="warning",
                    place=file.place("hypervisor", "memory_gib"),
                    message=f"without fire section {lost} no single host has room for {name} ({-negative} GiB): "
                    f"with the larger servers placed, the emptiest of {len(free)} hosts has {free[emptiest]} GiB free",
                    value=f"{-negative} GiB",
                    allowed=f"at most {free[emptiest]} GiB",
                    hint="all servers together would fit; add hosts to both sections, or make the server smaller",
                )
                return
            free[emptiest] += negative


def _home(server: Server | CentralVm, platform: PlatformDeclaration) -> SectionKey | None:
    """The section that the server cannot leave because its disks lie only there."""
    tiers = (server.tier, *(disk.tier for disk in server.disks.values()))
    return next((section for tier in tiers if (section := section_of_tier(tier, platform)) is not None), None)


def asked_of_arrays(
    members: Members,
    orphans: Mapping[str, Loaded[AllocationRecord]],
    own: AllocationRecord,
    platform: PlatformDeclaration,
) -> Mapping[str, Demand]:
    """GiB that are exported from each array, with the growth that declared disks still ask for."""
    asking = {
        key: (storage_of(declared, platform, placed(member.allocated, declared, platform)), member.allocated)
        for key, (member, declared) in members.items()
    }
    if platform.shared is not None:
        asking[platform.platform.key] = storage_of_vms(platform.shared, platform), own
    others = {key: record.content for key, record in orphans.items() if record.content is not None}
    given = give_to_all(asking, others, platform)
    demand: dict[str, Demand] = defaultdict(Demand)
    of_members = {key: storage.datastores for key, storage in given.items()}
    for key, datastores in (of_members | {key: record.datastores for key, record in others.items()}).items():
        for on_array, size_gib in exported(datastores).items():
            demand[on_array].by_member[key] += size_gib
    return demand


def _storage(
    members: Members,
    orphans: Mapping[str, Loaded[AllocationRecord]],
    own: AllocationRecord,
    platform: PlatformDeclaration,
    file: Loaded[PlatformDeclaration],
) -> Iterator[Finding]:
    """Every array holds what was exported from it, and what declared growth still asks for."""
    demand = asked_of_arrays(members, orphans, own, platform)
    for name, array in platform.arrays.items():
        needed, available = demand[name], available_gib(array, platform)
        if needed.total > available:
            yield Finding(
                rule="capacity-storage",
                place=file.place("arrays", name, "capacity_gib"),
                message=f"the array {name} lacks {needed.total - available} GiB: datastores take "
                f"{needed.total} GiB, {available} of {array.capacity_gib} are there "
                f"({platform.reserves.array_percent} % kept free)",
                value=f"{needed.total} GiB",
                allowed=f"at most {available} GiB",
                hint=f"largest: {needed.largest('GiB')}; enlarge it, add an array with its tiers, "
                "or move new disks to another tier",
            )
