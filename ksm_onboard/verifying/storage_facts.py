"""What vCenter says about datastores, their clusters and the policies of disks: plain facts, nothing compared yet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pyVmomi import vim, vmodl

from ksm_onboard.vcenter import Found, moid

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi"

_GIB = 1024**3
_ENFORCEMENT = "EnforceStorageProfiles"
_AUTOMATED = "automated"


class DatastoreFacts(BaseModel):
    """A datastore. ``cluster`` is the datastore cluster it is in, ``hosts`` those that have it mounted and see it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: str
    cluster: str | None
    remote_host: str | None
    remote_path: str | None
    capacity_gib: int | float
    writable: bool
    hosts: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]]


class DatastoreClusterFacts(BaseModel):
    """A datastore cluster and how storage DRS acts in it (``automation``: vSphere's word)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    storage_drs: bool
    automation: str
    keeps_policies: bool
    datastores: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]]
    overrides: tuple[str, ...] = ()
    """What moves disks by itself in spite of ``automation``: a reason to move, or a VM."""


DATASTORE_PROPERTIES = ("name", "parent", "summary", "info", "host")
_CONFIG = "podStorageDrsEntry.storageDrsConfig"
CLUSTER_PROPERTIES = ("name", "childEntity", f"{_CONFIG}.podConfig", f"{_CONFIG}.vmConfig")
_REASONS = ("spaceLoadBalance", "ioLoadBalance", "ruleEnforcement", "policyEnforcement", "vmEvacuation")


def refreshed(stores: Iterable[Found], names: Iterable[str]) -> None:
    """Let vCenter read the size of these datastores anew: an export may have grown on its array since."""
    wanted = set(names)
    for store in stores:
        if store.get("name") in wanted and isinstance(store.ref, vim.Datastore):
            # One that cannot be reached keeps what was known; the comparison tells.
            with contextlib.suppress(vmodl.MethodFault):
                store.ref.RefreshDatastore()


def datastore(
    store: Found, clusters: Mapping[str, str], hosts: Mapping[str, str], tags: Mapping[str, tuple[str, ...]]
) -> DatastoreFacts:
    """One datastore; ``clusters`` and ``hosts`` map managed object ids to names."""
    summary, nas = store.get("summary"), getattr(store.get("info"), "nas", None)
    mounts = [mount for mount in store.get("host") or () if _is_seen(mount.mountInfo)]
    parent = store.get("parent")
    return DatastoreFacts(
        name=str(store.get("name")),
        kind=str(getattr(summary, "type", "")),
        cluster=clusters.get(moid(parent)) if parent is not None else None,
        remote_host=getattr(nas, "remoteHost", None),
        remote_path=getattr(nas, "remotePath", None),
        capacity_gib=_whole(int(getattr(summary, "capacity", 0) or 0) / _GIB),
        writable=bool(mounts) and all(mount.mountInfo.accessMode == "readWrite" for mount in mounts),
        hosts=tuple(sorted(hosts[moid(mount.key)] for mount in mounts if moid(mount.key) in hosts)),
        tags=tags,
    )


def _is_seen(mount: Any) -> bool:
    """vCenter leaves both out where nothing is wrong."""
    return mount.mounted is not False and mount.accessible is not False


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else round(value, 2)


def datastore_cluster(
    cluster: Found, stores: Mapping[str, str], tags: Mapping[str, tuple[str, ...]]
) -> DatastoreClusterFacts:
    """One datastore cluster; ``stores`` maps managed object ids to names."""
    config = cluster.get(f"{_CONFIG}.podConfig")
    options = {str(option.key): str(option.value) for option in getattr(config, "option", None) or ()}
    return DatastoreClusterFacts(
        name=str(cluster.get("name")),
        storage_drs=bool(getattr(config, "enabled", False)),
        automation=str(getattr(config, "defaultVmBehavior", "")),
        keeps_policies=options.get(_ENFORCEMENT) == "2",
        datastores=tuple(
            sorted(stores[moid(child)] for child in cluster.get("childEntity") or () if moid(child) in stores)
        ),
        tags=tags,
        overrides=tuple(_overrides(config, cluster.get(f"{_CONFIG}.vmConfig") or ())),
    )


def _overrides(config: Any, vms: Iterable[Any]) -> Iterator[str]:
    automation = getattr(config, "automationOverrides", None)
    for reason in _REASONS:
        if getattr(automation, f"{reason}AutomationMode", None) == _AUTOMATED:
            yield reason
    for override in vms:
        if override.behavior == _AUTOMATED and override.vm is not None:
            yield moid(override.vm)
