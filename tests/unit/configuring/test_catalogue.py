"""The catalogue as committed."""

from __future__ import annotations

from pathlib import Path

import yaml

from ksm_onboard.declaration.catalogue import CatalogueFile

CATALOGUE = Path(__file__).resolve().parents[3] / "catalogue"
FILES = {path.stem: CatalogueFile.model_validate(yaml.safe_load(path.read_text())) for path in CATALOGUE.glob("*.yaml")}


def test_each_file_is_named_after_its_domain_and_each_key_is_used_once() -> None:
    assert all(stem == file.domain for stem, file in FILES.items())
    keys = [key for file in FILES.values() for key in file.applications]
    assert len(keys) == len(set(keys)) > 20


def test_what_an_application_requires_is_in_the_catalogue() -> None:
    keys = {key for file in FILES.values() for key in file.applications}
    required = {need for file in FILES.values() for app in file.applications.values() for need in app.requires}
    assert required <= keys
