"""A lab vCenter whose guests are stand-ins, and members with as many VMs as wanted: for what is measured or counted.

Real engine, provider, program and policy pack; the guests answer at once, so what is seen is the toolkit and the API.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from ksm_onboard.connection import CONNECTION_VARIABLE, Connection, load_connection
from ksm_onboard.declaration.record import write_record
from ksm_onboard.lab.array import set_exports
from ksm_onboard.lab.certificates import ensure_ssh_key
from ksm_onboard.lab.engine import ensure_engine
from ksm_onboard.onboarding.lab_array import declared_exports
from ksm_onboard.onboarding.lab_world import data_centre
from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project
from ksm_onboard.provisioning.driver import Driver
from ksm_onboard.provisioning.environment import engine_environment
from tests.lab.vcenter.conftest import VCenter, served

ROOT = Path(__file__).resolve().parents[1]
OF_THE_KIND = 8
"""Servers that a member of the kind ``zoo`` has anyway."""
_APPLICATIONS_OF_THE_KIND = 2


@dataclass(frozen=True)
class LabSite:
    """A checkout of its own, connected to a running vCenter in which the platform's stack is up."""

    project: Project
    vcenter: VCenter
    connection: Connection
    driver: Driver

    def plan(self, member: str) -> Plan:
        return Declarations(self.project).plan(member)

    def pulumi(self, *arguments: str) -> str:
        """Plain pulumi on a stack, without our driver; what it said. Raises CalledProcessError if it fails."""
        environment = {**os.environ, **self.environment()}
        command = ["pulumi", *arguments, "--non-interactive", "--color", "never"]
        return subprocess.run(
            command, cwd=self.project.root, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def environment(self) -> dict[str, str]:
        """What plain pulumi needs."""
        return engine_environment(self.project, self.connection, self.driver.engine)

    def calls(self) -> dict[str, int]:
        """How often each method of the API was called since this was asked last."""
        return self.vcenter.control.calls(reset=True)


@contextmanager
def lab_site(folder: Path, lab: str, members: dict[str, int]) -> Iterator[LabSite]:
    """A site that declares ``members`` (key → number of VMs, at least eight) and nobody else; none is up yet."""
    project = _checkout(folder / "checkout")
    for position, (key, servers) in enumerate(members.items()):
        _declare(project, key, f"{chr(ord('a') + position)}x", servers)
    for change in new_records(Declarations(project)):
        write_record(project.stacks, change.member, change.after)
    declarations = Declarations(project)
    state = project.state / lab
    (state / "pulumi").mkdir(parents=True)
    set_exports(project, lab, declared_exports(declarations).exports)
    array = yaml.safe_load((state / "array.json").read_text())
    with served(folder / "vcenter", data_centre(declarations.platform_plan()), array) as vcenter:
        file = _connect(state, lab, vcenter)
        before = os.environ.get(CONNECTION_VARIABLE)
        os.environ[CONNECTION_VARIABLE] = str(file)  # the program finds its data centre by it
        try:
            connection = load_connection(file)
            site = LabSite(project, vcenter, connection, Driver(project, connection, ensure_engine(project, Silent())))
            site.driver.up(PLATFORM, Silent())
            site.calls()
            yield site
        finally:
            os.environ.pop(CONNECTION_VARIABLE)
            if before is not None:
                os.environ[CONNECTION_VARIABLE] = before


def _checkout(folder: Path) -> Project:
    ignored = shutil.ignore_patterns("Pulumi.*.yaml", "__pycache__", "*.csv")
    for name in ("stacks", "catalogue", "templates", "policies"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for file in (folder / "stacks").rglob("*.yaml"):
        if file.stem != PLATFORM:
            file.unlink()
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    (folder / "lab").symlink_to(ROOT / "lab")
    (folder / ".venv").symlink_to(sys.prefix)
    return Project(folder)


def _declare(project: Project, key: str, short: str, servers: int) -> None:
    if servers < OF_THE_KIND:
        raise ValueError(f"a member of this kind has at least {OF_THE_KIND} servers")
    more = servers - OF_THE_KIND
    declaration = {
        "member": {
            "key": key,
            "name": key,
            "kind": "zoo",
            "short": short,
            "dns_domain": f"{key}.internal",
            "responsible": "nobody: made to be counted",
        },
        "sites": {"haus": {"name": "Haus", "address": "19061 Schwerin"}},
        "departments": {"verwaltung": {"name": "Verwaltung"}},
        "compute": {"cpu_ghz": 400, "memory_gib": 1024},
        "servers": {"app": {"count": _APPLICATIONS_OF_THE_KIND}} | ({"work": _working(more)} if more else {}),
    }
    (project.stacks / f"{key}.yaml").write_text(yaml.safe_dump(declaration, allow_unicode=True, sort_keys=False))


def _working(count: int) -> dict[str, object]:
    """Servers with a data disk each, without partners: a group has at most as many servers as hosts are left."""
    return {
        "count": count,
        "role": "application",
        "zone": "application",
        "cpus": 2,
        "memory_gib": 4,
        "disks": {"data": {"size_gib": 10, "tier": "silver-mirrored", "mount": "/srv/data"}},
    }


def _connect(state: Path, lab: str, vcenter: VCenter) -> Path:
    ensure_ssh_key(state / "ops_ed25519", lab)
    connection = {
        "name": lab,
        "simulated": True,
        "vcenter": {
            "server": vcenter.server,
            "user": vcenter.user,
            "password_file": str(vcenter.folder / "password"),
            "ca_file": str(vcenter.ca_file),
        },
        "guests": {"private_key_file": "ops_ed25519", "loopback_shift": 0},
        "trust": {"root_ca_file": str(vcenter.ca_file)},
    }
    file = state / "connection.yaml"
    file.write_text(yaml.safe_dump(connection))
    return file
