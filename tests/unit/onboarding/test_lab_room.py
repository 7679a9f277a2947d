"""A member that this machine cannot carry as real hosts is refused before anything is made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ksm_onboard.connection import Connection
from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab import preflight
from ksm_onboard.lab.hosts import HostState
from ksm_onboard.onboarding import lab_room
from ksm_onboard.onboarding.lab_room import require_room_for
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that run in the lab; a test may add some."""
    names: list[str] = []
    hosts = lambda _lab: [SimpleNamespace(name=name, state=HostState.RUNNING) for name in names]  # noqa: E731
    monkeypatch.setattr(lab_room, "list_hosts", hosts)
    return names


def a_lab(folder: Path, *, simulated: bool = True, hosts: bool = True) -> tuple[Project, Connection]:
    connection = Connection.model_validate(
        {
            "name": "lab",
            "simulated": simulated,
            "vcenter": {"server": "127.0.0.1", "user": "svc", "password_file": "password"},
            "guests": {"private_key_file": "key"},
            "trust": {"root_ca_file": "ca.pem"},
        }
    )
    (folder / ".state" / "lab").mkdir(parents=True)
    if hosts:
        (folder / ".state" / "lab" / "guest-driver.json").write_text("{}")
    return Project(folder), connection


def free(monkeypatch: pytest.MonkeyPatch, mib: int) -> None:
    monkeypatch.setattr(preflight, "available_memory_mib", lambda: mib)


def test_twelve_servers_need_more_than_the_machine_has(
    plan: Plan, running: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, connection = a_lab(tmp_path)
    servers = len(plan.member.servers)
    free(monkeypatch, 1024 + servers * 50 - 1)
    with pytest.raises(NotReadyError, match=f"{servers} more hosts of the lab need about {1024 + servers * 50} MiB"):
        require_room_for(project, connection, plan, configured=False)
    free(monkeypatch, 1024 + servers * 50)
    require_room_for(project, connection, plan, configured=False)
    with pytest.raises(NotReadyError, match="once they are configured"):
        require_room_for(project, connection, plan, configured=True)
    # Those that run have their memory already.
    running += [server.name for server in plan.member.servers][1:]
    require_room_for(project, connection, plan, configured=True)
    with pytest.raises(NotReadyError, match="21 more hosts"):
        require_room_for(project, connection, plan, workstations=20, configured=True)


@pytest.mark.parametrize(("simulated", "hosts"), [(False, True), (True, False)])
def test_where_vms_are_no_hosts_memory_is_not_asked(
    plan: Plan,
    running: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    simulated: bool,
    hosts: bool,
) -> None:
    project, connection = a_lab(tmp_path, simulated=simulated, hosts=hosts)
    free(monkeypatch, 1)
    require_room_for(project, connection, plan, configured=True)
    assert running == []
