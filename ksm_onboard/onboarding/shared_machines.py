"""The data centre's own machines, which all members share: started in the lab, configured like any other.

No stack creates them: they are physical, and outside the cluster. The platform knows no member; what a
member needs on them, such as an account for its backups, its own configuration run puts there.
"""

from __future__ import annotations

from dataclasses import dataclass

from ksm_onboard.configuring.inventory import render_platform_inventory, write_inventory
from ksm_onboard.configuring.results import RunResult
from ksm_onboard.configuring.run import configure
from ksm_onboard.connection import Connection
from ksm_onboard.lab import instance
from ksm_onboard.lab.hosts import HostKind, HostState
from ksm_onboard.planning.plan import PlatformPlan
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project
from ksm_onboard.provisioning.customisation import Customisation


@dataclass(frozen=True)
class SharedMachines:
    """They and what can be done to them. Every step raises OnboardError for what a person can put right."""

    project: Project
    connection: Connection
    platform: PlatformPlan
    progress: Progress

    def start_in_lab(self) -> int:
        """In the lab, start them as hosts; returns how many there are then."""
        guests = self.connection.guests
        customisation = Customisation(self.project.templates, guests.user, guests.public_key())
        specs = [
            instance.MachineSpec(
                server.name,
                server.address,
                customisation.userdata(server),
                HostKind.SHARED,
                tuple(disk.unit_number for disk in server.disks),
            )
            for server in self.platform.shared_servers
        ]
        return len(instance.start_machines(self.project, self.connection.name, specs, self.progress))

    def configure(self, *, check: bool = False, limit: str | None = None, tags: str | None = None) -> RunResult:
        """Refresh their inventory and run the playbook. The result may be ``failed``; it names what went wrong."""
        key = self.platform.key
        self.progress.step(f"inventory of {key}")
        files = render_platform_inventory(self.platform, self.connection, host_keys=self.host_keys())
        changed = write_inventory(self.project, key, files)
        self.progress.line(f"inventories/{key}: {'written' if changed else 'unchanged'}")
        self.progress.step("configure the shared machines" + (" (only looking)" if check else ""))
        return configure(
            self.project, self.connection, key, progress=self.progress, check=check, limit=limit, tags=tags
        )

    def host_keys(self) -> dict[str, str]:
        """Host name → ssh host key: as declared; in the lab of those that run."""
        if not self.connection.simulated:
            return {server.name: server.ssh_host_key for server in self.platform.shared_servers if server.ssh_host_key}
        return {
            host.name: host.host_key
            for host in instance.status(self.connection.name).hosts
            if host.kind is HostKind.SHARED and host.state is HostState.RUNNING
        }
