"""What the command line makes of Ctrl-C, wherever it strikes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ksm_onboard.cli import main
from ksm_onboard.lab import instance
from tests.unit.cli.command import run


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


def test_every_command_is_found_and_says_what_it_does() -> None:
    group = typer.main.get_group(main.app)
    assert len(group.commands) > 10
    for name, command in group.commands.items():
        assert command.name == name
        assert command.help


def test_a_mistyped_command_is_told_the_closest(tmp_path: Path) -> None:
    done = run("chek", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean 'check'" in done.stderr


def test_checking_needs_neither_the_engines_library_nor_vcenters(tmp_path: Path) -> None:
    """They take longer to import than a check takes."""
    program = (
        "import sys\nfrom ksm_onboard.cli import main\nsys.argv = ['ksm-onboard', 'check']\n"
        "try:\n    main.main()\nexcept SystemExit:\n"
        "    print(sorted({'pulumi', 'pyVmomi', 'openpyxl', 'ansible'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
