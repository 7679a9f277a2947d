"""``affected`` in a real git repository."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ksm_onboard.errors import ExitCode
from ksm_onboard.project import Project
from tests.unit.cli.command import run


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@ksm.invalid", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(checkout: Project) -> Project:
    git(checkout.root, "init", "--quiet")
    git(checkout.root, "add", ".")
    git(checkout.root, "commit", "--quiet", "--message", "as it was")
    return checkout


def edit(project: Project, name: str, old: str, new: str) -> None:
    file = project.root / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


def test_nothing_changed(repository: Project) -> None:
    done = run("affected", cwd=repository.root)
    assert (done.returncode, done.stdout) == (ExitCode.OK, "")
    assert done.stderr == "nothing since HEAD touches any member\n"


def test_who_is_touched_and_why(repository: Project) -> None:
    edit(repository, "stacks/grabow.yaml", "Bürgermeisteramt", "Hauptamt")
    (repository.stacks / "licences").mkdir()
    (repository.stacks / "licences" / "grabow.yaml").write_text("{}\n")  # untracked files are part of a change
    done = run("affected", "--from", "HEAD", "--json", cwd=repository.root)
    assert done.returncode == ExitCode.OK, done.stderr
    told = json.loads(done.stdout)
    assert told["to_bring_up"] == ["grabow"]
    assert told["platform"] is None
    (grabow,) = told["members"]
    assert grabow["kind"] == "changes"
    assert grabow["reasons"] == [
        {"text": "its plan changes", "exact": True},
        {"text": "seats of licences are recorded otherwise (stacks/licences/grabow.yaml)", "exact": False},
    ]
    assert [change["text"] for change in grabow["changes"]] == [
        "changes responsible of the member from Bürgermeisteramt der Stadt Grabow to Hauptamt der Stadt Grabow"
    ]
    shown = run("affected", cwd=repository.root).stdout
    assert "grabow (changed)\n  its plan changes\n" in shown
    assert "(possibly; named to be on the safe side)" in shown


def test_a_commit_that_there_is_not(repository: Project) -> None:
    done = run("affected", "--from", "no-such", cwd=repository.root)
    assert done.returncode == ExitCode.FAILED
    assert "'no-such' is no commit of this repository" in done.stderr


def test_outside_of_a_repository(checkout: Project) -> None:
    done = run("affected", cwd=checkout.root)
    assert done.returncode == ExitCode.FAILED
    assert "is not a git repository" in done.stderr
