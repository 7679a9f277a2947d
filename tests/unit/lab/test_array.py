"""The file of a lab array's exports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ksm_onboard.lab.array import ArrayExport, array_file, ensure_array, set_exports
from ksm_onboard.project import Project

GOLD = ArrayExport("sn-nas-a.ksm.internal", "/ksm/gra/gold", 100, ("A", "B"))
LOCAL = ArrayExport("sn-nas-b.ksm.internal", "/ksm/gra/local", 50, ("B",))


def exports(project: Project) -> list[dict[str, object]]:
    document = json.loads(array_file(project, "lab").read_text())
    return list(document["exports"])


def a_project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    (project.state / "lab").mkdir(parents=True)
    return project


def test_exports_are_added_and_grown_and_stay(tmp_path: Path) -> None:
    project = a_project(tmp_path)
    assert set_exports(project, "lab", [GOLD])
    assert set_exports(project, "lab", [LOCAL])
    assert set_exports(project, "lab", [replace(GOLD, capacity_gib=150)])
    assert exports(project) == [
        {"host": GOLD.host, "path": GOLD.path, "capacity_gib": 150, "sections": ["A", "B"]},
        {"host": LOCAL.host, "path": LOCAL.path, "capacity_gib": 50, "sections": ["B"]},
    ]


def test_nothing_is_written_when_nothing_changes(tmp_path: Path) -> None:
    project = a_project(tmp_path)
    set_exports(project, "lab", [GOLD])
    before = array_file(project, "lab").stat().st_mtime_ns
    assert not set_exports(project, "lab", [GOLD])
    assert array_file(project, "lab").stat().st_mtime_ns == before


def test_a_new_lab_has_an_empty_array(tmp_path: Path) -> None:
    project = a_project(tmp_path)
    assert ensure_array(project, "lab") == array_file(project, "lab")
    assert exports(project) == []
