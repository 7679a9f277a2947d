"""Options about waves that cannot be meant together are refused before anything is looked at."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ksm_onboard.cli.main import app


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wave", "pilot", "--due"], "--wave contradicts --due"),
        (["--wave", "pilot", "--rollback"], "need --application"),
        (["--application", "7zip", "--rollback", "--give-back"], "contradicts --give-back"),
        (["--application", "7zip", "--rollback", "--due"], "contradict --due"),
        (["--due", "--unscheduled"], "--unscheduled needs --wave"),
        (["--wave", "pilot", "--check"], "know no waves"),
        (["--due", "--tags", "applications"], "know no waves"),
    ],
)
def test_contradictions_are_wrong_usage(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["configure", "grabow", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert words in result.output
