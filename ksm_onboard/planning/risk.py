"""What a change to the data centre means for what runs there: nothing, a disturbance, or the loss of data. Pure.

Every step that the engine would take is judged by what the provider does with it: terraform-provider-vsphere,
resources ``vsphere_virtual_machine`` (which properties need the VM to be switched off, which move it),
``vsphere_virtual_disk`` and ``vsphere_nas_datastore``. What is not known here counts as the worse: an unknown property
disturbs, and whatever is deleted or replaced held data unless it is known to hold none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

RiskClass = Literal["harmless", "disruptive", "data-loss"]
RISK_CLASSES: Final[tuple[RiskClass, ...]] = ("harmless", "disruptive", "data-loss")
"""From the least to the worst."""


@dataclass(frozen=True)
class Step:
    """One step that the engine would take with one resource of vCenter.

    ``operation`` is the engine's word, ``id`` the resource's in vCenter (empty where there is none yet). ``changed``
    are the properties that differ; of a replacement, ``replaced_by`` those that force it. ``protected`` and
    ``stays_protected`` are the engine's protection before and after; ``retained``: deleting only forgets it.
    """

    urn: str
    operation: str
    id: str = ""
    changed: frozenset[str] = frozenset()
    replaced_by: frozenset[str] = frozenset()
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    protected: bool = False
    stays_protected: bool = False
    retained: bool = False

    @property
    def kind(self) -> str:
        """The last part of the type: ``VirtualMachine``."""
        return self.urn.split("::")[2].rsplit(":", 1)[-1]

    @property
    def name(self) -> str:
        return self.urn.rsplit("::", 1)[-1]


@dataclass(frozen=True)
class Risk:
    """What one step means. ``effect`` is what an approval of a data loss is for; ``digest`` is of exactly that step."""

    urn: str
    kind: str
    name: str
    risk: RiskClass
    effect: Literal["create", "update", "replace", "delete", "unprotect"]
    text: str
    id: str = ""
    digest: str = ""

    def as_json(self) -> dict[str, str]:
        """A plain mapping for machines."""
        return {
            "risk": self.risk,
            "effect": self.effect,
            "resource": f"{self.kind} {self.name}",
            "text": self.text,
            "urn": self.urn,
            "id": self.id,
            "digest": self.digest,
        }


def risks(steps: Iterable[Step]) -> tuple[Risk, ...]:
    """One for every resource that would change, the worst first. A replacement's several steps are one."""
    worst: dict[str, Risk] = {}
    # Of a replacement's steps, those that say what forces it come first.
    for step in sorted(steps, key=lambda step: not step.replaced_by):
        found = risk_of(step)
        if found is not None and (step.urn not in worst or _rank(found) > _rank(worst[step.urn])):
            worst[step.urn] = found
    return tuple(sorted(worst.values(), key=lambda risk: (-_rank(risk), risk.kind, risk.name)))


def worst_of(found: Iterable[Risk]) -> RiskClass | None:
    """The class of the whole change; None if nothing changes."""
    return max((risk.risk for risk in found), key=RISK_CLASSES.index, default=None)


def losses(found: Iterable[Risk]) -> tuple[Risk, ...]:
    """Those that lose data."""
    return tuple(risk for risk in found if risk.risk == "data-loss")


def _rank(risk: Risk) -> int:
    return RISK_CLASSES.index(risk.risk)


# --- one step -----------------------------------------------------------------------------

_REPLACING: Final = frozenset(("replace", "create-replacement", "delete-replaced"))
_DELETING: Final = frozenset(("delete",))
_CREATING: Final = frozenset(("create", "import"))
_KEEPING: Final = frozenset(("update", "same"))


def risk_of(step: Step) -> Risk | None:
    """What a step means; None if nothing of vCenter changes by it."""
    if step.operation in _CREATING:
        words = "is taken over" if step.operation == "import" else "is created"
        return _risk(step, "create", "harmless", words)
    if step.operation in _REPLACING:
        return _replaced(step)
    if step.operation in _DELETING:
        return _deleted(step)
    if step.operation not in _KEEPING:
        return None
    if step.protected and not step.stays_protected:
        risk: RiskClass = "disruptive" if step.kind in _HOLDS_NONE else "data-loss"
        return _risk(step, "unprotect", risk, "is no longer protected against being deleted")
    if step.operation == "same":
        return None
    return _updated(step)


def _risk(
    step: Step, effect: Literal["create", "update", "replace", "delete", "unprotect"], risk: RiskClass, words: str
) -> Risk:
    return Risk(
        urn=step.urn,
        kind=step.kind,
        name=step.name,
        risk=risk,
        effect=effect,
        text=f"{_NOUNS.get(step.kind, step.kind)} {step.name} {words}",
        id=step.id,
        digest=_digest(step, effect) if risk == "data-loss" else "",
    )


def _digest(step: Step, effect: str) -> str:
    """Of what would happen to this very object; protection is left out, since an approved loss takes it away first."""
    forced = {name: [step.before.get(name), step.after.get(name)] for name in sorted(step.replaced_by)}
    told = json.dumps([step.urn, step.id, effect, forced], sort_keys=True, ensure_ascii=True, default=str)
    return f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"


_NOUNS: Final[Mapping[str, str]] = {
    "ComputeCluster": "the cluster",
    "ComputeClusterHostGroup": "the host group",
    "ComputeClusterVmAntiAffinityRule": "the rule",
    "ComputeClusterVmGroup": "the VM group",
    "ComputeClusterVmHostRule": "the rule",
    "DatastoreCluster": "the datastore cluster",
    "DistributedPortGroup": "the port group",
    "EntityPermissions": "the permissions",
    "Folder": "the folder",
    "HaVmOverride": "the restart priority",
    "NasDatastore": "the datastore",
    "ResourcePool": "the resource pool",
    "Role": "the role",
    "Tag": "the tag",
    "TagCategory": "the tag category",
    "VirtualDisk": "the data disk",
    "VirtualMachine": "the VM",
    "VmStoragePolicy": "the storage policy",
}


# --- deleted and replaced -----------------------------------------------------------------

_NOBODY_NOTICES: Final = frozenset(
    (
        "ComputeClusterVmAntiAffinityRule",
        "ComputeClusterVmGroup",
        "ComputeClusterVmHostRule",
        "EntityPermissions",
        "HaVmOverride",
        "Tag",
    )
)
_OTHERS_USE: Final = frozenset(
    (
        "ComputeCluster",
        "ComputeClusterHostGroup",
        "DatastoreCluster",
        "DistributedPortGroup",
        "Folder",
        "ResourcePool",
        "Role",
        "TagCategory",
        "VmStoragePolicy",
    )
)
_HOLDS_NONE: Final = _NOBODY_NOTICES | _OTHERS_USE


def _deleted(step: Step) -> Risk:
    if step.retained:
        return _risk(step, "delete", "harmless", "is forgotten; vCenter drops it with its VM")
    if step.kind in _NOBODY_NOTICES:
        return _risk(step, "delete", "harmless", "is deleted")
    if step.kind in _OTHERS_USE:
        return _risk(step, "delete", "disruptive", "is deleted; whatever still uses it is cut off")
    return _risk(step, "delete", "data-loss", f"is deleted{_what_goes(step)}")


def _replaced(step: Step) -> Risk:
    by = f" (because of {', '.join(sorted(step.replaced_by))})" if step.replaced_by else ""
    if step.kind in _NOBODY_NOTICES:
        return _risk(step, "replace", "harmless", f"is made anew{by}")
    if step.kind in _OTHERS_USE:
        return _risk(step, "replace", "disruptive", f"is deleted and made anew{by}; whatever uses it is cut off")
    return _risk(step, "replace", "data-loss", f"is deleted and made anew, empty{by}{_what_goes(step)}")


def _what_goes(step: Step) -> str:
    if step.kind == "VirtualMachine":
        kept = [str(disk.get("path")) for disk in _disks(step.before).values() if disk.get("attach")]
        own = [label for label, disk in _disks(step.before).items() if not disk.get("attach")]
        staying = f"; its data disks stay: {', '.join(kept)}" if kept else ""
        return f" with its own disks ({', '.join(own) or 'unknown'}) and everything on them{staying}"
    size = step.before.get("size")
    if step.kind == "VirtualDisk" and isinstance(size, int | float):
        return f" with everything on it (declared with {size:g} GiB when it was made)"
    return " with everything on it"


# --- updated ------------------------------------------------------------------------------

# What vCenter takes over without touching the guest, or the provider only keeps for itself.
_QUIET: Final[Mapping[str, frozenset[str]]] = {
    "VirtualMachine": frozenset(
        (
            "annotation",
            "customAttributes",
            "folder",
            "forcePowerOff",
            "ignoredGuestIps",
            "migrateWaitTimeout",
            "name",
            "poweronTimeout",
            "shutdownWaitTimeout",
            "tags",
            "waitForGuestIpTimeout",
            "waitForGuestNetRoutable",
            "waitForGuestNetTimeout",
        )
    ),
    "DistributedPortGroup": frozenset(("customAttributes", "description", "tags")),
    "ResourcePool": frozenset(("customAttributes", "tags")),
    "NasDatastore": frozenset(("customAttributes", "tags")),
    "DatastoreCluster": frozenset(("customAttributes", "tags")),
    "VmStoragePolicy": frozenset(("description",)),
    "ComputeCluster": frozenset(("tags",)),
}
# Nothing that runs notices any change of these.
_ALWAYS_QUIET: Final = frozenset(("EntityPermissions", "Folder", "HaVmOverride", "Role", "Tag", "TagCategory"))
_MOVES: Final = frozenset(("datastoreClusterId", "datastoreId", "hostSystemId", "resourcePoolId", "storagePolicyId"))
_RULES: Final = frozenset(("ComputeClusterHostGroup", "ComputeClusterVmAntiAffinityRule", "ComputeClusterVmHostRule"))
_LIMITS: Final = frozenset(("cpuLimit", "memoryLimit"))


def _updated(step: Step) -> Risk:
    if not step.changed:
        return _risk(step, "update", "disruptive", "is finished: an earlier run failed in the middle of it")
    if step.kind in _ALWAYS_QUIET:
        return _risk(step, "update", "harmless", f"changes ({_listed(step.changed)})")
    loud = step.changed - _QUIET.get(step.kind, frozenset())
    if not loud:
        return _risk(step, "update", "harmless", f"changes ({_listed(step.changed)})")
    if step.kind == "VirtualMachine":
        return _machine(step, loud)
    if step.kind == "ComputeClusterVmGroup":
        return _group(step)
    if step.kind in _RULES:
        return _risk(step, "update", "disruptive", f"changes ({_listed(loud)}): DRS may move VMs while they run")
    if step.kind == "ResourcePool" and loud <= _LIMITS and all(_grows(step, name) for name in loud):
        return _risk(step, "update", "harmless", f"gets more ({_listed(loud)})")
    return _risk(step, "update", "disruptive", f"changes ({_listed(loud)}), which whatever uses it may notice")


def _group(step: Step) -> Risk:
    before, after = (set(_texts(side.get("virtualMachineIds"))) for side in (step.before, step.after))
    joining = after - before - _UNKNOWN
    if joining:
        return _risk(step, "update", "disruptive", f"takes in {len(joining)} running VMs: DRS may move them")
    return _risk(step, "update", "harmless", "changes; no VM that runs has to move")


def _machine(step: Step, loud: frozenset[str]) -> Risk:
    lost = [words for words, risk in _disk_changes(step) if risk == "data-loss"] if "disks" in loud else []
    if lost:
        return _risk(step, "update", "data-loss", "; ".join(lost))
    restarts = [name for name in sorted(loud - _MOVES - {"disks"}) if not _hot(step, name)]
    found = [words for words, risk in _disk_changes(step) if risk == "disruptive"] if "disks" in loud else []
    found += [f"has to be restarted ({', '.join(restarts)})"] if restarts else []
    found += [f"is moved while it runs ({_listed(loud & _MOVES)})"] if loud & _MOVES else []
    if found:
        return _risk(step, "update", "disruptive", "; ".join(found))
    return _risk(step, "update", "harmless", f"changes while it runs ({_listed(loud)})")


def _hot(step: Step, name: str) -> bool:
    """Whether a running VM is given more, which its configuration allows."""
    allowed = {"memory": "memoryHotAddEnabled", "numCpus": "cpuHotAddEnabled"}.get(name)
    return allowed is not None and step.before.get(allowed) is True and _grows(step, name)


def _grows(step: Step, name: str) -> bool:
    was, now = step.before.get(name), step.after.get(name)
    return isinstance(was, int | float) and isinstance(now, int | float) and now >= was > 0


def _disk_changes(step: Step) -> Iterator[tuple[str, RiskClass]]:
    """What becomes of a VM's disks, by their labels; those that stand are only attached."""
    before, after = _disks(step.before), _disks(step.after)
    for label, was in before.items():
        now = after.get(label)
        if now is None and was.get("attach"):
            yield f"loses the data disk {was.get('path') or label}, whose file stays", "disruptive"
        elif now is None and not was.get("keepOnRemove"):
            yield f"loses its disk {label} with everything on it", "data-loss"
        elif now is None:
            yield f"loses its disk {label}, whose file stays", "disruptive"
        elif (was.get("attach"), was.get("path")) != (now.get("attach"), now.get("path")) and was.get("attach"):
            yield f"gets another file as its data disk {label}", "disruptive"
        elif _gib(now) < _gib(was):
            yield f"has its disk {label} made smaller", "data-loss"
        elif {k: v for k, v in was.items() if k != "size"} != {k: v for k, v in now.items() if k != "size"}:
            yield f"has its disk {label} changed or moved while it runs", "disruptive"
    for label in after:
        if label not in before:
            yield f"gets the disk {label}", "harmless"


def _disks(side: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    entries = side.get("disks")
    found = [disk for disk in entries if isinstance(disk, Mapping)] if isinstance(entries, list) else []
    return {str(disk.get("label", position)): disk for position, disk in enumerate(found)}


def _gib(disk: Mapping[str, Any]) -> float:
    size = disk.get("size")
    return float(size) if isinstance(size, int | float) else 0.0


# How the engine writes what it does not know yet (resource/plugin/rpc.go: UnknownStringValue).
_UNKNOWN: Final = frozenset(("04da6b54-80e4-46f7-96ec-b56ff0331ba9",))


def _texts(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
