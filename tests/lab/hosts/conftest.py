"""A lab of its own beside any other on this machine: name ``hosts-test``, addresses shifted by 100."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.lab import instance
from ksm_onboard.lab.base_image import ensure_base_image
from ksm_onboard.lab.certificates import ensure_ssh_key
from ksm_onboard.lab.guest_driver import write_guest_driver
from ksm_onboard.lab.hosts import HostRecord, HostSettings
from ksm_onboard.lab.layout import LabPlaces
from ksm_onboard.lab.mounts import mounted_below
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[3]
LAB = "hosts-test"
SHIFT = 100


class Said:
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.text = ""

    def step(self, title: str) -> None:
        self.text += f"{title}\n"

    def line(self, text: str) -> None:
        self.text += f"{text}\n"


@dataclass(frozen=True)
class Site:
    """A guest driver, as the vCenter has it, and the key that opens its hosts."""

    settings: HostSettings
    driver: Path
    private_key: Path
    public_key: str

    def request(self, name: str, address: str, **changes: Any) -> dict[str, Any]:
        metadata = {
            "instance-id": name,
            "local-hostname": name,
            "network": {"version": 2, "ethernets": {"primary": {"addresses": [f"{address}/24"]}}},
        }
        device = "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:1:0"
        userdata = {
            "fqdn": f"{name}.grabow.example",
            "users": [{"name": "ops", "sudo": "ALL=(ALL) NOPASSWD:ALL", "ssh_authorized_keys": [self.public_key]}],
            "fs_setup": [{"label": "data", "filesystem": "ext4", "device": device, "partition": "auto"}],
            "mounts": [["LABEL=data", "/srv/data", "ext4", "defaults,nofail", "0", "2"]],
        }
        return {
            "name": name,
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            "cpus": 2,
            "memory_mib": 2048,
            "guestinfo": {"metadata": json.dumps(metadata), "userdata": f"#cloud-config\n{json.dumps(userdata)}"},
            "disks": [{"label": "data", "unit_number": 1, "path": f"[ds1] {name}/data.vmdk", "capacity_bytes": 1}],
        } | changes

    def call(self, action: str, request: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.driver, action], input=json.dumps(request), capture_output=True, text=True, check=False
        )

    def start(self, name: str, address: str, **changes: Any) -> dict[str, str]:
        done = self.call("start", self.request(name, address, **changes))
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def ssh(self, host: HostRecord, command: str, *, check: bool = True) -> str:
        """What a command prints on a host, whose key must be the recorded one."""
        known = self.private_key.with_name(f"known-{host.name}")
        known.write_text(f"[{host.reachable_at}]:{host.port} {host.host_key}\n{host.reachable_at} {host.host_key}\n")
        done = subprocess.run(
            ["ssh", "-F", "none", "-i", str(self.private_key), "-o", f"UserKnownHostsFile={known}",
             "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
             "-p", str(host.port), f"ops@{host.reachable_at}", command],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()


def left_overs(lab: str = LAB) -> list[str]:
    """Everything on this machine that belongs to a lab."""
    places = LabPlaces(lab)
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{places.cgroup}")]
    files = [str(path) for path in (places.run, places.data) if path.exists()]
    return [*map(str, mounted_below(places.run)), *groups, *files]


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("real hosts need root")


@pytest.fixture(scope="session")
def base_image() -> Path:
    return ensure_base_image(Silent())


@pytest.fixture
def site(tmp_path: Path, base_image: Path) -> Iterator[Site]:
    instance.sweep(LAB, Silent())
    settings = HostSettings(LAB, base_image, SHIFT, 22)
    public = ensure_ssh_key(tmp_path / "ops", "ops@test")
    yield Site(settings, write_guest_driver(tmp_path / "guest-driver", settings), tmp_path / "ops", public)
    instance.sweep(LAB, Silent())


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Project]:
    """A project folder that has what the lab needs of it."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "lab").symlink_to(ROOT / "lab")
    shutil.copy(ROOT / "Pulumi.yaml", root)
    instance.sweep(LAB, Silent())
    yield Project(root)
    instance.sweep(LAB, Silent())


INVENTORY: dict[str, Any] = {
    "datacenter": "Schwerin",
    "cluster": "sn-cluster01",
    "sections": [{"key": "A", "hosts": ["sn-esx-a01"]}, {"key": "B", "hosts": ["sn-esx-b01"]}],
    "host": {"cpu_cores": 64, "cpu_mhz": 2800, "memory_gib": 1024},
    "switch": {"name": "sn-dvs01", "uplinks": ["uplink1", "uplink2"]},
    "datastores": [{"name": "sn-mirror01", "capacity_gib": 51200, "sections": ["A", "B"]}],
    "templates": [{"name": "tpl-debian-12", "guest_id": "debian12_64Guest", "disk_gib": 20}],
}


def lab_up(checkout: Project, said: Said | None = None) -> instance.LabStatus:
    return instance.up(checkout, LAB, INVENTORY, shift=SHIFT, progress=said or Said(), expected_hosts=2)


def workstation(checkout: Project, number: int) -> instance.MachineSpec:
    public = (checkout.state / LAB / "ssh/ops_ed25519.pub").read_text().strip()
    userdata = "#cloud-config\n" + json.dumps({"users": [{"name": "ops", "ssh_authorized_keys": [public]}]})
    return instance.MachineSpec(f"ws{number}", IPv4Address(f"10.1.2.{number}"), userdata)
