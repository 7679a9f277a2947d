"""Which fire section each server belongs into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ksm_onboard.declaration.models import CentralVm, PlatformDeclaration, SectionKey, Server


def section_of_tier(tier: str, platform: PlatformDeclaration) -> SectionKey | None:
    """The one section whose arrays make up ``tier``; None if the tier is mirrored or unknown."""
    sections = {section for array in platform.arrays.values() if tier in array.tiers for section in array.sections}
    return sections.pop() if len(sections) == 1 else None


def bound_sections(server: Server | CentralVm, platform: PlatformDeclaration) -> set[SectionKey]:
    """The sections that the declaration binds ``server`` to, by section or by a section-local tier."""
    tiers = [server.tier, *(disk.tier for disk in server.disks.values())]
    bound = {section for tier in tiers if (section := section_of_tier(tier, platform)) is not None}
    return bound | ({server.section} if server.section else set())


def place(
    servers: Mapping[str, Server], platform: PlatformDeclaration, before: Mapping[str, SectionKey] | None = None
) -> dict[str, SectionKey]:
    """A section for every server, by its key; ``before`` is where they were placed already.

    Servers that the declaration binds go where they are bound to, servers that were placed stay. Of
    those left, groups come first, each server where its group has fewest; then, and for single
    servers, where least memory is placed; then in the order of the sections. Larger ones are taken
    first, then in the order of their keys, so the order of the declaration is irrelevant. Where two
    sections are to be filled this finds the best there is (docs/architecture.md has the figures).
    """
    sections = tuple(platform.sections)
    placed: dict[str, SectionKey] = {}
    memory: Counter[SectionKey] = Counter()
    members: Counter[tuple[str, SectionKey]] = Counter()

    def put(key: str, section: SectionKey) -> None:
        placed[key] = section
        memory[section] += servers[key].memory_gib
        if pair := servers[key].pair:
            members[pair, section] += 1

    for key, server in servers.items():
        if bound := bound_sections(server, platform):
            put(key, min(bound))
    for key, section in (before or {}).items():
        if key in servers and key not in placed and section in sections:
            put(key, section)

    size_of_group: Counter[str] = Counter()
    for server in servers.values():
        if server.pair:
            size_of_group[server.pair] += server.memory_gib

    def turn(key: str) -> tuple[bool, int, str, int, str]:
        server = servers[key]
        group = server.pair or ""
        return not group, -size_of_group[group], group, -server.memory_gib, key

    for key in sorted((key for key in servers if key not in placed), key=turn):
        pair = servers[key].pair or ""
        put(key, min(sections, key=lambda s: (members[pair, s], memory[s], sections.index(s))))
    return {key: placed[key] for key in servers}


def first_host(server: Server | CentralVm, position: int, platform: PlatformDeclaration) -> str | None:
    """The host to create ``server`` on if a tier binds it to a section, else None.

    ``position`` in the declaration spreads servers over the hosts of the section.
    """
    tiers = [server.tier, *(disk.tier for disk in server.disks.values())]
    bound = {section for tier in tiers if (section := section_of_tier(tier, platform)) is not None}
    if not bound:
        return None
    hosts = platform.sections[min(bound)].hosts
    return hosts[position % len(hosts)]
