"""The data centre's own machines, which all members share: provisioned, configured and looked at like any other.

Physical ones stand outside the cluster, and no stack creates them; in the lab they are started here. The others are VMs
of the platform's stack. The platform knows no member: what a member needs on them, such as an account for its backups,
its own configuration run puts there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ksm_onboard.atomic import write_atomically
from ksm_onboard.certificates import (
    ServiceCertificate,
    ensure_machine_certificates,
    ensure_service_certificate,
    machine_certificates_dir,
)
from ksm_onboard.configuring.fingerprints import due, fingerprints, record, text_of_roles
from ksm_onboard.configuring.inventory import (
    DepotSource,
    Machine,
    identity_of,
    known_hosts_text,
    render_platform_inventory,
    secrets_dir,
    write_inventory,
)
from ksm_onboard.configuring.results import RunResult, runs_dir
from ksm_onboard.configuring.run import configure
from ksm_onboard.connection import Connection
from ksm_onboard.depot.publication import MediaRefusedError, build, depot_of
from ksm_onboard.depot.signing import SigningError
from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab import instance
from ksm_onboard.lab.array import set_exports
from ksm_onboard.lab.hosts import HostKind, HostState
from ksm_onboard.onboarding.lab_world import array_exports
from ksm_onboard.onboarding.restore_tests import prove_restores
from ksm_onboard.planning.depot import depot_items
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import CentralServerPlan, Plan, PlatformPlan
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project
from ksm_onboard.provisioning.approvals import approved_only
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.provisioning.driver import Driver, EngineRun
from ksm_onboard.provisioning.environment import Engine
from ksm_onboard.vcenter import host_keys, session
from ksm_onboard.verifying.audit import reports_dir, save_audit, verify
from ksm_onboard.verifying.audit_report import AuditReport
from ksm_onboard.verifying.restores import Attempt, load_restores


@dataclass(frozen=True)
class SharedMachines:
    """They and what can be done to them. Every step raises OnboardError for what a person can put right.

    ``own`` is the plan of the platform's VMs; None if it declares none.
    """

    project: Project
    connection: Connection
    engine: Engine
    platform: PlatformPlan
    own: Plan | None
    progress: Progress

    @property
    def _driver(self) -> Driver:
        return Driver(self.project, self.connection, self.engine)

    def provision(self) -> EngineRun:
        """Bring what all members share up to date; in the lab, the array exports what the VMs need first."""
        key = self.platform.key
        if self.connection.simulated and self.own is not None:
            set_exports(self.project, self.connection.name, array_exports(self.own))
        self.progress.step(f"stack {key}: the platform that all members share")
        return self._driver.up(key, self.progress, approved_only(self.project.stacks))

    def preview(self) -> EngineRun:
        """What ``provision`` would do to the platform's stack, and what each change means. Changes nothing."""
        self.progress.step(f"preview of stack {self.platform.key}")
        return self._driver.preview(self.platform.key, self.progress)

    def start_in_lab(self) -> int:
        """In the lab, start the physical ones as hosts; returns how many there are then. vCenter starts the VMs."""
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

    def configure(
        self, *, check: bool = False, limit: str | None = None, tags: str | None = None, only_due: bool = False
    ) -> RunResult | None:
        """Refresh their inventory and run the playbook. The result may be ``failed``; it names what went wrong.

        ``only_due``: only over machines that are not known to be as they are wanted; None if there are none such.
        """
        key, keys = self.platform.key, self.host_keys()
        self.progress.step(f"inventory of {key}")
        self._ensure_certificates()
        files = render_platform_inventory(
            self.platform,
            self.own,
            self.connection,
            outputs=self._outputs(),
            host_keys=keys,
            secrets=secrets_dir(self.project, self.connection, key),
            certificates=self._certificates(),
            machine_certificates=machine_certificates_dir(self.project, self.connection),
            depot=self.depot(),
        )
        changed = write_inventory(self.project, key, files)
        self.progress.line(f"inventories/{key}: {'written' if changed else 'unchanged'}")
        wanted = fingerprints(files, keys, text_of_roles(self.project), self._machine_certificates())
        runs = runs_dir(self.project, self.connection, key)
        if only_due:
            if not (hosts := due(wanted, runs)):
                self.progress.line(f"all {len(wanted)} shared machines are as they were last configured")
                return None
            limit = ",".join(hosts) if len(hosts) < len(wanted) else None
        self.progress.step("configure the shared machines" + (" (only looking)" if check else ""))
        result = configure(
            self.project, self.connection, key, progress=self.progress, check=check, limit=limit, tags=tags
        )
        record(wanted, result, runs)
        return result

    def restore_test(self, *, servers: Collection[str] | None = None, only_due: bool = False) -> list[Attempt]:
        """Restore the newest backups of the platform's VMs, as a member's are; the proofs are kept for the audit."""
        own = self._planned()
        return prove_restores(
            own,
            self.connection,
            known_hosts=self._known_hosts(own),
            reports=self._reports,
            servers=servers,
            only_due=only_due,
            progress=self.progress,
        )

    def verify(self) -> AuditReport:
        """Audit the platform's VMs against their plan, as a member's are; kept beside the members' audits."""
        own = self._planned()
        latest = depot_of(self.project, self.connection).latest()
        audit = verify(
            own,
            self.connection,
            known_hosts=self._known_hosts(own),
            # The data centre's own machines are no workstations.
            windows=lambda _names: (),
            not_started=(),
            restores=load_restores(self._reports),
            now=datetime.now(UTC),
            progress=self.progress,
            published=latest[1].id if latest else None,
        )
        save_audit(audit, self._reports)
        return audit

    def _planned(self) -> Plan:
        if self.own is None:
            raise NotReadyError(f"{self.platform.key} declares no VMs", hint="declare them under shared.vms")
        return self.own

    @property
    def _reports(self) -> Path:
        return reports_dir(self.project, self.connection, self.platform.key)

    def _known_hosts(self, own: Plan) -> Path:
        known_hosts = self.connection.state_dir(self.project) / "known_hosts" / self.platform.key
        machines: list[Machine] = [*own.member.servers, *self.platform.shared_servers]
        write_atomically(known_hosts, known_hosts_text(self.connection, machines, self.host_keys()))
        return known_hosts

    def depot(self) -> DepotSource | None:
        """What the depots are to serve, made first if catalogue or inbox changed; None if no depot is declared.

        Media that are refused hold nobody up as long as there is a publication: it is served on, and that is said.
        """
        servers = self.platform.central_servers("depot")
        if not servers:
            return None
        depot = depot_of(self.project, self.connection)
        items = list(depot_items(Declarations(self.project).catalogue))
        try:
            folder, _ = build(depot, items, self.progress, datetime.now(UTC))
        except (MediaRefusedError, SigningError) as error:
            if (latest := depot.latest()) is None:
                raise
            folder = latest[0]
            self.progress.line(f"the software depot goes on with {folder.name}: {error}")
        certificates = {server.name: self._certificate(server) for server in servers}
        return DepotSource(folder, depot.key_files.public, certificates)

    def _certificate(self, server: CentralServerPlan) -> ServiceCertificate:
        """Machines ask by address, which in the lab is another one than declared."""
        addresses = dict.fromkeys((server.address, self.connection.guests.reachable_at(server.address)))
        return ensure_service_certificate(self.project, self.connection, (server.fqdn,), addresses)

    def _ensure_certificates(self) -> None:
        if self.own is not None and self.platform.needs_certificates:
            machines: list[Machine] = [*self.own.member.servers, *self.platform.shared_servers]
            identities = [identity_of(machine, self.platform.key, self.connection) for machine in machines]
            ensure_machine_certificates(self.project, self.connection, identities)

    def _machine_certificates(self) -> dict[str, str]:
        """Host name → its certificate, as far as it has one: a new one is a reason to configure the machine."""
        folder = machine_certificates_dir(self.project, self.connection)
        files = {path.name.partition(".")[0]: path for path in folder.glob(f"*.{self.platform.dns_domain}.pem")}
        return {name: path.read_text() for name, path in files.items()}

    def host_keys(self) -> dict[str, str]:
        """Host name → ssh host key: VMs publish theirs; of physical ones as declared, in the lab of those that run."""
        published = {}
        if self.own is not None:
            with session(self.connection) as vcenter:
                published = host_keys(vcenter, self.own.member.folder)
        if not self.connection.simulated:
            declared = {s.name: s.ssh_host_key for s in self.platform.shared_servers if s.ssh_host_key}
            return {**published, **declared}
        running = {
            host.name: host.host_key
            for host in instance.status(self.connection.name).hosts
            if host.kind is HostKind.SHARED and host.state is HostState.RUNNING
        }
        return {**published, **running}

    def _certificates(self) -> dict[str, ServiceCertificate]:
        """Those of the domain controllers, by host name: they are reached by their names in the directory's domain."""
        if (directory := self.platform.directory) is None:
            return {}
        return {
            server.name: ensure_service_certificate(
                self.project, self.connection, (f"{server.name}.{directory.domain}", server.fqdn), ()
            )
            for server in self.platform.controllers
        }

    def _outputs(self) -> dict[str, object]:
        return dict(self._driver.outputs(self.platform.key)) if self.own is not None else {}
