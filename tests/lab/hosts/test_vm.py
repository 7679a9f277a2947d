"""A VM that is switched on in the lab's vCenter is a host; switched off, it is gone."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from ksm_onboard.connection import Connection, load_connection
from ksm_onboard.lab.hosts import HostKind, HostSettings, list_hosts
from ksm_onboard.lab.losses import Control, Host
from ksm_onboard.project import Project
from ksm_onboard.vcenter import session

from .conftest import LAB, Site, lab_up

pytestmark = pytest.mark.lab

TYPES: Any = vim  # its constructors have no types


@pytest.fixture
def connection(checkout: Project) -> Connection:
    found = lab_up(checkout)
    assert found.connection_file is not None
    return load_connection(found.connection_file)


@pytest.fixture
def vcenter(connection: Connection) -> Iterator[Any]:
    with session(connection) as service:
        yield service.RetrieveContent()


def all_of(content: Any, kind: Any) -> list[Any]:
    return list(content.viewManager.CreateContainerView(content.rootFolder, [kind], True).view)


def test_power_makes_and_unmakes_a_host(checkout: Project, connection: Connection, vcenter: Any) -> None:
    state = checkout.state / LAB
    site = Site(
        HostSettings.read(state / "guest-driver.json"),
        state / "guest-driver",
        connection.guests.private_key_file,
        connection.guests.public_key(),
    )
    request = site.request("file01", "10.1.1.1", disks=[])
    userdata = json.loads(request["guestinfo"]["userdata"].removeprefix("#cloud-config\n"))
    userdata = {key: value for key, value in userdata.items() if key not in ("fs_setup", "mounts")}
    texts = {
        "guestinfo.metadata": request["guestinfo"]["metadata"],
        "guestinfo.userdata": f"#cloud-config\n{json.dumps(userdata)}",
    }
    options = [
        option
        for key, text in texts.items()
        for option in (
            TYPES.option.OptionValue(key=key, value=base64.b64encode(text.encode()).decode()),
            TYPES.option.OptionValue(key=f"{key}.encoding", value="base64"),
        )
    ]
    (template,) = (vm for vm in all_of(vcenter, vim.VirtualMachine) if vm.name == "tpl-debian-12")
    (cluster,) = all_of(vcenter, vim.ClusterComputeResource)
    specification = TYPES.vm.CloneSpec(
        location=TYPES.vm.RelocateSpec(pool=cluster.resourcePool, datastore=all_of(vcenter, vim.Datastore)[0]),
        config=TYPES.vm.ConfigSpec(extraConfig=options),
        powerOn=False,
        template=False,
    )
    finish(template.CloneVM_Task(template.parent, "file01", specification))
    (vm,) = (vm for vm in all_of(vcenter, vim.VirtualMachine) if vm.name == "file01")
    assert list_hosts(LAB) == []

    finish(vm.PowerOnVM_Task())
    wait_for(lambda: vm.guest.ipAddress == "10.1.1.1")
    (host,) = list_hosts(LAB)
    assert (host.name, host.kind, host.uuid) == ("file01", HostKind.VM, vm.config.uuid)
    assert told_host_key(vm) == host.host_key
    assert site.ssh(host, "hostname") == "file01"

    finish(vm.PowerOffVM_Task())
    wait_for(lambda: list_hosts(LAB) == [])
    finish(vm.PowerOnVM_Task())
    wait_for(lambda: [host.state for host in list_hosts(LAB)] == ["running"] and vm.guest.ipAddress)

    (before,), failed = list_hosts(LAB), vm.runtime.host.name
    Control.of(LAB).lose(Host(failed))
    assert Control.of(LAB).settled().machine("file01").host != failed
    wait_for(lambda: [host.state for host in list_hosts(LAB)] == ["running"] and vm.guest.ipAddress)
    (after,) = list_hosts(LAB)
    assert after.since != before.since, "it was started anew"
    assert told_host_key(vm) == after.host_key == before.host_key, "on the system disk that it had"

    finish(vm.PowerOffVM_Task())
    finish(vm.Destroy_Task())
    wait_for(lambda: list_hosts(LAB) == [])


def told_host_key(vm: Any) -> str:
    return next(str(option.value) for option in vm.config.extraConfig if option.key == "guestinfo.ssh.host_key")


def finish(task: Any) -> None:
    wait_for(lambda: task.info.state in ("success", "error"))
    assert task.info.state == "success", task.info.error


def wait_for(reached: Any) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)
