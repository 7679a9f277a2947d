"""``check`` and ``plan`` as a person and a pipeline see them: text, JSON, exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ksm_onboard.project import Project
from tests.unit.cli.command import run
from tests.unit.conftest import RECORDED_STATE


def test_check_passes_what_is_committed(checkout: Project) -> None:
    done = run("check", cwd=checkout.root)
    assert (done.returncode, done.stdout) == (0, "")
    assert "0 error(s)" in done.stderr


def test_check_names_file_line_and_what_is_allowed(checkout: Project, grabow: Path) -> None:
    grabow.write_text(grabow.read_text("utf-8").replace("kind: stadt", "kind: staadt"), encoding="utf-8")
    done = run("check", "grabow", cwd=checkout.root)
    assert done.returncode == 3
    assert "stacks/grabow.yaml:7:9: error [value-not-allowed]" in done.stderr
    assert "did you mean 'stadt'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_line_100_is_a_number_and_no_picture(checkout: Project, grabow: Path) -> None:
    text = grabow.read_text("utf-8")
    lines = text.count("\n")
    grabow.write_text(text + "\n" * (99 - lines) + "unknown: 1\n", encoding="utf-8")
    assert "stacks/grabow.yaml:100:1: error [unknown-key]" in run("check", "grabow", cwd=checkout.root).stderr


def test_check_speaks_json(checkout: Project, grabow: Path) -> None:
    grabow.write_text(grabow.read_text("utf-8").replace("kind: stadt", "kind: staadt"), encoding="utf-8")
    done = run("check", "--json", cwd=checkout.root)
    report = json.loads(done.stdout)
    assert done.returncode == 3
    assert report["errors"] == 1
    assert report["findings"][0]["rule"] == "value-not-allowed"
    assert (report["findings"][0]["file"], report["findings"][0]["line"]) == ("stacks/grabow.yaml", 7)


def test_plan_of_a_refused_declaration_shows_the_findings(checkout: Project, grabow: Path) -> None:
    grabow.write_text(
        grabow.read_text("utf-8").replace("departments:", "networks: {vlan_base: x}\ndepartments:"), encoding="utf-8"
    )
    done = run("plan", "grabow", cwd=checkout.root)
    assert (done.returncode, done.stdout) == (3, "")
    assert "wrong-type" in done.stderr


def test_plan_shows_tables_and_json(checkout: Project) -> None:
    tables = run("plan", "grabow", cwd=checkout.root)
    assert tables.returncode == 0
    assert "gra-file01" in tables.stdout
    assert "1222" in tables.stdout
    plan = json.loads(run("plan", "grabow", "--json", cwd=checkout.root).stdout)
    assert len(plan["member"]["servers"]) == 12


def test_an_unknown_member_is_one_clear_message(checkout: Project) -> None:
    done = run("plan", "grabau", cwd=checkout.root)
    assert done.returncode == 1
    assert "no member 'grabau'" in done.stderr
    assert "declared members: grabow" in done.stderr


@pytest.mark.parametrize("arguments", [("plan",), ("plan", "grabow", "--nonsense"), ("nonsense",)])
def test_wrong_usage_is_exit_2(checkout: Project, arguments: tuple[str, ...]) -> None:
    assert run(*arguments, cwd=checkout.root).returncode == 2


def test_outside_a_project(tmp_path: Path) -> None:
    """In a process of its own: the command can be started, and its exit code arrives."""
    command = [sys.executable, "-m", "ksm_onboard.cli.main", "check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert "no project here" in done.stderr
    assert "Traceback" not in done.stderr


# --- what stands --------------------------------------------------------------------------


def test_a_check_says_what_it_was_not_compared_with(checkout: Project) -> None:
    done = run("check", cwd=checkout.root)
    assert done.returncode == 0
    assert "not compared with what stands: grabow (no stack of it in .state/lab/pulumi)" in done.stderr
    report = json.loads(run("check", "--json", "--no-deployed", cwd=checkout.root).stdout)
    assert report["not_compared_with_deployed"] == {"grabow": "--no-deployed"}
    sarif = json.loads(run("check", "--format", "sarif", cwd=checkout.root).stdout)
    ((notification,),) = (i["toolExecutionNotifications"] for i in sarif["runs"][0]["invocations"])
    assert notification["message"]["text"].startswith("not compared with what stands")


def test_a_change_of_what_stands_is_refused(checkout: Project, grabow: Path) -> None:
    """The state in the backend is found by itself; elsewhere an export serves."""
    backend = checkout.state / "lab/pulumi/.pulumi/stacks/ksm-onboard/grabow.json"
    backend.parent.mkdir(parents=True)
    shutil.copy(RECORDED_STATE, backend)
    text = grabow.read_text("utf-8").replace("departments:", "zones: {clients: {vlan: 1999}}\ndepartments:")
    grabow.write_text(text, encoding="utf-8")
    for options in ((), ("--deployed",), ("--deployed-state", str(RECORDED_STATE))):
        done = run("check", *options, cwd=checkout.root)
        assert done.returncode == 3
        assert "[immutable-changed] the zone clients stands in VLAN 1210" in done.stderr
        assert "compared with what stands: grabow (" in done.stderr
    done = run("check", "--no-deployed", cwd=checkout.root)
    assert "immutable-changed" not in done.stderr
    assert "allocation-contradicts" in done.stderr


def test_a_state_that_is_wanted_must_be_there(checkout: Project) -> None:
    done = run("check", "--deployed", cwd=checkout.root)
    assert done.returncode == 5
    assert "pulumi stack export -s grabow" in done.stderr
    assert run("check", "--deployed-state", "nowhere.json", cwd=checkout.root).returncode == 5
    both = run("check", "--no-deployed", "--deployed-state", str(RECORDED_STATE), cwd=checkout.root)
    assert both.returncode == 2
