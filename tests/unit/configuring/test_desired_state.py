"""When a workplace is confirmed, and what makes its roles due: the pure parts of the role desired_state."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def loaded(part: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(part).stem, ROOT / "roles/desired_state" / part)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def controller() -> ModuleType:
    return loaded("action_plugins/desired_state.py")


@pytest.fixture(scope="module")
def host() -> ModuleType:
    return loaded("library/desired_state_host.py")


WANTED = {"baseline": "1", "applications": "2", "rest": "3"}


@pytest.mark.parametrize(
    ("recorded", "differences", "full", "due"),
    [
        (WANTED, [], False, []),
        (WANTED, [], True, ["baseline", "applications"]),
        (WANTED, ["package git"], False, ["baseline", "applications"]),
        (WANTED | {"applications": "0"}, [], False, ["applications"]),
        (WANTED | {"rest": "0"}, [], False, ["baseline", "applications"]),
        ({}, [], False, ["baseline", "applications"]),
        ({"baseline": "1", "rest": "3"}, [], False, ["baseline", "applications"]),
        (WANTED | {"gone": "4"}, [], False, ["baseline", "applications"]),
    ],
)
def test_only_a_machine_that_matches_in_everything_is_confirmed(
    controller: ModuleType, recorded: dict[str, str], differences: list[str], due: list[str], *, full: bool
) -> None:
    assert controller.due(WANTED, recorded, differences, full=full) == due


def test_a_role_s_fingerprint_covers_its_variables_their_files_and_its_own_files(
    controller: ModuleType, tmp_path: Path
) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_text("one")
    known = {"base_ca_file": str(certificate), "base_list": [1, {"b": 2, "a": None}], "other_thing": 1}
    before = controller.variables("base", known)
    assert controller.variables("base", known | {"other_thing": 2}) == before
    certificate.write_text("two")
    assert controller.variables("base", known) != before
    role = tmp_path / "base"
    (role / "tasks").mkdir(parents=True)
    (role / "tasks" / "main.yml").write_text("---\n")
    content = controller.content(role)
    (role / "README.md").write_text("only words")
    assert controller.content(role) == content
    (role / "tasks" / "main.yml").write_text("--- \n")
    assert controller.content(role) != content


def state(host: ModuleType, folder: Path) -> dict[str, object]:
    return {
        "machine": "ws1 abc",
        "packages": {"git": "1"},
        "services": ["ssh.service"],
        "files": host.files([str(folder), str(folder / "nothing-there")], {str(folder / "ignored")}),
    }


def test_every_kind_of_tampering_is_named(host: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("kept", "changed", "gone", "ignored", "below/rights"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "folder").symlink_to("below")
    was = state(host, tmp_path)
    assert host.differences(was, state(host, tmp_path)) == []
    (tmp_path / "ignored").write_text("y")
    (tmp_path / "passwd-").write_text("a copy that useradd keeps")
    assert host.differences(was, state(host, tmp_path)) == []
    (tmp_path / "changed").write_text("y")
    (tmp_path / "gone").unlink()
    (tmp_path / "new").write_text("x")
    os.chmod(tmp_path / "below" / "rights", 0o600)  # noqa: PTH101
    for name in ("link", "folder"):
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/nowhere")
    found = [line.removeprefix(f"{tmp_path}/") for line in host.differences(was, state(host, tmp_path))]
    assert found == [
        "below/rights has changed",
        "changed has changed",
        "folder has changed",
        "gone is gone",
        "link has changed",
        "new is new",
    ]
    now = state(host, tmp_path) | {"packages": {"git": "2", "vim": "1"}, "services": [], "files": was["files"]}
    assert host.differences(was, now) == [
        "package git (1 before, 2 now)",
        "package vim (not installed before, 1 now)",
        "ssh.service does not run",
    ]
    assert host.differences(was, was | {"machine": "ws2 abc"}) == ["it is another machine than the recorded one"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', "null"])
def test_a_record_that_cannot_be_read_is_none(host: ModuleType, tmp_path: Path, text: str) -> None:
    (tmp_path / "record").write_text(text)
    assert host.read(str(tmp_path / "record")) is None
    assert host.read(str(tmp_path / "nothing")) is None


def test_a_record_is_for_root_only_and_read_as_written(host: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "below" / "record"
    record = {"format": 1, "fingerprints": WANTED, "state": {}}
    host.write(str(path), record)
    assert host.read(str(path)) == record
    assert path.stat().st_mode & 0o077 == 0


def test_every_role_that_workplaces_get_is_part_of_their_desired_state() -> None:
    [play, _windows] = yaml.safe_load((ROOT / "roles/site.yml").read_text())
    included = [
        task["ansible.builtin.include_role"]["name"] for task in play["tasks"] if "ansible.builtin.include_role" in task
    ]
    assert play["vars"]["desired_state_roles"] == included
    for task in play["tasks"]:
        if "ansible.builtin.include_role" in task:
            assert f"'{task['ansible.builtin.include_role']['name']}' in desired_state_due" in task["when"]
