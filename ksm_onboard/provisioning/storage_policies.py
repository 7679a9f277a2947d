"""Storage policies by name, asked of vCenter's policy service (PBM), a service beside the main API."""

# VMware's stubs leave every constructor untyped.
# mypy: untyped-calls-exclude="pyVmomi,pyVim"

from __future__ import annotations

from typing import Any, cast

from pyVmomi import VmomiSupport, pbm, vim
from pyVmomi.SoapAdapter import SoapStubAdapter

_SESSION = "vcSessionCookie"


def policy_id(instance: vim.ServiceInstance, name: str) -> str | None:
    """The id of the storage policy ``name``, None if there is none. Uses the session of ``instance``."""
    main: Any = instance._stub
    host, _, port = main.host.rpartition(":")
    service = SoapStubAdapter(
        host=host, port=int(port), path="/pbm", version="pbm.version.version1", sslContext=main.schemeArgs["context"]
    )
    # The policy service knows the caller by the main API's session, which it wants in the SOAP header.
    context = VmomiSupport.GetRequestContext()
    context[_SESSION] = main.cookie.partition("=")[2].partition(";")[0].strip('"')
    try:
        manager = cast(Any, pbm.ServiceInstance("ServiceInstance", service)).RetrieveContent().profileManager
        storage = pbm.profile.ResourceType(resourceType="STORAGE")
        ids = manager.PbmQueryProfile(resourceType=storage)
        found = manager.PbmRetrieveContent(ids) if ids else ()
        return next((str(policy.profileId.uniqueId) for policy in found if policy.name == name), None)
    finally:
        del context[_SESSION]
        service.DropConnections()
