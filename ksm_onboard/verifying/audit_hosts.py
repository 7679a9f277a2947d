"""What the hosts must say for a plan, point by point. Pure: plan and facts in, points out."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address

from ksm_onboard.configuring.inventory import not_configured
from ksm_onboard.connection import Connection
from ksm_onboard.planning.central import published_addresses
from ksm_onboard.planning.plan import (
    ApplicationPlan,
    DatabasePlan,
    Plan,
    PublishedPlan,
    ServerPlan,
    WorkstationPlan,
)
from ksm_onboard.verifying.audit_report import Area, MachineSeen, Reason
from ksm_onboard.verifying.audit_windows import compare_windows
from ksm_onboard.verifying.comparison import EVERYTHING, Comparison
from ksm_onboard.verifying.host_facts import (
    PACKAGE_UNITS,
    ROLE_UNITS,
    HostFacts,
    HostSilent,
    HostToAsk,
    PageToAsk,
    UnitSeen,
)
from ksm_onboard.verifying.windows_hosts import WindowsFacts

# In force on every machine (BSI SYS.1.3.A8: no login by password, none as root).
_SSHD = {"permitrootlogin": "no", "passwordauthentication": "no", "kbdinteractiveauthentication": "no"}
# Time (SYS.2.1, NET.3.2.A22) and unattended security updates (SYS.2.1.A3): units of every machine.
_LOGIN_UNIT = "sssd.service"
_BASELINE_UNITS = ("chrony.service", "apt-daily-upgrade.timer")

Machine = ServerPlan | WorkstationPlan

# What is said of an address that a browser offers.
BOOKMARK = "bookmark"


def hosts_to_ask(plan: Plan, connection: Connection, absent: Iterable[str], *, mark: str = "") -> tuple[HostToAsk, ...]:
    """Every declared server and workstation that is not ``absent``, and what it is asked for.

    ``mark``: what each writes into its log; empty: nothing.
    """
    member, away = plan.member, {*absent, *not_configured(plan.member, connection), *windows_to_ask(plan, connection)}
    reach = connection.guests.reachable_at
    machines: tuple[Machine, ...] = (*member.servers, *member.workstations)
    every_name = (*(machine.fqdn for machine in machines), *published_addresses(plan))
    admins = tuple(admin.name for admin in plan.platform.baseline.local_admins)
    return tuple(
        HostToAsk(
            name=machine.name,
            kind="server" if isinstance(machine, ServerPlan) else "workstation",
            address=reach(machine.address),
            role=machine.role if isinstance(machine, ServerPlan) else None,
            units=_units(machine, plan),
            admins=admins,
            name_servers=tuple(reach(address) for address in _name_servers(machine, plan)),
            # The name servers prove the whole zone; everybody else proves that they reach them.
            names=every_name if isinstance(machine, ServerPlan) and machine.role == "dns" else (machine.fqdn,),
            pages=tuple(
                PageToAsk(name=published.name, address=reach(address), path=published.health)
                for published, address in _published(machine, plan)
            ),
            mark=mark,
        )
        for machine in machines
        if machine.name not in away
    )


def windows_to_ask(plan: Plan, connection: Connection, absent: Iterable[str] = ()) -> tuple[str, ...]:
    """The Windows workstations that runs configure in that data centre and that are not ``absent``."""
    away = {*absent, *not_configured(plan.member, connection)}
    return tuple(w.name for w in plan.member.workstations if w.platform == "windows" and w.name not in away)


def _published(machine: Machine, plan: Plan) -> list[tuple[PublishedPlan, IPv4Address]]:
    """What a machine asks every reverse proxy for: the member's first server asks for all that it publishes."""
    if machine.name != plan.member.servers[0].name:
        return []
    addresses = published_addresses(plan)
    return [(published, address) for published in plan.member.published for address in addresses[published.name]]


def _name_servers(machine: Machine, plan: Plan) -> tuple[IPv4Address, ...]:
    """Whom a machine asks for names: its own name servers; these themselves also ask the central resolvers.

    So each resolver of the pair proves by itself that it finds the member's names.
    """
    if isinstance(machine, ServerPlan) and machine.role == "dns":
        return (*machine.dns_servers, *plan.platform.resolver_addresses)
    return machine.dns_servers


def _units(machine: Machine, plan: Plan) -> tuple[str, ...]:
    units = [*_BASELINE_UNITS]
    if plan.member.directory is not None and machine.name in plan.member.directory.machines:
        units.append(_LOGIN_UNIT)
    if plan.platform.baseline.log_servers:
        units.append("syslog-ng.service")
    if isinstance(machine, ServerPlan):
        if plan.platform.central_servers("monitoring"):
            units.append("prometheus-node-exporter.service")
        units += [unit for role in machine.central_roles or (machine.role,) for unit in ROLE_UNITS[role]]
        units += [PACKAGE_UNITS[p] for p in _packages(machine, plan) if p in PACKAGE_UNITS]
        units += [f"ksm-backup@{b.name}.timer" for b in plan.member.backups if b.server == machine.name and b.copies]
    return tuple(units)


def _packages(machine: Machine, plan: Plan) -> list[str]:
    packages = {application.key: application.packages for application in plan.member.applications}
    return [package for key in machine.applications for package in packages[key]]


def compare_hosts(
    plan: Plan,
    connection: Connection,
    answers: Iterable[HostFacts | WindowsFacts | HostSilent],
    absent: Mapping[str, Reason],
    points: Comparison,
) -> tuple[MachineSeen, ...]:
    """Compare what every host said; ``absent`` are hosts that were not asked, with the reason."""
    member = plan.member
    absent = {**absent, **dict.fromkeys(not_configured(member, connection), Reason.NOT_LINUX)}
    machines: tuple[Machine, ...] = (*member.servers, *member.workstations)
    said = {answer.name: answer for answer in answers}
    points.expects(Area.MACHINES, machines)
    points.expects(Area.APPLICATIONS, [key for machine in machines for key in machine.applications])
    points.expects(Area.NAMES, [address for machine in machines for address in machine.dns_servers])
    points.expects(Area.SHARES, member.shares)
    points.expects(Area.PRINTING, member.print_queues)
    points.expects(Area.DATABASES, member.databases)
    points.expects(Area.PUBLISHING, member.published)
    checks = _HostChecks(plan, connection, points)
    seen: list[MachineSeen] = []
    answered: dict[str, HostFacts] = {}
    for machine in machines:
        if machine.name in absent:
            _gaps(plan, machine, absent[machine.name], points)
            continue
        answer = said[machine.name]
        if isinstance(answer, HostSilent):
            on_windows = machine.platform == "windows"
            how = "Ansible" if on_windows else f"ssh {connection.guests.reachable_at(machine.address)}"
            points.same(Area.MACHINES, machine.name, "answers", "yes", answer.reason, how=how)
            _gaps(plan, machine, Reason.SILENT, points)
            continue
        if isinstance(answer, WindowsFacts):
            if isinstance(machine, WorkstationPlan):
                root_ca = connection.trust.root_ca_file.read_text()
                seen.append(compare_windows(plan, machine, answer, root_ca, points))
            points.gap(Area.NAMES, machine.name, EVERYTHING, Reason.NOT_ON_WINDOWS)
            continue
        answered[machine.name] = answer
        checks.machine(machine, answer)
        seen.append(_seen(machine, answer, plan))
    for database in member.databases:
        _database(database, answered, points)
    return tuple(seen)


def _gaps(plan: Plan, machine: Machine, reason: Reason, points: Comparison) -> None:
    member, name = plan.member, machine.name
    concerned = {
        Area.MACHINES: True,
        Area.APPLICATIONS: bool(machine.applications),
        Area.NAMES: bool(machine.dns_servers),
        Area.SHARES: any(share.server == name for share in member.shares),
        Area.PRINTING: any(queue.server == name for queue in member.print_queues),
        Area.PUBLISHING: bool(_published(machine, plan)),
        Area.DATABASES: any(name in (database.primary, *database.standbys) for database in member.databases),
    }
    for area, concerns in concerned.items():
        if concerns:
            points.gap(area, name, EVERYTHING, reason)


def _seen(machine: Machine, answer: HostFacts, plan: Plan) -> MachineSeen:
    parts = {
        application.key: {
            **{package: answer.packages.get(package) for package in application.packages},
            **({url: BOOKMARK if url in answer.bookmarks else None} if (url := bookmarked(application)) else {}),
        }
        for application in plan.member.applications
    }
    return MachineSeen(
        name=machine.name,
        kind="server" if isinstance(machine, ServerPlan) else "workstation",
        operating_system=answer.operating_system,
        applications={key: parts[key] for key in machine.applications},
    )


def bookmarked(application: ApplicationPlan) -> str | None:
    """The address that a Linux workplace's browser offers for the application; None where there is none."""
    return application.url if application.in_browser and not application.packages else None


class _HostChecks:
    def __init__(self, plan: Plan, connection: Connection, points: Comparison) -> None:
        self.plan = plan
        self.connection = connection
        self.points = points
        self.baseline = plan.platform.baseline
        self.root_ca = certificate_fingerprint(connection.trust.root_ca_file.read_text())
        machines: tuple[Machine, ...] = (*plan.member.servers, *plan.member.workstations)
        self.addresses = {machine.fqdn: (machine.address,) for machine in machines} | published_addresses(plan)

    def machine(self, machine: Machine, facts: HostFacts) -> None:
        self.points.same(Area.MACHINES, machine.name, "answers", "yes", "yes", how="ssh")
        self._identity(machine, facts)
        self._baseline(machine, facts)
        self._accounts(machine, facts)
        self._units(machine, facts)
        self._applications(machine, facts)
        self._names(machine, facts)
        self._pages(machine, facts)
        if isinstance(machine, WorkstationPlan):
            self._screen_lock(machine, facts)
        else:
            self._server(machine, facts)

    def _same(self, name: str, attribute: str, expected: object, found: object, how: str) -> None:
        self.points.same(Area.MACHINES, name, attribute, expected, found, how=f"ssh: {how}")

    def _identity(self, machine: Machine, facts: HostFacts) -> None:
        self._same(machine.name, "host_name", machine.name, facts.host_name, "hostname")
        self._same(machine.name, "fqdn", machine.fqdn, facts.fqdn, "hostname --fqdn")

    def _baseline(self, machine: Machine, facts: HostFacts) -> None:
        name, base = machine.name, self.baseline
        self._same(name, "time_zone", base.timezone, facts.time_zone, "/etc/localtime")
        serves_time = isinstance(machine, ServerPlan) and "time" in machine.central_roles
        # In a lab nobody asks anybody in the world.
        upstream = () if self.connection.simulated else base.upstream_time
        time_servers = upstream if serves_time else base.ntp_servers
        self._same(name, "time_servers", time_servers, facts.time_servers, "/etc/chrony")
        self._same(name, "security_updates", True, facts.security_updates, "apt-config dump")
        installed = "unattended-upgrades" in facts.packages
        self._same(name, "unattended_upgrades_installed", True, installed, "dpkg-query")
        self._same(name, "login_banner", base.login_banner.strip(), facts.banner, "sshd -T, banner file")
        self._same(name, "root_ca", True, self.root_ca in facts.trusted_roots, "system trust")
        for key, value in _SSHD.items():
            self._same(name, f"sshd {key}", value, facts.sshd.get(key), "sshd -T")
        self._same(name, "log_kept", True, facts.log_kept, "journald.conf, /var/log/journal")
        log_servers = tuple(map(self._reach, base.log_servers))
        self._same(name, "log_servers", log_servers, facts.log_servers, "/etc/syslog-ng")

    def _accounts(self, machine: Machine, facts: HostFacts) -> None:
        declared = {self.connection.guests.user}
        for admin in self.baseline.local_admins:
            declared.add(admin.name)
            self._same(machine.name, f"sudo {admin.name}", True, facts.sudo_rights.get(admin.name, False), "sudo -l -U")
            keys = facts.admin_keys.get(admin.name, ())
            expected = tuple(key.strip() for key in admin.ssh_keys)
            self._same(machine.name, f"ssh_keys {admin.name}", expected, keys, "/etc/ssh/authorized_keys.d")
        self.points.nothing_else(
            Area.MACHINES, machine.name, "administrator", declared, facts.sudo_members, how="ssh: getent group sudo"
        )

    def _units(self, machine: Machine, facts: HostFacts) -> None:
        for unit in _units(machine, self.plan):
            found = facts.units.get(unit, UnitSeen(state="unknown", impossible=False))
            if found.impossible and self.connection.simulated:
                self.points.gap(Area.MACHINES, machine.name, f"unit {unit}", Reason.NOT_IN_LAB)
            else:
                self._same(machine.name, f"unit {unit}", "active", found.state, "systemctl show")

    def _applications(self, machine: Machine, facts: HostFacts) -> None:
        applications = {application.key: application for application in self.plan.member.applications}
        for key in machine.applications:
            name = f"{machine.name}: {key}"
            if (url := bookmarked(applications[key])) is not None:
                offered = url in facts.bookmarks
                self.points.present(
                    Area.APPLICATIONS, name, BOOKMARK, offered, expected=url, how="ssh: policies of the browser"
                )
            for package in applications[key].packages:
                installed = facts.packages.get(package)
                self.points.present(
                    Area.APPLICATIONS, name, "package", installed, expected=package, how="ssh: dpkg-query"
                )

    def _names(self, machine: Machine, facts: HostFacts) -> None:
        is_name_server = isinstance(machine, ServerPlan) and machine.role == "dns"
        names = self.addresses if is_name_server else {machine.fqdn: (machine.address,)}
        for server in _name_servers(machine, self.plan):
            answers = facts.dns.get(str(self._reach(server)), {})
            for name, addresses in names.items():
                found = answers.get(name)
                self.points.same(
                    Area.NAMES,
                    f"{name} @ {server}",
                    "dns_answer",
                    tuple(map(str, addresses)),
                    found,
                    how=f"ssh {machine.name}: DNS",
                )

    def _pages(self, machine: Machine, facts: HostFacts) -> None:
        """Each reverse proxy has a certificate for each name that this host trusts, and finds a healthy server."""
        how = f"ssh {machine.name}: HTTPS"
        for (published, address), page in zip(_published(machine, self.plan), facts.pages, strict=True):
            name = f"{published.name} @ {address}"
            healthy = "yes" if page.status is not None and page.status < 400 else page.problem or str(page.status)
            self.points.same(Area.PUBLISHING, name, "published", "yes", healthy, how=how)
            leads_to = f"https://{published.name}{published.health}"
            self.points.same(Area.PUBLISHING, name, "redirected", leads_to, page.plain, how=how)

    def _reach(self, address: IPv4Address) -> IPv4Address:
        return self.connection.guests.reachable_at(address)

    def _screen_lock(self, machine: WorkstationPlan, facts: HostFacts) -> None:
        lock, how = facts.screen_lock, "dconf"
        seconds = self.baseline.screen_lock_minutes * 60
        self._same(machine.name, "screen_lock_seconds", seconds, lock.idle_seconds if lock else None, how)
        self._same(machine.name, "screen_lock_enabled", True, lock.enabled if lock else None, how)
        self._same(machine.name, "screen_lock_delay", 0, lock.delay_seconds if lock else None, how)
        self._same(machine.name, "screen_lock_enforced", True, lock.enforced if lock else None, how)

    def _server(self, server: ServerPlan, facts: HostFacts) -> None:
        for disk in server.disks:
            mounted = disk.mount in facts.mounts
            self.points.present(
                Area.STORAGE, f"{server.name}: {disk.name}", "mounted", mounted, expected=disk.mount, how="ssh: findmnt"
            )
        if server.role == "file":
            self._shares(server, facts)
        if server.role == "print":
            self._queues(server, facts)
        if "directory" in server.central_roles:
            self._replication(server, facts)

    def _replication(self, server: ServerPlan, facts: HostFacts) -> None:
        """Every other controller's changes arrive, all of them: no partition failed when it was last fetched."""
        pulled = facts.directory.pulls_from if facts.directory else {}
        for partner in self.plan.platform.controllers:
            if partner.name != server.name:
                found = "never" if partner.name not in pulled else f"{pulled[partner.name]} failures"
                self._same(server.name, f"replicates {partner.name}", "0 failures", found, "samba-tool drs showrepl")

    def _shares(self, server: ServerPlan, facts: HostFacts) -> None:
        how, found = f"ssh {server.name}: testparm", facts.shares or {}
        declared = [share for share in self.plan.member.shares if share.server == server.name]
        for share in declared:
            served = found.get(share.name)
            if self.points.present(Area.SHARES, share.name, "share", served, expected=share.path, how=how) and served:
                self.points.same(Area.SHARES, share.name, "path", share.path, served.path, how=how)
                self.points.same(Area.SHARES, share.name, "groups", share.groups, served.groups, how=how)
                self.points.same(Area.SHARES, share.name, "comment", share.comment, served.comment, how=how)
                self.points.same(Area.SHARES, share.name, "writable", True, served.writable, how=how)
                self.points.same(Area.SHARES, share.name, "guests", False, served.guests, how=how)
        self.points.nothing_else(Area.SHARES, server.name, "share", {share.name for share in declared}, found, how=how)

    def _queues(self, server: ServerPlan, facts: HostFacts) -> None:
        how, found = f"ssh {server.name}: lpstat", facts.queues or {}
        declared = [queue for queue in self.plan.member.print_queues if queue.server == server.name]
        for queue in declared:
            served, uri = found.get(queue.name), queue.device_uri
            if self.points.present(Area.PRINTING, queue.name, "queue", served, expected=uri, how=how) and served:
                self.points.same(Area.PRINTING, queue.name, "device_uri", uri, served.device_uri, how=how)
                self.points.same(Area.PRINTING, queue.name, "accepting", True, served.accepting, how=how)
        names = {queue.name for queue in declared}
        self.points.nothing_else(Area.PRINTING, server.name, "queue", names, found, how=how)


def _database(plan: DatabasePlan, answered: Mapping[str, HostFacts], points: Comparison) -> None:
    for name in (plan.primary, *plan.standbys):
        if name not in answered:
            continue
        how, seen = f"ssh {name}: psql", answered[name].database
        same = _same_on(points, f"{plan.name} @ {name}", how)
        if not points.present(Area.DATABASES, f"{plan.name} @ {name}", "database_server", seen, how=how) or not seen:
            continue
        if points.present(Area.DATABASES, f"{plan.name} @ {name}", "database", plan.name in seen.databases, how=how):
            same("owner", plan.owner, seen.databases[plan.name])
        same("follows", name != plan.primary, seen.in_recovery)
        if name == plan.primary:
            streaming = [follower for follower in seen.followers if follower.state == "streaming"]
            same("followers", len(plan.standbys), len(streaming))
        else:
            same("receiving", "streaming", seen.receiving)


def _same_on(points: Comparison, object_: str, how: str) -> Callable[[str, object, object], bool]:
    def same(attribute: str, expected: object, found: object) -> bool:
        return points.same(Area.DATABASES, object_, attribute, expected, found, how=how)

    return same


def certificate_fingerprint(pem: str) -> str:
    """SHA-256 of a certificate, as the hosts report it."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN") :])).hexdigest()
