"""The catalogue promises nothing that Debian does not have."""

from __future__ import annotations

import re

import pytest
import yaml

from ksm_onboard.declaration.catalogue import CatalogueFile
from ksm_onboard.project import Project

from .conftest import ROOT, WORKSTATION, Site

pytestmark = pytest.mark.lab


def test_every_package_of_the_catalogue_exists(site: Site) -> None:
    texts = [path.read_text() for path in Project(ROOT).catalogue.glob("*.yaml")]
    files = [CatalogueFile.model_validate(yaml.safe_load(text)) for text in texts]
    packages = {package for file in files for app in file.applications.values() for package in app.debian}
    shown = site.on(WORKSTATION, f"apt-cache show --no-all-versions {' '.join(sorted(packages))}", check=False)
    assert packages - set(re.findall(r"^Package: (\S+)$", shown, re.MULTILINE)) == set()
