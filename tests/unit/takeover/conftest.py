"""One town's exports, as its old systems would write them, and a project to import them into."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from ksm_onboard.declaration.load import CatalogueEntry, load_catalogue
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project
from ksm_onboard.takeover import ImportResult, Sources, run_import
from ksm_onboard.takeover.matching import Matcher

ROOT = Path(__file__).resolve().parents[3]
EXPORTS = Path(__file__).parent / "exports"
TODAY = date(2026, 11, 1)


@pytest.fixture(scope="session")
def catalogue() -> Mapping[str, CatalogueEntry]:
    """As committed; no key is used twice, and none leads nowhere (application-twice, application-unknown)."""
    entries, findings = load_catalogue(ROOT / "catalogue")
    assert findings == []
    return entries


@pytest.fixture(scope="session")
def matcher(catalogue: Mapping[str, CatalogueEntry]) -> Matcher:
    return Matcher(catalogue)


@pytest.fixture
def workplace(checkout: Project) -> Project:
    """A checkout with the catalogue, the platform, Grabow and the templates."""
    shutil.copytree(ROOT / "templates", checkout.templates)
    return checkout


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """A copy of the exports, to change at will."""
    return Path(shutil.copytree(EXPORTS, tmp_path / "exports"))


def sources(folder: Path, **others: Path) -> Sources:
    return Sources(
        **(
            {
                "devices": folder / "geraete.csv",
                "software": folder / "software.csv",
                "shares": folder / "freigaben.csv",
                "printers": folder / "printers.tsv",
                "users": folder / "benutzer.csv",
                "licences": folder / "lizenzen.csv",
            }
            | others
        )
    )


def imported(project: Project, files: Sources, member: str = "muster") -> ImportResult:
    return run_import(project, member, files, None, project.root / "proposals" / member, progress=Silent(), today=TODAY)
