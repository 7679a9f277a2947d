"""The steps of onboarding a member. Each can be run on its own; each leaves what the next one needs.

Provision (Pulumi), configure (Ansible), verify (independent audit), report (hand-over
protocol). In the lab the workstations are started in between, since nobody else does it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

from ksm_onboard.atomic import write_atomically
from ksm_onboard.certificates import (
    ServiceCertificate,
    ensure_machine_certificates,
    ensure_service_certificate,
    machine_certificates_dir,
)
from ksm_onboard.configuring.inventory import (
    DepotSource,
    Machine,
    known_hosts_text,
    machine_identities,
    render_inventory,
    secrets_dir,
    simulated_windows_dir,
    write_inventory,
)
from ksm_onboard.configuring.journal import Entry, Journal
from ksm_onboard.configuring.results import RunResult, runs_dir
from ksm_onboard.configuring.run import configure, last_run
from ksm_onboard.connection import Connection
from ksm_onboard.depot.publication import depot_of
from ksm_onboard.errors import NotReadyError
from ksm_onboard.firewall.record import ProofRecord, kept_proof, proven, save_proof
from ksm_onboard.lab import instance
from ksm_onboard.lab.array import set_exports
from ksm_onboard.lab.hosts import HostKind, HostState
from ksm_onboard.lab.windows.machine import Hosts
from ksm_onboard.onboarding.lab_world import array_exports, chosen_workstations, windows_offers
from ksm_onboard.onboarding.restore_tests import prove_restores
from ksm_onboard.onboarding.shared_machines import SharedMachines
from ksm_onboard.planning.load import PLATFORM, load_own
from ksm_onboard.planning.plan import Plan, WaiverPlan
from ksm_onboard.planning.workplace_status import WorkplaceStatus, workplace_statuses
from ksm_onboard.policies.judge import Waiver, judge
from ksm_onboard.policies.resources import from_state
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project
from ksm_onboard.provisioning.approvals import approved_only
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.provisioning.driver import Driver, EngineRun
from ksm_onboard.provisioning.environment import Engine
from ksm_onboard.reporting.baseline import Baseline, baseline
from ksm_onboard.reporting.documents import Documents, write_documents
from ksm_onboard.reporting.protocol import summarise
from ksm_onboard.vcenter import host_keys, session
from ksm_onboard.verifying.audit import load_audit, reports_dir, save_audit, verify
from ksm_onboard.verifying.audit_hosts import hosts_to_ask, windows_to_ask
from ksm_onboard.verifying.audit_report import AuditReport
from ksm_onboard.verifying.host_facts import HostFacts, HostSilent
from ksm_onboard.verifying.hosts import ask_hosts
from ksm_onboard.verifying.restores import Attempt, load_restores
from ksm_onboard.verifying.windows_hosts import WindowsFacts, ask_windows


@dataclass(frozen=True)
class Onboarding:
    """One member on one data centre. Every step raises OnboardError for what a person can put right."""

    project: Project
    connection: Connection
    engine: Engine
    plan: Plan
    progress: Progress

    @property
    def member(self) -> str:
        return self.plan.member.key

    @cached_property
    def shared(self) -> SharedMachines:
        """The data centre's own machines."""
        own = load_own(self.project)
        return SharedMachines(self.project, self.connection, self.engine, self.plan.platform, own, self.progress)

    @property
    def reports(self) -> Path:
        """Where audits and protocols of the member are kept."""
        return reports_dir(self.project, self.connection, self.member)

    @cached_property
    def _driver(self) -> Driver:
        return Driver(self.project, self.connection, self.engine)

    # --- provision --------------------------------------------------------------------------

    def provision_platform(self) -> EngineRun:
        """Bring what all members share up to date."""
        return self.shared.provision()

    def provision(self) -> EngineRun:
        """Bring the member's folder, networks, datastores, disks and servers up to date.

        In the lab the array is made to export what the datastores need first, since nobody else does it.
        """
        if self.connection.simulated and set_exports(self.project, self.connection.name, array_exports(self.plan)):
            self.progress.line(f"the lab's array exports {len(self.plan.member.datastores)} datastores (simulated)")
        self.progress.step(f"stack {self.member}: {len(self.plan.member.servers)} servers")
        return self._driver.up(self.member, self.progress, approved_only(self.project.stacks))

    def preview(self) -> EngineRun:
        """What ``provision`` would do to the member's stack, and what each change means. Changes nothing."""
        self.progress.step(f"preview of stack {self.member}")
        return self._driver.preview(self.member, self.progress)

    def start_lab_workstations(self, number: int) -> int:
        """In the lab, start ``number`` of the declared workstations: Linux as hosts, Windows simulated.

        Returns how many there are then.
        """
        guests = self.connection.guests
        customisation = Customisation(self.project.templates, guests.user, guests.public_key())
        chosen = chosen_workstations(self.plan.member, number)
        specs = [
            instance.MachineSpec(w.name, w.address, customisation.userdata(w)) for w in chosen if w.platform == "linux"
        ]
        windows = [w.name for w in chosen if w.platform == "windows"]
        self._simulate_windows(windows)
        surplus = sorted(set(self._lab_workstations()) - {spec.hostname for spec in specs})
        if surplus:
            instance.stop_workstations(self.connection.name, self.progress, only=surplus)
        started = instance.start_machines(self.project, self.connection.name, specs, self.progress)
        return len(started) + len(windows)

    def _simulate_windows(self, wanted: list[str]) -> None:
        hosts = self._windows_hosts
        for name in sorted(self._simulated_windows() - set(wanted)):
            hosts.remove(name)
        hosts.create(wanted)
        if wanted:
            offered = hosts.offers()
            packages = {**offered.chocolatey, **windows_offers(self.plan.member)}
            hosts.set_offers(offered.model_copy(update={"chocolatey": packages}))
            self.progress.line(f"{len(wanted)} Windows workstations (simulated): {', '.join(wanted)}")

    def prove_zones(self) -> ProofRecord:
        """In the lab, try the member's flows with packets; namespaces simulate port groups. Kept for the protocol."""
        self.progress.step(f"zones of {self.member}, tried with packets (simulated port groups)")
        record = proven(self.project, self.plan, self.progress.line)
        save_proof(record, self.reports)
        return record

    # --- configure --------------------------------------------------------------------------

    def refresh_inventory(self) -> bool:
        """Write the member's inventory from plan, stack outputs and published host keys; whether it changed.

        Machines that have no certificate yet are given one.
        """
        workstations = self.existing_workstations()
        if self.plan.platform.needs_certificates:
            machines = machine_identities(self.plan, self.connection, workstations)
            ensure_machine_certificates(self.project, self.connection, machines)
        files = render_inventory(
            self.plan,
            self.connection,
            outputs=self._driver.outputs(self.member),
            host_keys=self._host_keys(),
            secrets=secrets_dir(self.project, self.connection, self.member),
            machine_certificates=machine_certificates_dir(self.project, self.connection),
            workstations=workstations,
            withheld=self._journal().withheld,
            certificate=self._published_certificate(),
            depot=self._depot(),
        )
        return write_inventory(self.project, self.member, files)

    def _published_certificate(self) -> ServiceCertificate | None:
        """That of all names which the member publishes; made, or renewed, as it is needed."""
        names = tuple(sorted(published.name for published in self.plan.member.published))
        return ensure_service_certificate(self.project, self.connection, names, ()) if names else None

    def configure(
        self,
        *,
        check: bool = False,
        limit: str | None = None,
        tags: str | None = None,
        full: bool = False,
        told: Callable[[Entry], None] = lambda _: None,
    ) -> RunResult:
        """Refresh the inventory and run the playbook. The result may be ``failed``; it names what went wrong.

        ``full``: also where nothing has changed since the last run. ``told``: how each workplace comes out, at once.
        """
        self.progress.step(f"inventory of {self.member}")
        changed = self.refresh_inventory()
        self.progress.line(f"inventories/{self.member}: {'written' if changed else 'unchanged'}")
        self.progress.step(f"configure the machines of {self.member}" + (" (only looking)" if check else ""))
        return configure(
            self.project,
            self.connection,
            self.member,
            progress=self.progress,
            check=check,
            limit=limit,
            tags=tags,
            full=full,
            told=told,
        )

    def ask_workstations(self, names: Collection[str]) -> dict[str, HostFacts | WindowsFacts | str]:
        """What workplaces say of themselves, by other means than those that configured them; a text: why not."""
        hosts = [host for host in hosts_to_ask(self.plan, self.connection, ()) if host.name in names]
        answers: list[HostFacts | WindowsFacts | HostSilent] = []
        if hosts:
            answers += ask_hosts(hosts, self.connection.guests, self._known_hosts(), self.progress)
        windows = [name for name in windows_to_ask(self.plan, self.connection) if name in names]
        answers += ask_windows(self.project, self.project.inventories / self.member, windows, self.progress)
        return {answer.name: answer.reason if isinstance(answer, HostSilent) else answer for answer in answers}

    def workplaces(self) -> tuple[WorkplaceStatus, ...]:
        """How the member's workplaces stand, as far as runs over them told."""
        journal = self._journal()
        # The lab's Linux machines are real hosts; Windows cannot run there.
        simulated = ("windows", "tablet") if self.connection.simulated else ()
        return workplace_statuses(self.plan.member, journal.hosts, journal.withheld, simulated_platforms=simulated)

    def _journal(self) -> Journal:
        return Journal(runs_dir(self.project, self.connection, self.member))

    def _depot(self) -> DepotSource | None:
        """What the depots serve, as far as anything was published."""
        depot = depot_of(self.project, self.connection)
        latest = depot.latest()
        return DepotSource(latest[0], depot.key_files.public) if latest else None

    # --- restore test -----------------------------------------------------------------------

    def restore_test(self, *, servers: Collection[str] | None = None, only_due: bool = False) -> list[Attempt]:
        """Restore the newest backup of every copy into a scratch folder and compare it; proofs are kept.

        ``servers`` limits it to these, ``only_due`` to copies without a valid proof. Raises OnboardError for a server
        that is not backed up.
        """
        return prove_restores(
            self.plan,
            self.connection,
            known_hosts=self._known_hosts(),
            reports=self.reports,
            servers=servers,
            only_due=only_due,
            progress=self.progress,
        )

    # --- verify and report ------------------------------------------------------------------

    def verify(self) -> AuditReport:
        """Audit vCenter and hosts against the plan, by other means than those that wrote; kept for the protocol."""
        known_hosts = self._known_hosts()
        present = self.existing_workstations()
        absent = () if present is None else [w.name for w in self.plan.member.workstations if w.name not in present]
        audit = verify(
            self.plan,
            self.connection,
            known_hosts=known_hosts,
            windows=lambda names: ask_windows(
                self.project, self.project.inventories / self.member, names, self.progress
            ),
            not_started=absent,
            restores=load_restores(self.reports),
            now=datetime.now(UTC),
            progress=self.progress,
        )
        save_audit(audit, self.reports)
        return audit

    def report(self) -> Documents:
        """Write the hand-over protocol from the last audit and the last configuration run."""
        self.progress.step("hand-over protocol")
        run = last_run(self.project, self.connection, self.member)
        return write_documents(
            self.project,
            self.connection,
            self.plan,
            load_audit(self.reports),
            summarise(run) if run else None,
            restores=load_restores(self.reports),
            baseline=self.baseline(),
            folder=self.reports,
            now=datetime.now(UTC),
            proof=kept_proof(self.project, self.plan, self.reports),
            workplaces=self.workplaces(),
        )

    def _known_hosts(self) -> Path:
        """Write down the host keys of every machine that the member has or uses, as far as they are known."""
        member = self.plan.member
        machines: list[Machine] = [*member.servers, *member.workstations, *self.plan.platform.shared_servers]
        machines += self.shared.own.member.servers if self.shared.own is not None else ()
        known_hosts = self.connection.state_dir(self.project) / "known_hosts" / self.member
        write_atomically(known_hosts, known_hosts_text(self.connection, machines, self._host_keys()))
        return known_hosts

    def baseline(self) -> Baseline:
        """How far the requirements of BSI IT-Grundschutz are fulfilled, by both stacks' states and the last audit."""
        today = datetime.now(UTC).astimezone(ZoneInfo(self.plan.platform.baseline.timezone)).date()
        member, platform = self._driver.state(self.member), self._driver.state(PLATFORM)
        verdicts = [
            *(judge(from_state(platform), today) if platform else ()),
            # The waivers that are declared now, whether or not the stack has been brought up to date since.
            *(judge(from_state(member), today, map(_waiver, self.plan.member.waivers)) if member else ()),
        ]
        try:
            audit: AuditReport | None = load_audit(self.reports)
        except NotReadyError:
            audit = None
        return baseline(self.plan, verdicts, audit)

    # --- what is there ----------------------------------------------------------------------

    def _lab_workstations(self) -> Mapping[str, str]:
        """Host name → ssh host key of the workstations that run in the lab."""
        hosts = instance.status(self.connection.name).hosts
        wanted = {workstation.name for workstation in self.plan.member.workstations}
        return {
            host.name: host.host_key
            for host in hosts
            if host.kind is HostKind.WORKSTATION and host.state is HostState.RUNNING and host.name in wanted
        }

    def existing_workstations(self) -> set[str] | None:
        """The workstations that exist: in the lab those that run, in a real data centre all (None)."""
        return set(self._lab_workstations()) | self._simulated_windows() if self.connection.simulated else None

    @property
    def _windows_hosts(self) -> Hosts:
        return Hosts(simulated_windows_dir(self.project, self.connection))

    def _simulated_windows(self) -> set[str]:
        """The member's Windows workstations that the lab simulates."""
        return set(self._windows_hosts.names()) & {workstation.name for workstation in self.plan.member.workstations}

    def _host_keys(self) -> dict[str, str]:
        with session(self.connection) as vcenter:
            published = host_keys(vcenter, self.plan.member.folder)
        in_lab = self._lab_workstations() if self.connection.simulated else {}
        return {**published, **in_lab, **self.shared.host_keys()}


def _waiver(planned: WaiverPlan) -> Waiver:
    return Waiver(
        key=planned.key,
        rule=planned.rule,
        resource=planned.resource,
        reason=planned.reason,
        owner=planned.owner,
        expires=planned.expires,
    )
