"""Grabow, brought up by real engine and provider in a lab vCenter whose guests are stand-ins that answer at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ksm_onboard.connection import CONNECTION_VARIABLE, Connection, load_connection
from ksm_onboard.lab.array import set_exports
from ksm_onboard.lab.certificates import ensure_certificates, ensure_password, ensure_ssh_key
from ksm_onboard.lab.engine import ensure_engine, ensure_vcenter
from ksm_onboard.lab.losses import Control
from ksm_onboard.onboarding.lab_world import array_exports, data_centre
from ksm_onboard.planning.load import PLATFORM, load_own, load_plan
from ksm_onboard.planning.plan import Plan
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project, find_project
from ksm_onboard.provisioning.driver import Driver

HERE = Path(__file__).parent
ROOT = find_project(HERE)
LAB = "verifying-test"

GUEST_DRIVER = f"""\
#!{sys.executable}
import json, re, sys
call = json.load(sys.stdin)
if sys.argv[1] == "start":
    address = re.search(r"([0-9.]+)/[0-9]+", call["guestinfo"]["metadata"])[1]
    print(json.dumps({{"address": address, "host_key": "ssh-ed25519 AAAA" + call["name"]}}))
"""


@dataclass(frozen=True)
class Standing:
    """What stands, and what it was planned to be."""

    project: Project
    connection: Connection
    driver: Driver

    @property
    def control(self) -> Control:
        """Makes things fail."""
        return Control(self.project.state / LAB / "control")

    @property
    def plan(self) -> Plan:
        """Of the declaration as it is now."""
        return load_plan(self.project, "grabow")


def checkout_in(folder: Path) -> Project:
    """A project of its own, so that neither state nor declarations of this one are touched."""
    for name in ("stacks", "catalogue", "templates", "policies"):
        ignored = shutil.ignore_patterns("Pulumi.*.yaml", "__pycache__")
        shutil.copytree(ROOT.root / name, folder / name, ignore=ignored)
    project = (ROOT.root / "Pulumi.yaml").read_text().replace("virtualenv: .venv", f"virtualenv: {sys.prefix}")
    (folder / "Pulumi.yaml").write_text(project)
    (folder / "lab").symlink_to(ROOT.root / "lab")
    (folder / ".venv").symlink_to(sys.prefix)  # the policy pack runs in its project's
    return Project(folder)


@pytest.fixture(scope="package")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Platform and Grabow, as a lab brings them up."""
    project = checkout_in(tmp_path_factory.mktemp("checkout"))
    state = project.state / LAB
    (state / "tls").mkdir(parents=True)
    ensure_certificates(state / "tls", LAB)
    ensure_password(state / "vcenter-password")
    ensure_ssh_key(state / "ops_ed25519", "ops@test")
    plan = load_plan(project, "grabow")
    own = load_own(project)
    assert own is not None
    set_exports(project, LAB, (*array_exports(plan), *array_exports(own)))
    with _vcenter(state, json.dumps(data_centre(plan.platform))) as endpoint:
        connection_file = state / "connection.yaml"
        connection_file.write_text(
            yaml.safe_dump(
                {
                    "name": LAB,
                    "simulated": True,
                    "vcenter": {
                        "server": endpoint,
                        "user": "svc@vsphere.local",
                        "password_file": "vcenter-password",
                        "ca_file": "tls/ca.pem",
                    },
                    "guests": {"private_key_file": "ops_ed25519", "loopback_shift": 0},
                    "trust": {"root_ca_file": "tls/ca.pem"},
                }
            )
        )
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(CONNECTION_VARIABLE, str(connection_file))
            connection = load_connection(connection_file)
            driver = Driver(project, connection, ensure_engine(ROOT, Silent()))
            driver.up(PLATFORM, Silent())
            driver.up("grabow", Silent())
            yield Standing(project, connection, driver)


class _vcenter:  # noqa: N801 - used like a function
    """A lab vCenter for as long as the block lasts; gives its endpoint."""

    def __init__(self, state: Path, inventory: str) -> None:
        self._state = state
        (state / "inventory.json").write_text(inventory)
        driver = state / "guest-driver"
        driver.write_text(GUEST_DRIVER)
        driver.chmod(0o700)

    def __enter__(self) -> str:
        state = self._state
        self._log = (state / "vcenter.log").open("w")
        self._process = subprocess.Popen(
            [
                str(ensure_vcenter(ROOT, Silent())),
                *("--inventory", str(state / "inventory.json"), "--listen", "127.0.0.1:0"),
                *("--tls-cert", str(state / "tls/server.pem"), "--tls-key", str(state / "tls/server.key")),
                *("--user", "svc@vsphere.local", "--password-file", str(state / "vcenter-password")),
                *("--guest-driver", str(state / "guest-driver"), "--ready-file", str(state / "ready")),
                *("--array", str(state / "array.json"), "--control", str(state / "control")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env=os.environ | {"TMPDIR": str(state)},
        )
        while not (state / "ready").exists():
            assert self._process.poll() is None, (state / "vcenter.log").read_text()
            time.sleep(0.1)
        return str(json.loads((state / "ready").read_text())["endpoint"])

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        self._log.close()
