"""A directory of two controllers that replicate, and a workplace that logs in there, in a lab of their own.

Name ``directory-test``, addresses shifted by 32. The accounts of people exist only here; no declaration holds any.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from ksm_onboard.certificates import ensure_service_certificate
from ksm_onboard.configuring.inventory import write_inventory
from ksm_onboard.configuring.results import RunResult
from ksm_onboard.configuring.run import configure
from ksm_onboard.connection import Connection
from ksm_onboard.lab import instance
from ksm_onboard.lab.base_image import ensure_base_image
from ksm_onboard.lab.certificates import ensure_certificates, ensure_ssh_key
from ksm_onboard.lab.customisation import Customisation, User
from ksm_onboard.lab.hosts import HostKind, HostRecord, HostSettings, HostSpec, discard_host, kill_host, start_host
from ksm_onboard.lab.packages import acquire_apt_proxy
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
LAB = "directory-test"
SHIFT = 32
DOMAIN = "ad.ksm.internal"
REALM = DOMAIN.upper()
FIRST, SECOND, WORKPLACE = "dir-dc01", "dir-dc02", "dir-ws0001"
CONTROLLERS = (FIRST, SECOND)
ADDRESSES = {
    FIRST: IPv4Address("10.96.0.71"),
    SECOND: IPv4Address("10.96.0.72"),
    WORKPLACE: IPv4Address("10.64.0.221"),
}
SUPPORT = "ksm-workplace-support"
PATIENCE = 420.0
"""Seconds until something that was awaited counts as not happening. Replication takes about five where a controller
notifies the other; where it does not know it yet, Samba asks by itself every five minutes."""


@dataclass
class Directory:
    """The hosts, the project that configures them, and a way to look into them."""

    project: Project
    connection: Connection
    settings: HostSettings
    certificate: tuple[Path, Path]
    records: dict[str, HostRecord] = field(default_factory=dict)
    state: str = "joined"

    def start(self, name: str) -> None:
        told = Customisation(
            hostname=name,
            fqdn=f"{name}.ksm.internal",
            address=ADDRESSES[name],
            users=(User("ops", (self.connection.guests.public_key(),), ("ALL=(ALL) NOPASSWD:ALL",)),),
        )
        kind = HostKind.WORKSTATION if name == WORKPLACE else HostKind.VM
        spec = HostSpec(name=name, kind=kind, uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), customisation=told)
        self.records[name] = start_host(spec, self.settings)

    def address(self, name: str) -> str:
        return str(self.connection.guests.reachable_at(ADDRESSES[name]))

    @property
    def secrets(self) -> Path:
        return self.connection.state_dir(self.project) / "secrets"

    def configure(self, limit: str, *, check: bool = False) -> RunResult:
        write_inventory(self.project, "directory", self._inventory())
        return configure(
            self.project, self.connection, "directory", progress=Silent(), limit=limit, check=check,
            tags="directory_server,directory_client",
        )  # fmt: skip

    def _inventory(self) -> dict[str, str]:
        controllers = [{"name": name, "address": self.address(name)} for name in CONTROLLERS]
        known = "".join(f"{self.address(n)} {r.host_key}\n" for n, r in self.records.items())
        ssh = "-o UserKnownHostsFile={{ inventory_dir }}/known_hosts.txt -o StrictHostKeyChecking=yes"
        everywhere = {
            "ansible_user": "ops",
            "ansible_ssh_private_key_file": str(self.connection.guests.private_key_file),
            "ansible_ssh_common_args": ssh,
        }
        server = {
            "directory_server_domain": DOMAIN,
            "directory_server_netbios_name": "KSM",
            "directory_server_address": "{{ ansible_host }}",
            "directory_server_controllers": controllers,
            "directory_server_certificate_file": str(self.certificate[0]),
            "directory_server_certificate_key_file": str(self.certificate[1]),
            "directory_server_secrets_dir": str(self.secrets),
            "directory_server_support_group": SUPPORT,
        }
        client = {
            "directory_server_member_key": "grabow",
            "directory_server_member_groups": [
                {"name": "gra-users", "description": "Stadt Grabow"},
                {"name": "gra-department-bauamt", "description": "Bauamt", "member_of": "gra-users"},
            ],
            "directory_server_join_account": "gra-join",
            "directory_server_member_controllers": list(CONTROLLERS),
            "directory_server_member_secrets_dir": str(self.secrets),
            "directory_client_state": self.state,
            "directory_client_domain": DOMAIN,
            "directory_client_controllers": controllers,
            "directory_client_unit": f"OU=Computers,OU=grabow,OU=Members,{_dn()}",
            "directory_client_dns_domain": "grabow.internal",
            "directory_client_join_account": "gra-join",
            "directory_client_secrets_dir": str(self.secrets),
            "directory_client_allowed_groups": ["gra-users", SUPPORT],
            "directory_client_support_group": SUPPORT,
        }
        hosts = {name: {"ansible_host": self.address(name)} for name in ADDRESSES}
        groups = {
            "servers": {"children": {"directory_servers": {"hosts": {n: hosts[n] for n in CONTROLLERS}}}},
            "workstations": {"hosts": {WORKPLACE: hosts[WORKPLACE]}},
        }
        files = {
            "hosts.yml": {"all": {"children": groups}},
            "group_vars/all.yml": everywhere,
            "group_vars/directory_servers.yml": server,
            "group_vars/workstations.yml": client,
        }
        return {"known_hosts.txt": known, **{name: yaml.safe_dump(content) for name, content in files.items()}}

    def on(self, name: str, command: str, *, stdin: str = "", check: bool = True) -> str:
        """What a shell command prints on a host (both streams), run by the operations account."""
        known = self.project.root / "known_hosts"
        known.write_text("".join(f"{self.address(n)} {r.host_key}\n" for n, r in self.records.items()))
        done = subprocess.run(
            ["ssh", "-F", "none", "-i", str(self.connection.guests.private_key_file), "-o", "BatchMode=yes",
             "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
             f"ops@{self.address(name)}", command],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def log_in(self, user: str, password: str, command: str) -> str:
        """What a login shell of ``user`` prints at the workplace; PAM asks for the password on a terminal."""
        program = (
            "import os, pty, sys\n"
            f"user, password, command = {(user, password, command)!r}\n"
            "pid, terminal = pty.fork()\n"
            "if pid == 0:\n"
            "    os.execvp('su', ['su', '--login', user, '--command', command])\n"
            "said = b''\n"
            "try:\n"
            "    while b'assword: ' not in said:\n"
            "        said += os.read(terminal, 4096)\n"
            "    os.write(terminal, password.encode() + b'\\n')\n"
            "    while part := os.read(terminal, 4096):\n"
            "        said += part\n"
            "except OSError:\n"
            "    pass\n"
            "print(said.decode(), 'status', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        )
        return self.on(WORKPLACE, "python3 -", stdin=program)


def _dn() -> str:
    return ",".join(f"DC={part}" for part in DOMAIN.split("."))


@dataclass(frozen=True)
class Runs:
    """The first runs over fresh hosts, in this order."""

    check: RunResult
    controllers: RunResult
    workplace: RunResult
    again: RunResult
    check_again: RunResult


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    if os.geteuid() != 0:
        pytest.skip("real hosts need root")
    root = tmp_path_factory.mktemp("directory")
    for name in ("roles", ".venv", "ansible.cfg", "Pulumi.yaml"):
        (root / name).symlink_to(ROOT / name)
    ensure_ssh_key(root / "ops", "ops@test")
    ensure_certificates(root, LAB)
    instance.sweep(LAB, Silent())
    proxy = acquire_apt_proxy(LAB, Silent())
    connection = _connection(root, proxy)
    project = Project(root)
    names = tuple(f"{name}.{DOMAIN}" for name in CONTROLLERS)
    signed = ensure_service_certificate(project, connection, names, [])
    directory = Directory(
        project,
        connection,
        HostSettings(LAB, ensure_base_image(Silent()), SHIFT, 22, apt_proxy=proxy),
        (signed.chain, signed.key),
    )
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(directory.start, ADDRESSES))
        yield directory
    finally:
        instance.sweep(LAB, Silent())


def _connection(root: Path, proxy: str) -> Connection:
    return Connection.model_validate(
        {
            "name": "lab",
            "simulated": True,
            "vcenter": {"server": "127.0.0.1:1", "user": "nobody", "password_file": root / "none"},
            "guests": {"private_key_file": root / "ops", "loopback_shift": SHIFT},
            "trust": {
                "root_ca_file": root / "ca.pem",
                "issuing": {"certificate_file": root / "issuing.pem", "key_file": root / "issuing.key"},
            },
            "packages": {"apt_proxy": proxy},
        }
    )


@pytest.fixture(scope="module")
def runs(directory: Directory) -> Runs:
    return Runs(
        directory.configure(FIRST, check=True),
        directory.configure("directory_servers"),
        directory.configure("workstations"),
        directory.configure("all"),
        directory.configure("all", check=True),
    )


@pytest.fixture(scope="module", autouse=True)
def people(directory: Directory, runs: Runs) -> dict[str, str]:
    """Accounts and their passwords: anna and otto belong to the Bauamt, sven to the support, fritz to nobody."""
    assert runs.controllers.status == "finished", runs.controllers.problems
    made = {}
    for name, group in {
        "anna": "gra-department-bauamt",
        "otto": "gra-department-bauamt",
        "sven": SUPPORT,
        "fritz": "",
    }.items():
        made[name] = _create(directory, FIRST, name)
        if group:
            directory.on(FIRST, f"sudo samba-tool group addmembers {group} {name}")
    return made


def _create(directory: Directory, controller: str, name: str) -> str:
    password = f"Pw-{secrets.token_hex(10)}"
    directory.on(controller, f"sudo samba-tool user create {name}", stdin=f"{password}\n{password}\n")
    return password


def _try_to_create(directory: Directory, controller: str, name: str) -> str:
    password = f"Pw-{secrets.token_hex(10)}\n"
    return directory.on(controller, f"sudo samba-tool user create {name}", stdin=password * 2, check=False)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(1)


def knows(directory: Directory, controller: str, name: str) -> bool:
    return name in directory.on(controller, "sudo samba-tool user list").split()


def ticket(directory: Directory, controller: str, name: str, password: str) -> str:
    return directory.on(controller, f"kinit {name}@{REALM} && klist; kdestroy -q", stdin=f"{password}\n", check=False)


# --- the runs ---------------------------------------------------------------------------------


def test_the_runs_come_to_their_end_and_the_last_ones_change_nothing(runs: Runs) -> None:
    for run in (runs.check, runs.controllers, runs.workplace, runs.again, runs.check_again):
        assert run.status == "finished", run.problems
    assert runs.check.hosts[FIRST].changed and runs.controllers.hosts[SECOND].changed
    assert runs.again.changed == 0
    assert runs.check_again.changed == 0


def test_secrets_are_readable_by_their_owner_only_and_in_no_run(directory: Directory) -> None:
    files = sorted(path for path in directory.secrets.iterdir() if not path.name.endswith(".lock"))
    assert [path.name for path in files] == ["directory-administrator", "directory-gra-join"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (directory.secrets, *files))
    words = [path.read_text().split()[0] for path in files]
    words.append(directory.certificate[1].read_text().splitlines()[1])
    kept = "".join(p.read_text() for p in (directory.project.state / "lab" / "runs").rglob("*") if p.is_file())
    assert kept and not [word for word in words if word in kept]


@pytest.mark.parametrize("name", ADDRESSES)
def test_nothing_failed_and_nothing_listens_on_an_address_of_all_hosts(directory: Directory, name: str) -> None:
    assert directory.on(name, "systemctl --failed --plain --no-legend") == ""
    listening = directory.on(name, "sudo ss --listening --tcp --udp --numeric --processes --no-header").splitlines()
    own = [line for line in listening if "users:" in line]
    assert own and {line.split()[4].rsplit(":", 1)[0] for line in own} == {directory.address(name)}


# --- the controllers --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLLERS)
def test_all_partitions_replicate_both_ways(directory: Directory, name: str) -> None:
    # What is asked is what each pulls from the other (repsFrom). Whom a controller notifies of changes (repsTo) is no
    # sign of health: Samba's consistency checker empties and fills that list again every five minutes.
    def healthy() -> bool:
        pulled = json.loads(directory.on(name, "sudo samba-tool drs showrepl --json"))["repsFrom"]
        return len(pulled) >= 5 and not any(neighbour["consecutive failures"] for neighbour in pulled)

    until(healthy, f"{name} does not replicate")


@pytest.mark.parametrize(("made_at", "seen_at"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_an_account_that_is_made_at_one_controller_is_known_at_the_other(
    directory: Directory, made_at: str, seen_at: str
) -> None:
    name = f"of-{made_at}"
    password = _create(directory, made_at, name)
    until(lambda: knows(directory, seen_at, name), f"{seen_at} does not know {name}")
    assert f"krbtgt/{REALM}" in ticket(directory, seen_at, name, password)
    assert "krbtgt" not in ticket(directory, seen_at, name, "wrong")


def test_ldap_over_tls_shows_a_certificate_of_the_projects_authority(directory: Directory) -> None:
    for name in CONTROLLERS:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"{directory.address(name)}:636", "-verify_return_error",
             "-CAfile", str(directory.connection.trust.root_ca_file), "-verify_hostname", f"{name}.{DOMAIN}"],
            input="", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr


def test_passwords_must_be_long_and_guessing_locks_the_account(directory: Directory) -> None:
    short = directory.on(FIRST, "sudo samba-tool user create kurz", stdin="Kurz-1\nKurz-1\n", check=False)
    assert "too short" in short
    shown = directory.on(SECOND, "sudo samba-tool domain passwordsettings show")
    for line in (
        "Minimum password length: 12",
        "Account lockout threshold (attempts): 10",
        "Maximum password age (days): 0",
    ):
        assert line in shown


def test_group_policies_that_are_edited_at_the_first_controller_reach_the_second(directory: Directory) -> None:
    folder = f"/var/lib/samba/sysvol/{DOMAIN}/scripts"
    directory.on(FIRST, f"echo Hinweis | sudo tee {folder}/hinweis.txt")
    directory.on(SECOND, "sudo systemctl start ksm-sysvol")
    assert directory.on(SECOND, f"sudo cat {folder}/hinweis.txt").strip() == "Hinweis"
    directory.on(FIRST, f"sudo rm {folder}/hinweis.txt && sudo systemctl start ksm-sysvol")
    directory.on(SECOND, "sudo systemctl start ksm-sysvol && sudo samba-tool ntacl sysvolcheck")
    assert "hinweis" not in directory.on(SECOND, f"sudo ls {folder}")


def test_the_join_account_can_join_computers_of_its_member_and_do_nothing_else(directory: Directory) -> None:
    [secret] = directory.secrets.glob("directory-gra-join")
    login = f"{secret.read_text().split()[0]}\n"
    tool = f"samba-tool {{}} -H ldap://{FIRST}.{DOMAIN} --username=gra-join"
    unit = "OU=Computers,OU=grabow,OU=Members"
    directory.on(FIRST, f"{tool.format('computer create probe1')} --computerou={unit}", stdin=login)
    directory.on(FIRST, tool.format("computer delete probe1"), stdin=login)
    for attempt in (
        f"{tool.format('computer create probe2')} --computerou=OU=Members",
        tool.format("computer create probe3"),
        tool.format("user create probe4 Pw-1234-5678-abcd"),
        tool.format(f"group addmembers {SUPPORT} gra-join"),
    ):
        refused = directory.on(FIRST, attempt, stdin=login, check=False)
        assert "INSUFFICIENT_ACCESS" in refused.upper() or "insufficient access" in refused.lower(), (attempt, refused)


# --- the workplace ----------------------------------------------------------------------------


def test_a_member_of_the_members_groups_logs_in_and_gets_a_home_folder(
    directory: Directory, people: dict[str, str]
) -> None:
    said = directory.log_in("anna", people["anna"], "id -Gn; pwd; stat -c %a .")
    assert "gra-department-bauamt" in said and "/home/anna" in said and "700" in said and "status 0" in said
    assert "status 0" not in directory.log_in("anna", "wrong", "id -un")


def test_an_account_that_belongs_to_no_group_of_the_member_is_refused(
    directory: Directory, people: dict[str, str]
) -> None:
    assert f"krbtgt/{REALM}" in ticket(directory, FIRST, "fritz", people["fritz"])
    assert "status 0" not in directory.log_in("fritz", people["fritz"], "id -un")


def test_only_the_support_group_may_use_sudo(directory: Directory, people: dict[str, str]) -> None:
    assert "status 0" in directory.log_in("sven", people["sven"], "true")
    assert "(ALL : ALL) ALL" in directory.on(WORKPLACE, "sudo sudo -l -U sven")
    assert "not allowed to run sudo" in directory.on(WORKPLACE, "sudo sudo -l -U anna", check=False)


def test_the_workplaces_account_stands_in_the_members_unit(directory: Directory) -> None:
    shown = directory.on(SECOND, f"sudo samba-tool computer show {WORKPLACE}")
    assert f"OU=Computers,OU=grabow,OU=Members,{_dn()}" in shown


@pytest.mark.parametrize(("lost", "left"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_with_one_controller_lost_everybody_still_logs_in(
    directory: Directory, people: dict[str, str], lost: str, left: str
) -> None:
    kill_host(LAB, lost)
    try:
        assert f"krbtgt/{REALM}" in ticket(directory, left, "anna", people["anna"])
        # Never logged in before at this workplace: nothing that is cached can answer.
        name = f"new-{lost}"
        password = _create(directory, left, name)
        directory.on(left, f"sudo samba-tool group addmembers gra-users {name}")
        until(lambda: "status 0" in directory.log_in(name, password, "id -un"), "nobody can log in")
    finally:
        directory.start(lost)
    until(lambda: knows(directory, lost, name), f"{lost} came back and does not know {name}")


def test_with_both_lost_only_those_log_in_who_did_before(directory: Directory, people: dict[str, str]) -> None:
    until(lambda: "status 0" in directory.log_in("anna", people["anna"], "true"), "anna cannot log in")
    for name in CONTROLLERS:
        directory.on(name, "sudo systemctl stop samba-ad-dc")
    try:
        assert "status 0" in directory.log_in("anna", people["anna"], "true")
        assert "status 0" not in directory.log_in("anna", "wrong", "true")
        assert "status 0" not in directory.log_in("otto", people["otto"], "true")
    finally:
        for name in CONTROLLERS:
            directory.on(name, "sudo systemctl start samba-ad-dc")


def _domain_sid(directory: Directory) -> str:
    shown = directory.on(SECOND, "sudo samba-tool computer show dir-ws0001 --attributes objectSid")
    return next(line for line in shown.splitlines() if line.startswith("objectSid:")).rsplit("-", 1)[0]


def test_a_controller_that_is_made_anew_joins_and_does_not_found_a_second_domain(directory: Directory) -> None:
    before = _domain_sid(directory)
    discard_host(LAB, FIRST)
    directory.start(FIRST)
    assert directory.configure(FIRST).status == "finished"
    assert knows(directory, FIRST, "anna")
    assert "dir-dc02" in directory.on(SECOND, "sudo samba-tool fsmo show").lower()
    # New objects need numbers, which the holder of one of the roles gives out.
    until(lambda: "added successfully" in _try_to_create(directory, FIRST, "renate"), "no account can be made")
    until(lambda: knows(directory, SECOND, "renate"), f"{SECOND} does not know renate")
    assert _domain_sid(directory) == before


def test_a_machine_that_is_dropped_leaves_nothing_behind(directory: Directory, people: dict[str, str]) -> None:
    directory.state = "left"
    left = directory.configure("workstations")
    assert left.status == "finished", left.problems
    assert "no such user" in directory.on(WORKPLACE, "id anna", check=False)
    files = "/etc/krb5.keytab /etc/sssd /etc/sudoers.d/directory /var/lib/sss /usr/share/pam-configs/ksm-directory-home"
    assert directory.on(WORKPLACE, f"sudo ls -d {files} 2>/dev/null || true") == ""
    assert directory.on(WORKPLACE, "grep -lE 'sss|mkhomedir' /etc/pam.d/* /etc/nsswitch.conf || true") == ""
    assert DOMAIN not in directory.on(WORKPLACE, "cat /etc/hosts")
    assert directory.on(WORKPLACE, "dpkg -l sssd-ad sssd-common adcli 2>/dev/null | grep -c ^ii || true").strip() == "0"
    shown = f"sudo samba-tool computer show {WORKPLACE}"
    until(lambda: "Unable to find" in directory.on(SECOND, shown, check=False), "its account is still there")
    again = directory.configure("workstations")
    assert again.status == "finished" and again.changed == 0
