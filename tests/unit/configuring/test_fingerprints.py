"""Which machines a run is needed for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.configuring.fingerprints import due, fingerprints, record
from ksm_onboard.configuring.results import HostResult, RunResult

FILES = {
    "hosts.yml": """
all:
  children:
    servers:
      children:
        resolver_servers: {hosts: {a: {ansible_host: 127.0.0.1}, b: {ansible_host: 127.0.0.2}}}
        time_servers: {hosts: {a: {ansible_host: 127.0.0.1}}}
""",
    "group_vars/all.yml": "x: 1",
    "group_vars/time_servers.yml": "y: 1",
    "host_vars/b.yml": "z: 1",
}
KEYS = {"a": "ssh-ed25519 A", "b": "ssh-ed25519 B"}


def result(**changes: Any) -> RunResult:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    hosts = {"a": HostResult(ok=1), "b": HostResult(ok=1)}
    return RunResult(**{"member": "m", "started": now, "ended": now, "status": "finished", "hosts": hosts, **changes})


@pytest.mark.parametrize(
    ("changed", "keys", "roles", "concerned"),
    [
        ({}, KEYS, "roles", ()),
        ({"group_vars/all.yml": "x: 2"}, KEYS, "roles", ("a", "b")),
        ({"group_vars/time_servers.yml": "y: 2"}, KEYS, "roles", ("a",)),
        ({"host_vars/b.yml": "z: 2"}, KEYS, "roles", ("b",)),
        ({"hosts.yml": FILES["hosts.yml"].replace("127.0.0.2", "127.0.0.3")}, KEYS, "roles", ("b",)),
        ({}, {**KEYS, "b": "ssh-ed25519 of another machine"}, "roles", ("b",)),
        ({}, KEYS, "other roles", ("a", "b")),
    ],
)
def test_what_makes_a_run_due(
    tmp_path: Path, changed: dict[str, str], keys: dict[str, str], roles: str, concerned: tuple[str, ...]
) -> None:
    first = fingerprints(FILES, KEYS, "roles", {})
    assert due(first, tmp_path) == ("a", "b"), "nothing is known of machines that were never configured"
    record(first, result(), tmp_path)
    assert due(fingerprints({**FILES, **changed}, keys, roles, {}), tmp_path) == concerned


@pytest.mark.parametrize(
    ("changes", "concerned"),
    [
        ({"check": True}, ("a", "b")),
        ({"tags": "dns_server"}, ("a", "b")),
        ({"status": "interrupted"}, ("a", "b")),
        ({"status": "failed", "problem": "Ansible ended with exit code 4"}, ("a", "b")),
        ({"status": "failed", "hosts": {"a": HostResult(ok=1), "b": HostResult(failed=1)}}, ("b",)),
        ({"status": "failed", "hosts": {"a": HostResult(ok=1), "b": HostResult(unreachable=1)}}, ("b",)),
        ({"hosts": {"a": HostResult(ok=1)}, "limit": "a"}, ("b",)),
    ],
)
def test_only_machines_that_finished_are_left_alone(
    tmp_path: Path, changes: dict[str, Any], concerned: tuple[str, ...]
) -> None:
    wanted = fingerprints(FILES, KEYS, "roles", {})
    record(wanted, result(**changes), tmp_path)
    assert due(wanted, tmp_path) == concerned


def test_a_machine_that_fails_later_is_due_again(tmp_path: Path) -> None:
    wanted = fingerprints(FILES, KEYS, "roles", {})
    record(wanted, result(), tmp_path)
    record(wanted, result(status="failed", hosts={"b": HostResult(failed=1)}), tmp_path)
    assert due(wanted, tmp_path) == ("b",)
