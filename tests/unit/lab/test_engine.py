"""Which engine is used."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab import engine
from ksm_onboard.lab.engine import find_engine, find_official
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An official Pulumi, as its installer lays it out."""
    programs, plugin = tmp_path / "bin", tmp_path / "home/plugins/resource-vsphere-v4.18.2/pulumi-resource-vsphere"
    programs.mkdir()
    executable(programs / "pulumi", "echo v3.300.1")
    executable(programs / "pulumi-language-python", "exit 1")
    plugin.parent.mkdir(parents=True)
    executable(plugin, "exit 1")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    return tmp_path


def executable(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_an_installed_pulumi_is_used(installed: Path) -> None:
    found, _ = find_official()
    assert found is not None
    assert (found.version, found.official) == ("3.300.1", True)
    assert found.environment() == {"PATH": str(installed / "bin"), "PULUMI_HOME": str(installed / "home")}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda root: (root / "bin/pulumi").unlink(), "none on PATH"),
        (lambda root: executable(root / "bin/pulumi", "echo v3.199.0"), r"3\.200"),
        (lambda root: executable(root / "bin/pulumi", "echo v4.0.0"), r"v4\.0\.0"),
        (lambda root: executable(root / "bin/pulumi", "exit 3"), "failed"),
        (lambda root: (root / "bin/pulumi-language-python").unlink(), "pulumi-language-python"),
        (lambda root: shutil.rmtree(root / "home"), r"vsphere 4\.18\.2"),
    ],
)
def test_one_that_does_not_fit_is_not_used_and_the_reason_told(installed: Path, broken: object, reason: str) -> None:
    broken(installed)  # type: ignore[operator]
    found, why_not = find_official()
    assert found is None
    assert re.search(reason, why_not), why_not


def test_our_own_build_is_not_taken_for_an_installed_one(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = installed / "cache"
    (cache / "ksm-onboard").mkdir(parents=True)
    (installed / "bin").rename(cache / "ksm-onboard" / "bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("PATH", f"{cache}/ksm-onboard/bin:/usr/bin:/bin")
    assert find_official()[0] is None


def test_an_engine_that_is_not_built_yet_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(engine, "find_official", lambda: (None, "none"))
    with pytest.raises(NotReadyError) as caught:
        find_engine(Project(ROOT))
    assert caught.value.hint == "run: make setup"


def test_the_build_follows_pins_and_sources(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x\n")
    (tmp_path / "main.go").write_text("package main\n")
    first = engine._key_of_sources(tmp_path)
    (tmp_path / "main_test.go").write_text("package main\n")
    (tmp_path / "README.md").write_text("text\n")
    assert engine._key_of_sources(tmp_path) == first
    (tmp_path / "go.sum").write_text("sum\n")
    assert engine._key_of_sources(tmp_path) != first


def test_without_go_the_hint_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(NotReadyError, match="Go"):
        engine._key_of_sources(tmp_path)
