"""Resources as rules see them: the same from the engine's questions and from a stack's state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

# Protocol of the engine: https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource (sig, plugin/rpc.go).
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - marks secrets, is none
_UNKNOWN = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
        "<computed>",  # how the vSphere provider writes the id of a datastore that is not made yet
    }
)

MEMBER = "Member"
PLATFORM = "Platform"
SERVER = "Server"
_COMPONENTS = {"ksm:member:Member": MEMBER, "ksm:platform:Platform": PLATFORM, "ksm:member:Server": SERVER}


class Hidden(Enum):
    """Stands where a value is not to be seen: not known before it is made, or kept secret."""

    UNKNOWN = "unknown"
    SECRET = "secret"  # noqa: S105 - a label


def plain(value: Any) -> Any:
    """A property value in the engine's wire form, with unknown and secret values taken out."""
    if isinstance(value, str):
        return Hidden.UNKNOWN if value in _UNKNOWN else value
    if isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET:
            return Hidden.SECRET
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


@dataclass(frozen=True)
class Resource:
    """One resource: what it is asked to be (``inputs``) and on what it depends.

    ``refers`` names, per property, the URNs of the resources that its value comes from. That is
    known even while the value is not, so a rule can tell whose network a VM will be on before
    either exists. ``outputs`` are what a stack or a component puts out.
    """

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    parent: str = ""
    protect: bool = False
    refers: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The last part of the type: ``VirtualMachine``, ``Folder``."""
        return self.type.rsplit(":", 1)[-1]

    def referred(self, *properties: str) -> frozenset[str]:
        """What the values of ``properties`` come from."""
        return frozenset().union(*(self.refers.get(name, frozenset()) for name in properties))


@dataclass(frozen=True)
class Stack:
    """All resources of one stack, or of one part of it, and what they say together.

    ``around`` are those of the stack's other part: not judged, but referred to.
    """

    resources: tuple[Resource, ...]
    around: tuple[Resource, ...] = ()

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Stack:
        """In the order of their URNs, so that the same stack is always judged in the same words."""
        return cls(tuple(sorted(resources, key=lambda resource: resource.urn)))

    @cached_property
    def by_urn(self) -> dict[str, Resource]:
        return {resource.urn: resource for resource in (*self.resources, *self.around)}

    @property
    def parts(self) -> tuple[Stack, ...]:
        """The stack, taken apart where it holds two: the platform, and its own VMs, which are built like a member's."""
        own = {r.urn for r in self.resources if _COMPONENTS.get(r.type) == MEMBER}
        if not own or not any(_COMPONENTS.get(r.type) == PLATFORM for r in self.resources):
            return (self,)
        inside = tuple(r for r in self.resources if self._is_below(r, own))
        outside = tuple(r for r in self.resources if not self._is_below(r, own))
        return Stack(outside, inside), Stack(inside, outside)

    def _is_below(self, resource: Resource, ancestors: set[str]) -> bool:
        at: Resource | None = resource
        while at is not None and at.urn not in ancestors:
            at = self.by_urn.get(at.parent)
        return at is not None

    def kind(self, *kinds: str) -> tuple[Resource, ...]:
        """The resources of these kinds."""
        return tuple(resource for resource in self.resources if resource.kind in kinds)

    @cached_property
    def owner(self) -> Resource | None:
        """The component that the stack is: the member or the platform. None if the program made none."""
        return next((r for r in self.resources if _COMPONENTS.get(r.type) in (MEMBER, PLATFORM)), None)

    @property
    def is_platform(self) -> bool:
        return self.owner is not None and self.owner.kind == PLATFORM

    @cached_property
    def told(self) -> Mapping[str, Any]:
        """What the member's component says about the member and the platform that it refers to."""
        return self.owner.inputs if self.owner else {}

    def platform(self, what: str) -> Mapping[str, Any]:
        """One of the platform's outputs, as the member refers to it; empty if it has none such."""
        found = (self.told.get("platform") or {}).get(what)
        return found if isinstance(found, Mapping) else {}

    # --- VMs and where they belong ----------------------------------------------------------

    @cached_property
    def vms(self) -> tuple[Resource, ...]:
        return self.kind("VirtualMachine")

    @cached_property
    def sections(self) -> dict[str, tuple[str, ...]]:
        """VM's URN → host groups that an enabled VM-host rule ties it to."""
        found: dict[str, list[str]] = {vm.urn: [] for vm in self.vms}
        for rule in self.kind("ComputeClusterVmHostRule"):
            host_group = rule.inputs.get("affinityHostGroupName")
            if rule.inputs.get("enabled", True) is not True or not isinstance(host_group, str):
                continue
            for group in self._referred(rule, "vmGroupName", "ComputeClusterVmGroup"):
                for urn in group.refers.get("virtualMachineIds", ()):
                    found.setdefault(urn, []).append(host_group)
        return {urn: tuple(groups) for urn, groups in found.items()}

    @cached_property
    def apart(self) -> tuple[tuple[Resource, tuple[Resource, ...]], ...]:
        """Each anti-affinity rule with its VMs."""
        return tuple(
            (rule, self._referred(rule, "virtualMachineIds", "VirtualMachine"))
            for rule in self.kind("ComputeClusterVmAntiAffinityRule")
        )

    def partners(self, vm: Resource) -> tuple[Resource, ...]:
        """The VMs that an enabled anti-affinity rule keeps apart from ``vm``."""
        return tuple(
            other
            for rule, vms in self.apart
            if rule.inputs.get("enabled", True) is True and vm in vms
            for other in vms
            if other != vm
        )

    def networks(self, vm: Resource) -> tuple[Resource, ...]:
        """The stack's port groups that a VM is connected to."""
        return self._referred(vm, "networkInterfaces", "DistributedPortGroup")

    def tags(self, vm: Resource, category: str) -> tuple[str, ...]:
        """Names of the platform's tags of one category that a resource carries."""
        names = {tag_id: name for name, tag_id in (self.platform("tag_ids").get(category) or {}).items()}
        carried = vm.inputs.get("tags")
        if not isinstance(carried, list):
            return ()
        found = [names[tag] for tag in carried if isinstance(tag, str) and tag in names]
        if Hidden.UNKNOWN in carried:
            # The platform's own tags, before they are made: by what the value comes from.
            made = (tag for tag in self._referred(vm, "tags", "Tag") if self._is_in(tag, category))
            found += [str(tag.inputs.get("name")) for tag in made]
        return tuple(dict.fromkeys(found))

    def _is_in(self, tag: Resource, category: str) -> bool:
        return any(made.inputs.get("name") == category for made in self._referred(tag, "categoryId", "TagCategory"))

    def _referred(self, resource: Resource, property_: str, kind: str) -> tuple[Resource, ...]:
        found = (self.by_urn.get(urn) for urn in sorted(resource.refers.get(property_, ())))
        return tuple(other for other in found if other is not None and other.kind == kind)


def disks(vm: Resource) -> Iterator[Mapping[str, Any]]:
    """A VM's disks, as declared to the provider; the first is the system's."""
    entries = vm.inputs.get("disks")
    yield from (entry for entry in entries if isinstance(entry, Mapping)) if isinstance(entries, list) else ()


def from_state(export: Mapping[str, Any]) -> Stack:
    """The stack that ``pulumi stack export`` describes. Secrets stay encrypted, and hidden."""
    entries = (export.get("deployment") or {}).get("resources") or ()
    return Stack.of(
        Resource(
            urn=entry["urn"],
            type=entry["type"],
            name=entry["urn"].rsplit("::", 1)[-1],
            inputs=plain(entry.get("inputs") or {}),
            outputs=plain(entry.get("outputs") or {}),
            id=entry.get("id", ""),
            parent=entry.get("parent", ""),
            protect=entry.get("protect", False),
            refers={name: frozenset(urns or ()) for name, urns in (entry.get("propertyDependencies") or {}).items()},
        )
        for entry in entries
        if not entry.get("delete")
    )
