"""What the hand-over protocol says, as plain data: its JSON is this, its HTML shows exactly this.

Everything comes from the plan, the audit and the last configuration run. Nothing is
claimed that was not looked at: what nobody compared stands among the open points.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from importlib.metadata import version
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from ksm_onboard.configuring import results
from ksm_onboard.configuring.results import RunResult
from ksm_onboard.drilling.result import DrillResult
from ksm_onboard.firewall.record import ProofRecord
from ksm_onboard.planning.plan import ApplicationPlan, BackupPlan, DataDiskPlan, MemberPlan, Plan, ServerPlan
from ksm_onboard.planning.workplace_status import WorkplaceStatus
from ksm_onboard.reporting import wording
from ksm_onboard.reporting.baseline import Baseline
from ksm_onboard.reporting.baseline_wording import STATUS_DE, words
from ksm_onboard.reporting.connections import Connections, connections
from ksm_onboard.reporting.connections import open_points as open_connections
from ksm_onboard.reporting.drills import Drill, drills
from ksm_onboard.reporting.drills import open_points as open_drills
from ksm_onboard.verifying.audit_hosts import bookmarked
from ksm_onboard.verifying.audit_report import AuditReport, Difference, MachineSeen, Reason
from ksm_onboard.verifying.comparison import EVERYTHING
from ksm_onboard.verifying.restores import Restores


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HostResult(_Part):
    """How the configuration of one machine ended; ``message`` and ``notes`` are the run's own words."""

    name: str
    outcome: Literal["failed", "unreachable", "unfinished", "changed", "ok"]
    changed: int
    message: str = ""
    notes: tuple[str, ...] = ()


class ConfigurationSummary(_Part):
    """The last configuration run: when, how it ended, and how it ended on each machine.

    ``trial``: it only looked; ``partial``: it was limited to some machines or tasks;
    ``problem``: why the run as a whole could not go on.
    """

    started: datetime
    ended: datetime | None
    outcome: Literal["running", "finished", "failed", "interrupted"]
    hosts: tuple[HostResult, ...]
    trial: bool = False
    partial: bool = False
    problem: str = ""

    @property
    def by_outcome(self) -> list[tuple[str, list[HostResult]]]:
        """The machines of each outcome, worst first; outcomes that nobody had are left out."""
        grouped = ((words, [h for h in self.hosts if h.outcome == key]) for key, words in HOST_OUTCOMES.items())
        return [(words, hosts) for words, hosts in grouped if hosts]


def summarise(run: RunResult) -> ConfigurationSummary:
    """A configuration run as the protocol tells it."""
    ended = run.status in ("finished", "failed")
    return ConfigurationSummary(
        started=run.started,
        ended=run.ended,
        outcome=run.status,
        hosts=tuple(_host_result(name, host, ended=ended) for name, host in sorted(run.hosts.items())),
        trial=run.check,
        partial=run.limit is not None or run.tags is not None,
        problem=run.problem,
    )


def _host_result(name: str, host: results.HostResult, *, ended: bool) -> HostResult:
    outcome: Literal["failed", "unreachable", "unfinished", "changed", "ok"]
    if host.unreachable:
        outcome = "unreachable"
    elif host.failed or host.problems:
        outcome = "failed"
    elif not ended:
        outcome = "unfinished"
    else:
        outcome = "changed" if host.changed else "ok"
    return HostResult(
        name=name, outcome=outcome, changed=host.changed, message="; ".join(host.problems), notes=host.notes
    )


class Party(_Part):
    """One side of the hand-over."""

    side: str
    organisation: str
    signs: str


class Site(_Part):
    """A building of the member."""

    name: str
    address: str
    workstations: int
    printers: int


class Zone(_Part):
    """A network zone and how many machines it holds."""

    title: str
    vlan: int
    cidr: str
    gateway: str
    port_group: str
    servers: int
    workstations: int


class Server(_Part):
    """A declared server."""

    name: str
    role: str
    address: str
    zone: str
    section: str
    cpus: int
    memory_gib: int
    system_disk_gib: int
    applications: tuple[str, ...]


class Pair(_Part):
    """Servers that stand in for each other; ``differences`` of their rule and their placement as a pair."""

    key: str
    servers: tuple[str, ...]
    sections: tuple[str, ...]
    differences: int


class Tier(_Part):
    """A storage tier and what the member has on it."""

    key: str
    mirrored: bool
    datastores: tuple[str, ...]
    system_disks: int
    data_disks: int
    size_gib: int


class DataDisk(_Part):
    """A disk that outlives its server."""

    server: str
    name: str
    mount: str
    size_gib: int
    tier: str
    datastore: str
    file: str


class Share(_Part):
    """A network drive."""

    name: str
    server: str
    path: str
    groups: tuple[str, ...]
    comment: str


class PrintQueue(_Part):
    """A print queue."""

    name: str
    server: str
    site: str
    model: str
    target: str


class PublishedName(_Part):
    """A web application that is published, and from which servers."""

    name: str
    servers: tuple[str, ...]
    proxies: tuple[str, ...]


class Database(_Part):
    """A database and where it runs."""

    name: str
    owner: str
    primary: str
    standbys: tuple[str, ...]


class Application(_Part):
    """An application and the versions that machines told; ``found_on`` of ``asked`` machines have it completely.

    ``provided`` says how workplaces get it where it is not by packages; ``checkable``: there is something to look for.
    """

    product: str
    vendor: str
    provided: str
    checkable: bool
    packages: tuple[str, ...]
    versions: tuple[str, ...]
    planned_on: int
    asked: int
    found_on: int
    uncertain: tuple[str, ...]


class InstalledApplication(_Part):
    """An application of a department; ``found_on`` of the ``asked`` machines that should have it."""

    product: str
    provided: str
    checkable: bool
    versions: tuple[str, ...]
    asked: int
    found_on: int


class Department(_Part):
    """The workplaces of one department; applications as found on those that were asked."""

    name: str
    planned: int
    asked: int
    sites: tuple[str, ...]
    not_present: str
    applications: tuple[InstalledApplication, ...]


class Workstation(_Part):
    """A workplace; ``asked`` if it was looked at, ``state`` how runs left it."""

    name: str
    address: str
    department: str
    site: str
    profile: str
    platform: str
    asked: bool
    state: str = ""
    simulated: bool = False


class BackupClass(_Part):
    """How data are backed up, of the classes that the member uses."""

    title: str
    rpo_hours: int
    interval_minutes: int
    keep: str
    restore_test_days: int


class BackupCopy(_Part):
    """One copy of one disk, and the last restore test that it passed; ``problem``: why a later one failed."""

    place: str
    tested: datetime | None
    taken: datetime | None
    snapshot: str
    files: int
    size_bytes: int
    databases: tuple[str, ...]
    manifest: str
    problem: str


class Backup(_Part):
    """What of one disk is backed up; without copies, ``reason`` says why nothing is."""

    server: str
    disk: str
    content: str
    title: str
    copies: tuple[BackupCopy, ...]
    reason: str


class AreaResult(_Part):
    """How much was compared in an area."""

    area: str
    points: int
    differences: int


class DifferenceRow(_Part):
    """A difference in words; the same one on several objects is one row. ``part`` is what of them it is about."""

    area: str
    objects: tuple[str, ...]
    part: str
    attribute: str
    kind: str
    expected: str
    found: str
    how_seen: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The objects drawn together, and the part: ``gra-ws0001 bis gra-ws0003: 7zip``."""
        names = wording.name_ranges(list(self.objects))
        return f"{names}: {self.part}" if self.part else names


class AuditSection(_Part):
    """The audit; ``gaps`` counts objects of which nothing could be looked at, ``differing`` the points that differ."""

    at: datetime
    points: int
    differing: int
    areas: tuple[AreaResult, ...]
    differences: tuple[DifferenceRow, ...]
    gaps: int


class WaiverRow(_Part):
    """An exception that is granted, or was."""

    rule: str
    resource: str
    reason: str
    owner: str
    expires: str
    expired: bool


class RequirementRow(_Part):
    """A requirement of BSI IT-Grundschutz, what became of it, and what proves that."""

    id: str
    titel: str
    level: str
    wanted: bool
    status: str
    evidence: tuple[str, ...]


class BaselineSection(_Part):
    """The coverage of the requirements; ``counts`` by result, in words."""

    catalogue: str
    edition: str
    counts: dict[str, int]
    requirements: tuple[RequirementRow, ...]


class OpenPoint(_Part):
    """Something that somebody still has to see to."""

    number: int
    kind: str
    text: str


class Protocol(_Part):
    """The whole hand-over protocol."""

    document: str
    created: datetime
    plan_fingerprint: str
    toolkit_version: str
    simulated: bool
    data_centre: str
    member: str
    member_kind: str
    domain: str
    operator: str
    platform: str
    parties: tuple[Party, ...]
    sites: tuple[Site, ...]
    network: str
    zones: tuple[Zone, ...]
    connections: Connections
    cpu_limit_ghz: int
    memory_limit_gib: int
    servers: tuple[Server, ...]
    pairs: tuple[Pair, ...]
    tiers: tuple[Tier, ...]
    data_disks: tuple[DataDisk, ...]
    shares: tuple[Share, ...]
    print_queues: tuple[PrintQueue, ...]
    databases: tuple[Database, ...]
    published: tuple[PublishedName, ...]
    backup_classes: tuple[BackupClass, ...]
    backups: tuple[Backup, ...]
    applications: tuple[Application, ...]
    departments: tuple[Department, ...]
    workstations: tuple[Workstation, ...]
    drills: tuple[Drill, ...]
    audit: AuditSection
    configuration: ConfigurationSummary | None
    baseline: BaselineSection | None
    waivers: tuple[WaiverRow, ...]
    open_points: tuple[OpenPoint, ...]


def protocol(
    plan: Plan,
    audit: AuditReport,
    configuration: ConfigurationSummary | None,
    restores: Restores,
    *,
    baseline: Baseline | None = None,
    data_centre: str,
    created: datetime,
    proof: ProofRecord | None = None,
    drilled: Sequence[DrillResult] = (),
    workplaces: Sequence[WorkplaceStatus] = (),
) -> Protocol:
    """Everything that the protocol of a member says.

    ``configuration`` is the last run, ``restores`` the proofs of restore tests, ``data_centre`` the vCenter's
    address, ``created`` now, ``proof`` that of the zones with packets if there was one, ``drilled`` the newest
    fail-over drill of each loss, ``workplaces`` how runs left the workplaces.
    Raises ValueError if the audit is another member's.
    """
    if audit.member != plan.member.key:
        raise ValueError(f"the audit is of {audit.member}, the plan of {plan.member.key}")
    member, platform = plan.member, plan.platform
    zone = ZoneInfo(platform.baseline.timezone)
    created = created.astimezone(zone)
    seen = {machine.name: machine for machine in audit.machines}
    return Protocol(
        document=f"UEP-{member.key.upper()}-{created:%Y%m%d-%H%M}",
        created=created,
        plan_fingerprint=hashlib.sha256(plan.model_dump_json().encode()).hexdigest()[:16],
        toolkit_version=version("ksm-onboard"),
        simulated=audit.simulated,
        data_centre=data_centre,
        member=member.name,
        member_kind=wording.MEMBER_KINDS[member.kind],
        domain=member.dns_domain,
        operator=platform.operator,
        platform=platform.name,
        parties=(
            Party(side="Übergebende Stelle", organisation=member.name, signs=member.responsible),
            Party(side="Übernehmende Stelle", organisation=platform.operator, signs=platform.responsible),
        ),
        sites=tuple(_sites(member)),
        network=str(member.block),
        zones=tuple(_zones(member)),
        connections=connections(plan, proof, zone),
        cpu_limit_ghz=member.resource_pool.cpu_limit_mhz // 1000,
        memory_limit_gib=member.resource_pool.memory_limit_mib // 1024,
        servers=tuple(_servers(plan)),
        pairs=tuple(_pairs(plan, audit)),
        tiers=tuple(_tiers(plan)),
        data_disks=tuple(_data_disk(server, disk) for server in member.servers for disk in server.disks),
        shares=tuple(
            Share(name=s.name, server=s.server, path=s.path, groups=s.groups, comment=s.comment) for s in member.shares
        ),
        print_queues=tuple(_queues(member)),
        databases=tuple(
            Database(name=d.name, owner=d.owner, primary=d.primary, standbys=d.standbys) for d in member.databases
        ),
        published=tuple(
            PublishedName(
                name=p.name,
                servers=p.servers,
                proxies=tuple(server.name for server in plan.platform.central_servers("reverse-proxy")),
            )
            for p in member.published
        ),
        backup_classes=tuple(_backup_classes(plan)),
        backups=tuple(_backups(plan, restores, zone)),
        applications=tuple(_applications(member, seen)),
        departments=tuple(_departments(member, seen, audit)),
        workstations=tuple(_workstations(member, seen, workplaces, zone)),
        drills=drills(drilled, zone),
        audit=_audit(audit, zone),
        configuration=configuration and _in_zone(configuration, zone),
        baseline=baseline and _baseline(baseline),
        waivers=tuple(_waivers(member, created.date())),
        open_points=tuple(
            OpenPoint(number=number, kind=kind, text=text)
            for number, (kind, text) in enumerate(
                (
                    *_open_points(plan, audit, configuration),
                    *open_connections(proof),
                    *open_drills(plan, drilled),
                    *_policy_points(plan, baseline, created.date()),
                ),
                start=1,
            )
        ),
    )


# --- what stands --------------------------------------------------------------------------


def _sites(member: MemberPlan) -> Iterator[Site]:
    for site in member.sites:
        yield Site(
            name=site.name,
            address=site.address,
            workstations=sum(1 for w in member.workstations if w.site == site.key),
            printers=len({q.name for q in member.print_queues if q.site == site.key}),
        )


def _zones(member: MemberPlan) -> Iterator[Zone]:
    for zone in member.zones:
        yield Zone(
            title=zone.title,
            vlan=zone.vlan,
            cidr=str(zone.cidr),
            gateway=str(zone.gateway),
            port_group=zone.port_group,
            servers=sum(1 for s in member.servers if s.zone == zone.key),
            workstations=sum(1 for w in member.workstations if w.zone == zone.key),
        )


def _servers(plan: Plan) -> Iterator[Server]:
    zones = {zone.key: zone.title for zone in plan.member.zones}
    products = _products(plan.member)
    for server in plan.member.servers:
        yield Server(
            name=server.name,
            role=wording.ROLES[server.role],
            address=str(server.address),
            zone=zones[server.zone],
            section=server.section,
            cpus=server.cpus,
            memory_gib=server.memory_mib // 1024,
            system_disk_gib=server.system_disk_gib,
            applications=tuple(products[key] for key in server.applications),
        )


def _products(member: MemberPlan) -> dict[str, str]:
    return {application.key: application.shown for application in member.applications}


def _pairs(plan: Plan, audit: AuditReport) -> Iterator[Pair]:
    for pair in plan.member.pairs:
        yield Pair(
            key=pair.key,
            servers=pair.servers,
            sections=tuple(plan.member.server(name).section for name in pair.servers),
            differences=sum(1 for difference in audit.differences if difference.object == pair.rule),
        )


def _tiers(plan: Plan) -> Iterator[Tier]:
    servers = plan.member.servers
    for tier in plan.platform.tiers:
        systems = [server.system_disk_gib for server in servers if server.tier == tier.key]
        data = [disk.size_gib for server in servers for disk in server.disks if disk.tier == tier.key]
        if systems or data:
            yield Tier(
                key=tier.key,
                mirrored=tier.mirrored,
                datastores=tuple(store.name for store in plan.member.datastores if store.tier == tier.key),
                system_disks=len(systems),
                data_disks=len(data),
                size_gib=sum(systems) + sum(data),
            )


def _data_disk(server: ServerPlan, disk: DataDiskPlan) -> DataDisk:
    return DataDisk(
        server=server.name,
        name=disk.name,
        mount=disk.mount,
        size_gib=disk.size_gib,
        tier=disk.tier,
        datastore=disk.datastore,
        file=f"[{disk.datastore}] {disk.vmdk}",
    )


def _queues(member: MemberPlan) -> Iterator[PrintQueue]:
    sites = {site.key: site.name for site in member.sites}
    for queue in member.print_queues:
        yield PrintQueue(
            name=queue.name,
            server=queue.server,
            site=sites[queue.site],
            model=queue.model,
            target=queue.device_uri,
        )


# --- backup -------------------------------------------------------------------------------


def _backup_classes(plan: Plan) -> Iterator[BackupClass]:
    used = {backup.backup_class for backup in plan.member.backups}
    for backup_class in plan.platform.backup_classes:
        if backup_class.key in used:
            yield BackupClass(
                title=backup_class.title,
                rpo_hours=backup_class.rpo_hours,
                interval_minutes=backup_class.interval_minutes,
                keep=wording.retention(backup_class.keep.model_dump()),
                restore_test_days=backup_class.restore_test_days,
            )


def _backups(plan: Plan, restores: Restores, zone: ZoneInfo) -> Iterator[Backup]:
    titles = {backup_class.key: backup_class.title for backup_class in plan.platform.backup_classes}
    for backup in plan.member.backups:
        what = {"files": "Dateien", "databases": "Datenbanken", "directory": "Verzeichnis"}[backup.kind]
        yield Backup(
            server=backup.server,
            disk=backup.name,
            content=f"{what} ({', '.join(backup.covers)})" if backup.covers else what,
            title=titles[backup.backup_class] if backup.backup_class else "",
            copies=tuple(_backup_copy(plan, backup, key, restores, zone) for key in backup.copies),
            reason=backup.reason,
        )


def _backup_copy(plan: Plan, backup: BackupPlan, key: str, restores: Restores, zone: ZoneInfo) -> BackupCopy:
    repository = plan.platform.backup_repository(key)
    copy = (backup.server, backup.name, key)
    proof, failure = restores.proof(copy), restores.failure(copy)
    restored = proof.restored if proof else None
    return BackupCopy(
        place=f"{repository.server} ({wording.LOCATIONS[repository.location]})",
        tested=proof.at.astimezone(zone) if proof else None,
        taken=restored.taken.astimezone(zone) if restored else None,
        snapshot=restored.snapshot if restored else "",
        files=restored.files if restored else 0,
        size_bytes=restored.bytes if restored else 0,
        databases=tuple(
            f"{name}: {wording.counted(found.tables, 'Tabelle', 'Tabellen')}, "
            f"{wording.counted(found.rows, 'Zeile', 'Zeilen')}"
            for name, found in (restored.databases if restored else {}).items()
        ),
        manifest=restored.manifest if restored else "",
        problem=failure.problem if failure else "",
    )


# --- applications and workplaces ----------------------------------------------------------


def _complete(machine: MachineSeen, key: str) -> bool:
    packages = machine.applications.get(key)
    return bool(packages) and all((packages or {}).values())


def _versions(machines: Iterable[MachineSeen], key: str) -> tuple[str, ...]:
    """``package version`` as the machines told them; several versions of one package all show."""
    found = {
        f"{package} {version}"
        for machine in machines
        for package, version in machine.applications.get(key, {}).items()
        if version
    }
    return tuple(sorted(found))


def _applications(member: MemberPlan, seen: Mapping[str, MachineSeen]) -> Iterator[Application]:
    for application in member.applications:
        planned = [m.name for m in member.servers if application.key in m.applications]
        planned += [m.name for m in member.workstations if application.key in m.applications]
        asked = [seen[name] for name in planned if name in seen]
        yield Application(
            product=application.shown,
            vendor=application.vendor,
            provided=_provided(application),
            checkable=_checkable(application),
            packages=application.packages,
            versions=_versions(asked, application.key),
            planned_on=len(planned),
            asked=len(asked),
            found_on=sum(1 for machine in asked if _complete(machine, application.key)),
            uncertain=application.uncertain,
        )


def _provided(application: ApplicationPlan) -> str:
    """How workplaces get an application that has no packages; empty where it has."""
    if application.packages:
        return ""
    if not application.in_browser:
        package = application.windows_package
        return f"nur für Windows: Paket {package}" if package else "nur für Windows; kein Paket vorhanden"
    return f"im Browser: {application.url}" if application.url else "im Browser; Adresse noch nicht angegeben"


def _checkable(application: ApplicationPlan) -> bool:
    return bool(application.packages) or bookmarked(application) is not None


def _departments(member: MemberPlan, seen: Mapping[str, MachineSeen], audit: AuditReport) -> Iterator[Department]:
    products, sites = _products(member), {site.key: site.name for site in member.sites}
    by_key = {application.key: application for application in member.applications}
    away = {gap.object for gap in audit.not_checked if gap.what == EVERYTHING}
    for key, name in member.departments.items():
        planned = [w for w in member.workstations if w.department == key]
        if not planned:
            continue
        asked = [seen[w.name] for w in planned if w.name in seen]
        wanted = sorted({application for w in planned for application in w.applications}, key=products.__getitem__)
        yield Department(
            name=name,
            planned=len(planned),
            asked=len(asked),
            sites=tuple(dict.fromkeys(sites[w.site] for w in planned)),
            not_present=wording.name_ranges([w.name for w in planned if w.name in away]),
            applications=tuple(_installed(by_key[application], asked) for application in wanted),
        )


def _installed(application: ApplicationPlan, asked: Sequence[MachineSeen]) -> InstalledApplication:
    having = [machine for machine in asked if application.key in machine.applications]
    return InstalledApplication(
        product=application.shown,
        provided=_provided(application),
        checkable=_checkable(application),
        versions=_versions(having, application.key),
        asked=len(having),
        found_on=sum(1 for machine in having if _complete(machine, application.key)),
    )


def _workstations(
    member: MemberPlan, seen: Mapping[str, MachineSeen], told: Sequence[WorkplaceStatus], zone: ZoneInfo
) -> Iterator[Workstation]:
    sites = {site.key: site.name for site in member.sites}
    statuses = {status.name: status for status in told}
    for workstation in member.workstations:
        status = statuses.get(workstation.name)
        yield Workstation(
            name=workstation.name,
            address=str(workstation.address),
            department=member.departments[workstation.department],
            site=sites[workstation.site],
            profile=workstation.profile,
            platform=wording.PLATFORMS[workstation.platform],
            asked=workstation.name in seen,
            state=wording.workplace_state(status, zone) if status else "",
            simulated=status.simulated if status else False,
        )


# --- audit and run ------------------------------------------------------------------------


def _audit(audit: AuditReport, zone: ZoneInfo) -> AuditSection:
    return AuditSection(
        at=audit.at.astimezone(zone),
        points=audit.points,
        areas=tuple(
            AreaResult(area=wording.AREAS[tally.area], points=tally.points, differences=tally.differences)
            for tally in audit.tallies
            if tally.applicable
        ),
        differing=len(audit.differences),
        differences=tuple(_differences(audit)),
        gaps=len({gap.object for gap in audit.not_checked if gap.what == EVERYTHING}),
    )


def _differences(audit: AuditReport) -> Iterator[DifferenceRow]:
    alike: dict[Difference, list[Difference]] = defaultdict(list)
    for difference in audit.differences:
        part = difference.object.partition(": ")[2]
        alike[difference.model_copy(update={"object": part, "how_seen": ""})].append(difference)
    for common, found in alike.items():
        yield DifferenceRow(
            area=wording.AREAS[common.area],
            objects=tuple(difference.object.partition(": ")[0] for difference in found),
            part=common.object,
            attribute=wording.attribute(common.attribute),
            kind=wording.KINDS[common.kind],
            expected=wording.value(common.expected),
            found=wording.value(common.found),
            how_seen=tuple(dict.fromkeys(difference.how_seen for difference in found)),
        )


def _in_zone(run: ConfigurationSummary, zone: ZoneInfo) -> ConfigurationSummary:
    ended = run.ended and run.ended.astimezone(zone)
    return run.model_copy(update={"started": run.started.astimezone(zone), "ended": ended})


# --- Grundschutz --------------------------------------------------------------------------


def _baseline(found: Baseline) -> BaselineSection:
    return BaselineSection(
        catalogue=found.catalogue,
        edition=found.edition,
        counts={STATUS_DE[status]: number for status, number in found.counts.items()},
        requirements=tuple(
            RequirementRow(
                id=covered.id,
                titel=covered.titel,
                level=covered.level,
                wanted=covered.wanted,
                status=STATUS_DE[covered.status],
                evidence=tuple(words(evidence, "de") for evidence in covered.evidence),
            )
            for covered in found.requirements
        ),
    )


def _waivers(member: MemberPlan, today: date) -> Iterator[WaiverRow]:
    for waiver in member.waivers:
        yield WaiverRow(
            rule=waiver.rule,
            resource=waiver.resource,
            reason=waiver.reason,
            owner=waiver.owner,
            expires=wording.date(waiver.expires),
            expired=waiver.expires < today,
        )


def _policy_points(plan: Plan, baseline: Baseline | None, today: date) -> Iterator[tuple[str, str]]:
    for covered in baseline.violated if baseline else ():
        why = "; ".join(words(evidence, "de") for evidence in covered.evidence if evidence.wrong)
        yield "Grundschutz", f"{covered.id} {covered.titel} ({covered.level}) ist verletzt: {why}."
    for row in _waivers(plan.member, today):
        until = f"seit {row.expires} abgelaufen" if row.expired else f"gültig bis {row.expires}"
        yield (
            "Ausnahme",
            f"Regel {row.rule} für {row.resource}: {row.reason} Verantwortlich: {row.owner}; {until}.",
        )


# --- open points --------------------------------------------------------------------------


def _open_points(
    plan: Plan, audit: AuditReport, configuration: ConfigurationSummary | None
) -> Iterator[tuple[str, str]]:
    for row in _differences(audit):
        yield "Abweichung", _told(row)
    for text in _gap_texts(audit):
        yield "Nicht geprüft", text
    yield from _run_points(configuration)
    for application in plan.member.applications:
        if application.uncertain:
            fields = ", ".join(application.uncertain)
            yield "Unbestätigt", f"{application.product}: im Anwendungskatalog nicht bestätigte Angaben: {fields}"
    if audit.simulated:
        yield (
            "Simulation",
            "vCenter, Hosts und Datenspeicher sind simuliert; Server und Arbeitsplätze sind Debian-Systeme auf einem "
            "einzigen Rechner. Vor der Abnahme ist der Lauf im echten Rechenzentrum zu wiederholen.",
        )
    if planned_only := sorted({gap.object for gap in audit.not_checked if gap.reason is Reason.NOT_LINUX}):
        yield (
            "Ausstehend",
            f"{_names(planned_only)}: deklariert und geplant, aber noch nicht eingerichtet; "
            "eingerichtet werden in diesem Rechenzentrum bisher nur Linux-Geräte.",
        )
    if simulated := [machine.name for machine in audit.machines if machine.simulated]:
        yield (
            "Simulation",
            f"{_names(simulated)}: Windows-Arbeitsplätze, die es hier nicht gibt. Ein Nachbau hat die Aufträge geprüft "
            "und beantwortet; auf keinem Windows wurde etwas ausgeführt.",
        )
    yield "Ausstehend", "Anbindung der Standorte und Regeln des Zonenübergangs (Firewall) einrichten und prüfen."
    if plan.member.print_queues:
        yield (
            "Ausstehend",
            "Je Drucker eine Testseite drucken: Die Warteschlangen bestehen, kein Gerät wurde angesprochen.",
        )
    if plan.member.published:
        yield (
            "Hinweis",
            "Veröffentlichte Webanwendungen haben Zertifikate der eigenen Zertifizierungsstelle, denen nur betreute "
            "Geräte vertrauen. Zugang und Zertifikate für das Internet richtet dieses Werkzeug nicht ein.",
        )
    for backup in plan.member.backups:
        if not backup.copies:
            yield "Hinweis", f"{backup.server}, Datenlaufwerk {backup.name}: wird nicht gesichert ({backup.reason})."
    if any(backup.copies for backup in plan.member.backups):
        yield (
            "Ausstehend",
            "Sicherungsspeicher an die Überwachung anschließen: Ein Ausfall meldet sich nur im Protokoll.",
        )


def _told(row: DifferenceRow) -> str:
    if row.kind == wording.KINDS["extra"]:
        return f"{row.area}, {row.subject}: {row.attribute} vorhanden, aber nicht deklariert."
    if row.kind == wording.KINDS["missing"]:
        wanted = "" if row.expected in ("ja", "–") else f" ({row.expected})"
        return f"{row.area}, {row.subject}: {row.attribute}{wanted} fehlt."
    return f"{row.area}, {row.subject}: {row.attribute} soll „{row.expected}“ sein, ist „{row.found}“."


def _gap_texts(audit: AuditReport) -> Iterator[str]:
    """Gaps drawn together: what is missing for the same reason on the same objects is one point."""
    by_object: dict[tuple[str, Reason], list[str]] = defaultdict(list)
    for gap in audit.not_checked:
        what = wording.AREAS[gap.area] if gap.what == EVERYTHING else wording.attribute(gap.what)
        by_object[gap.object, gap.reason].append(what)
    objects: dict[tuple[Reason, tuple[str, ...]], list[str]] = defaultdict(list)
    for (name, reason), whats in by_object.items():
        objects[reason, tuple(dict.fromkeys(whats))].append(name)
    for (reason, together), names in objects.items():
        yield f"{_names(names)}: {_list(together)} ({wording.REASONS[reason]})."


def _names(names: Sequence[str]) -> str:
    text = wording.name_ranges(list(names))
    return text if len(names) == 1 else f"{len(names)} Geräte ({text})"


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} und {words[-1]}"


def _run_points(run: ConfigurationSummary | None) -> Iterator[tuple[str, str]]:
    if run is None:
        yield "Nicht geprüft", "Für dieses Mitglied ist kein Konfigurationslauf aufgezeichnet."
        return
    if run.outcome != "finished":
        because = f": {run.problem}" if run.problem else "."
        yield "Abweichung", f"Der letzte Konfigurationslauf {RUN_OUTCOMES[run.outcome]}{because}"
    if run.trial:
        yield "Nicht geprüft", "Der letzte Konfigurationslauf war ein Probelauf; er hat nichts geändert."
    if run.partial:
        yield "Nicht geprüft", "Der letzte Konfigurationslauf umfasste nur einen Teil der Geräte oder Aufgaben."
    for host in run.hosts:
        if host.outcome in ("failed", "unreachable", "unfinished"):
            because = host.message or "ohne Meldung"
            yield "Abweichung", f"Konfigurationslauf, {host.name}: {HOST_OUTCOMES[host.outcome]}: {because}"
    noted: dict[str, list[str]] = defaultdict(list)
    for host in run.hosts:
        for note in host.notes:
            noted[note].append(host.name)
    for note, names in noted.items():
        yield "Hinweis", f"{_names(names)}: Meldung des Konfigurationslaufs: „{note}“"


RUN_OUTCOMES: Mapping[str, str] = {
    "finished": "wurde vollständig abgeschlossen",
    "failed": "endete mit Fehlern",
    "interrupted": "wurde abgebrochen",
    "running": "war beim Erstellen noch nicht beendet",
}
# Worst first.
HOST_OUTCOMES: Mapping[str, str] = {
    "failed": "fehlgeschlagen",
    "unreachable": "nicht erreichbar",
    "unfinished": "nicht abgeschlossen",
    "changed": "geändert",
    "ok": "unverändert",
}
