"""``explain``: every effective value has a source, and the source says that value."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.declaration.source import read_yaml
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.explaining import Explained, explain
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project


def of_grabow(checkout: Project, path: str | None = None) -> dict[str, Explained]:
    declarations = Declarations(checkout)
    return {e.path: e for e in explain(declarations.members["grabow"], declarations.catalogue, path)}


def test_every_value_stands_where_its_source_says(checkout: Project, grabow: Path) -> None:
    values = of_grabow(checkout)
    assert {value.source.layer for value in values.values()} == {
        "platform default",
        "profile",
        "archetype",
        "allocation",
        "declaration",
    }
    for path, value in values.items():
        place = value.source.place
        line = place.file.read_text(encoding="utf-8").splitlines()[place.line - 1]
        first = value.value[0] if isinstance(value.value, list) and value.value else value.value
        if first not in ([], {}):
            assert str(first) in line[place.column - 1 :].replace("true", "True"), path


def test_a_value_names_what_it_overrides(checkout: Project, grabow: Path) -> None:
    grabow.write_text(
        grabow.read_text("utf-8").replace("departments:", "servers:\n  dns01: {service_level: 2}\ndepartments:", 1),
        encoding="utf-8",
    )
    value = of_grabow(checkout, "servers.dns01.service_level")["servers.dns01.service_level"]
    assert (value.value, value.source.layer) == (2, "declaration")
    assert [(source.layer, source.value) for source in value.overrides] == [("archetype", 1), ("platform default", 3)]


def test_a_path_shows_what_lies_below_it(checkout: Project) -> None:
    assert set(of_grabow(checkout, "zones.clients")) == {
        "zones.clients.prefix",
        "zones.clients.cidr",
        "zones.clients.vlan",
    }


def test_a_workstation_says_where_each_application_comes_from(checkout: Project, devices: Path) -> None:
    values = of_grabow(checkout, "devices.gra-ws0001")
    assert values["devices.gra-ws0001.serial"].source.place.file == devices
    assert values["devices.gra-ws0001.address"].source.layer == "allocation"
    sources = {path.rpartition(".")[2]: value.source.layer for path, value in values.items() if "applications" in path}
    assert sources == {
        "7zip": "archetype",
        "keepassxc": "archetype",
        "firefox-esr": "archetype",
        "libreoffice": "archetype",
        "ausweisapp": "profile",
        "emra-mv": "profile",
        "mv-serviceportal": "profile",
        "kartenleser-treiber-linux": "profile",
    }


def test_all_workstations_in_a_line_each(checkout: Project, devices: Path) -> None:
    values = of_grabow(checkout, "devices")
    assert len(values) == 55
    assert values["devices.gra-ws0055"].value == "einrichtungen, feuerwehr, feuerwehr, linux, wave aussenstellen"
    assert values["devices.gra-ws0055"].source.place.line == 56


def test_an_application_that_another_needs_says_so(checkout: Project, grabow: Path) -> None:
    text = grabow.read_text("utf-8").replace("printers:", "applications: [hunspell-de]\nprinters:", 1)
    grabow.write_text(text, encoding="utf-8")
    values = of_grabow(checkout, "devices.gra-ws0055.applications")
    assert values["devices.gra-ws0055.applications.hunspell-de"].source.layer == "declaration"
    assert values["devices.gra-ws0055.applications.libreoffice"].source.layer == "required by hunspell-de"


@pytest.mark.parametrize(
    ("path", "words"),
    [("servers.dsn01", "servers.dns01"), ("devices.gra-ws9001", "devices.gra-ws"), ("qqqq", "it has: ")],
)
def test_an_unknown_path_names_close_ones(checkout: Project, path: str, words: str) -> None:
    with pytest.raises(OnboardError, match="has no value") as refused:
        of_grabow(checkout, path)
    assert refused.value.hint is not None and words in refused.value.hint


def test_a_removed_value_says_where_it_is_removed(checkout: Project, grabow: Path) -> None:
    text = grabow.read_text("utf-8").replace("departments:", "zones:\n  management: null\ndepartments:", 1)
    grabow.write_text(text, encoding="utf-8")
    with pytest.raises(OnboardError, match=r"zones\.management is removed at .*grabow\.yaml:\d+"):
        of_grabow(checkout, "zones.management")


def test_explaining_works_while_there_are_errors(checkout: Project, grabow: Path) -> None:
    grabow.write_text(grabow.read_text("utf-8").replace("kind: stadt", "kind: staadt"), encoding="utf-8")
    assert of_grabow(checkout, "member.kind")["member.kind"].value == "staadt"
    grabow.write_text("a: [", encoding="utf-8")
    assert read_yaml(grabow)[1]
    with pytest.raises(OnboardError, match="cannot be read"):
        of_grabow(checkout)
