"""Things that are built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.lab.cache import built_once, key_of
from ksm_onboard.progress import Silent


def build(folder: Path) -> None:
    (folder / "part").write_text("whole")


def test_it_is_built_once(tmp_path: Path) -> None:
    target = tmp_path / "thing-1"
    assert built_once(target, build, Silent(), "build") == target
    (target / "part").write_text("kept")
    built_once(target, build, Silent(), "build")
    assert (target / "part").read_text() == "kept"


def test_an_interrupted_build_looks_unfinished_and_is_cleared_away(tmp_path: Path) -> None:
    target = tmp_path / "thing-1"

    def interrupted(folder: Path) -> None:
        build(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built_once(target, interrupted, Silent(), "build")
    assert not target.exists()
    built_once(target, build, Silent(), "build")
    assert [path.name for path in tmp_path.iterdir() if "building" in path.name] == []
    assert (target / "part").read_text() == "whole"


def test_keys_tell_inputs_apart() -> None:
    assert key_of("a", "b") == key_of("a", b"b")
    assert len({key_of("ab"), key_of("a", "b"), key_of("b", "a"), key_of("a", "b", "")}) == 4
