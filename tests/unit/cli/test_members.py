"""``allocate``, ``explain``, ``diff`` and ``new`` as a person and a pipeline see them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ksm_onboard.project import Project
from tests.unit.cli.command import run


@pytest.fixture
def repository(checkout: Project) -> Project:
    """The copy as a git repository with one commit."""
    identity = {
        **os.environ,
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@example.org",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@example.org",
    }
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", *command], cwd=checkout.root, env=identity, check=True)
    return checkout


def declare(grabow: Path, text: str) -> None:
    grabow.write_text(grabow.read_text("utf-8").replace("departments:", f"{text}\ndepartments:", 1), encoding="utf-8")


def test_allocate_writes_and_a_dry_run_does_not(checkout: Project, grabow: Path, record: Path) -> None:
    declare(grabow, "servers:\n  app: {count: 3}")
    before = record.read_bytes()
    dry = run("allocate", "--dry-run", "--json", cwd=checkout.root)
    assert dry.returncode == 0
    assert json.loads(dry.stdout) == {
        "written": False,
        "members": [
            {
                "member": "grabow",
                "file": "stacks/allocations/grabow.yaml",
                "changes": [
                    "gra-app03: 10.64.10.14",
                    "section of gra-app03: B",
                    "disk gra-app03: gra-silver-mirrored-b",
                ],
            }
        ],
    }
    assert record.read_bytes() == before
    done = run("allocate", "grabow", cwd=checkout.root)
    assert "gra-app03: 10.64.10.14" in done.stdout
    assert "gra-app03: 10.64.10.14" in record.read_text("utf-8")
    again = run("allocate", cwd=checkout.root)
    assert (again.returncode, again.stdout) == (0, "")
    assert "nothing changes" in again.stderr


def test_release_needs_one_member(checkout: Project) -> None:
    done = run("allocate", "--release", "gra-dns01", cwd=checkout.root)
    assert done.returncode == 1
    assert "exactly one member" in done.stderr


def test_explain_shows_layer_file_line_and_what_is_overridden(checkout: Project) -> None:
    done = run("explain", "grabow", "servers.dns01.service_level", "--json", cwd=checkout.root)
    assert done.returncode == 0
    (value,) = json.loads(done.stdout)["values"]
    assert (value["path"], value["value"], value["layer"]) == ("servers.dns01.service_level", 1, "archetype")
    assert value["overrides"][0]["file"] == "stacks/schwerin.yaml"
    table = run("explain", "grabow", "member", cwd=checkout.root)
    assert "stacks/grabow.yaml:5" in table.stdout


def test_explain_of_an_unknown_path_names_close_ones(checkout: Project) -> None:
    done = run("explain", "grabow", "servers.dsn01", cwd=checkout.root)
    assert done.returncode == 1
    assert "did you mean servers.dns01" in done.stderr


def test_diff_says_what_changes_since_a_commit(repository: Project, grabow: Path) -> None:
    assert run("diff", "grabow", cwd=repository.root).stdout == ""
    declare(grabow, "servers:\n  file01: {memory_gib: 16}\nwithout_applications: [keepassxc]")
    text = run("diff", "grabow", "--from", "HEAD", cwd=repository.root)
    assert text.returncode == 0
    assert "gives gra-file01 16 GiB of memory instead of 8" in text.stdout
    assert "drops keepassxc from 55 workstations" in text.stdout
    report = json.loads(run("diff", "grabow", "--json", cwd=repository.root).stdout)
    assert [change["action"] for change in report["changes"]] == ["changes", "removes"]
    assert len(report["changes"][1]["names"]) == 55


def test_diff_of_members_that_come_and_go(repository: Project, grabow: Path) -> None:
    for file in (repository.stacks).glob("grabow.*"):
        file.unlink()
    (repository.stacks / "allocations" / "grabow.yaml").unlink()
    gone = run("diff", "grabow", cwd=repository.root)
    assert "removes Stadt Grabow: 12 VMs, 55 workstations" in gone.stdout
    assert run("diff", "grabau", cwd=repository.root).returncode == 1


def test_diff_needs_a_commit_and_a_repository(repository: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    wrong = run("diff", "grabow", "--from", "nowhere", cwd=repository.root)
    assert wrong.returncode == 1
    assert "'nowhere' is no commit" in wrong.stderr
    trap = run("diff", "grabow", "--from=--output=x", cwd=repository.root)
    assert trap.returncode == 1
    assert not (repository.root / "x").exists()


def test_diff_outside_a_repository_says_so(checkout: Project) -> None:
    done = run("diff", "grabow", cwd=checkout.root)
    assert done.returncode == 1
    assert "git repository" in done.stderr
    assert "Traceback" not in done.stderr


def test_diff_with_a_commit_that_cannot_be_planned(repository: Project, grabow: Path) -> None:
    sound = grabow.read_text("utf-8")
    grabow.write_text(sound.replace("kind: stadt", "kind: staadt"), encoding="utf-8")
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "broken"]
    subprocess.run(command, cwd=repository.root, check=True)
    grabow.write_text(sound, encoding="utf-8")
    done = run("diff", "grabow", cwd=repository.root)
    assert done.returncode == 1
    assert "the declarations at HEAD cannot be planned" in done.stderr
    assert "stacks/grabow.yaml:7" in done.stderr


NEW = (
    *("new", "lulu", "--kind", "stadt", "--name", "Stadt Lulu", "--short", "lul"),
    *("--responsible", "Bürgermeisteramt", "--site", "Rathaus", "--address", "Markt 1, 19288 Lulu"),
)


def test_new_writes_a_declaration_that_passes_check_and_never_twice(checkout: Project) -> None:
    done = run(*NEW, cwd=checkout.root)
    assert done.returncode == 0
    assert "written: stacks/lulu.yaml" in done.stdout
    assert run("check", cwd=checkout.root).returncode == 0
    again = run(*NEW, cwd=checkout.root)
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_new_without_a_terminal_names_every_missing_flag(checkout: Project) -> None:
    done = run("new", "lulu", "--kind", "stadt", cwd=checkout.root)
    assert done.returncode == 2
    assert "missing: --name, --short, --responsible, --site, --address" in done.stderr
    assert not (checkout.stacks / "lulu.yaml").exists()


def test_new_asks_at_a_terminal(checkout: Project) -> None:
    """A pseudo-terminal, as a person has it; empty answers take the proposals."""
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "ksm_onboard.cli.main", "new", "lulu", "--name", "Stadt Lulu"]
    process = subprocess.Popen(
        command, cwd=checkout.root, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    os.close(follower)
    os.write(leader, b"staadt\nstadt\nLUL\nlul\n\n\n\nMarkt 1\n")
    output, _ = process.communicate(timeout=60)
    os.close(leader)
    assert process.returncode == 0, output
    assert "prefix of host names" in output
    assert "two to four lower-case letters" in output
    assert "dns_domain: lulu.internal" in (checkout.stacks / "lulu.yaml").read_text("utf-8")
    assert run("check", cwd=checkout.root).returncode == 0


@pytest.mark.parametrize("key", ["grabow", "Grab ow"])
def test_new_asks_nothing_about_a_key_that_cannot_be(checkout: Project, key: str) -> None:
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "ksm_onboard.cli.main", "new", key]
    process = subprocess.Popen(
        command, cwd=checkout.root, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    os.close(follower)
    output, _ = process.communicate(timeout=60)
    os.close(leader)
    assert process.returncode in (1, 2)
    assert "official name" not in output
    assert "is there already" in output or "lower-case letters" in output
