"""``import``: from a member's exports to a review and a proposed declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ksm_onboard.cli import terminal
from ksm_onboard.progress import Silent
from ksm_onboard.project import find_project
from ksm_onboard.takeover import ImportResult, Sources, run_import

_CSV_OR_XLSX = "CSV or .xlsx, German or English headers"


def import_exports(
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="key of the member, for example grabow")],
    *,
    devices: Annotated[Path, typer.Option(help=f"list of computers ({_CSV_OR_XLSX})")],
    software: Annotated[Path, typer.Option(help="installed software, one line per device and title")],
    shares: Annotated[Path | None, typer.Option(help="network drives with sizes")] = None,
    printers: Annotated[Path | None, typer.Option(help="printers or print queues")] = None,
    users: Annotated[Path | None, typer.Option(help="accounts; used only to place devices")] = None,
    licences: Annotated[Path | None, typer.Option(help="licences that the member owns: title and seats")] = None,
    mapping: Annotated[Path | None, typer.Option(help="YAML file that names columns with unusual headers")] = None,
    decisions: Annotated[Path | None, typer.Option(help="file of decisions; default: decisions.yaml in --out")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for the results; default: proposals/MEMBER")] = None,
    json: Annotated[bool, typer.Option("--json", help="machine-readable output on stdout")] = False,
) -> None:
    """Import what a member's old systems export: review it, match its software, propose its declaration."""
    project = find_project()
    target = out or project.root / "proposals" / member
    sources = Sources(devices, software, shares, printers, users, licences, mapping)
    progress = Silent() if json else terminal.TerminalProgress()
    result = run_import(project, member, sources, decisions, target, progress=progress)
    if json:
        terminal.print_json(result.as_json(project.root))
        return
    terminal.print_findings(result.findings, project.root)
    _show(result)


def _show(result: ImportResult) -> None:
    counts = ", ".join(f"{number} {verdict}" for verdict, number in result.counts.items())
    terminal.out.print(f"{sum(result.counts.values())} titles on {result.devices} devices: {counts}")
    changes = result.changes
    if not changes.first:
        titles = f"{len(changes.new_titles)} new, {len(changes.gone_titles)} gone, {len(changes.settled)} settled"
        devices = f"{len(changes.new_devices)} new, {len(changes.gone_devices)} gone"
        terminal.out.print(f"since the import before: titles {titles}; devices {devices}")
        for title in changes.new_titles:
            terminal.out.print(f"  new: {title}", markup=False)
    for what, path in result.files.items():
        terminal.out.print(f"{what:12} {path}", markup=False)
    if result.open_titles:
        terminal.err.print(
            f"{len(result.open_titles)} titles wait for a decision in {result.files['decisions']}; then import again",
            markup=False,
        )
