"""The committed catalogue: large enough, honest, and without references that lead nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from ksm_onboard.declaration.load import CatalogueEntry

Catalogue = Mapping[str, CatalogueEntry]


def test_it_holds_what_administrations_use(catalogue: Catalogue) -> None:
    offered = [entry for entry in catalogue.values() if entry.application.offered]
    assert len(offered) >= 350
    assert len({entry.domain for entry in offered}) >= 40


def test_every_reference_leads_somewhere(catalogue: Catalogue) -> None:
    for key, entry in catalogue.items():
        application = entry.application
        named = {*application.requires, *application.conflicts, *sum(application.requires_on.values(), ())}
        named |= {application.successor} if application.successor else set()
        assert named <= catalogue.keys(), key
        assert key not in named


def test_each_file_is_named_after_its_domain(catalogue: Catalogue) -> None:
    assert all(entry.place.file.stem == entry.domain for entry in catalogue.values())


def test_what_is_required_runs_where_it_is_required(catalogue: Catalogue) -> None:
    """An application that can be installed on Linux never pulls in one that is for Windows only."""
    for key, entry in catalogue.items():
        if entry.application.debian:
            for required in entry.application.requires:
                assert "linux" in catalogue[required].application.platforms, (key, required)


def test_package_names_fit_the_platforms(catalogue: Catalogue) -> None:
    for key, entry in catalogue.items():
        packages = entry.application.packages
        assert not packages.debian or "linux" in entry.application.platforms, key
        assert not (packages.chocolatey or packages.winget) or "windows" in entry.application.platforms, key
        assert set(packages.unconfirmed) <= {
            name for name in ("debian", "chocolatey", "winget") if getattr(packages, name)
        }


def test_what_is_not_offered_can_still_be_recognised(catalogue: Catalogue) -> None:
    old = catalogue["ms-office-2016"].application
    assert not old.offered
    assert old.supported_on(date(2025, 10, 14)) is True
    assert old.supported_on(date(2025, 10, 15)) is False
    assert catalogue["7zip"].application.supported_on(date(2030, 1, 1)) is None


def test_licence_metrics(catalogue: Catalogue) -> None:
    assert catalogue["hh-prodoppik"].application.licence_metric == "named-user"
    assert catalogue["7zip"].application.licence_metric is None


def test_package_names_nobody_checked_are_marked(catalogue: Catalogue) -> None:
    for entry in catalogue.values():
        if entry.application.packages.chocolatey:
            assert "chocolatey" in entry.application.packages.unconfirmed
