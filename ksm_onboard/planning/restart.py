"""Whose turn it is when HA restarts VMs after a failure. Pure."""

from __future__ import annotations

from ksm_onboard.declaration.models import CentralVm, HighAvailability, Server
from ksm_onboard.planning.plan import RestartPriority


def restart_priority(server: Server | CentralVm, cluster: HighAvailability) -> RestartPriority | None:
    """Names and identities first, then databases, then what needs both; None where that is the cluster's own priority.

    What may be away for days (service level 4) comes last. Restart order: identity and DNS, databases, applications.
    """
    wanted: RestartPriority = "medium"
    role = server.role if isinstance(server, Server) else None
    if role == "dns" or server.service_level == 1:
        wanted = "highest"
    elif role == "database":
        wanted = "high"
    elif server.service_level == 4:
        wanted = "low"
    return None if wanted == cluster.restart_priority else wanted
