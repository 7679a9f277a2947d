"""Rules about two fire sections: where VMs run, and what is left if one section is lost."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ksm_onboard.policies.catalogue import requirements
from ksm_onboard.policies.model import Rule, Violation
from ksm_onboard.policies.resources import Resource, Stack

_FIRST_LEVEL = "1"
# Numbered application servers need not do the same work; whether they do, the pair in the declaration tells.
_CENTRAL_ROLES = (
    "dns",
    "database",
    "file",
    "print",
    "resolver",
    "time",
    "directory",
    "depot",
    "log-collector",
    "monitoring",
    "reverse-proxy",
    "radius",
)
_PROMISE = "all central systems are redundant and highly available: promised to every member"


def _vms(stack: Stack) -> Sequence[Resource]:
    return stack.vms


def _anti_affinity(stack: Stack) -> Sequence[Resource]:
    return stack.kind("ComputeClusterVmAntiAffinityRule")


def _alike(stack: Stack) -> Sequence[Resource]:
    return [vm for several in _groups_of_alike(stack) for vm in several]


def _groups_of_alike(stack: Stack) -> list[list[Resource]]:
    """VMs of one central service: the same role, and names that differ in their last number only."""
    stems: dict[tuple[str, str], list[Resource]] = defaultdict(list)
    for vm in stack.vms:
        role = stack.by_urn[vm.parent].inputs.get("role") if vm.parent in stack.by_urn else None
        if role in _CENTRAL_ROLES and (found := re.fullmatch(r"(.*\D)\d+", vm.name)):
            stems[role, found[1]].append(vm)
    return [several for several in stems.values() if len(several) > 1]


def _in_a_section(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    known = set(stack.platform("host_groups").values())
    for vm in vms:
        groups = stack.sections[vm.urn]
        if not groups:
            yield Violation(vm, "no enabled VM-host rule ties it to a fire section")
        elif len(set(groups)) > 1:
            yield Violation(vm, f"is tied to several host groups at once: {', '.join(sorted(set(groups)))}")
        elif known and groups[0] not in known:
            yield Violation(vm, f"is tied to '{groups[0]}', which is no fire section of the platform")
    for rule in stack.kind("ComputeClusterVmHostRule"):
        if rule.inputs.get("mandatory") is not False:
            yield Violation(rule, "is a must-rule: HA could not restart its VMs in the other fire section")
        if rule.inputs.get("antiAffinityHostGroupName"):
            yield Violation(rule, "keeps VMs away from hosts instead of preferring a fire section")


def _pair_across(stack: Stack, _rules: Sequence[Resource]) -> Iterator[Violation]:
    for rule, vms in stack.apart:
        if rule.inputs.get("enabled", True) is not True:
            yield Violation(rule, "is switched off")
        if len(vms) < 2:
            yield Violation(rule, f"keeps {len(vms)} VM apart, which is no pair")
            continue
        sections = [stack.sections[vm.urn][0] for vm in vms if stack.sections[vm.urn]]
        most = max((sections.count(section) for section in sections), default=0)
        if len(sections) == len(vms) and most > (len(vms) + 1) // 2:
            where = ", ".join(f"{vm.name} in {section}" for vm, section in zip(vms, sections, strict=True))
            yield Violation(rule, f"its VMs are kept on different hosts, but not in different fire sections: {where}")


def _alike_apart(stack: Stack, _vms: Sequence[Resource]) -> Iterator[Violation]:
    for several in _groups_of_alike(stack):
        for vm in several:
            partners = stack.partners(vm)
            near = [other.name for other in several if other != vm and other not in partners]
            if near:
                yield Violation(vm, f"no enabled anti-affinity rule keeps it apart from {', '.join(near)}")


def _first_level(stack: Stack) -> Sequence[Resource]:
    return [vm for vm in stack.vms if _FIRST_LEVEL in stack.tags(vm, "ksm-service-level")]


def _has_partner(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    for vm in vms:
        own = set(stack.sections[vm.urn])
        if not any(set(stack.sections[other.urn]) - own for other in stack.partners(vm)):
            yield Violation(vm, "serves level 1 and has no partner in the other fire section")


RULES = (
    Rule(
        id="section-preferred",
        title="Every VM prefers one fire section, by a rule that HA may break",
        requirements=requirements("INF.2.A2", "SYS.1.5.A20"),
        goals=("availability",),
        stack="member",
        subjects=_vms,
        judge=_in_a_section,
        absent="the stack has no VMs",
        todo="put the VM into the VM group of one section, tied to its host group by a rule with mandatory=false",
        always=_PROMISE,
    ),
    Rule(
        id="pair-across-sections",
        title="Servers that are kept apart stand in different fire sections, not only on different hosts",
        requirements=requirements("SYS.1.1.A28", "SYS.1.5.A20", "INF.2.A2", "APP.3.6.A2"),
        goals=("availability",),
        stack="member",
        subjects=_anti_affinity,
        judge=_pair_across,
        absent="the stack has no anti-affinity rules",
        todo="a pair needs both: the anti-affinity rule, and VM-host rules for different sections",
        always=_PROMISE,
    ),
    Rule(
        id="alike-apart",
        title="Servers of one central service are kept apart by an anti-affinity rule",
        requirements=requirements("SYS.1.1.A28", "SYS.1.5.A20"),
        goals=("availability",),
        stack="member",
        subjects=_alike,
        judge=_alike_apart,
        absent="no central service has two VMs",
        todo="declare them as a pair (servers.<key>.pair)",
    ),
    Rule(
        id="level-1-partner",
        title="What serves level 1 has a partner in the other fire section",
        requirements=requirements("SYS.1.1.A28", "APP.3.6.A2"),
        goals=("availability",),
        stack="member",
        subjects=_first_level,
        judge=_has_partner,
        absent="no VM is tagged with service level 1",
        todo="declare two of them and the pair that they form (servers.<key>.count and .pair)",
        always=_PROMISE,
    ),
)
