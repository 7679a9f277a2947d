"""``explain`` and ``diff``: where values come from, and what a change to declarations means."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json, MemberKey
from ksm_onboard.cli.licences import assignment
from ksm_onboard.configuring.journal import Journal
from ksm_onboard.configuring.results import runs_dir
from ksm_onboard.connection import connection_file, load_connection
from ksm_onboard.declaration.findings import DeclarationRefusedError, relative
from ksm_onboard.declaration.models import MemberDeclaration
from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.planning.at_ref import declarations_at
from ksm_onboard.planning.changes import changes
from ksm_onboard.planning.explaining import Source
from ksm_onboard.planning.explaining import explain as explained
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.machine_actions import workplaces
from ksm_onboard.planning.plan import Plan
from ksm_onboard.planning.why import Case, resolution_of, why, workplace
from ksm_onboard.project import Project, find_project


def explain(
    member: MemberKey,
    path: Annotated[
        str | None, typer.Argument(help="for example servers.dns01, devices.gra-ws0001, or just gra-ws0001")
    ] = None,
    application: Annotated[
        str | None, typer.Argument(metavar="[APPLICATION]", help="why is it on that workplace, or is not")
    ] = None,
    json: Json = False,
) -> None:
    """Show each effective value of a member, where it comes from, and what it overrides.

    Of a workplace that is named alone, show what the next run does on it; of an application, why.
    """
    project = find_project()
    declarations = Declarations(project)
    declarations.require(member)
    declared = declarations.members[member].file.content
    if path is not None and declared is not None:
        name = path.removeprefix("devices.")
        names = {row.hostname for row in workplaces(declarations.members[member], declared)}
        if application is not None or path in names:
            _explain_workplace(declarations, member, declared, name, application, json=json)
            return
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


def _explain_workplace(
    declarations: Declarations,
    key: str,
    declared: MemberDeclaration,
    name: str,
    application: str | None,
    *,
    json: bool,
) -> None:
    project, member, catalogue = declarations.project, declarations.members[key], declarations.catalogue
    row = workplace(member, declared, name)
    known = _known(project, key).hosts.get(name)
    case = Case(member, declared, catalogue, row, assignment(declarations))
    resolution = resolution_of(case, known.versions if known else {})
    state = f"{known.state} since {known.at:%Y-%m-%d %H:%M}" if known else "no run is known"
    if application is None:
        if json:
            terminal.print_json(
                {
                    "workplace": name,
                    "state": state,
                    "actions": [asdict(action) for action in resolution.actions],
                    "problems": [asdict(problem) for problem in resolution.problems],
                }
            )
            return
        terminal.print_table(
            f"{name}: what the next run does ({state})",
            ("", "application", "because", "has"),
            ((action.verb, action.key, action.because, action.was or "–") for action in resolution.actions),
        )
        for problem in resolution.problems:
            terminal.err.print(f"[yellow]{problem.kind}:[/] {escape(problem.message)}")
        return
    reasons = why(case, application, resolution)
    if json:
        found = [
            {"what": r.what, "text": r.text, **({"source": _source(r.source, project.root)} if r.source else {})}
            for r in reasons
        ]
        terminal.print_json({"workplace": name, "application": application, "state": state, "reasons": found})
        return
    terminal.print_table(
        f"{application} on {name} ({state})",
        ("", "", "at"),
        ((reason.what, reason.text, _at(reason.source, project.root) if reason.source else "") for reason in reasons),
    )


def _known(project: Project, member: str) -> Journal:
    """What runs wrote down of the member's workplaces; nothing, where no data centre is connected."""
    try:
        connection = load_connection(connection_file(project))
    except NotReadyError:
        return Journal(project.root / "no-runs")
    return Journal(runs_dir(project, connection, member))


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
