"""What is looked for on a log collector, without one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ksm_onboard.verifying import on_watcher


def test_only_the_machines_whose_own_file_holds_the_mark_have_arrived(tmp_path: Path) -> None:
    for name, text in {"a.x": "mark 1234\n", "b.x": "mark 99\n", "d.x": "mark 1234\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "2026-11-22.log").write_text("yesterday\n")
        (tmp_path / name / "2026-11-23.log").write_text(f"line\n{text}line\n")
    asked = {"folder": str(tmp_path), "machines": ["a.x", "b.x", "c.x"], "mark": "mark 1234"}
    assert on_watcher.arrived(asked, deadline=0) == ["a.x"]


def test_a_line_that_is_still_on_its_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.x").mkdir()
    waited = []

    def arrives(seconds: float) -> None:
        waited.append(seconds)
        (tmp_path / "a.x" / "2026-11-23.log").write_text("mark\n")

    monkeypatch.setattr(time, "sleep", arrives)
    asked = {"folder": str(tmp_path), "machines": ["a.x"], "mark": "mark"}
    assert on_watcher.arrived(asked, deadline=time.monotonic() + 60) == ["a.x"]
    assert len(waited) == 1


def test_targets_are_waited_for_and_told_as_they_are_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([{}, {"a.x": "unknown", "b.x": "up", "other": "up"}, {"a.x": "down", "b.x": "up"}])
    monkeypatch.setattr(on_watcher, "health_of_all", lambda _asked: next(told))
    times = iter([0.0, 0.0, 61.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    assert on_watcher.targets({"machines": ["a.x", "b.x"]}, deadline=60.0) == {"a.x": "down", "b.x": "up"}
