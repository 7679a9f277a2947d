"""A checkout in a temporary folder: Grabow and the platform as they are, with a small catalogue."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    """A copy of what declarations are made of, to change at will."""
    for folder in ("stacks", "catalogue"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("Pulumi.*", "__pycache__"))
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
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
