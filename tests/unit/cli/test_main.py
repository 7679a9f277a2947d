"""What the command line makes of Ctrl-C, wherever it strikes."""

from __future__ import annotations

import sys

import pytest

from ksm_onboard.cli import main
from ksm_onboard.lab import instance


def test_ctrl_c_is_told_and_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def struck(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(instance, "status", struck)
    monkeypatch.setattr(sys, "argv", ["ksm-onboard", "lab", "status"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 130
    assert "interrupted" in capsys.readouterr().err
