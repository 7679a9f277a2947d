"""Applications that machines cannot have, that exclude or miss each other, and licences for all members together."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project

LINUX = "vendor: V, platforms: [linux], component: client, packages: {debian: [hello]}"
CATALOGUE = f"""\
domain: probe
applications:
  nur-windows: {{product: W, vendor: V, platforms: [windows], component: client, licence: free}}
  ohne-paket: {{product: P, vendor: V, platforms: [linux, windows], component: client, licence: free}}
  im-browser: {{product: B, vendor: V, platforms: [web], component: web, licence: free, needs: [browser]}}
  mit-buero: {{product: O, {LINUX}, licence: free, needs: [office]}}
  braucht: {{product: R, {LINUX}, licence: free, requires: [nur-windows]}}
  braucht-dort: {{product: D, {LINUX}, licence: free, requires_on: {{windows: [nur-windows]}}}}
  braucht-git: {{product: G, {LINUX}, licence: free, requires: [git]}}
  gegner: {{product: C, {LINUX}, licence: free, conflicts: [git]}}
  alt: {{product: A, {LINUX}, licence: free, offered: false, successor: git}}
  teuer: {{product: T, {LINUX}, licence: commercial-device}}
  zugleich: {{product: Z, {LINUX}, licence: commercial-concurrent}}
"""


@pytest.fixture
def probe(checkout: Project, devices: Path) -> Path:
    """The entries of CATALOGUE, for a Grabow that runs nothing but Linux."""
    devices.write_text(devices.read_text("utf-8").replace(";windows;", ";linux;"), encoding="utf-8")
    file = checkout.catalogue / "probe.yaml"
    file.write_text(CATALOGUE, encoding="utf-8")
    return file


def declare(file: Path, addition: str) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(addition)


def found(checkout: Project, *rules: str) -> list[Finding]:
    return [finding for finding in Declarations(checkout).findings() if not rules or finding.rule in rules]


def accused(finding: Finding) -> str:
    return finding.place.file.read_text("utf-8").splitlines()[finding.place.line - 1][finding.place.column - 1 :]


@pytest.mark.parametrize(
    ("applications", "rule", "words"),
    [
        ("nur-windows", "application-platform", "cannot be installed on the"),
        ("ohne-paket", "application-platform", "cannot be installed on the"),
        ("braucht", "application-platform", "'nur-windows' (required by 'braucht')"),
        ("mit-buero", "application-dependency", "needs an office suite"),
        ("gegner, git", "application-conflict", "'gegner' and 'git' cannot be on one machine"),
        ("gegner, braucht-git", "application-conflict", "'gegner' and 'git' cannot be on one machine"),
        ("alt", "application-not-offered", "only recognised"),
    ],
)
@pytest.mark.usefixtures("probe")
def test_what_a_machine_cannot_have_is_found_once_at_the_entry_that_asks_for_it(
    checkout: Project, grabow: Path, applications: str, rule: str, words: str
) -> None:
    declare(
        grabow, f"without_applications: [libreoffice]\nprofiles:\n  bauamt:\n    extra_applications: [{applications}]\n"
    )
    [finding] = found(checkout)
    assert finding.rule == rule
    assert words in finding.message
    assert finding.place.file == grabow
    assert accused(finding).startswith(applications.split(",", maxsplit=1)[0])


@pytest.mark.parametrize("applications", ["im-browser", "mit-buero", "braucht-dort", "braucht-git", "gegner"])
@pytest.mark.usefixtures("probe")
def test_what_a_machine_can_have_is_not_accused(checkout: Project, grabow: Path, applications: str) -> None:
    declare(grabow, f"profiles:\n  bauamt:\n    extra_applications: [{applications}]\n")
    assert found(checkout) == []


@pytest.mark.usefixtures("probe")
def test_each_platform_of_a_profile_is_looked_at_on_its_own(checkout: Project, grabow: Path, devices: Path) -> None:
    """On Windows the application that only runs there is fine, the one that only runs on Linux is not."""
    text = devices.read_text("utf-8")
    devices.write_text(text.replace(";bauamt;bauamt;linux;", ";bauamt;bauamt;windows;"), encoding="utf-8")
    declare(grabow, "profiles:\n  bauamt:\n    applications: [nur-windows, ohne-paket]\n")
    assert found(checkout, "application-platform") == []
    declare(grabow, "    extra_applications: [teuer]\n")
    [finding] = found(checkout, "application-platform")
    assert "'teuer' cannot be installed" in finding.message
    assert "windows workstations of the profile bauamt" in finding.message


@pytest.mark.usefixtures("probe")
def test_a_tablet_gets_what_runs_in_its_browser_and_nothing_else(
    checkout: Project, grabow: Path, devices: Path
) -> None:
    text = devices.read_text("utf-8")
    devices.write_text(text.replace(";bauamt;bauamt;linux;", ";bauamt;bauamt;tablet;"), encoding="utf-8")
    declare(
        grabow,
        "profiles:\n  bauamt:\n    applications: [im-browser, git]\n"
        "    without_applications: [7zip, firefox-esr, keepassxc, libreoffice]\n",
    )
    assert [finding.value for finding in found(checkout)] == ["git"]


@pytest.mark.usefixtures("probe")
def test_a_requirement_that_is_taken_away_is_found(checkout: Project, grabow: Path) -> None:
    declare(grabow, "profiles:\n  bauamt:\n    extra_applications: [braucht-git]\n    without_applications: [git]\n")
    [finding] = found(checkout)
    assert (finding.rule, accused(finding)[:11]) == ("application-dependency", "braucht-git")
    assert "requires 'git', which without_applications takes away" in finding.message


def test_servers_are_looked_at_by_their_template(checkout: Project, grabow: Path) -> None:
    declare(grabow, "servers:\n  app01: {template: windows-server-2022}\n")
    # Its larger system disk is told, too, and that its partner cannot take its work over.
    findings = {f.rule: f.message for f in found(checkout)}
    assert set(findings) <= {"application-platform", "storage-quota", "pair-of-different-work"}
    assert "'nginx' cannot be installed on gra-app01 (windows-server-2022)" in findings["application-platform"]


@pytest.mark.parametrize(("seats", "missing"), [(54, 1), (55, None)])
@pytest.mark.usefixtures("probe")
def test_seats_are_counted_over_all_workstations(
    checkout: Project, grabow: Path, seats: int, missing: int | None
) -> None:
    platform = checkout.stacks / "schwerin.yaml"
    text = platform.read_text("utf-8")
    platform.write_text(text.replace("licences:\n", f"licences:\n  teuer: {{seats: {seats}}}\n", 1), encoding="utf-8")
    declare(grabow, "extra_applications: [teuer]\n")
    findings = found(checkout)
    if missing is None:
        assert findings == []
    else:
        [finding] = findings
        assert (finding.rule, finding.severity, accused(finding)) == ("licence-seats", "error", f"{seats}}}")
        assert "given to 55 machines" in finding.message and "1 are missing" in finding.message


@pytest.mark.usefixtures("probe")
def test_licences_for_simultaneous_use_and_undeclared_ones_are_warnings(checkout: Project, grabow: Path) -> None:
    platform = checkout.stacks / "schwerin.yaml"
    text = platform.read_text("utf-8")
    platform.write_text(text.replace("licences:\n", "licences:\n  zugleich: {seats: 5}\n", 1), encoding="utf-8")
    declare(grabow, "extra_applications: [teuer, zugleich]\n")
    assert {(f.rule, f.severity) for f in found(checkout)} == {
        ("licence-seats", "warning"),
        ("licence-undeclared", "warning"),
    }


@pytest.mark.parametrize("field", ["conflicts: [gti]", "successor: gti", "requires_on: {windows: [gti]}"])
def test_references_of_the_catalogue_lead_somewhere(checkout: Project, probe: Path, field: str) -> None:
    declare(probe, f"  neu: {{product: N, vendor: V, platforms: [linux], component: client, licence: free, {field}}}\n")
    [finding] = found(checkout)
    assert (finding.rule, finding.value, finding.place.file) == ("application-unknown", "gti", probe)
    assert finding.hint == "did you mean 'git'?"


def test_a_cycle_through_one_platform_names_its_members(checkout: Project, probe: Path) -> None:
    row = "{product: N, vendor: V, platforms: [windows], component: client, licence: free"
    declare(
        probe, f"  kreis-a: {row}, requires: [kreis-b]}}\n  kreis-b: {row}, requires_on: {{windows: [kreis-a]}}}}\n"
    )
    [finding] = found(checkout)
    assert finding.rule == "application-cycle"
    assert "kreis-a → kreis-b → kreis-a" in finding.message


@pytest.mark.usefixtures("probe")
def test_what_a_wrong_list_would_have_provided_is_not_missed(checkout: Project, grabow: Path) -> None:
    declare(grabow, "extra_applications: firefox-esr\nprofiles:\n  bauamt:\n    applications: [im-browser]\n")
    assert [f.rule for f in found(checkout)] == ["wrong-type"]
