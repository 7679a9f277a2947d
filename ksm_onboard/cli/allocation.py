"""``allocate``: gives out addresses, VLANs and names, and records them."""

from __future__ import annotations

from typing import Annotated

import typer

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json
from ksm_onboard.declaration.findings import relative
from ksm_onboard.declaration.record import record_file, write_record
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.project import find_project


def allocate(
    members: Annotated[
        list[str] | None, typer.Argument(metavar="[MEMBER]...", help=f"default: all members and {PLATFORM}")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be given out, write nothing")] = False,
    release: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="take back an entry of the record first (host, printer or zone)"),
    ] = None,
    json: Json = False,
) -> None:
    """Give out what is declared and has no address, VLAN or name yet. What was given out before stays."""
    project = find_project()
    declarations = Declarations(project)
    for key in members or ():
        if key != PLATFORM:
            declarations.require(key)
    if release and len(members or ()) != 1:
        raise OnboardError("--release needs exactly one member", hint="ksm-onboard allocate MEMBER --release NAME")
    changes = new_records(declarations, members or None, release or ())
    for change in changes:
        if not dry_run:
            write_record(project.stacks, change.member, change.after)
    if json:
        terminal.print_json(
            {
                "written": not dry_run,
                "members": [
                    {
                        "member": change.member,
                        "file": relative(record_file(project.stacks, change.member), project.root),
                        "changes": list(change.lines),
                    }
                    for change in changes
                ],
            }
        )
        return
    for change in changes:
        file = relative(record_file(project.stacks, change.member), project.root)
        terminal.out.print(f"[bold]{change.member}[/] ({'would change' if dry_run else 'written'}: {file})")
        for line in change.lines:
            terminal.out.print(f"  {line}", markup=False)
    if not changes:
        terminal.err.print("everything that is declared has been given out already; nothing changes")
