"""Which fire section each server belongs into, and which datastore each disk lies on."""

from __future__ import annotations

from collections.abc import Mapping

from ksm_onboard.declaration.models import PlatformDeclaration, SectionKey, Server


def section_of_tier(tier: str, platform: PlatformDeclaration) -> SectionKey | None:
    """The one section whose datastores make up ``tier``; None if the tier is mirrored or unknown."""
    if tier not in platform.storage_tiers:
        return None
    sections = {
        section
        for name in platform.storage_tiers[tier].datastores
        if name in platform.datastores
        for section in platform.datastores[name].sections
    }
    return sections.pop() if len(sections) == 1 else None


def bound_sections(server: Server, platform: PlatformDeclaration) -> set[SectionKey]:
    """The sections that the declaration binds ``server`` to, by section or by a section-local tier."""
    tiers = [server.tier, *(disk.tier for disk in server.disks.values())]
    bound = {section for tier in tiers if (section := section_of_tier(tier, platform)) is not None}
    return bound | ({server.section} if server.section else set())


def place(
    servers: Mapping[str, Server], platform: PlatformDeclaration, before: Mapping[str, SectionKey] | None = None
) -> dict[str, SectionKey]:
    """A section for every server, by its key; ``before`` is where they were placed already.

    Bound servers go where they are bound to. Servers that were placed stay, unless that
    would put a pair together. The others of a pair go where the pair has fewest; then, and
    for single servers, where least memory is placed; then in the order of the sections.
    Servers are taken in the order of the declaration, so the result is stable.
    """
    sections = tuple(platform.sections)
    placed: dict[str, SectionKey] = {}
    memory: dict[SectionKey, int] = dict.fromkeys(sections, 0)

    def put(key: str, section: SectionKey) -> None:
        placed[key] = section
        memory[section] += servers[key].memory_gib

    def partners_in(key: str) -> dict[SectionKey, int]:
        pair = servers[key].pair
        partners = [k for k, s in servers.items() if pair and s.pair == pair and k in placed]
        return {section: sum(placed[partner] == section for partner in partners) for section in sections}

    for key, server in servers.items():
        if bound := bound_sections(server, platform):
            put(key, min(bound))
    for key, section in (before or {}).items():
        if key in servers and key not in placed and section in sections:
            count = partners_in(key)
            if count[section] == min(count.values()):
                put(key, section)
    for key in servers:
        if key not in placed:
            count = partners_in(key)
            put(key, min(sections, key=lambda s: (count[s], memory[s], sections.index(s))))
    return placed


def first_host(server: Server, position: int, platform: PlatformDeclaration) -> str | None:
    """The host to create ``server`` on if a tier binds it to a section, else None.

    ``position`` in the declaration spreads servers over the hosts of the section.
    """
    tiers = [server.tier, *(disk.tier for disk in server.disks.values())]
    bound = {section for tier in tiers if (section := section_of_tier(tier, platform)) is not None}
    if not bound:
        return None
    hosts = platform.sections[min(bound)].hosts
    return hosts[position % len(hosts)]


def datastore_for(tier: str, size_gib: int, platform: PlatformDeclaration, used_gib: Mapping[str, int]) -> str:
    """The tier's first datastore with room for ``size_gib`` more; its last one if none has room.

    Capacity across all members is a check of its own; a plan is still made, so that
    the check can say how much is missing.
    """
    names = platform.storage_tiers[tier].datastores
    for name in names:
        if used_gib.get(name, 0) + size_gib <= platform.datastores[name].capacity_gib:
            return name
    return names[-1]
