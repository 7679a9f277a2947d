"""The commands about applications and licences, as they are called."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from ksm_onboard.cli.main import app
from ksm_onboard.declaration.licences import load_licences
from ksm_onboard.project import Project


@pytest.fixture
def in_checkout(checkout: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(checkout.root)
    return checkout


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout


@pytest.mark.usefixtures("in_checkout")
def test_show_says_what_is_unknown_and_list_filters() -> None:
    code, text = run("catalogue", "show", "avviso-vollstreckung")
    assert code == 0
    assert "silent installation" in text
    assert "unknown" in text
    code, text = run("catalogue", "list", "--domain", "finanzen", "--platform", "web", "--json")
    assert code == 0
    assert {entry["domain"] for entry in json.loads(text)} == {"finanzen"}
    assert all("web" in entry["platforms"] for entry in json.loads(text))


@pytest.mark.usefixtures("in_checkout")
def test_outdated_goes_by_the_day_that_is_given() -> None:
    listed = json.loads(run("catalogue", "outdated", "--on", "2025-10-14", "--within", "0", "--json")[1])["outdated"]
    assert {entry["key"]: entry["days"] for entry in listed}["windows-10"] == 0
    listed = json.loads(run("catalogue", "outdated", "--on", "2025-10-13", "--within", "0", "--json")[1])["outdated"]
    assert "windows-10" not in {entry["key"] for entry in listed}


def test_check_accuses_only_the_catalogue(in_checkout: Project) -> None:
    assert run("catalogue", "check")[0] == 0
    (in_checkout.catalogue / "probe.yaml").write_text("domain: probe\napplications:\n  a: {product: A, vendr: V}\n")
    code, text = run("catalogue", "check", "--json")
    assert code == 3
    assert {finding["file"] for finding in json.loads(text)} == {"catalogue/probe.yaml"}


def test_licences_are_recorded_kept_and_released(in_checkout: Project) -> None:
    code, _ = run("licences")
    assert code == 0
    assert not load_licences(in_checkout.stacks)
    assert run("licences", "--assign")[0] == 0
    [record] = [loaded.content for loaded in load_licences(in_checkout.stacks).values()]
    assert record
    first, holders = next(iter(record.seats.items()))
    platform = in_checkout.stacks / "schwerin.yaml"
    text = platform.read_text().splitlines(keepends=True)
    seats = [
        f"  {first}: {{seats: {len(holders) - 1}}}\n" if line.startswith(f"  {first}: {{seats") else line
        for line in text
    ]
    platform.write_text("".join(seats))
    code, out = run("licences", first, "--assign", "--json")
    [shown] = json.loads(out)["licences"]
    assert code == 4
    assert [released["machine"] for released in shown["released"]] == [sorted(holders)[-1]]
    assert shown["without"] == shown["released"]
