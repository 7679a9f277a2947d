"""Storage policies, asked of vCenter's policy service (PBM), a service beside the main API."""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi,pyVim"

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

from pyVmomi import VmomiSupport, pbm, vim
from pyVmomi.SoapAdapter import SoapStubAdapter

_SESSION = "vcSessionCookie"


_QUESTIONS_AT_ONCE = 200


def policy_id(instance: vim.ServiceInstance, name: str) -> str | None:
    """The id of the storage policy ``name``, None if there is none. Uses the session of ``instance``."""
    with _service(instance) as service:
        return next((id_ for id_, called in _names(service).items() if called == name), None)


class AppliedPolicy(NamedTuple):
    """A storage policy by its name, and whether what it applies to lies where it asks for.

    ``compliance`` is vCenter's word, judged anew for this answer: ``compliant``, ``nonCompliant``, ``unknown``,
    ``notApplicable``, ``outOfDate``; empty if it has none.
    """

    name: str
    compliance: str


def applied_policies(instance: vim.ServiceInstance, keys: Iterable[str]) -> dict[str, AppliedPolicy]:
    """A VM's home (``vm-42``) or a disk (``vm-42:2000``, with its device key) → its policy; without one: absent."""
    wanted = sorted(keys)
    if not wanted:
        return {}
    applied: dict[str, str] = {}
    judged: dict[str, str] = {}
    with _service(instance) as service:
        names = _names(service)
        for start in range(0, len(wanted), _QUESTIONS_AT_ONCE):
            asked = [_reference(key) for key in wanted[start : start + _QUESTIONS_AT_ONCE]]
            for answer in service.profileManager.PbmQueryAssociatedProfiles(asked) or ():
                for policy in answer.profileId or ():
                    applied[str(answer.object.key)] = names.get(str(policy.uniqueId), str(policy.uniqueId))
            for result in service.complianceManager.PbmCheckCompliance(asked) or ():
                judged[str(result.entity.key)] = str(result.complianceStatus)
    return {key: AppliedPolicy(name, judged.get(key, "")) for key, name in applied.items()}


def _reference(key: str) -> Any:
    kinds = pbm.ServerObjectRef.ObjectType
    return pbm.ServerObjectRef(objectType=kinds.virtualDiskId if ":" in key else kinds.virtualMachine, key=key)


def _names(service: Any) -> dict[str, str]:
    """Id → name of every storage policy."""
    manager = service.profileManager
    ids = manager.PbmQueryProfile(resourceType=pbm.profile.ResourceType(resourceType="STORAGE"))
    found = manager.PbmRetrieveContent(ids) if ids else ()
    return {str(policy.profileId.uniqueId): str(policy.name) for policy in found}


@contextlib.contextmanager
def _service(instance: vim.ServiceInstance) -> Iterator[Any]:
    main: Any = instance._stub
    host, _, port = main.host.rpartition(":")
    service = SoapStubAdapter(
        host=host, port=int(port), path="/pbm", version="pbm.version.version1", sslContext=main.schemeArgs["context"]
    )
    # The policy service knows the caller by the main API's session, which it wants in the SOAP header.
    context = VmomiSupport.GetRequestContext()
    context[_SESSION] = main.cookie.partition("=")[2].partition(";")[0].strip('"')
    try:
        yield cast(Any, pbm.ServiceInstance("ServiceInstance", service)).RetrieveContent()
    finally:
        del context[_SESSION]
        service.DropConnections()
