"""The limit of inotify instances is raised, never lowered."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab.kernel_limits import allow_many_hosts


def test_a_low_limit_is_raised_once(tmp_path: Path) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")
    assert allow_many_hosts(limit) is True
    assert int(limit.read_text()) == 4096
    assert allow_many_hosts(limit) is False


def test_a_high_limit_stays(tmp_path: Path) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("65536\n")
    assert allow_many_hosts(limit) is False
    assert limit.read_text() == "65536\n"


def test_a_machine_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(NotReadyError, match="128 inotify instances") as refused:
        allow_many_hosts(limit)
    assert refused.value.hint == "run as root: sysctl fs.inotify.max_user_instances=4096"
