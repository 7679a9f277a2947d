"""Pipeline files: as committed, valid for their systems, and every job's command runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ksm_onboard.cli import flow, pipeline
from ksm_onboard.cli import preview as previewing
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.project import Project
from ksm_onboard.provisioning.driver import EngineRun
from ksm_onboard.reporting.pipelines import FILES, JOBS, Job, System, render_pipeline
from tests.unit.cli.command import run
from tests.unit.cli.test_affected import edit, git
from tests.unit.conftest import ROOT

SCHEMAS = {System.GITLAB: "vendor.gitlab-ci", System.GITHUB: "vendor.github-workflows"}
# Without a data centre: what each job ends with in a repository whose change touches Grabow.
NO_DATA_CENTRE = {"preview", "up", "servers", "waves", "verify", "nightly"}


@pytest.mark.parametrize("system", System)
def test_the_committed_file_is_what_would_be_written(system: System) -> None:
    assert (ROOT / FILES[system]).read_text() == render_pipeline(ROOT / "templates", system), (
        f"write it again: ksm-onboard ci render {system}"
    )


@pytest.mark.parametrize("system", System)
def test_the_file_is_valid_for_its_system(system: System) -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [str(checker), "--builtin-schema", SCHEMAS[system], str(ROOT / FILES[system])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_would_find_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "broken.yml"
    file.write_text((ROOT / FILES[System.GITLAB]).read_text().replace("  script:", "  skript:"))
    checker = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run([str(checker), "--builtin-schema", "vendor.gitlab-ci", str(file)], check=False)
    assert done.returncode != 0


def scripts(system: System) -> dict[str, str]:
    """Job → the command that the committed file has the runner execute."""
    found: dict[str, Any] = yaml.safe_load((ROOT / FILES[system]).read_text())
    if system is System.GITLAB:
        told = {name: job["script"] for name, job in found.items() if isinstance(job, dict) and "script" in job}
        assert all(len(lines) == 1 for lines in told.values()), "each job is one command"
        return {name: lines[0] for name, lines in told.items()}
    steps = [step for job in found["jobs"].values() for step in job["steps"]]
    assert all("@" in step["uses"] and len(step["uses"].partition("@")[2]) == 40 for step in steps if "uses" in step)
    return {step["name"]: step["run"] for step in steps if "name" in step}


def test_both_systems_run_the_same_commands() -> None:
    assert scripts(System.GITLAB) == scripts(System.GITHUB) == {job.key: job.command for job in JOBS}


@pytest.fixture
def repository(checkout: Project) -> Project:
    """A clone as a runner has it, whose working tree changes Grabow, with the toolkit installed."""
    shutil.copytree(ROOT / "templates", checkout.root / "templates")
    shutil.copy(ROOT / ".gitignore", checkout.root)
    git(checkout.root, "init", "--quiet")
    git(checkout.root, "add", ".")
    git(checkout.root, "commit", "--quiet", "--message", "as it was")
    edit(checkout, "stacks/grabow.yaml", "Bürgermeisteramt", "Hauptamt")
    (checkout.root / ".venv").symlink_to(sys.prefix)
    return checkout


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.key)
def test_every_script_runs_as_it_stands_in_the_file(repository: Project, job: Job) -> None:
    """In a shell, as a runner does it; where a data centre is needed, its absence is told."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KSM_", "PULUMI_"))} | {"KSM_FROM": "HEAD"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", scripts(System.GITLAB)[job.key]],
        cwd=repository.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if job.key in NO_DATA_CENTRE:
        assert done.returncode == ExitCode.NOT_READY, done.stderr
        assert "this pipeline has no data centre to work on: no data centre to talk to" in done.stderr
        assert "KSM_CONNECTION" in done.stderr
        assert "Traceback" not in done.stderr
        return
    assert done.returncode == ExitCode.OK, done.stderr
    if job.key == "plan":
        written = json.loads((repository.root / "pipeline/plans/grabow.json").read_text())
        assert written["member"]["responsible"] == "Hauptamt der Stadt Grabow"
    if job.key == "comment":
        said = (repository.root / "pipeline/comment.md").read_text()
        assert "| grabow | changed | not known | +0 | +0 | +0.00 |" in said


def test_what_pipelines_write_is_no_change_of_its_own(repository: Project) -> None:
    assert run("ci", "plan", "--from", "HEAD", "--to", "pipeline/plans", cwd=repository.root).returncode == 0
    told = run("affected", "--json", cwd=repository.root).stdout
    assert [reason["text"] for reason in json.loads(told)["members"][0]["reasons"]] == ["its plan changes"]
    assert run("ci", "plan", "--from", "HEAD", "--to", "pipeline/plans", cwd=repository.root).returncode == 0


def test_a_folder_of_somebody_else_is_not_emptied(repository: Project) -> None:
    done = run("ci", "plan", "--from", "HEAD", "--to", "stacks", cwd=repository.root)
    assert done.returncode == ExitCode.FAILED
    assert "exists and is not of a pipeline" in done.stderr
    assert (repository.stacks / "grabow.yaml").is_file()


def test_a_declaration_with_errors_is_told_with_its_place(repository: Project) -> None:
    edit(repository, "stacks/grabow.yaml", "kind: stadt", "kind: stat")
    done = run("ci", "plan", "--from", "HEAD", "--to", "pipeline/plans", cwd=repository.root)
    assert done.returncode == ExitCode.DECLARATION_REFUSED
    assert "stacks/grabow.yaml:7:9" in done.stderr


# --- with a data centre that is a stand-in ------------------------------------------------


@pytest.fixture
def stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "find_surroundings", lambda: None)


def test_the_platform_comes_first_and_one_failure_does_not_keep_the_others(
    repository: Project, stands: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(repository, "stacks/schwerin.yaml", "Kommunales Rechenzentrum Schwerin", "KSM")
    called: list[str] = []
    monkeypatch.setattr(flow, "up", called.append)
    assert run("ci", "up", "--from", "HEAD", cwd=repository.root).returncode == 0
    assert called == ["schwerin", "grabow"]

    def fails(stack: str) -> None:
        called.append(stack)
        raise OnboardError("out of luck", hint="try again")

    called.clear()
    monkeypatch.setattr(flow, "up", fails)
    done = run("ci", "up", "--from", "HEAD", cwd=repository.root)
    assert done.returncode == ExitCode.FAILED
    assert called == ["schwerin"], "members refer to the platform"
    assert "out of luck" in done.stderr
    assert "members wait until the platform's stack is up to date" in done.stderr


def test_a_preview_is_kept_for_the_comment_also_where_it_fails(
    repository: Project, stands: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ = EngineRun("grabow", "preview", {"same": 3}, 1.0)
    monkeypatch.setattr(previewing, "previewed", lambda _: run_)
    arguments = ("ci", "preview", "--from", "HEAD", "--to", "pipeline/previews")
    assert run(*arguments, cwd=repository.root).returncode == 0
    told = json.loads((repository.root / "pipeline/previews/grabow.json").read_text())
    assert (told["stack"], told["risk"], told["changes"], told["unchanged"]) == ("grabow", None, [], 3)

    def fails(_: str) -> None:
        raise OnboardError("the policies refuse it")

    monkeypatch.setattr(previewing, "previewed", fails)
    assert run(*arguments, cwd=repository.root).returncode == ExitCode.FAILED
    done = run("comment", "--from", "HEAD", "--previews", "pipeline/previews", cwd=repository.root)
    assert "**Not previewed:** the policies refuse it." in done.stdout


def test_waves_and_servers_are_configured_apart(
    repository: Project, stands: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, dict[str, Any]]] = []

    def configure(stack: str, **options: Any) -> None:
        called.append((stack, options))
        raise typer.Exit(ExitCode.OK)

    monkeypatch.setattr(flow, "configure", configure)
    for command in ("servers", "waves"):
        assert run("ci", command, "--from", "HEAD", cwd=repository.root).returncode == 0
    assert called == [("grabow", {"limit": "servers"}), ("grabow", {"wave": "all"})]


def test_nothing_to_do_needs_no_data_centre(repository: Project) -> None:
    git(repository.root, "commit", "--quiet", "--all", "--message", "changed")
    done = run("ci", "up", "--from", "HEAD", cwd=repository.root)
    assert done.returncode == 0
    assert "the change touches no stack: nothing to do" in done.stderr
