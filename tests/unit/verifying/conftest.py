"""A world that matches Grabow's plan exactly; tests spoil one thing at a time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ksm_onboard.connection import Connection, GuestAccess, Trust, VCenterAccess
from ksm_onboard.planning.monitoring import targets
from ksm_onboard.planning.plan import DatabasePlan, DatastorePlan, Plan, ServerPlan, WorkstationPlan
from ksm_onboard.verifying.audit import audit
from ksm_onboard.verifying.audit_report import AuditReport, Reason
from ksm_onboard.verifying.backups import BackupsSeen
from ksm_onboard.verifying.cluster_settings import planned_settings
from ksm_onboard.verifying.host_facts import (
    DatabaseServerSeen,
    FollowerSeen,
    HostFacts,
    HostSilent,
    PageSeen,
    QueueSeen,
    ScreenLockSeen,
    ShareSeen,
    UnitSeen,
)
from ksm_onboard.verifying.restores import Attempt, Restored, Restores, copies_of
from ksm_onboard.verifying.storage_facts import DatastoreClusterFacts, DatastoreFacts
from ksm_onboard.verifying.vcenter_facts import (
    ClusterFacts,
    CustomisationFacts,
    DiskFacts,
    HomeFacts,
    NicFacts,
    PermissionFacts,
    PoolFacts,
    PortGroupFacts,
    RuleFacts,
    VCenterFacts,
    VmFacts,
)
from ksm_onboard.verifying.watchers import WatchersSeen

NOW = datetime(2026, 3, 2, 19, 0, tzinfo=UTC)
_SERVICES = {
    "dns": ["unbound.service"],
    "file": ["smbd.service"],
    "print": ["cups.service"],
    "database": ["postgresql@15-main.service"],
    "application": ["nginx.service"],
}


@dataclass(frozen=True)
class World:
    """A plan, and what vCenter and the hosts say."""

    plan: Plan
    connection: Connection
    vcenter: VCenterFacts
    hosts: dict[str, HostFacts | HostSilent]
    absent: dict[str, Reason]
    backups: BackupsSeen
    watchers: WatchersSeen

    @cached_property
    def report(self) -> AuditReport:
        hosts = list(self.hosts.values())
        return audit(
            self.plan,
            self.connection,
            self.vcenter,
            hosts,
            self.absent,
            backups=self.backups,
            watchers=self.watchers,
            now=NOW,
        )

    def with_vcenter(self, **changes: Any) -> World:
        return replace(self, vcenter=self.vcenter.model_copy(update=changes))

    def with_cluster(self, **changes: Any) -> World:
        return self.with_vcenter(cluster=self.vcenter.cluster.model_copy(update=changes))

    def with_vm(self, name: str, **changes: Any) -> World:
        vms = [vm.model_copy(update=changes) if vm.name == name else vm for vm in self.vcenter.vms]
        return self.with_vcenter(vms=tuple(vms))

    def with_disk(self, name: str, unit: int, **changes: Any) -> World:
        vm = next(vm for vm in self.vcenter.vms if vm.name == name)
        disks = tuple(d.model_copy(update=changes) if d.unit_number == unit else d for d in vm.disks)
        return self.with_vm(name, disks=disks)

    def with_datastore(self, name: str, **changes: Any) -> World:
        stores = [s.model_copy(update=changes) if s.name == name else s for s in self.vcenter.datastores]
        return self.with_vcenter(datastores=tuple(stores))

    def with_datastore_cluster(self, name: str, **changes: Any) -> World:
        clusters = [c.model_copy(update=changes) if c.name == name else c for c in self.vcenter.datastore_clusters]
        return self.with_vcenter(datastore_clusters=tuple(clusters))

    def with_port_group(self, name: str, **changes: Any) -> World:
        groups = [g.model_copy(update=changes) if g.name == name else g for g in self.vcenter.port_groups]
        return self.with_vcenter(port_groups=tuple(groups))

    def with_rule(self, name: str, **changes: Any) -> World:
        rules = [r.model_copy(update=changes) if r.name == name else r for r in self.vcenter.cluster.rules]
        return self.with_cluster(rules=tuple(rules))

    def with_host(self, host: str, **changes: Any) -> World:
        return replace(self, hosts=self.hosts | {host: self.hosts[host].model_copy(update=changes)})

    def host(self, name: str) -> HostFacts:
        facts = self.hosts[name]
        assert isinstance(facts, HostFacts)
        return facts


@pytest.fixture(scope="session")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Connection:
    folder = tmp_path_factory.mktemp("connection")
    (folder / "ca.pem").write_bytes(_certificate())
    return Connection(
        name="lab",
        simulated=True,
        vcenter=VCenterAccess(server="127.0.0.1:1", user="svc", password_file=folder / "password"),
        guests=GuestAccess(private_key_file=folder / "ops", loopback_shift=0),
        trust=Trust(root_ca_file=folder / "ca.pem"),
    )


@pytest.fixture(scope="session")
def plan(plan: Plan) -> Plan:
    """Grabow's plan without the workplaces that nothing configures yet."""
    linux = tuple(w for w in plan.member.workstations if w.platform == "linux")
    return plan.model_copy(update={"member": plan.member.model_copy(update={"workstations": linux})})


@pytest.fixture
def world(plan: Plan, connection: Connection) -> World:
    return World(plan, connection, _vcenter(plan), _hosts(plan, connection), {}, _backups(plan), _watchers(plan))


def proof(server: str, source: str, repository: str, **changes: Any) -> Attempt:
    """A restore test that was passed a day ago."""
    restored = Restored(
        snapshot="0a1b2c3d",
        taken=NOW - timedelta(days=1, hours=1),
        manifest="ab" * 32,
        files=3,
        bytes=4096,
        changed_meanwhile=0,
    )
    attempt = Attempt(
        server=server, source=source, repository=repository, at=NOW - timedelta(days=1), seconds=2, restored=restored,
        problem="",
    )  # fmt: skip
    return attempt.model_copy(update=changes)


def _backups(plan: Plan) -> BackupsSeen:
    copies = [(backup.server, backup.name, key) for backup, key in copies_of(plan)]
    return BackupsSeen(
        newest={(server, key): NOW - timedelta(minutes=50) for server, _, key in copies},
        restores=Restores(proofs=tuple(proof(*copy) for copy in copies)),
    )


def _watchers(plan: Plan) -> WatchersSeen:
    machines: tuple[ServerPlan | WorkstationPlan, ...] = (*plan.member.servers, *plan.member.workstations)
    up = {target.fqdn: "up" for target in targets(plan)}
    return WatchersSeen(
        logs=dict.fromkeys(("sn-ops01", "sn-ops02"), frozenset(machine.fqdn for machine in machines)),
        targets=dict.fromkeys(("sn-ops01", "sn-ops02"), up),
    )


def _certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test root")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


# --- vCenter ------------------------------------------------------------------------------


def _vcenter(plan: Plan) -> VCenterFacts:
    member, platform = plan.member, plan.platform
    first_free = {"A": iter(platform.sections[0].hosts * 20), "B": iter(platform.sections[1].hosts * 20)}
    tags = {category: (tag,) for category, tag in member.tags.items()}
    return VCenterFacts(
        folders=("", member.folder),
        folder_tags=tags,
        vms=tuple(_vm(server, plan, next(first_free[server.section])) for server in member.servers),
        port_groups=tuple(
            PortGroupFacts(
                name=zone.port_group,
                switch=platform.switch,
                vlan=zone.vlan,
                promiscuous=False,
                mac_changes=False,
                forged_transmits=False,
                active_uplinks=plan.platform.uplinks,
            )
            for zone in member.zones
        ),
        pool=PoolFacts(name=member.key, cpu_limit_mhz=60_000, memory_limit_mib=98_304, tags=tags),
        datastores=(
            *(_datastore(store, plan) for store in member.datastores),
            DatastoreFacts(
                name="sn-library01",
                kind="VMFS",
                cluster=None,
                remote_host=None,
                remote_path=None,
                capacity_gib=2048,
                writable=True,
                hosts=(),
                tags={},
            ),
        ),
        datastore_clusters=tuple(
            DatastoreClusterFacts(
                name=cluster.name,
                storage_drs=True,
                automation="manual",
                keeps_policies=True,
                datastores=cluster.datastores[::-1],
                tags=tags,
            )
            for cluster in member.datastore_clusters
        ),
        cluster=ClusterFacts(
            name=platform.cluster,
            drs_enabled=True,
            ha_enabled=True,
            settings=planned_settings(platform.cluster_settings),
            restart_priorities={s.name: s.restart_priority for s in member.servers if s.restart_priority},
            rules=(
                *(
                    RuleFacts(
                        name=placement.rule,
                        enabled=True,
                        mandatory=False,
                        vm_group=placement.vm_group,
                        affine_host_group=placement.host_group,
                    )
                    for placement in member.placements
                ),
                *(
                    RuleFacts(name=pair.rule, enabled=True, mandatory=False, apart=pair.servers[::-1])
                    for pair in member.pairs
                ),
                RuleFacts(name="somebody-elses", enabled=True, mandatory=False, apart=("foreign1", "foreign2")),
            ),
            vm_groups={p.vm_group: p.servers[::-1] for p in member.placements} | {"foreign": ("foreign1",)},
            host_groups={section.host_group: section.hosts for section in platform.sections},
        ),
        permissions=tuple(
            PermissionFacts(on="folder", principal=p.principal.upper(), role=p.role, is_group=True, propagate=True)
            for p in member.permissions
        ),
        roles={
            role.name: ("System.Anonymous", "System.Read", "System.View", *role.privileges) for role in platform.roles
        },
    )


def _datastore(store: DatastorePlan, plan: Plan) -> DatastoreFacts:
    hosts = {section.key: section.hosts for section in plan.platform.sections}
    return DatastoreFacts(
        name=store.name,
        kind="NFS",
        cluster=store.cluster,
        remote_host=str(store.remote_host),
        remote_path=store.remote_path,
        capacity_gib=store.size_gib,
        writable=True,
        hosts=tuple(host for section in store.sections for host in hosts[section]),
        tags={category: (tag,) for category, tag in store.tags.items()},
    )


def _vm(server: ServerPlan, plan: Plan, host: str) -> VmFacts:
    return VmFacts(
        name=server.name,
        folder=plan.member.folder,
        resource_pool=plan.member.key,
        powered_on=True,
        cpus=server.cpus,
        memory_mib=server.memory_mib,
        guest_id="debian12_64Guest",
        host=host,
        addresses=("fe80::1", str(server.address)),
        nics=(NicFacts(label="Network adapter 1", port_group=server.port_group, connected=True),),
        home=HomeFacts(datastore=server.datastore, policy=f"ksm-{server.tier}", compliance="compliant"),
        disks=(
            DiskFacts(
                label="Hard disk 1",
                datastore=server.datastore,
                path=f"{server.name}/{server.name}.vmdk",
                capacity_mib=20 * 1024,
                mode="persistent",
                unit_number=0,
                policy=f"ksm-{server.tier}",
                compliance="compliant",
            ),
            *(
                DiskFacts(
                    label="Hard disk 2",
                    datastore=disk.datastore,
                    path=disk.vmdk,
                    capacity_mib=disk.size_gib * 1024,
                    mode="persistent",
                    unit_number=disk.unit_number,
                    policy=f"ksm-{disk.tier}",
                    compliance="compliant",
                )
                for disk in server.disks
            ),
        ),
        tags={category: (tag,) for category, tag in server.tags.items()},
        customisation=CustomisationFacts(
            host_name=server.name, addresses=(f"{server.address}/{server.prefix_length}",)
        ),
    )


# --- hosts --------------------------------------------------------------------------------


def _hosts(plan: Plan, connection: Connection) -> dict[str, HostFacts | HostSilent]:
    machines: tuple[ServerPlan | WorkstationPlan, ...] = (*plan.member.servers, *plan.member.workstations)
    return {m.name: _host(m, plan, connection) for m in machines if m.platform == "linux"}


def _host(machine: ServerPlan | WorkstationPlan, plan: Plan, connection: Connection) -> HostFacts:
    member, baseline = plan.member, plan.platform.baseline
    role = machine.role if isinstance(machine, ServerPlan) else None
    packages = {a.key: a.packages for a in member.applications}
    wanted = [package for key in machine.applications for package in packages[key]]
    machines: tuple[ServerPlan | WorkstationPlan, ...] = (*member.servers, *member.workstations)
    everyone: dict[str, tuple[str, ...]] = {m.fqdn: (str(m.address),) for m in machines}
    everyone |= {published.name: ("10.96.1.11", "10.96.1.12") for published in member.published}
    names = everyone if role == "dns" else {machine.fqdn: everyone[machine.fqdn]}
    central = plan.platform.resolver_addresses if role == "dns" else ()
    units = ["chrony.service", "apt-daily-upgrade.timer", *(_SERVICES[role] if role else [])]
    units += [f"ksm-backup@{b.name}.timer" for b in member.backups if b.server == machine.name]
    units += ["sssd.service"] if member.directory and machine.name in member.directory.machines else []
    units += ["syslog-ng.service", *(["prometheus-node-exporter.service"] if role else [])]
    pem = connection.trust.root_ca_file.read_bytes()
    fingerprint = hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER))
    return HostFacts(
        name=machine.name,
        host_name=machine.name,
        fqdn=machine.fqdn,
        operating_system="Debian GNU/Linux 12 (bookworm)",
        packages={"bash": "5.2.15-2+b8", "unattended-upgrades": "2.9.1", **dict.fromkeys(wanted, "1.0-1")},
        units={unit: UnitSeen(state="active", impossible=False) for unit in units},
        mounts={"/": "ext4"} | {d.mount: "ext4" for d in (machine.disks if isinstance(machine, ServerPlan) else ())},
        time_zone="Europe/Berlin",
        time_servers=tuple(sorted(baseline.ntp_servers)),
        security_updates=True,
        banner=baseline.login_banner,
        sudo_members=("ksm-support", "ops"),
        sudo_rights={"ksm-support": True},
        admin_keys={"ksm-support": ()},
        sshd={"permitrootlogin": "no", "passwordauthentication": "no", "kbdinteractiveauthentication": "no"},
        trusted_roots=frozenset({fingerprint.hexdigest(), "0" * 64}),
        log_kept=True,
        log_servers=tuple(str(connection.guests.reachable_at(a)) for a in baseline.log_servers),
        bookmarks=tuple(sorted(a.url for a in member.applications if a.url and a.key in machine.applications)),
        name_servers=tuple(map(str, machine.dns_servers)),
        dns={str(connection.guests.reachable_at(server)): names for server in (*machine.dns_servers, *central)},
        screen_lock=None if role else ScreenLockSeen(idle_seconds=600, enabled=True, delay_seconds=0, enforced=True),
        shares={
            s.name: ShareSeen(path=s.path, groups=s.groups, comment=s.comment, writable=True, guests=False)
            for s in member.shares
        }
        if role == "file"
        else None,
        queues={q.name: QueueSeen(device_uri=q.device_uri, accepting=True) for q in member.print_queues}
        if role == "print"
        else None,
        database=_database(machine.name, member.databases[0]) if role == "database" else None,
        # The first server asks both reverse proxies for everything that is published.
        pages=tuple(
            PageSeen(status=200, problem="", plain=f"https://{published.name}/")
            for published in member.published
            for _ in range(2)
            if machine.name == "gra-dns01"
        ),
    )


def _database(name: str, database: DatabasePlan) -> DatabaseServerSeen:
    primary = name == database.primary
    return DatabaseServerSeen(
        in_recovery=not primary,
        databases={database.name: database.owner},
        followers=(FollowerSeen(name="15/main", address="10.64.11.12", state="streaming"),) if primary else (),
        receiving=None if primary else "streaming",
    )
