"""From the plan to a plain Ansible inventory.

``render_inventory`` is a pure function: the same plan, stack outputs, connection and host
keys give the same files, byte for byte. ``write_inventory`` puts them on disk as a whole.
The result needs nothing of ours: ``ansible-playbook -i inventories/<member> roles/site.yml``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final

import yaml

from ksm_onboard.certificates import MachineIdentity, ServiceCertificate
from ksm_onboard.connection import Connection, WindowsAccess
from ksm_onboard.declaration.models import AnyRole, CentralRole, DevicePlatform, SharedRole
from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab.windows.machine import FOLDER
from ksm_onboard.planning.backup import account_of, dump_of, repositories_of
from ksm_onboard.planning.central import networks_of_devices, published_addresses
from ksm_onboard.planning.depot import in_order
from ksm_onboard.planning.directory import computers_dn
from ksm_onboard.planning.monitoring import Target, targets
from ksm_onboard.planning.plan import (
    ApplicationPlan,
    BackupPlan,
    BaselinePlan,
    CentralServerPlan,
    DatabasePlan,
    MemberPlan,
    Plan,
    PlatformPlan,
    PublishedPlan,
    ServerPlan,
    SharedServerPlan,
    WorkstationPlan,
)
from ksm_onboard.planning.windows import bookmarked_on_windows, drives, printers_of, queue_address
from ksm_onboard.project import Project

Files = dict[str, str]
"""Path within the inventory's folder → text."""

Variables = dict[str, Any]

Machine = ServerPlan | WorkstationPlan | SharedServerPlan

KNOWN_HOSTS: Final = "known_hosts.txt"
"""Named ``.txt`` because Ansible takes every other file in the folder for a list of hosts."""

ROLE_GROUPS: Final[Mapping[AnyRole, str]] = {
    "dns": "dns_servers",
    "file": "file_servers",
    "print": "print_servers",
    "database": "database_servers",
    "application": "application_servers",
}
SHARED_GROUPS: Final[Mapping[SharedRole | CentralRole, str]] = {
    "backup": "backup_servers",
    "resolver": "resolver_servers",
    "time": "time_servers",
    "depot": "depot_servers",
    "log-collector": "log_collectors",
    "monitoring": "monitoring_servers",
    "reverse-proxy": "reverse_proxies",
    "directory": "directory_servers",
    "radius": "radius_servers",
}
CENTRAL: Final = "central_servers"
"""The platform's VMs whose services the member is made known to: no play targets them, tasks are delegated to them."""
REPOSITORIES: Final = "backup_repositories"
"""The shared machines that this member's backups go to: no play targets them, tasks are delegated to them."""
MEMBERS_ZONES: Final = "/etc/unbound/members.d"
"""Where each member's own run says, on the central resolvers, who answers for its names."""
DIRECTORY_CLIENTS: Final = "directory_clients"
"""The member's machines that people log in to with an account of the directory."""
MONITORED: Final = "/etc/prometheus/targets.d"
"""Where each member's own run says, on the monitoring machines, which of its servers are to be watched."""
WEB_SERVER_APPLICATION: Final = "nginx"
WEB_SERVERS: Final = "web_servers"
NOT_IN_LAB: Final = "workstations_not_in_lab"
NOT_LINUX: Final = "not_configured_yet"
WINDOWS: Final = "windows_workstations"
SIMULATED_WINDOWS: Final = "ksm_simulated_windows"
"""Ansible's connection to the lab's Windows workstations, which are simulated."""

LOOPBACK: Final = IPv4Network("127.0.0.0/8")
METRICS_PORT: Final = 9100


@dataclass(frozen=True)
class DepotSource:
    """What the software depots serve: the publication's folder here, and the public key that it is signed with.

    ``certificates``: those of the depots themselves, by host name; only their own inventory needs them.
    """

    publication: Path
    signing_key: Path
    certificates: Mapping[str, ServiceCertificate] = field(default_factory=dict)


def render_inventory(
    plan: Plan,
    connection: Connection,
    *,
    outputs: Mapping[str, Any],
    host_keys: Mapping[str, str],
    secrets: Path,
    machine_certificates: Path,
    workstations: Collection[str] | None = None,
    withheld: Mapping[str, Collection[str]] | None = None,
    certificate: ServiceCertificate | None = None,
    depot: DepotSource | None = None,
) -> Files:
    """The files of a member's inventory.

    ``outputs`` are the member stack's outputs; only what was provisioned can be configured.
    ``host_keys`` maps host names to ssh host keys ("ssh-ed25519 AAAA…"). ``secrets`` is the folder
    that keeps generated passwords, ``machine_certificates`` the one with machines' certificates.
    ``workstations`` names the workplaces that exist; None means all;
    the others, and all machines that do not run Linux, are listed in groups of their own that no play targets.
    ``withheld`` names applications that were taken back, and the workplaces that they are not given to.
    ``certificate`` is that of the names which the member publishes; needed only if there are any.
    ``depot`` is what the software depots serve; None: machines do not use them.
    Raises NotReadyError if a planned server was not provisioned, or with another address.
    """
    member = plan.member
    _require_provisioned(member, outputs)
    repositories = _repository_hosts(plan, host_keys)
    central = _central_to_tell(plan, host_keys)
    known = tuple(w for w in member.workstations if w.platform in configured_platforms(connection))
    present = tuple(w for w in known if workstations is None or w.name in workstations)
    absent = tuple(w for w in known if workstations is not None and w.name not in workstations)
    files: dict[str, Any] = {"hosts.yml": _hosts(member, connection, present, absent, (repositories, central))}
    for group, variables in _group_variables(plan, connection, secrets, machine_certificates).items():
        files[f"group_vars/{group}.yml"] = variables
    for server in _linux_servers(member):
        files[f"host_vars/{server.name}.yml"] = {
            **_server_variables(member, connection, server),
            **_backup_variables(plan, connection, server, host_keys, secrets),
            **_registration(plan, connection, server, central, certificate=certificate, secrets=secrets),
            **_depot_client(plan, connection, server, server.applications, depot),
            **_directory_state(member, server),
        }
    for workstation in present:
        taken_back = {key for key, names in (withheld or {}).items() if workstation.name in names}
        given = tuple(key for key in workstation.applications if key not in taken_back)
        files[f"host_vars/{workstation.name}.yml"] = (
            _windows_workstation(plan, connection, workstation, given)
            if workstation.platform == "windows"
            else {
                **_applications(member, given),
                **_depot_client(plan, connection, workstation, given, depot),
                **_directory_state(member, workstation),
            }
        )
    rendered = {name: _as_yaml(content) for name, content in files.items() if content}
    rendered[KNOWN_HOSTS] = known_hosts_text(
        connection, (*member.servers, *present, *repositories, *central), host_keys
    )
    return dict(sorted(rendered.items()))


def render_platform_inventory(
    platform: PlatformPlan,
    own: Plan | None,
    connection: Connection,
    *,
    outputs: Mapping[str, Any],
    host_keys: Mapping[str, str],
    secrets: Path,
    machine_certificates: Path,
    depot: DepotSource | None = None,
    certificates: Mapping[str, ServiceCertificate] | None = None,
) -> Files:
    """The files of the inventory of the data centre's own machines: physical ones, and the VMs of its stack.

    ``own`` is the VMs' plan, ``outputs`` are the platform stack's. In the lab, those machines are left out that do not
    run. ``secrets`` is the folder that keeps generated passwords, ``machine_certificates`` the one with
    machines' certificates, ``certificates`` are those of services, by the VM's host name.
    Raises NotReadyError if a planned VM was not provisioned, or with another address, or if a machine that its
    backups go to cannot be logged in to.
    """
    vms = own.member.servers if own is not None else ()
    if own is not None:
        _require_provisioned(own.member, outputs.get("machines") or {})
    machines: tuple[SharedServerPlan | ServerPlan, ...] = (*platform.shared_servers, *vms)
    present = tuple(m for m in machines if not connection.simulated or m.name in host_keys)
    groups: dict[str, Variables] = {group: {} for group in SHARED_GROUPS.values()}
    for machine in present:
        for role in machine.central_roles if isinstance(machine, ServerPlan) else (machine.role,):
            groups[SHARED_GROUPS[role]][machine.name] = _where(connection, machine)
    files: dict[str, Any] = {
        "hosts.yml": {
            "all": {
                "children": {
                    "servers": {"children": {group: {"hosts": hosts} for group, hosts in groups.items()}},
                    "workstations": {"hosts": {}},
                }
            }
        },
        "group_vars/all.yml": {
            **_everywhere(platform.baseline, connection),
            **_log_forwarding(platform, connection, platform.dns_domain, machine_certificates),
        },
        "group_vars/servers.yml": _metrics_exporter(platform, platform.dns_domain, machine_certificates),
        "group_vars/log_collectors.yml": _log_collector_variables(platform, machine_certificates),
        "group_vars/monitoring_servers.yml": _monitoring_variables(platform, own, connection, machine_certificates),
        "group_vars/resolver_servers.yml": _resolver_variables(platform, connection),
        "group_vars/radius_servers.yml": {
            "radius_server_listen_address": "{{ ansible_host }}",
            "radius_server_authority_files": _authorities(connection),
            **_certificate("radius_server", platform.dns_domain, machine_certificates),
        },
        "group_vars/reverse_proxies.yml": {"reverse_proxy_listen_address": "{{ ansible_host }}"},
        "group_vars/time_servers.yml": {
            "machine_baseline_ntp_servers": _of_the_world(platform.baseline.upstream_time, connection),
            "machine_baseline_serves_time": True,
            "time_server_listen_address": "{{ ansible_host }}",
            "time_server_clients": _client_networks(platform, connection),
        },
        "group_vars/directory_servers.yml": _directory_server_variables(platform, connection, secrets),
    }
    if depot is not None:
        files["group_vars/depot_servers.yml"] = {
            "software_depot_listen_address": "{{ ansible_host }}",
            "software_depot_name": "{{ inventory_hostname }}." + platform.dns_domain,
            "software_depot_publication": str(depot.publication),
            "software_depot_signing_key_file": str(depot.signing_key),
        }
    if own is not None:
        _repository_hosts(own, host_keys, {machine.name for machine in present})
    for machine in present:
        mounts = [disk.mount for disk in machine.disks]
        variables: Variables = {"server_baseline_data_mounts": mounts}
        if depot is not None:
            variables |= _certificate_variables(depot, machine.name)
        if isinstance(machine, SharedServerPlan):
            variables["backup_repository_folders"] = mounts
        elif own is not None:
            variables |= _backup_variables(own, connection, machine, host_keys, secrets)
            if "directory" in machine.central_roles:
                variables |= _controller_variables(own, machine, (certificates or {}).get(machine.name))
        files[f"host_vars/{machine.name}.yml"] = variables
    rendered = {name: _as_yaml(content) for name, content in files.items() if content}
    rendered[KNOWN_HOSTS] = known_hosts_text(connection, present, host_keys)
    return dict(sorted(rendered.items()))


def _certificate_variables(depot: DepotSource, machine: str) -> Variables:
    if (certificate := depot.certificates.get(machine)) is None:
        return {}
    return {
        "software_depot_certificate_file": str(certificate.chain),
        "software_depot_private_key_file": str(certificate.key),
    }


def _depot_client(
    plan: Plan,
    connection: Connection,
    machine: ServerPlan | WorkstationPlan,
    keys: tuple[str, ...],
    depot: DepotSource | None,
) -> Variables:
    """Which depots a machine asks; nothing for one that gets nothing from there."""
    depots = plan.platform.central_servers("depot")
    wanted = [a for a in plan.member.applications if a.from_depot and a.key in keys]
    if depot is None or not depots or not wanted:
        return {}
    return {
        "depot_client_depots": [
            str(connection.guests.reachable_at(server.address)) for server in in_order(depots, machine)
        ],
        "depot_client_signing_key_file": str(depot.signing_key),
        "depot_client_publication": depot.publication.name,
        "depot_client_applications": [_application(a) for a in wanted],
    }


def _authorities(connection: Connection) -> list[str]:
    """Who signs the certificates of services and machines, and the root above."""
    issuing = connection.trust.issuing
    return [*([str(issuing.certificate_file)] if issuing else []), str(connection.trust.root_ca_file)]


def _resolver_variables(platform: PlatformPlan, connection: Connection) -> Variables:
    """Central resolvers are name servers like members' own ones, of the data centre's zone."""
    machines = {server.fqdn: server.address for server in platform.all_central_servers}
    machines |= {server.fqdn: server.address for server in platform.shared_servers}
    return {
        "dns_server_listen_address": "{{ ansible_host }}",
        "dns_server_allowed_clients": _client_networks(platform, connection),
        "dns_server_zone": platform.dns_domain,
        "dns_server_name_servers": [server.fqdn for server in platform.central_servers("resolver")],
        "dns_server_reverse_zones": _reverse_zones(machines.values()),
        "dns_server_records": [{"name": name, "address": str(address)} for name, address in machines.items()],
        "dns_server_forwarders": _of_the_world(platform.baseline.upstream_dns, connection),
        "dns_server_members_dir": MEMBERS_ZONES,
        "dns_server_delegated_zones": _delegated_zones(platform, connection),
    }


def _controller_variables(own: Plan, controller: ServerPlan, signed: ServiceCertificate | None) -> Variables:
    variables: Variables = {}
    if signed is not None:
        variables["directory_server_certificate_file"] = str(signed.chain)
        variables["directory_server_certificate_key_file"] = str(signed.key)
    for backup in own.member.backups:
        if backup.server == controller.name and backup.kind == "directory":
            variables["directory_server_dump"] = dump_of(backup)
    return variables


def _delegated_zones(platform: PlatformPlan, connection: Connection) -> list[Variables]:
    """The directory's names are its controllers' own affair."""
    if platform.directory is None:
        return []
    addresses = [str(connection.guests.reachable_at(server.address)) for server in platform.controllers]
    return [{"zone": platform.directory.domain, "name_servers": addresses}]


def _directory_server_variables(platform: PlatformPlan, connection: Connection, secrets: Path) -> Variables:
    if (directory := platform.directory) is None:
        return {}
    return {
        "directory_server_domain": directory.domain,
        "directory_server_netbios_name": directory.netbios_name,
        "directory_server_address": "{{ ansible_host }}",
        "directory_server_controllers": _controllers(platform, connection),
        "directory_server_dns_forwarders": [
            str(connection.guests.reachable_at(address)) for address in platform.resolver_addresses
        ],
        "directory_server_support_group": directory.support_group,
        "directory_server_secrets_dir": str(secrets),
    }


def _controllers(platform: PlatformPlan, connection: Connection) -> list[Variables]:
    return [
        {"name": server.name, "address": str(connection.guests.reachable_at(server.address))}
        for server in platform.controllers
    ]


def _log_forwarding(platform: PlatformPlan, connection: Connection, domain: str, certificates: Path) -> Variables:
    """Where a machine sends its log, and how it proves there whose it is. Empty without log collectors."""
    if not platform.baseline.log_servers:
        return {}
    return {
        "machine_baseline_log_servers": [
            str(connection.guests.reachable_at(address)) for address in platform.baseline.log_servers
        ],
        **_certificate("machine_baseline", domain, certificates),
    }


def _metrics_exporter(platform: PlatformPlan, domain: str, certificates: Path) -> Variables:
    """How a server tells its metrics. Empty where nobody asks for them."""
    if not platform.central_servers("monitoring"):
        return {}
    return {
        "metrics_exporter_listen_address": "{{ ansible_host }}",
        **_certificate("metrics_exporter", domain, certificates),
    }


def _log_collector_variables(platform: PlatformPlan, certificates: Path) -> Variables:
    return {
        "log_collector_listen_address": "{{ ansible_host }}",
        "log_collector_retention_days": platform.baseline.log_retention_days,
        **_certificate("log_collector", platform.dns_domain, certificates),
    }


def _monitoring_variables(
    platform: PlatformPlan, own: Plan | None, connection: Connection, certificates: Path
) -> Variables:
    servers = platform.central_servers("monitoring")
    return {
        "monitoring_server_listen_address": "{{ ansible_host }}",
        "monitoring_server_machines": [
            {"name": server.fqdn, "address": str(connection.guests.reachable_at(server.address))} for server in servers
        ],
        "monitoring_server_retention_days": platform.baseline.metrics_retention_days,
        "monitoring_server_backup_rpo_hours": sorted({found.rpo_hours for found in platform.backup_classes}),
        "monitoring_server_targets_dir": MONITORED,
        "monitoring_server_owner": platform.key,
        "monitoring_server_targets": _watched(targets(own) if own is not None else (), connection, platform.key),
        **_certificate("monitoring_server", platform.dns_domain, certificates),
    }


def _watched(machines: Iterable[Target], connection: Connection, owner: str) -> list[Variables]:
    """Targets as Prometheus reads them from a file."""
    return [
        {
            "targets": [f"{connection.guests.reachable_at(machine.address)}:{METRICS_PORT}"],
            "labels": {"instance": machine.fqdn, "member": owner, **machine.labels},
        }
        for machine in machines
    ]


def _certificate(role: str, domain: str, certificates: Path) -> Variables:
    """A machine's certificate and key on the controller, as the variables of a role."""
    name = "{{ inventory_hostname }}." + domain
    return {
        f"{role}_certificate_file": f"{certificates}/{name}.pem",
        f"{role}_certificate_key_file": f"{certificates}/{name}.key",
    }


def _of_the_world(servers: Iterable[str | IPv4Address], connection: Connection) -> list[str]:
    """Servers outside the data centre. A lab has none: its hosts never send anything beyond the machine."""
    return [] if connection.simulated else [str(server) for server in servers]


def common_domain(platform: PlatformPlan) -> str:
    """The domain that the data centre and all members have their own domains in; nobody signs it."""
    return platform.dns_domain.rpartition(".")[2] or "internal"


def _client_networks(platform: PlatformPlan, connection: Connection) -> list[str]:
    """Who may use central services; in the lab, hosts call each other over the loopback network."""
    loopback = () if connection.guests.loopback_shift is None else (LOOPBACK,)
    return [str(network) for network in (*platform.client_networks, *loopback)]


def identity_of(machine: Machine, owner: str, connection: Connection) -> MachineIdentity:
    """Who a machine is in its certificate; in the lab it also answers at another address than declared."""
    addresses = dict.fromkeys((machine.address, connection.guests.reachable_at(machine.address)))
    return MachineIdentity(owner, machine.fqdn, tuple(addresses))


def machine_identities(
    plan: Plan, connection: Connection, workstations: Collection[str] | None
) -> Iterator[MachineIdentity]:
    """Of all the member's machines that are configured over ssh; ``workstations`` as in ``render_inventory``."""
    machines: list[ServerPlan | WorkstationPlan] = [*_linux_servers(plan.member)]
    machines += [
        w
        for w in plan.member.workstations
        if w.platform == "linux" and (workstations is None or w.name in workstations)
    ]
    for machine in machines:
        yield identity_of(machine, plan.member.key, connection)


def configured_platforms(connection: Connection) -> frozenset[DevicePlatform]:
    """The platforms of workstations that runs can configure in that data centre."""
    return frozenset({"linux"} if connection.windows is None else {"linux", "windows"})


def simulated_windows_dir(project: Project, connection: Connection) -> Path:
    """Where the lab keeps what its simulated Windows workstations have become."""
    return connection.state_dir(project) / FOLDER


def write_inventory(project: Project, member: str, files: Files) -> bool:
    """Put the files into ``inventories/<member>/``, replacing everything that was there, as a whole.

    Returns whether anything changed; if not, nothing was touched.
    """
    target = project.inventories / member
    if target.is_dir() and _read(target) == files:
        return False
    project.inventories.mkdir(exist_ok=True)
    for stale in project.inventories.glob(f".{member}.*"):
        shutil.rmtree(stale)
    new = Path(tempfile.mkdtemp(prefix=f".{member}.", dir=project.inventories))
    for name, text in files.items():
        path = new / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    new.chmod(0o755)
    if target.exists():
        target.rename(project.inventories / f".{member}.previous")
    new.rename(target)
    shutil.rmtree(project.inventories / f".{member}.previous", ignore_errors=True)
    return True


def secrets_dir(project: Project, connection: Connection, member: str) -> Path:
    """Where the passwords that roles generate are kept, readable by the owner only."""
    return connection.state_dir(project) / "secrets" / member


# --- hosts and groups ---------------------------------------------------------------------


def _require_provisioned(member: MemberPlan, outputs: Mapping[str, Any]) -> None:
    provisioned = outputs.get("servers") or {}
    wrong = []
    for server in member.servers:
        address = (provisioned.get(server.name) or {}).get("address")
        if address is None:
            wrong.append(f"  {server.name}: not provisioned")
        elif str(address) != str(server.address):
            wrong.append(f"  {server.name}: planned at {server.address}, provisioned at {address}")
    if wrong:
        raise NotReadyError(
            f"what stands in the data centre is not what is planned for {member.key}:\n" + "\n".join(wrong),
            hint=f"bring the stack up to date first: ksm-onboard up {member.key}",
        )


def _hosts(
    member: MemberPlan,
    connection: Connection,
    present: tuple[WorkstationPlan, ...],
    absent: tuple[WorkstationPlan, ...],
    shared: tuple[tuple[SharedServerPlan, ...], tuple[CentralServerPlan, ...]],
) -> Variables:
    repositories, central = shared
    servers: dict[str, Variables] = {group: {} for group in ROLE_GROUPS.values()}
    groups: dict[str, Variables] = {WEB_SERVERS: {}}
    logging_in = member.directory.machines if member.directory else ()

    def add(group: str, name: str) -> None:
        groups.setdefault(group, {})[name] = {}

    for server in _linux_servers(member):
        servers[ROLE_GROUPS[server.role]][server.name] = _where(connection, server)
        add(group_name("zone", server.zone), server.name)
        add(group_name("section", server.section.lower()), server.name)
        if WEB_SERVER_APPLICATION in server.applications:
            add(WEB_SERVERS, server.name)
    for name in (*(server.name for server in _linux_servers(member)), *(w.name for w in present)):
        if name in logging_in:
            add(DIRECTORY_CLIENTS, name)
    for workstation in present:
        add(group_name("zone", workstation.zone), workstation.name)
        add(group_name("site", workstation.site), workstation.name)
        add(group_name("department", workstation.department), workstation.name)
        add(group_name("profile", workstation.profile), workstation.name)
    children: Variables = {
        "servers": {"children": {group: {"hosts": hosts} for group, hosts in servers.items()}},
        "workstations": {"hosts": {w.name: _where(connection, w) for w in present if w.platform == "linux"}},
        WINDOWS: {"hosts": {w.name: _where(connection, w) for w in present if w.platform == "windows"}},
        NOT_IN_LAB: {"hosts": {w.name: {} for w in absent}},
        NOT_LINUX: {"hosts": {name: {} for name in not_configured(member, connection)}},
        REPOSITORIES: {"hosts": {server.name: _where(connection, server) for server in repositories}},
        CENTRAL: {"hosts": {server.name: _where(connection, server) for server in central}},
    }
    children.update({group: {"hosts": hosts} for group, hosts in sorted(groups.items())})
    return {"all": {"children": children}}


def not_configured(member: MemberPlan, connection: Connection) -> tuple[str, ...]:
    """Machines that are declared and planned, and that no play configures: servers that do not run Linux, tablets, …"""
    known = configured_platforms(connection)
    return (
        *(server.name for server in member.servers if server.platform != "linux"),
        *(workstation.name for workstation in member.workstations if workstation.platform not in known),
    )


def group_name(kind: str, key: str) -> str:
    """The group of all hosts with this key; Ansible wants underscores in names of groups."""
    return f"{kind}_{key.replace('-', '_')}"


def _where(connection: Connection, host: Machine | CentralServerPlan) -> Variables:
    return {"ansible_host": str(connection.guests.reachable_at(host.address))}


def known_hosts_text(
    connection: Connection, hosts: Iterable[Machine | CentralServerPlan], host_keys: Mapping[str, str]
) -> str:
    """The known_hosts file of ``hosts``, as far as their keys are known; the others cannot be logged in to."""
    port = connection.guests.port
    lines = []
    for host in hosts:
        address = connection.guests.reachable_at(host.address)
        if host.name in host_keys:
            lines.append(f"{address if port == 22 else f'[{address}]:{port}'} {host_keys[host.name].strip()}\n")
    return "".join(lines)


# --- variables ----------------------------------------------------------------------------


def _group_variables(plan: Plan, connection: Connection, secrets: Path, certificates: Path) -> dict[str, Variables]:
    baseline = plan.platform.baseline
    member = plan.member
    clients = _allowed_clients(member, connection)
    own_address = "{{ ansible_host }}"
    own_name = "{{ inventory_hostname }}." + member.dns_domain
    return {
        "all": {
            **_everywhere(baseline, connection),
            **_directory_variables(plan, connection, secrets),
            **_log_forwarding(plan.platform, connection, member.dns_domain, certificates),
        },
        "servers": _metrics_exporter(plan.platform, member.dns_domain, certificates),
        "workstations": {"workstation_baseline_screen_lock_minutes": baseline.screen_lock_minutes},
        "dns_servers": {
            "dns_server_listen_address": own_address,
            "dns_server_allowed_clients": clients,
            "dns_server_zone": member.dns_domain,
            "dns_server_name_servers": [s.fqdn for s in member.servers if s.role == "dns"],
            "dns_server_reverse_zones": _reverse_zones(host.address for host in _all_hosts(member)),
            "dns_server_records": [{"name": h.fqdn, "address": str(h.address)} for h in _all_hosts(member)],
            "dns_server_aliases": [
                {"name": name, "addresses": [str(address) for address in addresses]}
                for name, addresses in published_addresses(plan).items()
            ],
            "dns_server_forwarders": [str(connection.guests.reachable_at(a)) for a in baseline.dns_forwarders],
            # Where nobody answers for names of the internet, only those of the data centre and of members are asked.
            "dns_server_forwarded_domain": "."
            if _of_the_world(baseline.upstream_dns, connection)
            else common_domain(plan.platform),
            "dns_server_insecure_domains": [common_domain(plan.platform)],
        },
        "file_servers": {
            "file_server_listen_address": own_address,
            "file_server_allowed_clients": clients,
            "file_server_secrets_dir": str(secrets),
        },
        "print_servers": {
            "print_server_listen_address": own_address,
            "print_server_allowed_clients": clients,
            "print_server_name": own_name,
        },
        "database_servers": {
            "database_server_listen_address": own_address,
            "database_server_allowed_clients": clients,
            "database_server_secrets_dir": str(secrets),
        },
        WEB_SERVERS: {"web_server_listen_address": own_address, "web_server_name": own_name},
        WINDOWS: _windows(plan, connection, secrets),
    }


def _directory_variables(plan: Plan, connection: Connection, secrets: Path) -> Variables:
    """The member's part of the directory, and how machines log in there; which do, each one's own file says."""
    directory, unit = plan.platform.directory, plan.member.directory
    if directory is None or unit is None:
        return {}
    return {
        "directory_server_member_key": unit.name,
        "directory_server_member_groups": [group.model_dump(exclude_none=True) for group in unit.groups],
        "directory_server_member_admins": unit.admins,
        "directory_server_join_account": unit.join_account,
        "directory_server_member_controllers": [server.name for server in plan.platform.controllers],
        "directory_server_member_secrets_dir": str(secrets),
        "directory_client_domain": directory.domain,
        "directory_client_controllers": _controllers(plan.platform, connection),
        "directory_client_unit": computers_dn(directory, unit),
        "directory_client_dns_domain": plan.member.dns_domain,
        "directory_client_join_account": unit.join_account,
        "directory_client_secrets_dir": str(secrets),
        "directory_client_allowed_groups": [unit.people, directory.support_group],
        "directory_client_support_group": directory.support_group,
    }


def _directory_state(member: MemberPlan, machine: ServerPlan | WorkstationPlan) -> Variables:
    """A machine that was moved into a zone where nobody logs in by the directory leaves it."""
    if member.directory is None:
        return {}
    return {"directory_client_state": "joined" if machine.name in member.directory.machines else "left"}


def _everywhere(baseline: BaselinePlan, connection: Connection) -> Variables:
    return {
        **_ssh(connection),
        "machine_baseline_ntp_servers": list(baseline.ntp_servers),
        "machine_baseline_timezone": baseline.timezone,
        "machine_baseline_login_banner": baseline.login_banner,
        "machine_baseline_local_admins": [
            {"name": a.name, "ssh_keys": list(a.ssh_keys)} for a in baseline.local_admins
        ],
        "machine_baseline_root_ca_file": str(connection.trust.root_ca_file),
        "machine_baseline_apt_proxy": connection.packages.apt_proxy or "",
    }


def _windows(plan: Plan, connection: Connection, secrets: Path) -> Variables:
    baseline, member, access = plan.platform.baseline, plan.member, connection.windows
    if access is None:
        return {}
    return {
        **_windows_access(connection, access, secrets),
        "windows_workstation_ntp_servers": list(baseline.ntp_servers),
        "windows_workstation_timezone": baseline.timezone,
        "windows_workstation_screen_lock_minutes": baseline.screen_lock_minutes,
        "windows_workstation_login_banner": baseline.login_banner,
        "windows_workstation_local_admins": [admin.name for admin in baseline.local_admins],
        "windows_workstation_secrets_dir": str(secrets),
        "windows_workstation_root_ca_file": str(connection.trust.root_ca_file),
        "windows_workstation_management_port": access.reached_at,
        "windows_workstation_drives": [{"letter": letter, "path": path} for letter, path in drives(member)],
    }


def _windows_access(connection: Connection, access: WindowsAccess, secrets: Path) -> Variables:
    variables: Variables = {"ansible_user": access.user, "ansible_become": False, "ansible_shell_type": "powershell"}
    if connection.simulated:
        # Beside the secrets' folder of all members: .state/<data centre>/windows.
        folder = secrets.parents[1] / FOLDER
        return {**variables, "ansible_connection": SIMULATED_WINDOWS, "ksm_simulated_windows_folder": str(folder)}
    variables |= {"ansible_connection": access.transport, "ansible_port": access.reached_at}
    if access.transport == "ssh":
        return variables
    variables |= {
        "ansible_psrp_protocol": "https",
        "ansible_psrp_auth": "kerberos" if access.password_file is None else "negotiate",
        "ansible_psrp_cert_validation": "validate",
    }
    if access.ca_file is not None:
        variables["ansible_psrp_ca_cert"] = str(access.ca_file)
    if access.password_file is not None:
        # Read when a run begins; the inventory holds no secret.
        variables["ansible_password"] = f"{{{{ lookup('ansible.builtin.file', {str(access.password_file)!r}) }}}}"
    return variables


def _ssh(connection: Connection) -> Variables:
    # Quoted twice: once for Ansible, which splits the arguments, once for ssh, which splits the value.
    known_hosts = f"""-o 'UserKnownHostsFile="{{{{ inventory_dir }}}}/{KNOWN_HOSTS}"'"""
    return {
        "ansible_user": connection.guests.user,
        "ansible_port": connection.guests.port,
        "ansible_ssh_private_key_file": str(connection.guests.private_key_file),
        "ansible_ssh_common_args": f"{known_hosts} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
        " -o IdentitiesOnly=yes -o UpdateHostKeys=no",
    }


def _allowed_clients(member: MemberPlan, connection: Connection) -> list[str]:
    """Whoever is in the member's block; in the lab, hosts call each other over the loopback network."""
    networks = [member.block] if connection.guests.loopback_shift is None else [member.block, LOOPBACK]
    return [str(network) for network in networks]


def _linux_servers(member: MemberPlan) -> list[ServerPlan]:
    return [server for server in member.servers if server.platform == "linux"]


def _all_hosts(member: MemberPlan) -> list[ServerPlan | WorkstationPlan]:
    return [*member.servers, *member.workstations]


def _reverse_zones(addresses: Iterable[IPv4Address]) -> list[str]:
    networks = {IPv4Network((address, 24), strict=False) for address in addresses}
    return [".".join(reversed(str(n.network_address).split(".")[:3])) + ".in-addr.arpa" for n in sorted(networks)]


def _server_variables(member: MemberPlan, connection: Connection, server: ServerPlan) -> Variables:
    variables: Variables = {"server_baseline_data_mounts": [disk.mount for disk in server.disks]}
    if server.role == "file":
        variables["file_server_shares"] = [
            {"name": s.name, "path": s.path, "groups": list(s.groups), "comment": s.comment}
            for s in member.shares
            if s.server == server.name
        ]
    if server.role == "print":
        sites = {site.key: site.name for site in member.sites}
        variables["print_server_queues"] = [
            {"name": q.name, "device_uri": q.device_uri, "description": q.model, "location": sites[q.site]}
            for q in member.print_queues
            if q.server == server.name
        ]
    if server.role == "database":
        variables.update(_database_variables(member, connection, server))
    return {**variables, **_applications(member, server.applications)}


def _database_variables(member: MemberPlan, connection: Connection, server: ServerPlan) -> Variables:
    databases = [d for d in member.databases if server.name in (d.primary, *d.standbys)]
    primary, standbys = _replication(member, server, databases)
    return {
        "database_server_data_dir": server.disks[0].mount if server.disks else "/var/lib/postgresql",
        "database_server_primary": primary,
        "database_server_primary_address": str(connection.guests.reachable_at(member.server(primary).address)),
        "database_server_standbys": list(standbys),
        "database_server_databases": [{"name": d.name, "owner": d.owner} for d in databases],
    }


def _replication(member: MemberPlan, server: ServerPlan, databases: list[DatabasePlan]) -> tuple[str, tuple[str, ...]]:
    """Who accepts writes and who follows, also where a pair has no database yet."""
    if databases:
        return databases[0].primary, databases[0].standbys
    if server.pair is None:
        return server.name, ()
    first, *others = sorted(s.name for s in member.servers if s.pair == server.pair)
    return first, tuple(others)


def _repository_hosts(
    plan: Plan, host_keys: Mapping[str, str], servers: Collection[str] | None = None
) -> tuple[SharedServerPlan, ...]:
    """The shared machines that any backup of the member goes to, or any of these ``servers``."""
    platform = plan.platform
    backups = [backup for backup in plan.member.backups if servers is None or backup.server in servers]
    keys = {key for backup in backups for key in backup.copies}
    names = {platform.backup_repository(key).server for key in keys}
    unknown = sorted(names - host_keys.keys())
    if unknown:
        raise NotReadyError(
            f"the machines that {plan.member.key}'s backups go to cannot be logged in to, "
            f"their ssh host keys are not known: {', '.join(unknown)}",
            hint=f"declare shared.servers.….ssh_host_key; in the lab, start and configure them: "
            f"ksm-onboard configure {platform.key}",
        )
    return tuple(server for server in platform.shared_servers if server.name in names)


def _central_to_tell(plan: Plan, host_keys: Mapping[str, str]) -> tuple[CentralServerPlan, ...]:
    """The platform's VMs that the member has to be made known to.

    What does not stand yet is left out by a member that has no use for it: a reverse proxy by one that publishes
    nothing, a RADIUS server by one without switches. There is nothing of it on them.
    """
    proxies = plan.platform.central_servers("reverse-proxy")
    if not plan.member.published:
        proxies = tuple(proxy for proxy in proxies if proxy.name in host_keys)
    logs_in = plan.member.directory is not None and plan.member.directory.machines
    radius = plan.platform.central_servers("radius")
    if not plan.member.switches:
        radius = tuple(server for server in radius if server.name in host_keys)
    controllers = plan.platform.controllers if logs_in else ()
    told = (*_resolvers_to_tell(plan), *controllers, *_monitoring_to_tell(plan), *proxies, *radius)
    wanted = tuple(dict.fromkeys(told))
    if unknown := [server.name for server in wanted if server.name not in host_keys]:
        raise NotReadyError(
            f"the central services cannot be told of {plan.member.key}, "
            f"the ssh host keys of their machines are not known: {', '.join(unknown)}",
            hint=f"bring them up first: ksm-onboard up {plan.platform.key}, then ksm-onboard configure "
            f"{plan.platform.key}",
        )
    return wanted


def _resolvers_to_tell(plan: Plan) -> tuple[CentralServerPlan, ...]:
    """The central resolvers, for a member that has name servers of its own."""
    own = any(server.role == "dns" for server in _linux_servers(plan.member))
    return plan.platform.central_servers("resolver") if own else ()


def _monitoring_to_tell(plan: Plan) -> tuple[CentralServerPlan, ...]:
    """The monitoring machines, for a member that has servers."""
    return plan.platform.central_servers("monitoring") if _linux_servers(plan.member) else ()


def _registration(
    plan: Plan,
    connection: Connection,
    server: ServerPlan,
    central: tuple[CentralServerPlan, ...],
    *,
    certificate: ServiceCertificate | None,
    secrets: Path,
) -> Variables:
    """What one of the member's servers, a name server if it has any, tells the central services about the member."""
    member = plan.member
    linux = _linux_servers(member)
    own = [s for s in linux if s.role == "dns"]
    if not central or server != (*own, *linux)[0]:
        return {}
    variables: Variables = {"central_registration_member": member.key}
    if resolvers := _resolvers_to_tell(plan):
        reverse = _reverse_zones(host.address for host in _all_hosts(member))
        elsewhere = [p.name for p in member.published if not p.name.endswith(f".{member.dns_domain}")]
        variables |= {
            "central_registration_resolvers": [resolver.name for resolver in resolvers],
            "central_registration_zones": [member.dns_domain, *reverse, *elsewhere],
            "central_registration_name_servers": [str(connection.guests.reachable_at(s.address)) for s in own],
            "central_registration_members_dir": MEMBERS_ZONES,
        }
    proxies = [proxy for proxy in plan.platform.central_servers("reverse-proxy") if proxy in central]
    if proxies:
        variables |= {
            "central_registration_proxies": [proxy.name for proxy in proxies],
            "central_registration_published": [_published(plan, connection, one) for one in member.published],
        }
    if monitoring := _monitoring_to_tell(plan):
        variables |= {
            "central_registration_monitoring": [machine.name for machine in monitoring],
            "central_registration_targets": _watched(targets(plan), connection, member.key),
            "central_registration_targets_dir": MONITORED,
        }
    if radius := [s for s in plan.platform.central_servers("radius") if s in central]:
        devices = networks_of_devices(plan) if member.switches else {}
        variables |= {
            "central_registration_radius_servers": [s.name for s in radius],
            "central_registration_switches": [
                {"name": s.name, "address": str(connection.guests.reachable_at(s.address))} for s in member.switches
            ],
            "central_registration_devices": [{"vlan": vlan, "names": list(names)} for vlan, names in devices.items()],
            "central_registration_secrets_dir": str(secrets),
        }
    if member.published and certificate is not None:
        variables |= {
            "central_registration_certificate_file": str(certificate.chain),
            "central_registration_private_key_file": str(certificate.key),
        }
    return variables


def _published(plan: Plan, connection: Connection, published: PublishedPlan) -> Variables:
    servers = [plan.member.server(name) for name in published.servers]
    return {
        "name": published.name,
        "port": published.port,
        "health": published.health,
        "servers": [{"name": s.name, "address": str(connection.guests.reachable_at(s.address))} for s in servers],
    }


def _backup_variables(
    plan: Plan, connection: Connection, server: ServerPlan, host_keys: Mapping[str, str], secrets: Path
) -> Variables:
    platform = plan.platform
    own = [backup for backup in plan.member.backups if backup.server == server.name]
    if not own:
        return {}
    repositories = [platform.backup_repository(key) for key in repositories_of(own).get(server.name, ())]
    return {
        "backup_client_account": account_of(server.name),
        "backup_client_quota_gib": own[0].quota_gib,
        "backup_client_secrets_dir": str(secrets),
        "backup_client_sources": [_source(plan, backup) for backup in own if backup.backup_class],
        "backup_client_repositories": [
            {
                "key": repository.key,
                "host": repository.server,
                "address": str(connection.guests.reachable_at(platform.shared_server(repository.server).address)),
                "port": connection.guests.port,
                "host_key": host_keys[repository.server].strip(),
                "path": repository.path,
                "append_only": repository.append_only,
            }
            for repository in repositories
        ],
    }


def _source(plan: Plan, backup: BackupPlan) -> Variables:
    keep = plan.platform.backup_class(backup.backup_class or "").keep
    return {
        "name": backup.name,
        "kind": backup.kind,
        "path": backup.path,
        "schedule": backup.schedule,
        "repositories": list(backup.copies),
        "keep": keep.model_dump(),
    }


def _applications(member: MemberPlan, keys: tuple[str, ...]) -> Variables:
    by_key = {application.key: application for application in member.applications}
    return {
        "applications_wanted": [
            {
                **_application(a := by_key[key]),
                **({"depot": True} if a.from_depot else {}),
                **({"url": a.url} if a.in_browser and a.url else {}),
            }
            for key in sorted(keys)
        ]
    }


def _application(application: ApplicationPlan) -> Variables:
    return {
        "key": application.key,
        "product": application.shown,
        "entry": f"catalogue/{application.domain}.yaml",
        "packages": list(application.packages),
        **({"media": application.media} if application.media else {}),
    }


def _windows_workstation(
    plan: Plan, connection: Connection, workstation: WorkstationPlan, keys: tuple[str, ...]
) -> Variables:
    member = plan.member
    by_key = {application.key: application for application in member.applications}
    wanted = [by_key[key] for key in sorted(keys)]
    sites = {site.key: site.name for site in member.sites}
    return {
        "windows_workstation_printers": [
            {"name": queue.name, "url": queue_address(queue, member), "location": sites[queue.site]}
            for queue in printers_of(workstation, member)
        ],
        "windows_workstation_bookmarks": [
            {"name": application.product, "url": url}
            for application in wanted
            if (url := bookmarked_on_windows(application)) is not None
        ],
        "windows_applications_feeds": [
            f"https://{connection.guests.reachable_at(depot.address)}/nuget/v3/index.json"
            for depot in in_order(plan.platform.central_servers("depot"), workstation)
        ],
        "windows_applications_wanted": [
            {
                "key": application.key,
                "product": application.shown,
                "entry": f"catalogue/{application.domain}.yaml",
                **({"package": application.windows_package} if application.windows_package else {}),
                **({"url": url} if (url := bookmarked_on_windows(application)) else {}),
            }
            for application in wanted
        ],
    }


# --- text ---------------------------------------------------------------------------------


class _Dumper(yaml.CSafeDumper):
    """Writes everything out: anchors and aliases are hard to read in an inventory."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _as_yaml(content: Variables) -> str:
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"# Generated by ksm-onboard from the plan; changes are overwritten.\n{text}"


def _read(folder: Path) -> Files:
    return dict(sorted((str(p.relative_to(folder)), p.read_text()) for p in folder.rglob("*") if p.is_file()))
