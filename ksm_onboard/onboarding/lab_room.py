"""Whether the lab's machine can carry a member's servers as real hosts: said before any of them is made."""

from __future__ import annotations

from ksm_onboard.connection import Connection
from ksm_onboard.lab.hosts import HostState, list_hosts
from ksm_onboard.lab.preflight import require_room
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project


def require_room_for(
    project: Project, connection: Connection, plan: Plan, *, workstations: int = 0, configured: bool
) -> None:
    """Raises NotReadyError if the hosts that still have to be started don't fit; in a real data centre it never does.

    ``configured``: they are to have their services as well. ``workstations``: so many are started besides.
    """
    # Only a lab that was started by `lab up` makes hosts of VMs; the simulated vCenter alone does not.
    if not (connection.simulated and (connection.state_dir(project) / "guest-driver.json").exists()):
        return
    running = {host.name for host in list_hosts(connection.name) if host.state is HostState.RUNNING}
    missing = sum(server.name not in running for server in plan.member.servers)
    require_room(missing + workstations, configured=configured)
