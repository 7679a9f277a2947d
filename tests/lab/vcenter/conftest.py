"""The lab's vCenter on its own, with guests that answer at once, and the real engine and provider before it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.lab.certificates import ensure_certificates, ensure_password
from ksm_onboard.lab.engine import ensure_engine, ensure_vcenter
from ksm_onboard.lab.losses import Control
from ksm_onboard.progress import Silent
from ksm_onboard.project import find_project

HERE = Path(__file__).parent
USER = "svc-ksm-onboard@vsphere.local"

INVENTORY: dict[str, Any] = {
    "datacenter": "Schwerin",
    "cluster": "sn-cluster01",
    "sections": [
        {"key": "A", "hosts": ["sn-esx-a01", "sn-esx-a02"]},
        {"key": "B", "hosts": ["sn-esx-b01", "sn-esx-b02"]},
    ],
    "host": {"cpu_cores": 64, "cpu_mhz": 2800, "memory_gib": 1024},
    "switch": {"name": "sn-dvs01", "uplinks": ["uplink1", "uplink2"]},
    "datastores": [{"name": "sn-mirror01", "capacity_gib": 51200, "sections": ["A", "B"]}],
    "templates": [{"name": "tpl-debian-12", "guest_id": "debian12_64Guest", "disk_gib": 20}],
}

ARRAY: dict[str, Any] = {
    "exports": [
        {
            "host": "sn-nas-a.ksm.internal",
            "path": "/ksm/grabow/gold",
            "capacity_gib": 100,
            "sections": ["A", "B"],
        },
        {
            "host": "sn-nas-a.ksm.internal",
            "path": "/ksm/grabow/silver",
            "capacity_gib": 60,
            "sections": ["A", "B"],
        },
    ]
}

# Notes each call beside itself and answers with the address of the metadata.
GUEST_DRIVER = """\
#!{python}
import json, pathlib, re, sys
call = json.load(sys.stdin)
with pathlib.Path(__file__).with_name("calls").open("a") as calls:
    calls.write(json.dumps([sys.argv[1], call]) + "\\n")
if sys.argv[1] == "start":
    address = re.search(r"([0-9.]+)/[0-9]+", call["guestinfo"]["metadata"])[1]
    print(json.dumps({{"address": address, "host_key": "ssh-ed25519 AAAATEST"}}))
"""


@dataclass(frozen=True)
class VCenter:
    """A running lab vCenter and how to log in."""

    host: str
    port: int
    user: str
    password: str
    ca_file: Path
    folder: Path

    @property
    def server(self) -> str:
        return f"{self.host}:{self.port}"

    def grow_export(self, path: str, capacity_gib: int) -> None:
        """What the array's administrators do."""
        self._change_export(path, capacity_gib=capacity_gib)

    def keep_copies(self, path: str, *sections: str) -> None:
        """The export has copies in these fire sections, and no others."""
        self._change_export(path, sections=list(sections))

    def _change_export(self, path: str, **changed: Any) -> None:
        exports = [{**e, **changed} if e["path"] == path else e for e in ARRAY["exports"]]
        (self.folder / "array.json").write_text(json.dumps({"exports": exports}))

    @property
    def control(self) -> Control:
        return Control(self.folder / "control")

    def guest_calls(self) -> list[tuple[str, dict[str, Any]]]:
        """What the guest driver was asked to do, in order."""
        calls = self.folder / "calls"
        if not calls.exists():
            return []
        return [(verb, request) for verb, request in map(json.loads, calls.read_text().splitlines())]


@pytest.fixture
def vcenter(tmp_path: Path) -> Iterator[VCenter]:
    """A vCenter with an empty data centre."""
    with served(tmp_path / "vcenter", INVENTORY, ARRAY) as running:
        yield running
    started, stopped = (
        sorted(call["name"] for verb, call in running.guest_calls() if verb in verbs)
        for verbs in (("start",), ("stop", "kill"))
    )
    assert started == stopped, "a guest outlived the vCenter"


@contextmanager
def served(folder: Path, inventory: dict[str, Any], array: dict[str, Any]) -> Iterator[VCenter]:
    """A vCenter filled from ``inventory``, as long as it is used; all its files lie in ``folder``."""
    folder.mkdir()
    ensure_certificates(folder, "vcenter-test")
    ensure_password(folder / "password")
    (folder / "inventory.json").write_text(json.dumps(inventory))
    (folder / "array.json").write_text(json.dumps(array))
    driver = folder / "guest-driver"
    driver.write_text(GUEST_DRIVER.format(python=sys.executable))
    driver.chmod(0o700)
    program = ensure_vcenter(find_project(HERE), Silent())
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                str(program),
                *("--inventory", str(folder / "inventory.json"), "--listen", "127.0.0.1:0"),
                *("--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server.key")),
                *("--user", USER, "--password-file", str(folder / "password")),
                *("--guest-driver", str(driver), "--ready-file", str(folder / "ready")),
                *("--array", str(folder / "array.json"), "--control", str(folder / "control")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=os.environ | {"TMPDIR": str(folder.parent)},
        )
    try:
        endpoint = _endpoint(folder / "ready", process, folder / "log")
        host, port = endpoint.rsplit(":", 1)
        password = (folder / "password").read_text().strip()
        yield VCenter(host, int(port), USER, password, folder / "ca.pem", folder)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "log").read_text()


def _endpoint(ready: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(300):
        if ready.exists():
            return str(json.loads(ready.read_text())["endpoint"])
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"the vCenter does not serve:\n{log.read_text()}")


class Stack:
    """The test program as a Pulumi stack, driven by the engine's own command line."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self.environment = environment

    def pulumi(self, *arguments: str, fails: bool = False) -> str:
        """Runs the engine and returns everything it said."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=self._folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, said
        return said

    def configure(self, **values: object) -> None:
        for key, value in values.items():
            self.pulumi("config", "set", key, str(value).lower())

    def up(self) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", "--parallel", "8")

    def refresh(self) -> str:
        return self.pulumi("refresh", "--yes", "--skip-preview")

    def assert_settled(self) -> None:
        """Neither the program nor the data centre differ from what the engine believes."""
        self.pulumi("preview", "--expect-no-changes", "--diff")
        self.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes", "--diff")
        self.pulumi("preview", "--expect-no-changes", "--diff")


def new_stack(vcenter: VCenter, folder: Path, program: Path, name: str = "test", **config: object) -> Stack:
    """A program as a stack of that name, not yet deployed."""
    (folder / "backend").mkdir(parents=True)
    project = {
        "name": "vcenter-test",
        "main": str(program),
        "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}},
    }
    (folder / "Pulumi.yaml").write_text(json.dumps(project))
    engine = ensure_engine(find_project(HERE), Silent()).environment()
    environment = {
        **os.environ,
        **engine,
        "PATH": os.pathsep.join([engine["PATH"], os.environ["PATH"]]),
        "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "only for this test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "VSPHERE_SERVER": vcenter.server,
        "VSPHERE_USER": vcenter.user,
        "VSPHERE_PASSWORD": vcenter.password,
        "SSL_CERT_FILE": str(vcenter.ca_file),
    }
    new = Stack(folder, environment)
    new.pulumi("stack", "init", name)
    new.configure(**config)
    return new


@pytest.fixture
def stack(vcenter: VCenter, tmp_path: Path) -> Stack:
    """The test program, not yet deployed."""
    return new_stack(vcenter, tmp_path / "project", HERE / "program", cpus=2, memory=2048, extra_disk=0, machines=True)
