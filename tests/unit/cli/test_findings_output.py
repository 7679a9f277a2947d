"""Findings as SARIF and GitLab code quality: what those tools require, and fingerprints that last."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from ksm_onboard.cli.findings_output import FINGERPRINT, as_code_quality, as_sarif, fingerprints
from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.project import Project
from tests.unit.cli.command import run

ROOT = Path(__file__).resolve().parents[3]
RULES = get_args(Rule)


def finding(file: Path, line: int = 7, **changes: Any) -> Finding:
    wrong = Finding(
        "value-not-allowed", Place(file, line, 9), "'staadt' is wrong", "staadt", "stadt, amt", "did you mean 'stadt'?"
    )
    return replace(wrong, **changes)


# --- SARIF (OASIS, version 2.1.0) ---------------------------------------------------------


def test_sarif_has_what_the_standard_requires(tmp_path: Path) -> None:
    found = [finding(tmp_path / "stacks/grabow.yaml"), finding(tmp_path / "stacks/b c.yaml", severity="warning")]
    log = as_sarif(found, tmp_path, {})
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("/sarif-schema-2.1.0.json")
    (only,) = log["runs"]
    driver = only["tool"]["driver"]
    assert driver["name"] == "ksm-onboard"
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    assert len(only["results"]) == len(found)
    for result, made_of in zip(only["results"], found, strict=True):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == made_of.rule
        assert result["level"] == made_of.severity
        assert made_of.message in result["message"]["text"]
        assert "allowed: stadt, amt" in result["message"]["text"]
        (location,) = result["locations"]
        where = location["physicalLocation"]
        assert where["region"] == {"startLine": 7, "startColumn": 9}
        assert where["artifactLocation"]["uriBaseId"] in only["originalUriBaseIds"]
        assert re.fullmatch(r"[0-9a-f]{64}", result["partialFingerprints"][FINGERPRINT])
    uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in only["results"]]
    assert uris == ["stacks/grabow.yaml", "stacks/b%20c.yaml"]


def test_a_file_outside_the_project_has_an_address_of_its_own(tmp_path: Path) -> None:
    log = as_sarif([finding(Path("/opt/archetypes/stadt.yaml"))], tmp_path, {})
    where = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert where == {"uri": "file:///opt/archetypes/stadt.yaml"}


@pytest.mark.parametrize(
    ("environment", "start"),
    [
        ({}, "file:///"),
        (
            {"CI_PROJECT_URL": "https://git.example/ksm/onboard", "CI_COMMIT_SHA": "abc"},
            "https://git.example/ksm/onboard/-/blob/abc/docs/reference/rules.md#",
        ),
        (
            {"GITHUB_SERVER_URL": "https://hub.example", "GITHUB_REPOSITORY": "ksm/onboard", "GITHUB_SHA": "abc"},
            "https://hub.example/ksm/onboard/blob/abc/docs/reference/rules.md#",
        ),
    ],
)
def test_every_rule_leads_to_its_explanation(environment: dict[str, str], start: str) -> None:
    page = (ROOT / "docs/reference/rules.md").read_text(encoding="utf-8")
    for rule in as_sarif([], ROOT, environment)["runs"][0]["tool"]["driver"]["rules"]:
        address, _, anchor = rule["helpUri"].partition("#")
        assert f"{address}#".startswith(start)
        assert address.endswith("docs/reference/rules.md")
        assert page.count(f'<a id="{anchor}"></a>') == 1, f'rules.md needs <a id="{anchor}"></a> in the rule\'s row'
        assert rule["help"]["text"] in page
        assert rule["help"]["text"] != rule["shortDescription"]["text"]


def test_without_the_page_rules_still_have_texts(tmp_path: Path) -> None:
    for rule in as_sarif([], tmp_path, {})["runs"][0]["tool"]["driver"]["rules"]:
        assert rule["fullDescription"]["text"]


# --- GitLab code quality ------------------------------------------------------------------


def test_code_quality_has_what_gitlab_requires(tmp_path: Path) -> None:
    found = [finding(tmp_path / "stacks/grabow.yaml"), finding(tmp_path / "stacks/zoo.yaml", severity="warning")]
    first, second = as_code_quality(found, tmp_path)
    assert first.keys() == {"description", "check_name", "fingerprint", "severity", "location"}
    assert (first["check_name"], first["severity"], second["severity"]) == ("value-not-allowed", "critical", "minor")
    assert first["location"] == {"path": "stacks/grabow.yaml", "lines": {"begin": 7}}
    assert first["description"] == "'staadt' is wrong. allowed: stadt, amt. hint: did you mean 'stadt'?"
    assert first["fingerprint"] != second["fingerprint"]


# --- fingerprints -------------------------------------------------------------------------


def test_fingerprints_stay_when_lines_and_hints_change(tmp_path: Path) -> None:
    file = tmp_path / "stacks/grabow.yaml"
    before = fingerprints([finding(file)], tmp_path)
    assert fingerprints([finding(file, line=70, hint="the other one is at line 3")], tmp_path) == before


def test_fingerprints_stay_when_the_project_lies_elsewhere(tmp_path: Path) -> None:
    here, there = (fingerprints([finding(root / "a.yaml")], root) for root in (tmp_path / "x", tmp_path / "y"))
    assert here == there


@pytest.mark.parametrize("changes", [{"rule": "wrong-type"}, {"message": "other"}, {"value": "other"}])
def test_other_findings_have_other_fingerprints(tmp_path: Path, changes: dict[str, Any]) -> None:
    both = [finding(tmp_path / "a.yaml"), finding(tmp_path / "a.yaml", **changes)]
    assert len(set(fingerprints(both, tmp_path))) == 2


def test_findings_that_are_alike_are_told_apart_by_their_order(tmp_path: Path) -> None:
    alike = [finding(tmp_path / "a.yaml", line=line) for line in (3, 9, 12)]
    assert len(set(fingerprints(alike, tmp_path))) == 3
    moved = [replace(one, place=Place(one.place.file, one.place.line + 5, 1)) for one in alike]
    assert fingerprints(moved, tmp_path) == fingerprints(alike, tmp_path)


# --- the command --------------------------------------------------------------------------


def test_check_speaks_every_format(checkout: Project, grabow: Path) -> None:
    grabow.write_text(grabow.read_text("utf-8").replace("kind: stadt", "kind: staadt"), encoding="utf-8")
    shown = {
        name: run("check", "grabow", "--format", name, cwd=checkout.root) for name in ("json", "sarif", "codequality")
    }
    assert {name: done.returncode for name, done in shown.items()} == {"json": 3, "sarif": 3, "codequality": 3}
    own, sarif, gitlab = (json.loads(shown[name].stdout) for name in ("json", "sarif", "codequality"))
    place = own["findings"][0]["file"], own["findings"][0]["line"]
    physical = sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert (physical["artifactLocation"]["uri"], physical["region"]["startLine"]) == place
    assert (gitlab[0]["location"]["path"], gitlab[0]["location"]["lines"]["begin"]) == place
    assert len(own["findings"]) == len(sarif["runs"][0]["results"]) == len(gitlab)
    assert run("check", "grabow", "--json", cwd=checkout.root).stdout == shown["json"].stdout


def test_without_findings_the_reports_are_whole_and_empty(checkout: Project) -> None:
    done = run("check", "--format", "codequality", cwd=checkout.root)
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    sarif = json.loads(run("check", "--format", "sarif", cwd=checkout.root).stdout)
    assert sarif["runs"][0]["results"] == []


@pytest.mark.parametrize("arguments", [("--format", "xml"), ("--json", "--format", "sarif")])
def test_formats_that_there_are_not_or_that_contradict_are_wrong_usage(
    checkout: Project, arguments: tuple[str, ...]
) -> None:
    assert run("check", *arguments, cwd=checkout.root).returncode == 2


def test_schema_is_written_and_compared(checkout: Project) -> None:
    assert run("schema", "--check", cwd=checkout.root).returncode == 1
    assert run("schema", cwd=checkout.root).returncode == 0
    assert run("schema", "--check", cwd=checkout.root).returncode == 0
    member = checkout.root / "docs/schema/member.json"
    assert member.read_bytes() == (ROOT / "docs/schema/member.json").read_bytes()
    member.write_text("{}", encoding="utf-8")
    done = run("schema", "--check", cwd=checkout.root)
    assert (done.returncode, "docs/schema/member.json" in done.stderr) == (1, True)
