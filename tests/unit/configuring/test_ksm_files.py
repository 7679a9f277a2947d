"""The module ksm_files, run as Ansible runs it on a machine: from its arguments to what lies there."""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ksm_onboard.configuring.modules import ksm_files

ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}
Module = Callable[..., dict[str, Any]]


@pytest.fixture
def module(capfd: pytest.CaptureFixture[str]) -> Module:
    """Runs the module with the given files; ``options`` are what Ansible says of the run (check, diff)."""

    def run(*files: dict[str, Any], **options: bool) -> dict[str, Any]:
        run_wide = {f"_ansible_{option}": value for option, value in options.items()}
        with patch_module_args({"files": [ME | one for one in files], **run_wide}), pytest.raises(SystemExit):
            ksm_files.main()
        said: dict[str, Any] = json.loads(capfd.readouterr().out)
        return said

    return run


def test_everything_is_laid_out_at_once_and_then_left_alone(module: Module, tmp_path: Path) -> None:
    (tmp_path / "gone").write_text("old")
    (tmp_path / "wrong").write_text("old")
    wanted: list[dict[str, Any]] = [
        {"path": f"{tmp_path}/folder", "state": "directory", "mode": "2750"},
        {"path": f"{tmp_path}/folder/file", "content": "Grüße\n", "mode": "0640"},
        {"path": f"{tmp_path}/wrong", "content": "", "mode": "0600"},
        {"path": f"{tmp_path}/link", "state": "link", "target": "folder/file"},
        {"path": f"{tmp_path}/gone", "state": "absent"},
    ]
    paths = [one["path"] for one in wanted]
    only_looked = module(*wanted, check_mode=True, diff=True)
    assert only_looked["changed"] is True
    assert only_looked["changed_paths"] == paths
    assert [part["before_header"] for part in only_looked["diff"]] == paths
    assert (tmp_path / "gone").exists()
    assert not (tmp_path / "folder").exists()

    assert module(*wanted)["changed_paths"] == paths
    assert (tmp_path / "link").read_text(encoding="utf-8") == "Grüße\n"
    assert (tmp_path / "wrong").read_text() == ""
    assert not (tmp_path / "gone").exists()
    rights = [oct((tmp_path / name).stat().st_mode)[-4:] for name in ("folder", "folder/file", "wrong")]
    assert rights == ["2750", "0640", "0600"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "wrong"]

    again = module(*wanted)
    assert (again["changed"], again["changed_paths"]) == (False, [])
    (tmp_path / "folder/file").chmod(0o644)
    assert module(*wanted)["changed_paths"] == [f"{tmp_path}/folder/file"]
    assert oct((tmp_path / "folder/file").stat().st_mode)[-4:] == "0640"


def test_one_wrong_content_keeps_all_from_being_laid_out(module: Module, tmp_path: Path) -> None:
    said = module(
        {"path": f"{tmp_path}/first", "content": "right", "mode": "0644"},
        {
            "path": f"{tmp_path}/second", "content": "wrong", "mode": "0644",
            "validate": ["/bin/sh", "-c", 'grep -q right "$0" || { echo it is wrong; exit 1; }', "%s"],
        },
    )  # fmt: skip
    assert said["failed"] is True
    assert "nothing was laid out" in said["msg"]
    assert "it is wrong" in said["msg"]
    assert f"{tmp_path}/second" in said["msg"]
    assert not (tmp_path / "first").exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"path": "relative", "content": "", "mode": "0644"}, "must be absolute"),
        ({"path": "/x/file", "mode": "0644"}, "needs content"),
        ({"path": "/x/link", "state": "link"}, "needs a target"),
        ({"path": "/x/file", "content": ""}, "needs a mode"),
        ({"path": "/x/link", "state": "link", "target": "y", "mode": "0644"}, "nothing else, needs a mode"),
        ({"path": "/x/file", "content": "", "mode": "rw-r--r--"}, "is no mode"),
        ({"path": "/etc", "content": "", "mode": "0644"}, "left alone"),
        ({"path": "/etc/hostname", "state": "directory", "mode": "0755"}, "left alone"),
        ({"path": "/etc", "state": "absent"}, "left alone"),
        ({"path": "/dev/null", "content": "", "mode": "0644"}, "left alone"),
        ({"path": "/x/file", "contents": "", "mode": "0644"}, "contents"),
    ],
)
def test_what_cannot_be_meant_is_refused(module: Module, wrong: dict[str, Any], told: str) -> None:
    said = module(wrong, check_mode=True)
    assert said["failed"] is True
    assert told in said["msg"]


def test_a_path_is_listed_once(module: Module, tmp_path: Path) -> None:
    one = {"path": f"{tmp_path}/file", "content": "", "mode": "0644"}
    assert "listed once" in module(one, one)["msg"]


def test_an_account_of_an_earlier_task_is_missing_in_a_check_run_only(module: Module, tmp_path: Path) -> None:
    one = {"path": f"{tmp_path}/file", "content": "", "mode": "0644", "owner": "not-yet"}
    assert module(one, check_mode=True)["changed"] is True
    assert "not-yet" in module(one)["msg"]
