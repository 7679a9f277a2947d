"""The meaning of what programs print, on real output of Debian 12's versions."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.connection import GuestAccess
from ksm_onboard.errors import NotReadyError
from ksm_onboard.progress import Silent
from ksm_onboard.verifying import host_facts, on_host
from ksm_onboard.verifying.host_facts import HostFacts, HostSilent, HostToAsk
from ksm_onboard.verifying.hosts import ask_hosts, program, ssh_command

TESTPARM = """# Global parameters
[global]
	bind interfaces only = Yes
	include = /etc/samba/shares.conf
	server string = gra-file01
	idmap config * : backend = tdb

[bauamt]
	comment = Bauakten und Pläne = alles; # 1
	force group = bauamt
	path = /srv/data/bauamt
	read only = No
	valid users = @bauamt, +"verwaltung"

[archiv]
	guest ok = Yes
	path = /srv/data/archiv
"""


def test_shares_are_read_from_the_configuration_in_force() -> None:
    found = host_facts.shares(TESTPARM)
    assert set(found) == {"bauamt", "archiv"}
    assert found["bauamt"].groups == ("bauamt", "verwaltung")
    assert found["bauamt"].comment == "Bauakten und Pläne = alles; # 1"
    assert found["bauamt"].writable and not found["bauamt"].guests
    assert not found["archiv"].writable and found["archiv"].guests
    assert host_facts.shares("") == {} == host_facts.shares("Load smb config files from /etc/samba/smb.conf")


def test_queues_have_a_device_and_take_jobs_or_not() -> None:
    devices = "device for bauhof: socket://10.64.13.13:9100\ndevice for rathaus-eg: socket://10.64.13.11:9100\n"
    states = (
        "bauhof not accepting requests since Mon Mar  2 19:00:00 2026 -\n\treason unknown\n"
        "rathaus-eg accepting requests since Mon Mar  2 19:00:00 2026\n"
    )
    found = host_facts.queues(devices, states)
    assert {name: (queue.device_uri, queue.accepting) for name, queue in found.items()} == {
        "bauhof": ("socket://10.64.13.13:9100", False),
        "rathaus-eg": ("socket://10.64.13.11:9100", True),
    }


def test_a_controller_pulls_from_each_partner_as_badly_as_from_its_worst_partition() -> None:
    site = "Default-First-Site-Name"
    pulled = [
        {"DSA": f"{site}\\SN-DC02", "NC dn": "DC=ad", "consecutive failures": 0},
        {"DSA": f"{site}\\SN-DC02", "NC dn": "CN=Schema", "consecutive failures": 3},
        {"DSA": f"{site}\\SN-DC09", "NC dn": "DC=ad", "consecutive failures": 7, "is deleted": True},
    ]
    seen = host_facts.directory(json.dumps({"repsFrom": pulled, "repsTo": []}))
    assert seen is not None and seen.pulls_from == {"sn-dc02": 3}
    alone = host_facts.directory(json.dumps({"repsFrom": [], "repsTo": []}))
    assert alone is not None and alone.pulls_from == {}
    assert host_facts.directory("ERROR(<class 'samba.drs_utils.drsException'>): no connection") is None


def test_only_packages_that_are_fully_installed_count() -> None:
    text = "installed\t7zip\t22.01+dfsg-8+deb12u1\nconfig-files\tnano\t7.2-1\nhalf-installed\tvim\t2\n\n"
    assert host_facts.installed_packages(text) == {"7zip": "22.01+dfsg-8+deb12u1"}


@pytest.mark.parametrize(
    ("entries", "state", "impossible"),
    [
        ({"LoadState": "loaded", "ActiveState": "active", "ConditionResult": "yes"}, "active", False),
        ({"LoadState": "masked", "ActiveState": "inactive"}, "inactive", True),
        # The clock belongs to the machine underneath: systemd has looked and said no.
        (
            {"ActiveState": "inactive", "ConditionResult": "no", "ConditionTimestampMonotonic": "4242"},
            "inactive",
            True,
        ),
        # Nobody has tried to start it: that is a stopped service, not an impossible one.
        (
            {"ActiveState": "inactive", "ConditionResult": "no", "ConditionTimestampMonotonic": "0"},
            "inactive",
            False,
        ),
        ({"LoadState": "not-found", "ActiveState": "inactive", "ConditionResult": "no"}, "inactive", False),
    ],
)
def test_units(entries: dict[str, str], state: str, impossible: bool) -> None:
    block = "\n".join(f"{key}={value}" for key, value in {"Id": "chrony.service", **entries}.items())
    found = host_facts.unit_states(f"Id=cron.service\nActiveState=active\n\n{block}\n")
    assert found["cron.service"].state == "active"
    assert (found["chrony.service"].state, found["chrony.service"].impossible) == (state, impossible)


def test_mount_points_are_found_at_every_depth() -> None:
    tree = {"target": "/", "fstype": "ext4", "children": [{"target": "/srv/data", "fstype": "xfs"}]}
    assert host_facts.mount_points(json.dumps({"filesystems": [tree]})) == {"/": "ext4", "/srv/data": "xfs"}
    assert host_facts.mount_points("") == {}


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ('APT::Periodic "";\nAPT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n', True),
        ('APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "0";\n', False),
        (
            'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
            'APT::Periodic::Enable "0";\n',
            False,
        ),
        ("", False),
    ],
)
def test_security_updates(text: str, on: bool) -> None:
    assert host_facts.security_updates(text) is on


def test_time_and_log_servers() -> None:
    assert host_facts.time_servers(["server b iburst\npool a\n# server c\n", "peer d\nmakestep 1 3\n"]) == (
        "a",
        "b",
        "d",
    )
    options = 'port(6514) transport("tls")\n    tls(peer-verify(required-trusted))'
    tls = f'destination a {{\n  syslog("10.96.0.31" {options}\n  );\n}};\n'
    # Only whom the machine knows by a certificate counts.
    others = (
        tls.replace("10.96.0.31", "10.0.0.1").replace("required-trusted", "optional-untrusted"),
        tls.replace("10.96.0.31", "10.0.0.2").replace('"tls"', '"tcp"'),
        "".join(f"# {line}\n" for line in tls.replace("10.96.0.31", "10.0.0.3").splitlines()),
    )
    assert host_facts.log_servers([tls + "".join(others), tls.replace("31", "32")]) == ("10.96.0.31", "10.96.0.32")
    assert host_facts.log_servers(["source machine { systemd-journal(); };\n"]) == ()


@pytest.mark.parametrize(
    ("configuration", "files", "kept"),
    [
        ("#Storage=auto\n[Journal]\n", "/var/log/journal/abc/system.journal\n", True),
        ("Storage=persistent\n", "/var/log/journal/abc/system.journal\n", True),
        ("Storage=persistent\n", "", False),
        ("Storage=persistent\n# later file\nStorage=volatile\n", "/var/log/journal/abc/system.journal\n", False),
    ],
)
def test_the_log_is_kept_if_it_lies_on_disk(configuration: str, files: str, kept: bool) -> None:
    assert host_facts.log_kept(configuration, files) is kept


def test_screen_lock_is_what_dconf_enforces() -> None:
    idle, on, delay = (
        "/org/gnome/desktop/session/idle-delay",
        "/org/gnome/desktop/screensaver/lock-enabled",
        "/org/gnome/desktop/screensaver/lock-delay",
    )
    commands = {
        f"dconf {idle}": {"out": "uint32 600\n"},
        f"dconf {on}": {"out": "true\n"},
        f"dconf {delay}": {"out": "uint32 0\n"},
        "dconf locks": {"out": f"{idle}\n{on}\n{delay}\n"},
    }
    lock = host_facts.screen_lock(commands)
    assert (lock.idle_seconds, lock.enabled, lock.delay_seconds, lock.enforced) == (600, True, 0, True)
    commands["dconf locks"] = {"out": f"{idle}\n"}
    assert not host_facts.screen_lock(commands).enforced
    nothing = host_facts.screen_lock({})
    assert (nothing.idle_seconds, nothing.enabled, nothing.enforced) == (None, None, False)


def test_a_database_server_tells_who_follows() -> None:
    text = (
        '{"in_recovery" : false, "databases" : {"fachdaten":"fachdaten"}, "followers" : '
        '[{"name" : "15/main", "address" : "10.64.11.12", "state" : "streaming"}], "receiving" : null}'
    )
    seen = host_facts.database(text)
    assert seen is not None
    assert seen.databases == {"fachdaten": "fachdaten"}
    assert [follower.state for follower in seen.followers] == ["streaming"]
    assert host_facts.database("psql: error: connection failed") is None


# --- the program that is sent -------------------------------------------------------------

WORKSTATION = HostToAsk.model_validate(
    {"name": "gra-ws0001", "kind": "workstation", "address": "127.64.0.21", "admins": ["ksm-support"]}
)


@pytest.mark.skipif(os.geteuid() != 0, reason="on a host it runs as root, and asks what only root may read")
def test_the_program_runs_under_a_bare_python_and_answers_for_the_machine_it_runs_on() -> None:
    """Run here instead of over ssh: isolated, so that it finds nothing of the project."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-"], input=program(WORKSTATION), capture_output=True, text=True, check=True
    )
    facts = host_facts.understand(WORKSTATION, json.loads(done.stdout))
    assert facts.host_name == socket.gethostname().partition(".")[0] or facts.host_name == socket.gethostname()
    assert facts.packages["bash"]
    assert "Linux" in facts.operating_system
    assert "/" in facts.mounts or facts.mounts == {}


def test_no_question_changes_anything() -> None:
    asked = [
        host_facts.question(WORKSTATION.model_copy(update={"role": role, "units": ("x.service",)}))["commands"]
        for role in (None, "dns", "file", "print", "database", "application")
    ]
    programs = {argv[0] for commands in asked for argv in commands.values()}
    assert programs == {
        *("hostname", "dpkg-query", "findmnt", "readlink", "apt-config", "getent", "sshd", "systemd-analyze"),
        *("systemctl", "sudo", "runuser", "testparm", "lpstat", "find"),
    }
    assert all(commands["units"][1] == "show" for commands in asked if "units" in commands)
    assert all("--list" in argv for commands in asked for argv in commands.values() if argv[0] == "sudo")


def test_a_missing_program_is_an_answer_too() -> None:
    assert on_host.run(["no-such-program-here"])["code"] == 127
    assert on_host.run(["false"])["code"] == 1


def test_files_are_read_by_pattern(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("eins", encoding="utf-8")
    (tmp_path / "b.conf").write_bytes(b"\xff")
    (tmp_path / "folder.conf").mkdir()
    assert on_host.read([f"{tmp_path}/*.conf", "/nowhere"]) == {
        f"{tmp_path}/a.conf": "eins",
        f"{tmp_path}/b.conf": "\ufffd",
    }


# --- DNS ----------------------------------------------------------------------------------


def dns_message(number: int, flags: int, *records: tuple[int, bytes]) -> bytes:
    name = b"\x07gra-db1\x06grabow\x08internal\0"
    head = struct.pack(">HHHHHH", number, flags, 1, len(records), 0, 0) + name + struct.pack(">HH", 1, 1)
    body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for kind, data in records)
    return head + body


def test_addresses_of_an_answer() -> None:
    alias = (5, b"\x03www\xc0\x14")
    message = dns_message(7, 0x8180, alias, (1, bytes([10, 0, 0, 2])), (1, bytes([10, 0, 0, 1])))
    assert on_host.addresses(message, 7) == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0x8183, []),  # there is no such name: an answer, but an empty one
        (0x8185, None),  # refused
        (0x8182, None),  # server failure
        (0x0100, None),  # not an answer at all
    ],
)
def test_answers_without_addresses(flags: int, expected: list[str] | None) -> None:
    assert on_host.addresses(dns_message(7, flags), 7) == expected


def test_an_answer_to_another_question_is_none() -> None:
    assert on_host.addresses(dns_message(8, 0x8180, (1, bytes(4))), 7) is None


# --- ssh ----------------------------------------------------------------------------------


def access(folder: Path) -> GuestAccess:
    (folder / "ops").write_text("not a key")
    return GuestAccess(private_key_file=folder / "ops", port=2222)


def test_ssh_never_trusts_an_unknown_key(tmp_path: Path) -> None:
    command = ssh_command(WORKSTATION, access(tmp_path), tmp_path / "known")
    joined = " ".join(command)
    assert "StrictHostKeyChecking=yes" in joined and f"UserKnownHostsFile={tmp_path / 'known'}" in joined
    assert "BatchMode=yes" in joined
    assert command[-2:] == ["127.64.0.21", "sudo -n python3 -"]


def test_a_host_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "known").write_text("")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    guests = access(tmp_path).model_copy(update={"port": port})
    host = WORKSTATION.model_copy(update={"address": "127.0.0.1"})
    [answer] = ask_hosts([host], guests, tmp_path / "known", Silent())
    assert isinstance(answer, HostSilent)
    assert "refused" in answer.reason


def test_without_known_hosts_nobody_is_asked(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="known does not exist"):
        ask_hosts([WORKSTATION], access(tmp_path), tmp_path / "known", Silent())


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"commands": {}}', "Traceback (most recent call last):"])
def test_an_answer_that_makes_no_sense_is_a_finding(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "known").write_text("")

    def fake(*args: Any, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, stdout=answer, stderr="")

    monkeypatch.setattr(subprocess, "run", fake)
    [seen] = ask_hosts([WORKSTATION], access(tmp_path), tmp_path / "known", Silent())
    assert not isinstance(seen, HostFacts)
    assert "cannot be understood" in seen.reason


def test_bookmarks_of_both_browsers_are_read_and_anything_else_is_none() -> None:
    firefox = '{"policies": {"ManagedBookmarks": [{"toplevel_name": "X"}, {"name": "A", "url": "https://a.example"}]}}'
    chromium = '{"ManagedBookmarks": [{"name": "B", "url": "https://b.example"}]}'
    assert host_facts.bookmarks([firefox, chromium]) == ("https://a.example", "https://b.example")
    assert host_facts.bookmarks(["", "[]", "{}", '{"policies": {}}']) == ()


def test_a_host_that_is_asked_for_commands_only_answers() -> None:
    answer = on_host.answer(host_facts.asking({"name": ("echo", "here")}))
    assert answer["commands"]["name"]["out"] == "here\n"
    assert (answer["files"], answer["dns"], answer["pages"]) == ({}, {}, [])
