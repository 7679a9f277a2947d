"""What the lab's array exports before any member is brought up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ksm_onboard.lab.array import array_file
from ksm_onboard.onboarding.lab_array import declared_exports, export_all
from ksm_onboard.onboarding.lab_world import array_exports
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project
from tests.unit.conftest import ROOT
from tests.unit.told import Told


@pytest.fixture
def verbund(tmp_path: Path) -> Project:
    """Every declaration, to change at will."""
    for folder in ("stacks", "catalogue"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "Pulumi.*"))
    (tmp_path / ".state" / "lab").mkdir(parents=True)
    return Project(tmp_path)


def exported(project: Project) -> set[str]:
    return {export["path"] for export in json.loads(array_file(project, "lab").read_text())["exports"]}


def test_every_datastore_of_every_member_is_exported(verbund: Project) -> None:
    said = Told()
    declarations = Declarations(verbund)
    export_all(declarations, "lab", said)
    planned = [declarations.plan(key) for key in declarations.member_keys]
    own = declarations.own_plan()
    assert len(planned) > 2 and own is not None
    assert exported(verbund) == {export.path for plan in (own, *planned) for export in array_exports(plan)}
    assert said.lines == [
        f"the lab's array exports the datastores of the platform and {len(planned)} members (simulated)"
    ]
    export_all(declarations, "lab", again := Told())
    assert again.lines == []


def test_a_member_that_is_declared_wrongly_is_left_out_and_named(verbund: Project) -> None:
    (verbund.stacks / "zoo.yaml").write_text("member: [\n")
    sound = declared_exports(Declarations(Project(ROOT)))
    broken = declared_exports(Declarations(verbund))
    assert broken.left_out == {"zoo": 1}
    assert {e.path for e in sound.exports} - {e.path for e in broken.exports} == {
        e.path for e in array_exports(Declarations(Project(ROOT)).plan("zoo"))
    }
    export_all(Declarations(verbund), "lab", said := Told())
    assert said.lines[1] == (
        "note: no exports for zoo, whose declaration has 1 error(s) (ksm-onboard check zoo); "
        "once it is right: ksm-onboard lab up"
    )


def test_two_members_that_clash_are_both_left_out_and_nobody_else(verbund: Project) -> None:
    file = verbund.stacks / "allocations" / "zoo.yaml"
    blocks = {
        key: next(
            line for line in (verbund.stacks / f"allocations/{key}.yaml").read_text().splitlines() if "block" in line
        )
        for key in ("zoo", "neustadt-glewe")
    }
    file.write_text(file.read_text().replace(blocks["zoo"], blocks["neustadt-glewe"]))
    assert set(declared_exports(Declarations(verbund)).left_out) == {"zoo", "neustadt-glewe"}
