"""What the Windows roles do to SIMULATED workstations: check, converge, nothing again, drop, misbehave.

No PowerShell runs here: a connection plugin judges what Ansible sends and answers as modules document.
"""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.certificates import machine_certificates_dir
from ksm_onboard.configuring.inventory import render_inventory, secrets_dir, simulated_windows_dir, write_inventory
from ksm_onboard.configuring.results import RunResult
from ksm_onboard.configuring.run import configure
from ksm_onboard.connection import Connection
from ksm_onboard.lab.certificates import ensure_certificates, ensure_ssh_key
from ksm_onboard.lab.windows.machine import Hosts, Machine, Misbehaviour
from ksm_onboard.onboarding.lab_world import windows_offers
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import LocalAdminPlan, Plan
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project
from ksm_onboard.verifying.audit_windows import compare_windows
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.host_facts import HostSilent
from ksm_onboard.verifying.windows_hosts import WindowsFacts, ask_windows

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
ONE, OTHER = "gra-ws0007", "gra-ws0011"
SYSTEM = "hklm:\\software\\microsoft\\windows\\currentversion\\policies\\system"


@dataclass
class Workstations:
    """Two simulated workplaces of Grabow and a project that configures them."""

    project: Project
    connection: Connection
    plan: Plan

    @property
    def hosts(self) -> Hosts:
        return Hosts(simulated_windows_dir(self.project, self.connection))

    def configure(self, plan: Plan | None = None, **arguments: Any) -> RunResult:
        plan = plan or self.plan
        shared = [server.name for server in plan.platform.shared_servers]
        shared += [server.name for server in plan.platform.all_central_servers]
        files = render_inventory(
            plan,
            self.connection,
            outputs={"servers": {s.name: {"address": str(s.address)} for s in plan.member.servers}},
            host_keys=dict.fromkeys(shared, "ssh-ed25519 AAAA"),
            secrets=secrets_dir(self.project, self.connection, "grabow"),
            machine_certificates=machine_certificates_dir(self.project, self.connection),
            workstations=[ONE, OTHER],
        )
        write_inventory(self.project, "grabow", files)
        arguments = {"limit": "windows_workstations", **arguments}
        return configure(self.project, self.connection, "grabow", progress=Silent(), **arguments)

    def one(self) -> Machine:
        return self.hosts.read(ONE)


@pytest.fixture(scope="module")
def workstations(tmp_path_factory: pytest.TempPathFactory) -> Workstations:
    root = tmp_path_factory.mktemp("windows")
    for name in ("roles", ".venv", "ansible.cfg", "Pulumi.yaml", "ksm_onboard"):
        (root / name).symlink_to(ROOT / name)
    ensure_ssh_key(root / "ops", "ops@test")
    ensure_certificates(root / "tls", "test")
    connection = Connection.model_validate(
        {
            "name": "lab",
            "simulated": True,
            "vcenter": {"server": "127.0.0.1:1", "user": "nobody", "password_file": root / "none"},
            "guests": {"private_key_file": root / "ops", "loopback_shift": 64},
            "trust": {"root_ca_file": root / "tls" / "ca.pem"},
            "windows": {},
        }
    )
    plan = Declarations(Project(ROOT)).plan("grabow")
    baseline = plan.platform.baseline.model_copy(
        update={"local_admins": (LocalAdminPlan(name="ksm-support", ssh_keys=()),)}
    )
    plan = plan.model_copy(update={"platform": plan.platform.model_copy(update={"baseline": baseline})})
    found = Workstations(Project(root), connection, plan)
    found.hosts.create([ONE, OTHER])
    found.hosts.set_offers(found.hosts.offers().model_copy(update={"chocolatey": windows_offers(plan.member)}))
    return found


@pytest.fixture(scope="module")
def runs(workstations: Workstations) -> tuple[RunResult, Machine, RunResult, RunResult]:
    """A check over fresh machines, what it left, the first run and the second one."""
    check = workstations.configure(check=True)
    untouched = workstations.one()
    return check, untouched, workstations.configure(), workstations.configure()


def test_a_check_foretells_changes_and_makes_none(runs: tuple[RunResult, Machine, RunResult, RunResult]) -> None:
    check, untouched, _, _ = runs
    assert check.status == "finished", check.problems
    assert set(check.hosts) == {ONE, OTHER}
    assert all(host.changed > 5 for host in check.hosts.values())
    assert untouched == Machine(name=ONE)


def test_the_first_run_configures_and_says_that_it_is_a_simulation(
    workstations: Workstations, runs: tuple[RunResult, Machine, RunResult, RunResult]
) -> None:
    _, _, converge, _ = runs
    assert converge.status == "finished", converge.problems
    assert all(host.simulated for host in converge.hosts.values())
    assert "The system's drive is not encrypted with BitLocker." in converge.hosts[ONE].notes
    wanted = next(w for w in workstations.plan.member.workstations if w.name == ONE).applications
    assert set(converge.hosts[ONE].applications) <= set(wanted)
    assert {"firefox-esr", "autista"} <= set(converge.hosts[ONE].applications)


def test_the_second_run_changes_nothing(runs: tuple[RunResult, Machine, RunResult, RunResult]) -> None:
    again = runs[3]
    assert again.status == "finished", again.problems
    assert again.changed == 0


def test_a_full_run_takes_at_most_forty_results_a_host(
    runs: tuple[RunResult, Machine, RunResult, RunResult],
) -> None:
    host = runs[2].hosts[ONE]
    assert host.ok + host.skipped + host.failed <= 40


@pytest.mark.usefixtures("runs")
def test_what_the_roles_leave(workstations: Workstations) -> None:
    machine, baseline = workstations.one(), workstations.plan.platform.baseline
    system = {value.name: value.data for value in machine.registry[SYSTEM].values()}
    assert system["InactivityTimeoutSecs"] == baseline.screen_lock_minutes * 60
    assert system["legalnoticetext"] == baseline.login_banner.strip()
    parameters = machine.registry["hklm:\\system\\currentcontrolset\\services\\w32time\\parameters"]
    assert parameters["ntpserver"].data == " ".join(f"{server},0x8" for server in baseline.ntp_servers)
    assert machine.time_zone == "W. Europe Standard Time"
    assert (machine.services["w32time"].state, machine.services["w32time"].start_mode) == ("started", "auto")
    assert machine.groups["Administrators"] == ["Administrator", "ops", "ksm-support"]
    assert machine.users["ksm-support"].password_sha256
    assert len(machine.certificates["LocalMachine\\Root"]) == 1
    assert all(p.enabled and p.inbound_action == "block" for p in machine.firewall_profiles.values())
    assert machine.firewall_rules["KSM management"]["localport"] == "5986"
    assert machine.features["SMB1Protocol"] is False
    assert machine.defender["sample_submission"] == "never"
    assert "\\KSM\\Network drives" in machine.scheduled_tasks
    script = base64.b64decode(machine.files["c:\\programdata\\ksm\\drives.ps1"].content).decode()
    assert all(f"\\{share.name}'" in script for share in workstations.plan.member.shares)
    assert list(machine.chocolatey.sources) == ["ksm", "ksm-other"]
    assert machine.volumes["C:"].protection == "off"
    site = next(w.site for w in workstations.plan.member.workstations if w.name == ONE)
    assert set(machine.printers) == {q.name for q in workstations.plan.member.print_queues if q.site == site}
    # win_template leaves an empty folder there, on real machines too; no file may be left.
    assert not [path for path in machine.files if path.startswith("c:\\windows\\temp")]


@pytest.mark.usefixtures("runs")
def test_the_hosts_themselves_are_asked_and_a_missing_application_is_found(workstations: Workstations) -> None:
    inventory = workstations.project.inventories / "grabow"
    wanted = {w.name: w for w in workstations.plan.member.workstations if w.name in (ONE, OTHER)}
    root_ca = workstations.connection.trust.root_ca_file.read_text()
    with workstations.hosts.opened(OTHER) as machine:
        version = machine.chocolatey.packages.pop("7zip")
        machine.registry[SYSTEM]["inactivitytimeoutsecs"].data = 0
    found: dict[str, list[str]] = {}
    for answer in ask_windows(workstations.project, inventory, [ONE, OTHER], Silent()):
        assert isinstance(answer, WindowsFacts), answer
        points = Comparison()
        seen = compare_windows(workstations.plan, wanted[answer.name], answer, root_ca, points)
        assert seen.simulated and "simuliert" in seen.operating_system
        assert all("simulated" in difference.how_seen for difference in points.differences)
        found[answer.name] = [f"{d.object} {d.attribute}" for d in points.differences]
    assert found == {ONE: [], OTHER: [f"{OTHER} screen_lock_seconds", f"{OTHER}: 7zip package"]}
    with workstations.hosts.opened(OTHER) as machine:
        machine.chocolatey.packages["7zip"] = version
        machine.misbehaviour = "offline"
    silent = ask_windows(workstations.project, inventory, [OTHER], Silent())[0]
    workstations.hosts.misbehave(OTHER, None)
    assert isinstance(silent, HostSilent) and "switched off" in silent.reason


@pytest.mark.usefixtures("runs")
def test_the_passwords_of_support_accounts_are_kept_apart_and_nowhere_else(workstations: Workstations) -> None:
    secrets = secrets_dir(workstations.project, workstations.connection, "grabow")
    password = (secrets / "windows" / ONE / "ksm-support").read_text().split()[0]
    assert len(password) == 24
    assert password != (secrets / "windows" / OTHER / "ksm-support").read_text().split()[0]
    state = workstations.project.state / "lab"
    kept = "".join(p.read_text() for folder in ("runs", "windows") for p in (state / folder).rglob("*") if p.is_file())
    assert password not in kept


@pytest.mark.usefixtures("runs")
def test_hosts_that_misbehave_are_named_and_catch_up_when_they_are_well(workstations: Workstations) -> None:
    rounds: list[tuple[tuple[Misbehaviour, str, int], tuple[Misbehaviour, str, int]]] = [
        (("offline", "switched off", 1), ("installer-busy", "another installation is going on (1618)", 0)),
        (("disk-full", "not enough space", 0), ("access-denied", "access is denied", 1)),
    ]
    for name in (ONE, OTHER):
        with workstations.hosts.opened(name) as machine:
            del machine.chocolatey.packages["7zip"]
    for both in rounds:
        for name, (how, _, _) in zip((ONE, OTHER), both, strict=True):
            workstations.hosts.misbehave(name, how)
        result = workstations.configure(tags="windows_applications")
        assert result.status == "failed"
        for name, (_, said, unreachable) in zip((ONE, OTHER), both, strict=True):
            assert said in " ".join(result.hosts[name].problems)
            assert result.hosts[name].unreachable == unreachable
            assert "7zip" not in workstations.hosts.read(name).chocolatey.packages
    workstations.hosts.misbehave(ONE, None)
    workstations.hosts.misbehave(OTHER, "reboot-required")
    result = workstations.configure(tags="windows_applications")
    workstations.hosts.misbehave(OTHER, None)
    assert result.status == "finished", result.problems
    assert not any("restart is due" in note for note in result.hosts[ONE].notes)
    assert any("restart is due" in note for note in result.hosts[OTHER].notes)
    assert all("7zip" in workstations.hosts.read(name).chocolatey.packages for name in (ONE, OTHER))


@pytest.mark.usefixtures("runs")
def test_the_other_depot_gives_what_the_first_does_not_and_no_public_source_is_asked(
    workstations: Workstations,
) -> None:
    sources = workstations.one().chocolatey.sources
    assert {name: source["source"] for name, source in sources.items()} == {
        "ksm": "https://127.160.0.41/nuget/v3/index.json",
        "ksm-other": "https://127.160.0.42/nuget/v3/index.json",
    }
    offers = workstations.hosts.offers()
    lost = tuple(source["source"] for name, source in sources.items() if name == "ksm")
    with workstations.hosts.opened(ONE) as machine:
        del machine.chocolatey.packages["7zip"]
    workstations.hosts.set_offers(offers.model_copy(update={"lost_feeds": lost}))
    try:
        result = workstations.configure(limit=ONE, tags="windows_applications")
    finally:
        workstations.hosts.set_offers(offers)
    assert result.status == "finished", result.problems
    assert "7zip" in workstations.one().chocolatey.packages


@pytest.mark.usefixtures("runs")
def test_a_play_with_a_wrong_parameter_is_refused(workstations: Workstations, tmp_path: Path) -> None:
    play = tmp_path / "wrong.yml"
    module = "ansible.windows.win_regedit"
    task = {module: {"path": "HKLM:\\SOFTWARE\\Test", "name": "Level", "datum": 1, "type": "dwrod"}}
    play.write_text(json.dumps([{"hosts": ONE, "gather_facts": False, "become": False, "tasks": [task]}]))
    command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(workstations.project.inventories / "grabow")]
    done = subprocess.run([*command, str(play)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert "simulated Windows: refused: ansible.windows.win_regedit" in said
    assert "datum" in said and "dwrod" in said
    assert "hklm:\\software\\test" not in workstations.one().registry


@pytest.mark.usefixtures("runs")
def test_what_the_declaration_drops_is_taken_back(workstations: Workstations) -> None:
    member, baseline = workstations.plan.member, workstations.plan.platform.baseline
    without = member.model_copy(
        update={
            "workstations": tuple(
                w.model_copy(
                    update={"applications": tuple(k for k in w.applications if k not in ("autista", "emra-mv"))}
                )
                for w in member.workstations
            ),
            "print_queues": (),
        }
    )
    platform = workstations.plan.platform.model_copy(
        update={"baseline": baseline.model_copy(update={"local_admins": ()})}
    )
    dropped = workstations.plan.model_copy(update={"member": without, "platform": platform})
    workstations.hosts.misbehave(ONE, None)
    before = workstations.one()
    assert "ksm-standin-autista" in before.chocolatey.packages
    result = workstations.configure(dropped, limit=ONE)
    assert result.status == "finished", result.problems
    machine = workstations.one()
    assert set(before.chocolatey.packages) - set(machine.chocolatey.packages) == {"ksm-standin-autista"}
    assert machine.printers == {}
    assert machine.groups["Administrators"] == ["Administrator", "ops"]
    assert machine.users["ksm-support"].disabled is True
