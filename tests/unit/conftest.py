"""A checkout in a temporary folder: Grabow, the platform and the catalogue as they are, no other member."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[2]
RECORDED_STATE = ROOT / "tests/unit/provisioning/grabow.state.json"

WARNED_OF = "applications_on: {linux: [quba-viewer]}\n"
"""What comes from the software depot, and nobody has checked the media of."""

# Other work on the machine must not make a test fail: nothing here is about speed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    """A copy of what declarations are made of, to change at will. Nothing in it is found fault with."""
    shutil.copytree(ROOT / "catalogue", tmp_path / "catalogue")
    (tmp_path / "stacks" / "allocations").mkdir(parents=True)
    for file in (
        "schwerin.yaml",
        "grabow.yaml",
        "grabow.devices.csv",
        "allocations/grabow.yaml",
        "allocations/schwerin.yaml",
    ):
        shutil.copy(ROOT / "stacks" / file, tmp_path / "stacks" / file)
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    declaration = tmp_path / "stacks" / "grabow.yaml"
    text = declaration.read_text(encoding="utf-8")
    assert WARNED_OF in text
    declaration.write_text(text.replace(WARNED_OF, ""), encoding="utf-8")
    return Project(tmp_path)


@pytest.fixture
def grabow(checkout: Project) -> Path:
    """Grabow's declaration in the copy."""
    return checkout.stacks / "grabow.yaml"


@pytest.fixture
def record(checkout: Project) -> Path:
    """Grabow's allocation record in the copy."""
    return checkout.stacks / "allocations" / "grabow.yaml"


@pytest.fixture
def devices(checkout: Project) -> Path:
    """Grabow's device list in the copy."""
    return checkout.stacks / "grabow.devices.csv"


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Grabow's plan, as committed."""
    return Declarations(Project(ROOT)).plan("grabow")
