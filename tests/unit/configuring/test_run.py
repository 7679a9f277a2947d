"""Running Ansible for real, against this machine itself with a playbook that touches nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ksm_onboard.configuring import processes, results
from ksm_onboard.configuring.results import RunResult, runs_dir
from ksm_onboard.configuring.run import configure, last_run
from ksm_onboard.connection import Connection, load_connection
from ksm_onboard.errors import ExitCode, NotReadyError, OnboardError
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project

CONNECTION = {
    "name": "lab",
    "vcenter": {"server": "127.0.0.1:1", "user": "x", "password_file": "x"},
    "guests": {"private_key_file": "x"},
    "trust": {"root_ca_file": "x"},
}
LONG = [{"name": "Take long", "ansible.builtin.command": {"argv": ["sleep", "600"]}}]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A checkout with an inventory of two hosts that are this machine, and one that nobody reaches."""
    (tmp_path / "Pulumi.yaml").write_text("name: x\n")
    (tmp_path / "connection.yaml").write_text(yaml.safe_dump(CONNECTION))
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninterpreter_python = auto_silent\n")
    inventory = tmp_path / "inventories" / "grabow"
    inventory.mkdir(parents=True)
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    nowhere = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    hosts = {"near": here, "also-near": here, "far": nowhere}
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (tmp_path / "roles").mkdir()
    return Project(tmp_path)


@pytest.fixture
def connection(project: Project) -> Connection:
    return load_connection(project.root / "connection.yaml")


def write_playbook(project: Project, tasks: Sequence[Mapping[str, Any]], hosts: str = "near:also-near") -> None:
    play = {"name": "Test", "hosts": hosts, "gather_facts": False, "tasks": tasks}
    (project.roles / "site.yml").write_text(yaml.safe_dump([play]))


def everything_in(folder: Path) -> str:
    return "".join(f"{path}\n{path.read_text(errors='replace')}" for path in folder.rglob("*") if path.is_file())


@contextmanager
def run_elsewhere(project: Project) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run in a process of its own, once its playbook works; and the run's id."""
    program = (
        # A shell's background job inherits SIGINT as ignored; this process is one at a terminal.
        "import signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from ksm_onboard.configuring.run import configure\n"
        "from ksm_onboard.connection import load_connection\n"
        "from ksm_onboard.errors import OnboardError\n"
        "from ksm_onboard.progress import Silent\n"
        "from ksm_onboard.project import Project\n"
        "root = Path(sys.argv[1])\n"
        "try: configure(Project(root), load_connection(root / 'connection.yaml'), 'grabow', progress=Silent())\n"
        "except OnboardError as error: print(error); sys.exit(error.exit_code)\n"
    )
    runs = project.state / "lab" / "runs" / "grabow"
    with subprocess.Popen([sys.executable, "-c", program, str(project.root)], stdout=subprocess.PIPE, text=True) as run:
        try:
            wait_for(lambda: bool(results.folders(runs)), "the run to begin")
            run_id = results.read_record(results.folders(runs)[-1]).run_id
            wait_for(lambda: any(named(p) == "sleep" for p in processes.of_run(run_id)), "the playbook's task")
            yield run, run_id
        finally:
            run.kill()
    processes.end_run(run_id)


def named(process: psutil.Process) -> str | None:
    """The process's name; None if it ended meanwhile, as Ansible's short-lived children do at any moment."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return None


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def test_a_finished_run_is_kept_with_figures_and_without_secrets(
    project: Project, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "correct-horse-battery")
    stats = {"applications": "{{ {inventory_hostname: ['7zip']} }}"}
    write_playbook(
        project,
        [
            {"name": "Change", "ansible.builtin.command": {"argv": ["true"]}},
            {"name": "Tell", "ansible.builtin.debug": {"msg": "no clock"}, "when": "inventory_hostname == 'near'"},
            {"name": "Hand on", "ansible.builtin.set_stats": {"data": stats}},
        ],
    )
    result = configure(project, connection, "grabow", progress=Silent())
    assert result.status == "finished" and result.problems == ()
    assert result.changed == 2
    assert result.hosts["near"].notes == ("no clock",)
    assert result.hosts["also-near"].applications == ("7zip",)
    assert last_run(project, connection, "grabow") == result
    [folder] = results.folders(runs_dir(project, connection, "grabow"))
    assert "correct-horse-battery" not in everything_in(folder)
    assert folder.stat().st_mode & 0o077 == 0
    assert not list((folder / "artifacts/ansible/job_events").iterdir())


def test_failing_and_unreachable_hosts_fail_the_run_but_do_not_stop_the_others(
    project: Project, connection: Connection
) -> None:
    write_playbook(
        project,
        [
            {"name": "Reach", "ansible.builtin.command": {"argv": ["true"]}},
            {"name": "Fail", "ansible.builtin.fail": {"msg": "no disk"}, "when": "inventory_hostname == 'near'"},
            {"name": "Go on", "ansible.builtin.command": {"argv": ["true"]}},
        ],
        hosts="all",
    )
    result = configure(project, connection, "grabow", progress=Silent())
    assert result.status == "failed"
    assert result.hosts["near"].problems == ("near: Fail: no disk",)
    assert result.hosts["far"].unreachable == 1
    assert "far: cannot be reached" in result.hosts["far"].problems[0]
    assert result.hosts["also-near"].changed == 2


def test_check_limit_and_tags_are_passed_on(project: Project, connection: Connection) -> None:
    marker = project.root / "made"
    write_playbook(project, [{"name": "Make", "ansible.builtin.file": {"path": str(marker), "state": "touch"}}])
    result = configure(project, connection, "grabow", progress=Silent(), check=True, limit="near")
    assert (result.check, result.limit, set(result.hosts), result.changed) == (True, "near", {"near"}, 1)
    assert not marker.exists()
    assert configure(project, connection, "grabow", progress=Silent(), tags="nothing-has-this").hosts == {}


def test_a_playbook_that_cannot_even_begin_says_why(project: Project, connection: Connection) -> None:
    (project.roles / "site.yml").write_text("- hosts: [\n")
    result = configure(project, connection, "grabow", progress=Silent())
    assert result.status == "failed"
    assert "site.yml" in result.problem


def test_without_an_inventory_nothing_is_run(project: Project, connection: Connection) -> None:
    with pytest.raises(NotReadyError, match="no inventory of parchim"):
        configure(project, connection, "parchim", progress=Silent())
    assert last_run(project, connection, "parchim") is None


def test_a_run_that_takes_too_long_is_stopped(project: Project, connection: Connection) -> None:
    write_playbook(project, LONG)
    result = configure(project, connection, "grabow", progress=Silent(), timeout_s=4)
    assert result.status == "failed"
    assert "longer than it may" in result.problem
    [folder] = results.folders(runs_dir(project, connection, "grabow"))
    assert processes.of_run(results.read_record(folder).run_id) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_its_result_and_no_process(
    project: Project, connection: Connection, stop: signal.Signals
) -> None:
    write_playbook(project, LONG)
    with run_elsewhere(project) as (run, run_id):
        run.send_signal(stop)
        said, _ = run.communicate(timeout=60)
        assert run.returncode == ExitCode.INTERRUPTED
        assert "interrupted" in said
        assert processes.of_run(run_id) == []
    result = last_run(project, connection, "grabow")
    assert result is not None and result.status == "interrupted" and result.ended is not None


def test_a_killed_run_is_told_from_a_running_one_and_cleared_up_by_the_next(
    project: Project, connection: Connection
) -> None:
    write_playbook(project, LONG)
    with run_elsewhere(project) as (run, run_id):
        assert status(last_run(project, connection, "grabow")) == "running"
        with pytest.raises(OnboardError, match="another run"):
            configure(project, connection, "grabow", progress=Silent())
        run.kill()
        run.wait(timeout=60)
        assert status(last_run(project, connection, "grabow")) == "interrupted"
        write_playbook(project, [{"name": "Nothing", "ansible.builtin.meta": "noop"}])
        assert configure(project, connection, "grabow", progress=Silent()).status == "finished"
        assert processes.of_run(run_id) == []


def status(result: RunResult | None) -> str:
    assert result is not None
    return result.status
