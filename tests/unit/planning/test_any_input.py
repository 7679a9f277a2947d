"""Whatever is written into a member's files, checking answers with findings; and what passes can be planned."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.explaining import explain
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project
from tests.unit.conftest import ROOT

FILES = ("grabow.yaml", "allocations/grabow.yaml", "schwerin.yaml")
DATA = {file: yaml.safe_load((ROOT / "stacks" / file).read_text(encoding="utf-8")) for file in FILES}

# What people slip in: other types, wrong references, nothing, too much.
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    (None, True, 0, -1, 10**30, 1.5, "", "x", "gra", "*", "10.64.0.0/20", "10.64.12.11", "2027-02-30", "ü" * 300)
) | st.sampled_from(([], {}, [None], [[]], {"*": {}}, {"x": None}, {"count": 2}, {"*": None}, ["7zip", "7zip"]))
KEYS = st.sampled_from(("*", "dns", "dns01", "app03", "count", "address", "applications", "cidr", "prefix", "x y", "1"))


def holders(data: Any) -> Iterator[Any]:
    if isinstance(data, dict | list):
        yield data
        for value in data.values() if isinstance(data, dict) else data:
            yield from holders(value)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """The files with one to three things changed, removed or added somewhere."""
    files = copy.deepcopy(DATA)
    for _ in range(draw(st.integers(1, 3))):
        holder = draw(st.sampled_from(list(holders(files[draw(st.sampled_from(FILES))]))))
        places: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        action = draw(st.sampled_from(("add", "remove", "replace") if places else ("add",)))
        value = copy.deepcopy(draw(VALUES))
        if action == "remove":
            del holder[draw(st.sampled_from(places))]
        elif action == "replace":
            holder[draw(st.sampled_from(places))] = value
        elif isinstance(holder, dict):
            holder[draw(KEYS)] = value
        else:
            holder.append(value)
    return files


# The few applications that Grabow has; reading all of them each time would take most of the time.
CATALOGUE = "domain: test\napplications:\n" + "".join(
    f'  "{key}": {{product: P, vendor: V, platforms: [linux], component: {component}, licence: open-source}}\n'
    for key, component in (
        *((key, "client") for key in ("7zip", "keepassxc", "ausweisapp", "kartenleser-treiber-linux")),
        *((key, "client") for key in ("ghostscript", "gdal-tools", "libreoffice")),
        ("nginx", "server"),
    )
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("any")
    (root / "stacks" / "allocations").mkdir(parents=True)
    (root / "catalogue").mkdir()
    (root / "catalogue" / "test.yaml").write_text(CATALOGUE, encoding="utf-8")
    return Project(root)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_damage_is_answered_with_findings(project: Project, files: dict[str, Any]) -> None:
    shutil.copy(ROOT / "stacks" / "grabow.devices.csv", project.stacks)
    for file, data in files.items():
        text = yaml.dump(data, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False)
        (project.stacks / file).write_text(text, encoding="utf-8")
    declarations = Declarations(project)
    findings = declarations.findings()
    for finding in findings:
        assert finding.place.line >= 1 and finding.place.column >= 1
        assert finding.place.file.exists()
    member = declarations.members["grabow"]
    if member.layers is not None:
        explain(member, declarations.catalogue)
    if any(finding.severity == "error" for finding in findings):
        with pytest.raises(DeclarationRefusedError):
            declarations.plan("grabow")
    else:
        plan = declarations.plan("grabow")
        assert plan.model_dump_json() == Declarations(project).plan("grabow").model_dump_json()
    try:
        changes = new_records(declarations)
    except DeclarationRefusedError:
        return
    assert all(change.lines for change in changes)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@pytest.mark.parametrize("file", ["grabow.yaml", "allocations/grabow.yaml", "schwerin.yaml", "grabow.devices.csv"])
def test_any_bytes_are_answered_with_findings(project: Project, file: str, content: bytes) -> None:
    for sound in (*FILES, "grabow.devices.csv"):
        shutil.copy(ROOT / "stacks" / sound, project.stacks / sound)
    (project.stacks / file).write_bytes(content)
    findings = Declarations(project).findings()
    assert findings
    assert Path(findings[0].place.file).exists()
