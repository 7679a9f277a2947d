"""Rules about disks: that data stay, where they lie, and whether that is enough for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ksm_onboard.policies.catalogue import requirements
from ksm_onboard.policies.model import Rule, Violation
from ksm_onboard.policies.resources import Hidden, Resource, Stack, disks

_OWN_DATASTORES = ("NasDatastore", "VmfsDatastore", "DatastoreCluster")


def _with_data(stack: Stack) -> Sequence[Resource]:
    return [*stack.kind("VirtualDisk"), *(vm for vm in stack.vms if len(list(disks(vm))) > 1)]


def _kept(_stack: Stack, resources: Sequence[Resource]) -> Iterator[Violation]:
    for resource in resources:
        if resource.kind == "VirtualDisk":
            if not resource.protect:
                yield Violation(resource, "is not protected: removing it from the declaration deletes its data")
            continue
        for disk in list(disks(resource))[1:]:
            if disk.get("attach") is not True and disk.get("keepOnRemove") is not True:
                yield Violation(resource, f"{disk.get('label', 'a data disk')} is deleted together with the VM")


def _on_known_tiers(stack: Stack) -> Sequence[Resource]:
    return stack.vms if stack.platform("tiers") and stack.platform("policy_ids") else ()


def _tiers(stack: Stack, vm: Resource) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each disk of a VM with its storage tier; the empty one where no policy says it."""
    names = {policy: tier for tier, policy in stack.platform("policy_ids").items()}
    for disk in disks(vm):
        policy = disk.get("storagePolicyId")
        if policy is not Hidden.UNKNOWN:
            yield disk, names.get(str(policy), "")


def _mirrored(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    facts = stack.platform("tiers")
    for vm in vms:
        for disk, tier in _tiers(stack, vm):
            label = disk.get("label", "a disk")
            if not tier:
                yield Violation(vm, f"{label} has no storage policy of the platform")
            elif facts[tier].get("mirrored") is True or _replicated_elsewhere(stack, vm, tier):
                continue
            else:
                yield Violation(vm, f"{label} lies in one fire section only (tier '{tier}'), and nobody replicates it")


def _replicated_elsewhere(stack: Stack, vm: Resource, tier: str) -> bool:
    """Whether a partner in the other fire section has a disk of its own on another tier than this local one."""
    own = set(stack.sections[vm.urn])
    return any(
        set(stack.sections[other.urn]) - own
        and any(found and found != tier for _, found in list(_tiers(stack, other))[1:])
        for other in stack.partners(vm)
    )


def _databases_on_known_tiers(stack: Stack) -> Sequence[Resource]:
    return [vm for vm in _on_known_tiers(stack) if _role(stack, vm) == "database"]


def _role(stack: Stack, vm: Resource) -> object:
    return stack.by_urn[vm.parent].inputs.get("role") if vm.parent in stack.by_urn else None


def _one_copy_mirrored(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    """Which of them accepts writes no resource tells; where every copy is local, the one that does is."""
    for vm in vms:
        group = sorted((vm, *stack.partners(vm)), key=lambda other: other.name)
        if vm != group[0] or len(group) < 2:
            continue  # one violation for each group; what has no partner is judged as a disk that nobody replicates
        if all(_partly_local(stack, other) for other in group):
            names = ", ".join(other.name for other in group[1:])
            yield Violation(vm, f"none of its copies (with {names}) is mirrored: one of them accepts the writes")


def _partly_local(stack: Stack, vm: Resource) -> bool:
    facts = stack.platform("tiers")
    return any(tier and facts[tier].get("mirrored") is not True for _, tier in _tiers(stack, vm))


def _encrypted(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    facts = stack.platform("tiers")
    for vm in vms:
        for disk, tier in _tiers(stack, vm):
            if tier and facts[tier].get("encrypted") is not True:
                yield Violation(vm, f"{disk.get('label', 'a disk')} lies on tier '{tier}', which is not encrypted")


def _vms_beside_own_datastores(stack: Stack) -> Sequence[Resource]:
    return stack.vms if stack.kind(*_OWN_DATASTORES) else ()


def _own_datastores(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    own = {store.urn for store in stack.kind(*_OWN_DATASTORES)}
    own_ids = {store.id for store in stack.kind(*_OWN_DATASTORES) if store.id}
    for vm in vms:
        if not vm.referred("datastoreId", "datastoreClusterId") & own:
            yield Violation(vm, "lies on no datastore of its member")
        for disk in disks(vm):
            store = disk.get("datastoreId")
            if isinstance(store, str) and store not in own_ids:
                label = disk.get("label", "a disk")
                yield Violation(vm, f"{label} lies on the datastore {store}, which is not the member's own")


RULES = (
    Rule(
        id="data-kept",
        title="Data disks are protected against deletion and outlive their VM",
        requirements=requirements("SYS.1.8.A2"),
        goals=("integrity", "availability"),
        stack="member",
        subjects=_with_data,
        judge=_kept,
        absent="the stack has no data disks",
        todo="make it a disk of its own with protect=True, attached to the VM, or set keepOnRemove",
    ),
    Rule(
        id="storage-survives-section",
        title="Every disk is mirrored across fire sections, or its server replicates itself to the other one",
        requirements=requirements("SYS.1.8.A22", "SYS.1.1.A28"),
        goals=("availability",),
        stack="member",
        subjects=_on_known_tiers,
        judge=_mirrored,
        absent="the platform does not tell which storage tiers are mirrored; bring its stack up to date",
        todo="choose a mirrored tier, or declare a pair whose disks lie in both sections",
        always="all central systems are redundant and highly available: promised to every member",
    ),
    Rule(
        id="writing-survives-section",
        title="Of the servers that replicate a database, one has all its disks on mirrored storage",
        requirements=requirements("SYS.1.8.A22", "SYS.1.1.A28"),
        goals=("availability",),
        stack="member",
        subjects=_databases_on_known_tiers,
        judge=_one_copy_mirrored,
        absent="the stack has no database servers, or the platform does not tell which storage tiers are mirrored",
        todo="put the disks of the pair's first server on a mirrored tier",
        always="all central systems are redundant and highly available: promised to every member",
    ),
    Rule(
        id="storage-encrypted",
        title="Disks lie on encrypted storage",
        requirements=requirements("SYS.1.8.A23"),
        goals=("confidentiality",),
        stack="member",
        subjects=_on_known_tiers,
        judge=_encrypted,
        absent="the platform does not tell which storage tiers are encrypted; bring its stack up to date",
        todo="choose a tier that the platform declares as encrypted (storage_tiers.<tier>.encrypted)",
    ),
    Rule(
        id="storage-own",
        title="Disks lie on datastores of their member only",
        requirements=requirements("SYS.1.8.A15", "OPS.3.2.A4"),
        goals=("confidentiality",),
        stack="member",
        subjects=_vms_beside_own_datastores,
        judge=_own_datastores,
        absent="the member has no datastores of its own: all members share those of the platform",
        todo="place the disk on one of the member's own datastores",
    ),
)
