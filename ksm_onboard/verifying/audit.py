"""The audit of one member: read vCenter, ask the hosts, compare with the plan, keep the result.

Nothing here looks at Pulumi's state or at what Ansible reported.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from ksm_onboard.atomic import write_atomically
from ksm_onboard.connection import Connection
from ksm_onboard.depot.serving import served
from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.plan import Plan
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project
from ksm_onboard.verifying.audit_depots import DepotsSeen, compare_depots
from ksm_onboard.verifying.audit_hosts import compare_hosts, hosts_to_ask, windows_to_ask
from ksm_onboard.verifying.audit_report import AuditReport, Reason
from ksm_onboard.verifying.audit_vcenter import compare_vcenter, missing_servers
from ksm_onboard.verifying.backups import BackupsSeen, compare_backups, look_at_backups
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.host_facts import HostFacts, HostSilent
from ksm_onboard.verifying.hosts import ask_hosts
from ksm_onboard.verifying.restores import Restores
from ksm_onboard.verifying.vcenter_facts import VCenterFacts, read_vcenter
from ksm_onboard.verifying.watchers import Sent, WatchersSeen, compare_watchers, look_at_watchers, senders_of
from ksm_onboard.verifying.windows_hosts import WindowsFacts

AUDIT_FILE = "audit.json"


def verify(
    plan: Plan,
    connection: Connection,
    *,
    known_hosts: Path,
    windows: Callable[[Sequence[str]], Sequence[WindowsFacts | HostSilent]],
    not_started: Collection[str],
    restores: Restores,
    now: datetime,
    progress: Progress,
    published: str | None = None,
) -> AuditReport:
    """Look at everything that stands for a member and compare it with its plan.

    ``windows`` asks the Windows workstations of these names. ``not_started`` names machines that are
    known not to exist (workstations that the lab has not started): they are listed as not checked.
    Every other machine that does not answer is a difference. ``restores`` are the proofs of restore
    tests, ``now`` is the time that the report carries, ``published`` the id of what software depots among the servers
    should serve. Raises NotReadyError if vCenter, the ssh key or
    ``known_hosts`` cannot be used, or Ansible cannot begin.
    """
    progress.step("Reading vCenter")
    facts = read_vcenter(connection, plan)
    progress.line(f"{len(facts.vms)} VMs, {len(facts.port_groups)} port groups, {len(facts.cluster.rules)} rules")
    absent = dict.fromkeys(not_started, Reason.NOT_STARTED)
    absent |= dict.fromkeys(missing_servers(plan, facts), Reason.VM_MISSING)
    mark = f"mark {secrets.token_hex(16)}"
    hosts = hosts_to_ask(plan, connection, absent, mark=mark)
    progress.step(f"Asking {len(hosts)} machines")
    answers = ask_hosts(hosts, connection.guests, known_hosts, progress)
    on_windows = windows_to_ask(plan, connection, absent)
    if on_windows:
        progress.step(f"Asking {len(on_windows)} Windows workstations")
    told = [*answers, *windows(on_windows)]
    progress.step("Asking the backup repositories")
    backups = look_at_backups(plan, connection, restores, known_hosts, progress)
    depots = _look_at_depots(plan, connection, published, progress)
    progress.step("Asking log collectors and monitoring")
    watchers = look_at_watchers(plan, connection, Sent(mark, senders_of(plan, told)), known_hosts, progress)
    return audit(plan, connection, facts, told, absent, backups=backups, watchers=watchers, depots=depots, now=now)


def _look_at_depots(plan: Plan, connection: Connection, published: str | None, progress: Progress) -> DepotsSeen:
    depots = {
        server.name: connection.guests.reachable_at(server.address)
        for server in plan.member.servers
        if "depot" in server.central_roles
    }
    if not depots:
        return DepotsSeen()
    progress.step(f"Asking {len(depots)} software depots")
    return DepotsSeen(published, served(depots, connection.trust.root_ca_file))


def audit(
    plan: Plan,
    connection: Connection,
    facts: VCenterFacts,
    answers: Iterable[HostFacts | WindowsFacts | HostSilent],
    absent: Mapping[str, Reason],
    *,
    backups: BackupsSeen,
    watchers: WatchersSeen,
    now: datetime,
    depots: DepotsSeen | None = None,
) -> AuditReport:
    """Compare a plan with what was seen. Pure, but for the root certificate that hosts must trust."""
    points = Comparison()
    compare_vcenter(plan, facts, points)
    told = tuple(answers)
    machines = compare_hosts(plan, connection, told, absent, points)
    answered = [answer.name for answer in told if not isinstance(answer, HostSilent)]
    compare_watchers(plan, watchers, answered, absent, points)
    compare_backups(plan, backups, now, points)
    compare_depots(depots or DepotsSeen(), now, points)
    return AuditReport(
        member=plan.member.key,
        data_centre=connection.name,
        simulated=connection.simulated,
        at=now,
        tallies=points.tallies(),
        differences=tuple(points.differences),
        not_checked=tuple(points.not_checked),
        machines=machines,
    )


def reports_dir(project: Project, connection: Connection, member: str) -> Path:
    """Where a member's audits and protocols are kept."""
    return connection.state_dir(project) / "reports" / member


def save_audit(report: AuditReport, folder: Path) -> Path:
    """Keep an audit for the protocol; returns its file."""
    path = folder / AUDIT_FILE
    write_atomically(path, report.model_dump_json(indent=2) + "\n")
    return path


def load_audit(folder: Path) -> AuditReport:
    """The last audit that was kept. Raises NotReadyError if there is none or it is of another version."""
    path = folder / AUDIT_FILE
    try:
        return AuditReport.model_validate_json(path.read_text())
    except FileNotFoundError:
        raise NotReadyError(
            f"no audit yet: {path} does not exist", hint="run ksm-onboard verify first; the protocol shows its result"
        ) from None
    except (OSError, ValidationError) as error:
        raise NotReadyError(f"the audit {path} cannot be read: {error}", hint="run ksm-onboard verify again") from None
