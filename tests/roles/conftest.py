"""Real hosts for every role, in a lab of their own beside any other: name ``roles-test``, addresses shifted by 64."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.certificates import MachineIdentity, ensure_machine_certificates, machine_certificates_dir
from ksm_onboard.configuring.inventory import (
    Machine,
    identity_of,
    known_hosts_text,
    machine_identities,
    render_inventory,
    render_platform_inventory,
    secrets_dir,
    write_inventory,
)
from ksm_onboard.configuring.results import RunResult
from ksm_onboard.configuring.run import configure
from ksm_onboard.connection import Connection
from ksm_onboard.lab import instance
from ksm_onboard.lab.base_image import ensure_base_image
from ksm_onboard.lab.certificates import ensure_certificates, ensure_ssh_key
from ksm_onboard.lab.customisation import customise_without_metadata, parse_customisation
from ksm_onboard.lab.hosts import Disk, HostKind, HostRecord, HostSettings, HostSpec, start_host
from ksm_onboard.lab.packages import acquire_apt_proxy
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import LocalAdminPlan, Plan, ServerPlan, SharedServerPlan
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project
from ksm_onboard.provisioning.customisation import Customisation

ROOT = Path(__file__).resolve().parents[2]
LAB = "roles-test"
SHIFT = 64
SERVERS = ("gra-dns01", "gra-file01", "gra-print01", "gra-db01", "gra-db02", "gra-app01")
WORKSTATION = "gra-ws0001"
REPOSITORIES = ("sn-backup02", "sn-backup03")
"""Of section B and outside: where servers in section A, gra-file01 and gra-db01, have their copies."""
CENTRAL = ("sn-core01", "sn-core02")
OPS = ("sn-ops01", "sn-ops02")
"""The platform's own VMs, of which every role is a pair."""


@dataclass
class Site:
    """One host for each role (and a standby), a project that configures them, and a way to look into them."""

    project: Project
    connection: Connection
    plan: Plan
    own: Plan
    settings: HostSettings
    records: dict[str, HostRecord] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a host anew; its data disks stay what they were."""
        machine = self.machine(name)
        customisation = Customisation(ROOT / "templates", "ops", self.connection.guests.public_key())
        userdata = customisation.userdata(machine)
        virtual: tuple[Disk, ...] = ()
        if isinstance(machine, ServerPlan):
            kind = HostKind.VM
            virtual = tuple(Disk(disk.unit_number, disk.vmdk) for disk in machine.disks)
            told = parse_customisation(customisation.metadata(machine), userdata)
        else:
            kind = HostKind.SHARED if isinstance(machine, SharedServerPlan) else HostKind.WORKSTATION
            if isinstance(machine, SharedServerPlan):
                virtual = tuple(Disk(disk.unit_number, f"[local] {name}/{disk.label}") for disk in machine.disks)
            told = customise_without_metadata(name, machine.address, userdata)
        spec = HostSpec(
            name=name, kind=kind, uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), customisation=told, disks=virtual
        )
        self.records[name] = start_host(spec, self.settings)

    def machine(self, name: str) -> Machine:
        member = self.plan.member
        everything: list[Machine] = [*member.servers, *member.workstations, *self.plan.platform.shared_servers]
        everything += self.own.member.servers
        return next(machine for machine in everything if machine.name == name)

    def configure(self, **arguments: Any) -> RunResult:
        """Write the inventory of what the plan says now, and run the playbook."""
        self._ensure_certificates(machine_identities(self.plan, self.connection, [WORKSTATION]))
        files = render_inventory(
            self.plan,
            self.connection,
            outputs={"servers": {s.name: {"address": str(s.address)} for s in self.plan.member.servers}},
            host_keys=self.host_keys,
            secrets=self.secrets,
            machine_certificates=machine_certificates_dir(self.project, self.connection),
            workstations=[WORKSTATION],
        )
        write_inventory(self.project, "grabow", files)
        return configure(self.project, self.connection, "grabow", progress=Silent(), **arguments)

    def configure_repositories(self, **arguments: Any) -> RunResult:
        """The same for the machines that backups go to."""
        platform = self.plan.platform
        own = self.own.model_copy(update={"platform": platform})
        machines = {"servers": {s.name: {"address": str(s.address)} for s in own.member.servers}}
        known: list[Machine] = [*own.member.servers, *platform.shared_servers]
        self._ensure_certificates(identity_of(machine, platform.key, self.connection) for machine in known)
        files = render_platform_inventory(
            platform,
            own,
            self.connection,
            outputs={"machines": machines},
            host_keys=self.host_keys,
            secrets=secrets_dir(self.project, self.connection, platform.key),
            machine_certificates=machine_certificates_dir(self.project, self.connection),
        )
        write_inventory(self.project, platform.key, files)
        return configure(self.project, self.connection, platform.key, progress=Silent(), **arguments)

    def _ensure_certificates(self, machines: Iterable[MachineIdentity]) -> None:
        ensure_machine_certificates(self.project, self.connection, machines)

    def known_hosts(self) -> Path:
        """The file by which every host is known."""
        known_hosts = self.project.root / "known_hosts"
        known_hosts.write_text(known_hosts_text(self.connection, map(self.machine, self.records), self.host_keys))
        return known_hosts

    @property
    def host_keys(self) -> dict[str, str]:
        return {name: record.host_key for name, record in self.records.items()}

    @property
    def secrets(self) -> Path:
        return secrets_dir(self.project, self.connection, "grabow")

    def address(self, name: str) -> str:
        return str(self.connection.guests.reachable_at(self.machine(name).address))

    def on(self, name: str, command: str, *, stdin: str = "", check: bool = True) -> str:
        """What a shell command prints on a host (both streams), run by the operations account."""
        done = subprocess.run(
            ["ssh", "-F", "none", "-i", str(self.connection.guests.private_key_file), "-o", "BatchMode=yes",
             "-o", f"UserKnownHostsFile={self.known_hosts()}", "-o", "StrictHostKeyChecking=yes",
             "-o", "LogLevel=ERROR", "-p", str(self.connection.guests.port), f"ops@{self.address(name)}", command],
            # Not every program on a host prints text: a backup repository talks in binary.
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="backslashreplace",
            check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout
        return done.stdout


@dataclass(frozen=True)
class Runs:
    """The first runs over fresh hosts, in this order; the machines that backups go to come first."""

    check_repositories: RunResult
    repositories: RunResult
    repositories_again: RunResult
    check: RunResult
    converge: RunResult
    again: RunResult


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("real hosts need root")
    root = tmp_path_factory.mktemp("roles")
    for name in ("roles", ".venv", "ansible.cfg", "Pulumi.yaml", "ksm_onboard"):
        (root / name).symlink_to(ROOT / name)
    ensure_ssh_key(root / "ops", "ops@test")
    ensure_certificates(root / "tls", LAB)
    instance.sweep(LAB, Silent())
    base_image = ensure_base_image(Silent())
    proxy = acquire_apt_proxy(LAB, Silent())
    declarations = Declarations(Project(ROOT))
    own = declarations.own_plan()
    assert own is not None
    site = Site(
        Project(root),
        _connection(root, proxy),
        _one_host_for_each_role(declarations.plan("grabow")),
        own,
        HostSettings(LAB, base_image, SHIFT, 22, apt_proxy=proxy),
    )
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(site.start, (*SERVERS, WORKSTATION, *REPOSITORIES, *CENTRAL, *OPS)))
        yield site
    finally:
        instance.sweep(LAB, Silent())


@pytest.fixture(scope="session")
def runs(site: Site) -> Runs:
    """Only look first, then configure, then configure once more."""
    return Runs(
        site.configure_repositories(check=True),
        site.configure_repositories(),
        site.configure_repositories(),
        site.configure(check=True),
        site.configure(),
        site.configure(),
    )


def _one_host_for_each_role(plan: Plan) -> Plan:
    member, baseline = plan.member, plan.platform.baseline
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJr0pVq0Zl7FbU0ZQmJ1pQnXo3zTjO2r0wYc0mZ8pQbV support@test"
    admins = (LocalAdminPlan(name="ksm-support", ssh_keys=(key,)),)
    # No software depot is among these hosts; it is proven where a member is onboarded.
    from_depot = {application.key for application in member.applications if application.from_depot}
    return plan.model_copy(
        update={
            "member": member.model_copy(
                update={
                    "servers": tuple(s for s in member.servers if s.name in SERVERS),
                    # No reverse proxy is started either.
                    "published": (),
                    "workstations": tuple(
                        w.model_copy(update={"applications": tuple(a for a in w.applications if a not in from_depot)})
                        for w in member.workstations
                    ),
                    # The standby's other repository is none of those that are started.
                    "backups": tuple(b for b in member.backups if b.server != "gra-db02"),
                    # The domain controllers are none of them either; the onboarded member shows the login.
                    "directory": None,
                }
            ),
            "platform": plan.platform.model_copy(
                update={"baseline": baseline.model_copy(update={"local_admins": admins})}
            ),
        }
    )


def _connection(root: Path, proxy: str) -> Connection:
    return Connection.model_validate(
        {
            "name": "lab",
            "simulated": True,
            "vcenter": {"server": "127.0.0.1:1", "user": "nobody", "password_file": root / "none"},
            "guests": {"private_key_file": root / "ops", "loopback_shift": SHIFT},
            "trust": {
                "root_ca_file": root / "tls" / "ca.pem",
                "issuing": {"certificate_file": root / "tls" / "issuing.pem", "key_file": root / "tls" / "issuing.key"},
            },
            "packages": {"apt_proxy": proxy},
        }
    )
