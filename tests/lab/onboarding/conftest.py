"""A checkout of its own with a lab of its own, beside whatever lab the person runs: Grabow is onboarded once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

ROOT = Path(__file__).resolve().parents[3]
LAB = "test"
WORKSTATIONS = 2
LINUX = 1
"""So many of them are real hosts; the others run Windows and are simulated."""
CENTRAL = len(yaml.safe_load((ROOT / "stacks" / "schwerin.yaml").read_text(encoding="utf-8"))["shared"]["vms"])
"""The platform's own VMs: central services."""


@dataclass(frozen=True)
class Checkout:
    """A copy of the working tree; commands run in it as a person would run them."""

    root: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.root / ".state" / LAB

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PULUMI_", "KSM_", "ANSIBLE_"))}
        return {**kept, "KSM_LAB": LAB, "COLUMNS": "200", "NO_COLOR": "1", **self.extra}

    def ksm(self, *arguments: str, timeout: float = 1800, **extra: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.root / ".venv/bin/ksm-onboard"), *arguments, timeout=timeout, **extra)

    def ksm_json(self, *arguments: str) -> Any:
        done = self.ksm(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Plain pulumi, with nothing but what ``ksm-onboard env`` prints."""
        script = f'eval "$({self.root}/.venv/bin/ksm-onboard env)" && exec pulumi "$@"'
        return self.run("bash", "-c", script, "bash", *arguments, "--non-interactive")

    def run(self, *command: str, timeout: float = 1800, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment(), **extra},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def wait_for_hosts(self, kinds: list[str], within: float = 180) -> None:
        """Until the lab has just these hosts: a deleted VM's is shut down after vCenter's task has ended."""
        deadline = time.monotonic() + within
        while (seen := sorted(host["kind"] for host in self.ksm_json("lab", "status")["hosts"])) != kinds:
            assert time.monotonic() < deadline, seen
            time.sleep(1)

    def interrupted(self, *arguments: str, until: str, within: float = 120) -> tuple[int, str]:
        """Run a command, press Ctrl-C once its output holds ``until``, and return exit code and output."""
        log = self.root / "interrupted.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [str(self.root / ".venv/bin/ksm-onboard"), *arguments],
                cwd=self.root,
                env=self.environment(),
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            deadline = time.monotonic() + within
            while until not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(timeout=120)
        return code, log.read_text()


def copy_of_the_working_tree(target: Path) -> None:
    """What a commit of the present tree would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    venv = Path(sys.executable).parents[1]
    (target / ".venv").symlink_to(venv)


def address(declared: str) -> str:
    """Where the second lab shows a declared address."""
    _, second, third, fourth = declared.split(".")
    return f"127.{int(second) + 128}.{third}.{fourth}"


def on_host(checkout: Checkout, declared: str, command: str, *, stdin: str = "", check: bool = True) -> str:
    """What a shell command prints on a host, run by the operations account; without ``check`` also its errors."""
    key = checkout.state / "ssh" / "ops_ed25519"
    connection = yaml.safe_load((checkout.state / "connection.yaml").read_text())
    known = [f"{checkout.root}/inventories/{whose}/known_hosts.txt" for whose in ("grabow", "schwerin")]
    words = [
        "ssh",
        *("-i", str(key), "-p", str(connection["guests"]["port"]), "-o", "BatchMode=yes"),
        *("-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR"),
        *("-o", f"UserKnownHostsFile={' '.join(known)}"),
        f"ops@{address(declared)}",
        command,
    ]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=900, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout if check else done.stdout + done.stderr


def delete_vm(checkout: Checkout, name: str) -> None:
    """As somebody would in the vSphere client; shares no code with the toolkit."""
    connection = yaml.safe_load((checkout.state / "connection.yaml").read_text())
    host, port = connection["vcenter"]["server"].split(":")
    instance = SmartConnect(
        host=host,
        port=int(port),
        user=connection["vcenter"]["user"],
        pwd=(checkout.state / "vcenter-password").read_text().strip(),
        sslContext=ssl.create_default_context(cafile=str(checkout.state / "tls" / "ca.pem")),
    )
    try:
        content = instance.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
        vm = next(vm for vm in view.view if vm.name == name)
        WaitForTask(vm.PowerOffVM_Task())
        WaitForTask(vm.Destroy_Task())
    finally:
        Disconnect(instance)


@pytest.fixture(scope="package")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    root = tmp_path_factory.mktemp("checkout")
    copy_of_the_working_tree(root)
    here = Checkout(root)
    yield here
    done = here.ksm("lab", "down")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="package")
def onboarded(checkout: Checkout) -> dict[str, Any]:
    """Grabow, onboarded; what the command reported."""
    done = checkout.ksm("onboard", "grabow", "--workstations", str(WORKSTATIONS), "--json", timeout=2700)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return {**report, "log": done.stderr}
