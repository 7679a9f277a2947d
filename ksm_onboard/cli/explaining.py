"""``explain`` and ``diff``: where values come from, and what a change to declarations means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json, MemberKey
from ksm_onboard.declaration.findings import DeclarationRefusedError, relative
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.at_ref import declarations_at
from ksm_onboard.planning.changes import changes
from ksm_onboard.planning.explaining import Source
from ksm_onboard.planning.explaining import explain as explained
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import find_project


def explain(
    member: MemberKey,
    path: Annotated[str | None, typer.Argument(help="for example servers.dns01 or devices.gra-ws0001")] = None,
    json: Json = False,
) -> None:
    """Show each effective value of a member, where it comes from, and what it overrides."""
    project = find_project()
    declarations = Declarations(project)
    declarations.require(member)
    values = explained(declarations.members[member], declarations.catalogue, path)
    if json:
        terminal.print_json(
            {
                "member": member,
                "values": [
                    {
                        "path": value.path,
                        "value": value.value,
                        **_source(value.source, project.root),
                        "overrides": [
                            {"value": source.value, **_source(source, project.root)} for source in value.overrides
                        ],
                    }
                    for value in values
                ],
            }
        )
        return
    terminal.print_table(
        f"{member}: {path or 'everything that is in force'}",
        ("value", "", "from", "at", "overrides"),
        (
            (
                value.path,
                _shown(value.value),
                value.source.layer,
                _at(value.source, project.root),
                "; ".join(f"{_shown(s.value)} ({s.layer}, {_at(s, project.root)})" for s in value.overrides) or "–",
            )
            for value in values
        ),
    )


def _source(source: Source, root: Path) -> dict[str, Any]:
    place = source.place
    return {"layer": source.layer, "file": relative(place.file, root), "line": place.line, "column": place.column}


def _at(source: Source, root: Path) -> str:
    return f"{relative(source.place.file, root)}:{source.place.line}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(str(item) for item in value)}]"
    return str(value)


def diff(
    member: MemberKey,
    ref: Annotated[str, typer.Option("--from", metavar="GITREF", help="compare with the declarations there")] = "HEAD",
    json: Json = False,
) -> None:
    """Say in words what the present declarations change in a member's plan."""
    project = find_project()
    now = Declarations(project)
    with declarations_at(project, ref) as then:
        if member not in {*now.member_keys, *then.member_keys}:
            now.require(member)
        before = _plan_then(then, member, ref)
        after = now.plan(member) if member in now.member_keys else None
    found = changes(before, after)
    if json:
        terminal.print_json({"member": member, "from": ref, "changes": [change.as_json() for change in found]})
        return
    for change in found:
        mark = "[bold red]!" if change.destroys else "[green]+" if change.action in ("adds", "opens") else "[yellow]~"
        terminal.out.print(f"{mark}[/] {escape(change.text)}", soft_wrap=True)
    if not found:
        terminal.err.print(f"nothing changes in the plan of {member} since {ref}")


def _plan_then(then: Declarations, member: str, ref: str) -> Plan | None:
    if member not in then.member_keys:
        return None
    try:
        return then.plan(member)
    except DeclarationRefusedError as refused:
        first = refused.findings[0]
        raise OnboardError(
            f"the declarations at {ref} cannot be planned, so nothing can be compared: "
            f"{relative(first.place.file, then.project.root)}:{first.place.line}: {first.message}",
            hint="compare with a later commit: --from GITREF",
        ) from None
