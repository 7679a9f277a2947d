"""The project's own program and policy pack, real engine and provider, and a vCenter whose guests answer at once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pytest
import yaml

from ksm_onboard.connection import Connection, connection_file, load_connection
from ksm_onboard.lab.certificates import ensure_ssh_key
from ksm_onboard.lab.engine import ensure_engine
from ksm_onboard.onboarding.lab_world import array_exports, data_centre
from ksm_onboard.planning.load import Declarations
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project
from ksm_onboard.provisioning.driver import Driver
from ksm_onboard.provisioning.environment import engine_environment
from tests.lab.onboarding.conftest import copy_of_the_working_tree
from tests.lab.vcenter.conftest import VCenter, served

LAB = "policies-test"


@dataclass(frozen=True)
class Site:
    """A copy of the working tree that is connected to a running vCenter."""

    project: Project
    vcenter: VCenter

    @property
    def connection(self) -> Connection:
        return load_connection(connection_file(self.project, {"KSM_LAB": LAB}))

    @property
    def driver(self) -> Driver:
        return Driver(self.project, self.connection, ensure_engine(self.project, Silent()))

    def pulumi(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Plain pulumi, with nothing but what ``ksm-onboard env`` prints (and ``extra``)."""
        engine = ensure_engine(self.project, Silent())
        environment = {**os.environ, **engine_environment(self.project, self.connection, engine), **extra}
        return subprocess.run(
            [str(engine.bin / "pulumi"), *arguments, "--non-interactive", "--color", "never"],
            cwd=self.project.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def this_lab() -> Iterator[None]:
    """The program finds its connection by the lab's name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSM_LAB", LAB)
        patch.delenv("KSM_CONNECTION", raising=False)
        yield


@pytest.fixture(scope="module")
def site(this_lab: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The checkout, with the platform's stack up and Grabow's still to come. No other member is declared."""
    root = tmp_path_factory.mktemp("policies")
    (root / "checkout").mkdir()
    copy_of_the_working_tree(root / "checkout")
    project = Project(root / "checkout")
    for file in (*project.stacks.glob("*.yaml"), *project.stacks.glob("*.csv"), *project.stacks.glob("*/*.yaml")):
        if file.name.split(".")[0] not in ("schwerin", "grabow"):
            file.unlink()
    declarations = Declarations(project)
    own = declarations.own_plan()
    assert own is not None
    inventory = data_centre(declarations.platform_plan())
    exports = [asdict(export) for plan in (own, declarations.plan("grabow")) for export in array_exports(plan)]
    with served(root / "vcenter", inventory, {"exports": exports}) as vcenter:
        _connect(project, vcenter)
        site = Site(project, vcenter)
        site.driver.up("schwerin", Silent())
        assert site.pulumi("stack", "init", "--no-select", "--stack", "grabow").returncode == 0
        yield site


def _connect(project: Project, vcenter: VCenter) -> None:
    folder = project.state / LAB
    folder.mkdir(parents=True)
    ensure_ssh_key(folder / "ops_ed25519", LAB)
    connection = {
        "name": LAB,
        "simulated": True,
        "vcenter": {
            "server": vcenter.server,
            "user": vcenter.user,
            "password_file": str(vcenter.folder / "password"),
            "ca_file": str(vcenter.ca_file),
        },
        "guests": {"private_key_file": str(folder / "ops_ed25519"), "loopback_shift": 0},
        "trust": {"root_ca_file": str(vcenter.ca_file)},
    }
    (folder / "connection.yaml").write_text(yaml.safe_dump(connection))
