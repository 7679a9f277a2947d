"""A whole lab, up and down, and killed in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ksm_onboard.connection import load_connection
from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.lab import instance
from ksm_onboard.lab.cgroups import Cgroup, find_hierarchies
from ksm_onboard.lab.instance import LabState
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project

from .conftest import INVENTORY, LAB, ROOT, SHIFT, Said, lab_up, left_overs, workstation

pytestmark = pytest.mark.lab


def vcenter_processes() -> list[int]:
    return Cgroup(f"ksm-onboard/{LAB}/vcenter", find_hierarchies()).processes()


def test_up_status_down(checkout: Project) -> None:
    found = lab_up(checkout)
    assert (found.state, found.owner, found.simulated) == (LabState.UP, checkout.root, True)
    assert json.loads(instance.status(LAB).model_dump_json())["endpoint"] == found.endpoint
    assert found.connection_file is not None
    connection = load_connection(found.connection_file)
    assert (connection.name, connection.simulated, connection.vcenter.server) == (LAB, True, found.endpoint)
    assert len(connection.vcenter.password()) >= 24
    host, _, port = connection.vcenter.server.partition(":")
    trusting = ssl.create_default_context(cafile=str(connection.vcenter.ca_file))
    with trusting.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host) as tls:
        assert tls.version() == "TLSv1.3"

    said = Said()
    assert lab_up(checkout, said).endpoint == found.endpoint
    assert "already up" in said.text

    assert instance.down(checkout, LAB, Silent()) is True
    assert left_overs() == []
    assert not found.connection_file.exists()
    assert instance.status(LAB).state is LabState.DOWN
    assert instance.down(checkout, LAB, Silent()) is False


def test_a_changed_data_centre_is_told(checkout: Project) -> None:
    lab_up(checkout)
    said = Said()
    changed = INVENTORY | {"datacenter": "Elsewhere"}
    instance.up(checkout, LAB, changed, shift=SHIFT, progress=said, expected_hosts=2)
    assert "not what the platform's declaration says now" in said.text


def test_another_checkout_is_refused_until_that_lab_is_down(checkout: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    other.root.mkdir()
    (other.root / "lab").symlink_to(ROOT / "lab")
    lab_up(checkout)
    for attempt in (lambda: lab_up(other), lambda: instance.down(other, LAB, Silent())):
        with pytest.raises(NotReadyError, match="already running, started from") as caught:
            attempt()
        assert str(checkout.root) in str(caught.value)
    assert instance.status(LAB).state is LabState.UP
    # A checkout that was deleted cannot stop its lab any more; then anybody may take the name.
    shutil.rmtree(checkout.root)
    assert lab_up(other).owner == other.root


def test_workstations_start_once_and_end_with_the_lab(checkout: Project) -> None:
    with pytest.raises(NotReadyError, match="not up"):
        instance.start_machines(checkout, LAB, [], Silent())
    lab_up(checkout)
    specs = [workstation(checkout, number) for number in (1, 2)]
    first = instance.start_machines(checkout, LAB, specs, Silent())
    said = Said()
    assert instance.start_machines(checkout, LAB, specs, said) == first
    assert said.text == ""
    assert [host.kind for host in instance.status(LAB).hosts] == ["workstation", "workstation"]
    assert instance.stop_workstations(LAB, Silent(), only=["ws1"]) == ["ws1"]
    assert [host.name for host in instance.status(LAB).hosts] == ["ws2"]
    instance.down(checkout, LAB, Silent())
    assert left_overs() == []


def test_every_workstation_that_fails_is_named(checkout: Project) -> None:
    lab_up(checkout)
    good = workstation(checkout, 1)
    bad = instance.MachineSpec("ws2", good.address, good.userdata)
    with pytest.raises(OnboardError, match=r"1 of 2 hosts failed(.|\n)*already has the address"):
        instance.start_machines(checkout, LAB, [good, bad], Silent(), at_once=1)


def test_a_killed_data_centre_is_seen_and_replaced(checkout: Project) -> None:
    lab_up(checkout)
    instance.start_machines(checkout, LAB, [workstation(checkout, 1)], Silent())
    stack = checkout.state / LAB / "pulumi/.pulumi/stacks/p/grabow.json"
    stack.parent.mkdir(parents=True)
    stack.write_text("{}")
    for pid in vcenter_processes():
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while instance.status(LAB).state is not LabState.BROKEN:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    said = Said()
    assert lab_up(checkout, said).state is LabState.UP
    assert "removed 1 hosts: ws1" in said.text
    assert "moved the Pulumi state" in said.text
    assert not stack.exists()
    (kept,) = (checkout.state / LAB / "history").glob("*/pulumi/.pulumi/stacks/p/grabow.json")
    assert kept.read_text() == "{}"
    assert instance.status(LAB).hosts == ()


def test_deleted_secrets_make_a_new_lab(checkout: Project) -> None:
    lab_up(checkout)
    shutil.rmtree(checkout.state)
    found = lab_up(checkout)
    assert found.credentials_file is not None
    assert found.credentials_file.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("after", [0.3, 0.8, 1.2])
def test_an_up_that_is_ended_half_way_is_completed_by_the_next(
    checkout: Project, how: signal.Signals, after: float
) -> None:
    script = (
        "import json, sys; from pathlib import Path; from ksm_onboard.lab import instance\n"
        "from ksm_onboard.project import Project; from ksm_onboard.progress import Silent\n"
        "instance.up(Project(Path(sys.argv[1])), sys.argv[2], json.loads(sys.argv[3]), shift=100, progress=Silent())\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", script, str(checkout.root), LAB, json.dumps(INVENTORY)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after)
    running.send_signal(how)
    running.wait(60)
    assert lab_up(checkout).state is LabState.UP
    instance.down(checkout, LAB, Silent())
    assert left_overs() == []
