"""Storage policies, asked of vCenter's policy service (PBM), a service beside the main API."""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi,pyVim"

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, cast

from pyVmomi import VmomiSupport, pbm, vim
from pyVmomi.SoapAdapter import SoapStubAdapter

_SESSION = "vcSessionCookie"


_QUESTIONS_AT_ONCE = 200


def policy_id(instance: vim.ServiceInstance, name: str) -> str | None:
    """The id of the storage policy ``name``, None if there is none. Uses the session of ``instance``."""
    with _manager(instance) as manager:
        return next((id_ for id_, called in _names(manager).items() if called == name), None)


def applied_policies(instance: vim.ServiceInstance, disks: Iterable[str]) -> dict[str, str]:
    """Disk (``vm-42:2000``: managed object id and device key) → name of its storage policy; without one: absent."""
    wanted = sorted(disks)
    if not wanted:
        return {}
    applied: dict[str, str] = {}
    with _manager(instance) as manager:
        names = _names(manager)
        kind = pbm.ServerObjectRef.ObjectType.virtualDiskId
        for start in range(0, len(wanted), _QUESTIONS_AT_ONCE):
            asked = [
                pbm.ServerObjectRef(objectType=kind, key=key) for key in wanted[start : start + _QUESTIONS_AT_ONCE]
            ]
            for answer in manager.PbmQueryAssociatedProfiles(asked) or ():
                for policy in answer.profileId or ():
                    applied[str(answer.object.key)] = names.get(str(policy.uniqueId), str(policy.uniqueId))
    return applied


def _names(manager: Any) -> dict[str, str]:
    """Id → name of every storage policy."""
    ids = manager.PbmQueryProfile(resourceType=pbm.profile.ResourceType(resourceType="STORAGE"))
    found = manager.PbmRetrieveContent(ids) if ids else ()
    return {str(policy.profileId.uniqueId): str(policy.name) for policy in found}


@contextlib.contextmanager
def _manager(instance: vim.ServiceInstance) -> Iterator[Any]:
    main: Any = instance._stub
    host, _, port = main.host.rpartition(":")
    service = SoapStubAdapter(
        host=host, port=int(port), path="/pbm", version="pbm.version.version1", sslContext=main.schemeArgs["context"]
    )
    # The policy service knows the caller by the main API's session, which it wants in the SOAP header.
    context = VmomiSupport.GetRequestContext()
    context[_SESSION] = main.cookie.partition("=")[2].partition(";")[0].strip('"')
    try:
        yield cast(Any, pbm.ServiceInstance("ServiceInstance", service)).RetrieveContent().profileManager
    finally:
        del context[_SESSION]
        service.DropConnections()
