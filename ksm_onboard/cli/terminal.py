"""What people see: tables, findings, progress. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ksm_onboard.declaration.findings import Finding, relative
from ksm_onboard.errors import OnboardError

# A pipe has no width of its own: there, tables keep their lines whole.
_PIPED_WIDTH = 200
# Without emoji: of schwerin.yaml:100:1 rich would make a picture of a hundred.
out = Console(soft_wrap=False, highlight=False, emoji=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = _PIPED_WIDTH
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


def print_json(data: Any) -> None:
    """Machine-readable result: sorted as given, UTF-8, no colours."""
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))  # noqa: T201 - this is the output


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], to: Console = out) -> None:
    """A table with a title; numbers and text alike left-aligned, so that pipes stay readable."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    to.print(table)
    to.print()


def print_findings(findings: Sequence[Finding], root: Path) -> None:
    """Every finding: place first (so that editors can jump there), then what, allowed, hint."""
    for finding in findings:
        place = f"{relative(finding.place.file, root)}:{finding.place.line}:{finding.place.column}"
        colour = "red" if finding.severity == "error" else "yellow"
        err.print(f"{escape(place)}: [{colour}]{finding.severity}[/] \\[{finding.rule}] {escape(finding.message)}")
        if finding.allowed:
            err.print(f"    allowed: {escape(finding.allowed)}")
        if finding.hint:
            err.print(f"    hint: {escape(finding.hint)}")


def print_error(error: OnboardError) -> None:
    """One clear message, and what to do."""
    err.print(f"[red]error:[/] {escape(str(error))}")
    if error.hint:
        err.print(f"[bold]what to do:[/] {escape(error.hint)}")


class TerminalProgress:
    """Steps and lines on stderr, each with the time since the start, so that pipes and logs stay readable."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def step(self, title: str) -> None:
        err.print(f"[dim]{self._elapsed()}[/] [bold cyan]▶[/] [bold]{escape(title)}[/]")

    def line(self, text: str) -> None:
        err.print(f"[dim]{self._elapsed()}[/]   {escape(text)}")

    def _elapsed(self) -> str:
        seconds = int(time.monotonic() - self._start)
        return f"{seconds // 60:02d}:{seconds % 60:02d}"
