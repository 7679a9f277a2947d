"""Rules about what belongs to a member: folder, pool, limits, tags, permissions, secrets."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ksm_onboard.policies.catalogue import requirements
from ksm_onboard.policies.model import Rule, Violation
from ksm_onboard.policies.resources import Hidden, Resource, Stack, disks

_MEMBER = "ksm-member"
_ON_EVERY_VM = ("ksm-zone", "ksm-section", "ksm-service-level")
_BACKUP = "ksm-backup-class"

# vSphere's own roles that may do everything: Administrator, and the no-cryptography one.
_ALMIGHTY_ROLES = frozenset({"-1", "-6"})

_SECRET_NAME = re.compile(r"pass(word|wd|phrase)?$|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_SECRET_LINE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|^\s*-?\s*(plain_text_passwd|hashed_passwd|passwd|password)\s*:\s*\S",
    re.IGNORECASE | re.MULTILINE,
)


def _vms(stack: Stack) -> Sequence[Resource]:
    return stack.vms


def _in_own_places(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    places = (
        ("folder", "Folder", "folder"),
        ("resourcePoolId", "ResourcePool", "resource pool"),
    )
    for vm in vms:
        for property_, kind, word in places:
            own = {resource.urn for resource in stack.kind(kind)}
            given = vm.inputs.get(property_)
            if not vm.referred(property_) & own and given is not Hidden.UNKNOWN:
                yield Violation(vm, f"stands outside of its member's {word} ({given or 'none given'})")
            elif not vm.referred(property_) & own:
                yield Violation(vm, f"stands in a {word} that does not come from its member's stack")


def _pools(stack: Stack) -> Sequence[Resource]:
    return stack.kind("ResourcePool")


def _within_limits(stack: Stack, pools: Sequence[Resource]) -> Iterator[Violation]:
    for pool in pools:
        for key, word in (("cpuLimit", "processor time"), ("memoryLimit", "memory")):
            limit = pool.inputs.get(key)
            if not isinstance(limit, int | float) or limit <= 0:
                yield Violation(pool, f"has no limit for {word}")
        limit = pool.inputs.get("memoryLimit")
        inside = [vm for vm in stack.vms if pool.urn in vm.referred("resourcePoolId")]
        needed = sum(size for vm in inside if isinstance(size := vm.inputs.get("memory"), int | float))
        if isinstance(limit, int | float) and 0 < limit < needed:
            yield Violation(pool, f"its {len(inside)} VMs have {needed:g} MiB of memory, the limit is {limit:g} MiB")


def _tagged(stack: Stack) -> Sequence[Resource]:
    return stack.kind("Folder", "ResourcePool", "VirtualMachine")


def _tags_complete(stack: Stack, resources: Sequence[Resource]) -> Iterator[Violation]:
    category = stack.platform("category_ids").get(_MEMBER)
    own = {tag.urn for tag in stack.kind("Tag") if category and tag.inputs.get("categoryId") == category}
    for resource in resources:
        if not resource.referred("tags") & own:
            yield Violation(resource, f"carries no tag of its member (category '{_MEMBER}')")
        if resource.kind != "VirtualMachine":
            continue
        for wanted in _ON_EVERY_VM:
            if wanted not in stack.platform("tag_ids"):
                yield Violation(resource, f"cannot carry a tag '{wanted}': the platform has no such category")
            elif len(stack.tags(resource, wanted)) != 1:
                yield Violation(resource, f"needs exactly one tag of the category '{wanted}'")


def _to_back_up(stack: Stack) -> Sequence[Resource]:
    if _BACKUP not in stack.platform("tag_ids"):
        return ()
    return [vm for vm in stack.vms if len(list(disks(vm))) > 1]


def _backup_class(stack: Stack, vms: Sequence[Resource]) -> Iterator[Violation]:
    for vm in vms:
        if not stack.tags(vm, _BACKUP):
            yield Violation(vm, f"has data disks, but no tag of the category '{_BACKUP}'")


def _permissions(stack: Stack) -> Sequence[Resource]:
    return stack.kind("EntityPermissions")


def _least(stack: Stack, resources: Sequence[Resource]) -> Iterator[Violation]:
    own = {place.urn for place in stack.kind("Folder", "ResourcePool")}
    roles = {str(role): name for name, role in stack.platform("role_ids").items()}
    for resource in resources:
        if not resource.referred("entityId") & own:
            yield Violation(resource, "gives rights on something that is not the member's own")
        for entry in resource.inputs.get("permissions") or ():
            who, role = entry.get("userOrGroup"), str(entry.get("roleId"))
            if entry.get("isGroup") is not True:
                yield Violation(resource, f"gives rights to the single account '{who}' instead of a group")
            if role in _ALMIGHTY_ROLES:
                yield Violation(resource, f"makes '{who}' an administrator")
            elif entry.get("roleId") is not Hidden.UNKNOWN and role not in roles:
                yield Violation(resource, f"gives '{who}' the role {role}, which is none of the platform's")


def _telling(stack: Stack) -> Sequence[Resource]:
    return [r for r in stack.resources if r.kind in ("Stack", "VirtualMachine") or r.type.startswith("ksm:")]


def _no_plain_secrets(_stack: Stack, resources: Sequence[Resource]) -> Iterator[Violation]:
    for resource in resources:
        for path in _plain_secrets(resource.outputs if resource.kind != "VirtualMachine" else {}):
            yield Violation(resource, f"its output '{path}' looks like a secret and is readable for everybody")
        config = resource.inputs.get("extraConfig")
        for key, value in config.items() if isinstance(config, Mapping) else ():
            if isinstance(value, str) and _SECRET_LINE.search(_decoded(value)):
                yield Violation(resource, f"'{key}' holds a password or private key; whoever sees the VM can read it")


def _plain_secrets(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            below = f"{path}.{key}" if path else str(key)
            if isinstance(entry, str) and entry and (_SECRET_NAME.search(str(key)) or _SECRET_TEXT.search(entry)):
                yield below
            elif isinstance(entry, Mapping | list):
                yield from _plain_secrets(entry, below)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            if isinstance(entry, str) and _SECRET_TEXT.search(entry):
                yield f"{path}[{index}]"
            else:
                yield from _plain_secrets(entry, f"{path}[{index}]")


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return text


RULES = (
    Rule(
        id="tenant-places",
        title="VMs stand in the folder and the resource pool of their member",
        requirements=requirements("OPS.3.2.A4"),
        goals=("confidentiality", "integrity"),
        stack="member",
        subjects=_vms,
        judge=_in_own_places,
        absent="the stack has no VMs",
        todo="place the VM into the folder and the pool that the member's stack makes",
    ),
    Rule(
        id="tenant-limits",
        title="The member's pool is limited, and its VMs fit into it",
        requirements=requirements("OPS.3.2.A4"),
        goals=("availability",),
        stack="member",
        subjects=_pools,
        judge=_within_limits,
        absent="the stack has no resource pool",
        todo="raise compute.memory_gib and compute.cpu_ghz in the declaration, or make servers smaller",
    ),
    Rule(
        id="tags-complete",
        title="Folder, pool and VMs carry their member's tag, VMs also zone, fire section and service level",
        requirements=requirements("OPS.1.1.1.A6"),
        goals=("confidentiality", "integrity", "availability"),
        stack="member",
        subjects=_tagged,
        judge=_tags_complete,
        absent="the stack has nothing that is tagged",
        todo="bring the platform's stack up to date, then the member's: its plan has all tags",
    ),
    Rule(
        id="backup-class",
        title="What has data disks carries a backup class",
        requirements=requirements("CON.3.A1"),
        goals=("integrity", "availability"),
        stack="member",
        subjects=_to_back_up,
        judge=_backup_class,
        absent="the platform has no tag category for backup classes, or no VM has data disks",
        todo="declare how the disk is backed up",
    ),
    Rule(
        id="rights-least",
        title="Rights are given to groups, on the member's own objects, with roles of the platform",
        requirements=requirements("ORP.4.A2", "ORP.4.A4"),
        goals=("confidentiality", "integrity"),
        stack="member",
        subjects=_permissions,
        judge=_least,
        absent="the stack gives no rights",
        todo="give the group one of the platform's roles on the member's folder",
    ),
    Rule(
        id="secrets-hidden",
        title="No password or key stands readable in outputs or in what VMs are given",
        requirements=requirements("ORP.4.A23"),
        goals=("confidentiality",),
        stack="any",
        subjects=_telling,
        judge=_no_plain_secrets,
        absent="the stack puts nothing out",
        todo="mark the output as secret (pulumi.Output.secret) or leave it out; VMs get secrets after their first boot",
    ),
)
