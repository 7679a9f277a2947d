"""Real hosts: what they are, and that nothing is left of them, whenever they are ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from uuid import uuid4

import pytest

from ksm_onboard.errors import InterruptedRunError
from ksm_onboard.lab import instance
from ksm_onboard.lab.cgroups import Cgroup, find_hierarchies
from ksm_onboard.lab.customisation import Customisation, customise_without_metadata
from ksm_onboard.lab.hosts import HostError, HostKind, HostSpec, HostState, list_hosts, start_host
from ksm_onboard.progress import Silent

from .conftest import LAB, Site, left_overs

pytestmark = pytest.mark.lab


def group(name: str) -> Cgroup:
    return Cgroup(f"ksm-onboard/{LAB}/hosts/{name}", find_hierarchies())


def test_a_vm_becomes_a_debian_machine_with_its_own_identity(site: Site) -> None:
    answer = site.start("file01", "10.1.1.1")
    (host,) = list_hosts(LAB)
    assert answer == {"address": "10.1.1.1", "host_key": host.host_key}
    assert (host.kind, host.state, host.reachable_at) == (HostKind.VM, HostState.RUNNING, "127.101.1.1")
    assert site.ssh(host, "systemctl is-system-running") == "running"
    assert site.ssh(host, "hostname -f") == "file01.grabow.example"
    assert site.ssh(host, "cat /etc/machine-id") == host.uuid.replace("-", "")
    assert site.ssh(host, "sudo -n id -u") == "0"
    assert site.ssh(host, ". /etc/os-release; echo $VERSION_ID") == "12"
    assert site.ssh(host, "findmnt -n -o TARGET /srv/data") == "/srv/data"


def test_extended_attributes_work_as_samba_needs_them(site: Site) -> None:
    site.start("file01", "10.1.1.1")
    (host,) = list_hosts(LAB)
    for path in ("/srv/data/file", "/var/lib/file"):
        script = f"import os; open({path!r}, 'w'); os.setxattr({path!r}, 'security.NTACL', b'x'); print('ok')"
        assert site.ssh(host, f'sudo python3 -c "{script}"') == "ok"


def test_a_host_serves_at_its_own_address_only(site: Site) -> None:
    site.start("file01", "10.1.1.1")
    with socket.socket() as other:
        other.settimeout(2)
        with pytest.raises(OSError):
            other.connect(("127.101.1.99", 22))


def test_hosts_start_together_and_differ(site: Site) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = {a["host_key"] for a in pool.map(lambda n: site.start(f"h{n}", f"10.1.1.{n}"), range(1, 5))}
    assert len(keys) == 4
    # Each has a tree of services of its own: stopping one's must not wait for another's.
    first, second, *_ = list_hosts(LAB)
    site.ssh(first, "sudo systemctl stop systemd-logind")
    assert site.ssh(second, "systemctl is-active systemd-logind") == "active"


def test_a_reboot_from_inside_keeps_what_was_installed(site: Site) -> None:
    site.start("file01", "10.1.1.1")
    (host,) = list_hosts(LAB)
    site.ssh(host, "sudo touch /etc/marker; cat /proc/1/stat > /tmp/before")
    before = site.ssh(host, "cut -d' ' -f22 /proc/1/stat")
    site.ssh(host, "sudo systemctl reboot", check=False)
    deadline = time.monotonic() + 60
    while site.ssh(host, "cut -d' ' -f22 /proc/1/stat", check=False) in ("", before):
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.2)
    assert site.ssh(host, "ls /etc/marker") == "/etc/marker"


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_a_vm_that_was_off_goes_on_with_its_system(site: Site, verb: str) -> None:
    site.start("file01", "10.1.1.1")
    (host,) = list_hosts(LAB)
    site.ssh(host, "sudo touch /srv/data/kept /etc/kept && sudo sync")
    assert site.call(verb, {"name": "file01", "uuid": host.uuid}).returncode == 0
    assert list_hosts(LAB) == []
    assert group("file01").folders[0].exists() is False
    assert not answers(host.reachable_at)
    site.start("file01", "10.1.1.1")
    (again,) = list_hosts(LAB)
    assert site.ssh(again, "ls /srv/data/kept /etc/kept").split() == ["/etc/kept", "/srv/data/kept"]
    assert again.host_key == host.host_key


def test_data_survives_the_vm_and_the_system_does_not(site: Site) -> None:
    site.start("file01", "10.1.1.1")
    (host,) = list_hosts(LAB)
    site.ssh(host, "sudo touch /srv/data/kept /etc/lost")
    site.call("stop", {"name": "file01", "uuid": host.uuid})
    assert json.loads(site.call("discard", {"name": "file01", "uuid": host.uuid}).stdout) == {"discarded": True}
    assert json.loads(site.call("discard", {"name": "file01", "uuid": host.uuid}).stdout) == {"discarded": False}
    site.start("file01", "10.1.1.1")
    (again,) = list_hosts(LAB)
    assert site.ssh(again, "ls /srv/data/kept") == "/srv/data/kept"
    assert site.ssh(again, "ls /etc/lost", check=False) == ""
    assert again.host_key != host.host_key


def test_a_vm_that_became_another_begins_anew(site: Site) -> None:
    site.start("file01", "10.1.1.1")
    (host,) = list_hosts(LAB)
    site.call("stop", {"name": "file01", "uuid": host.uuid})
    site.start("file01", "10.1.1.2")
    (again,) = list_hosts(LAB)
    assert (again.address, again.host_key != host.host_key) == ("10.1.1.2", True)


def test_what_is_left_to_do_for_a_deleted_vm_does_not_hit_its_successor(site: Site) -> None:
    site.start("file01", "10.1.1.1")
    (deleted,) = list_hosts(LAB)
    site.start("file01", "10.1.1.1", uuid=str(uuid4()))
    (successor,) = list_hosts(LAB)
    assert successor.uuid != deleted.uuid
    for verb, done in (("stop", "stopped"), ("kill", "killed"), ("discard", "discarded")):
        answer = site.call(verb, {"name": "file01", "uuid": deleted.uuid})
        assert json.loads(answer.stdout) == {done: False}, answer.stderr
    assert list_hosts(LAB) == [successor]
    assert site.ssh(successor, "hostname") == "file01"


@pytest.mark.parametrize(("verb", "left"), [("stop", "/srv/data/stopped"), ("kill", "")])
def test_a_killed_host_stops_no_service(site: Site, verb: str, left: str) -> None:
    site.start("file01", "10.1.1.1")
    (host,) = list_hosts(LAB)
    site.ssh(
        host,
        "sudo systemd-run --quiet --unit=watch --property=ExecStop='/usr/bin/touch /srv/data/stopped' "
        "/usr/bin/sleep infinity && sudo sync",
    )
    assert site.call(verb, {"name": "file01", "uuid": host.uuid}).returncode == 0
    assert list_hosts(LAB) == []
    site.start("file01", "10.1.1.1")
    (again,) = list_hosts(LAB)
    assert site.ssh(again, "ls /srv/data/stopped", check=False) == left


def test_stopping_what_is_not_there_is_no_error(site: Site) -> None:
    done = site.call("stop", {"name": "nobody", "uuid": ""})
    assert (done.returncode, json.loads(done.stdout)) == (0, {"stopped": False})


def test_two_machines_with_one_address_are_refused(site: Site) -> None:
    site.start("file01", "10.1.1.1")
    done = site.call("start", site.request("file02", "10.1.1.1"))
    assert done.returncode != 0
    assert "file01 already has the address 10.1.1.1" in done.stderr
    assert [host.name for host in list_hosts(LAB)] == ["file01"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"disks": []}, "no such disk"),
        ({"guestinfo": {"metadata": "{}", "userdata": "#cloud-config\nruncmd: [x]\n"}}, "userdata.runcmd"),
        ({"name": "Not a name"}, "Not a name"),
    ],
)
def test_a_vm_that_cannot_be_customised_says_why_and_leaves_nothing(
    site: Site, change: dict[str, object], said: str
) -> None:
    done = site.call("start", site.request("file01", "10.1.1.1") | change)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list_hosts(LAB) == []
    assert group("file01").folders[0].exists() is False


def test_a_system_that_does_not_boot_is_told_with_its_last_words(site: Site, tmp_path: Path) -> None:
    broken = tmp_path / "image"
    for folder in ("etc/ssh", "usr/sbin"):
        (broken / folder).mkdir(parents=True)
    spec = HostSpec("h1", HostKind.VM, "4d2d0a3e-3f5e-4e0c-9a39-0a8a1f9a1f01", customisation())
    with pytest.raises(HostError, match="h1 ended while booting"):
        start_host(spec, replace(site.settings, base_image=broken))
    assert list_hosts(LAB) == []


def customisation() -> Customisation:
    return customise_without_metadata("h1", IPv4Address("10.1.1.1"), "#cloud-config\n{}")


def test_an_interrupted_start_leaves_nothing(site: Site) -> None:
    spec = HostSpec("h1", HostKind.WORKSTATION, "4d2d0a3e-3f5e-4e0c-9a39-0a8a1f9a1f01", customisation())
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(InterruptedRunError):
        start_host(spec, site.settings, cancelled=cancelled)
    assert list_hosts(LAB) == []
    instance.sweep(LAB, Silent())
    assert left_overs() == []


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.5])
def test_a_killed_start_is_cleared_away_by_sweeping(site: Site, after: float) -> None:
    driver = subprocess.Popen([site.driver, "start"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert driver.stdin is not None
    driver.stdin.write(json.dumps(site.request("file01", "10.1.1.1")).encode())
    driver.stdin.close()
    time.sleep(after)
    driver.kill()
    driver.wait()
    instance.sweep(LAB, Silent())
    assert left_overs() == []
    assert not answers("127.101.1.1")


def test_a_host_whose_supervisor_was_killed_is_still_found_and_ended(site: Site) -> None:
    site.start("file01", "10.1.1.1")
    supervisor = Cgroup(f"ksm-onboard/{LAB}/hosts/file01/supervisor", find_hierarchies())
    for pid in supervisor.processes():
        os.kill(pid, signal.SIGKILL)
    assert answers("127.101.1.1"), "the container outlives systemd-nspawn; if not, cgroups are no longer needed"
    instance.sweep(LAB, Silent())
    assert left_overs() == []
    assert not answers("127.101.1.1")


def test_a_host_that_switched_itself_off_is_seen_as_stopped(site: Site) -> None:
    site.start("file01", "10.1.1.1")
    (host,) = list_hosts(LAB)
    site.ssh(host, "sudo systemctl poweroff", check=False)
    deadline = time.monotonic() + 30
    while list_hosts(LAB)[0].state is not HostState.STOPPED:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    site.start("file02", "10.1.1.1")  # its address is free again


def answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=2):
            return True
    except OSError:
        return False
