"""``licences``: pools that all members share, who holds a seat, and who would need one."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

import typer

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json
from ksm_onboard.declaration.findings import DeclarationRefusedError, relative, some
from ksm_onboard.declaration.licences import load_licences, write_licences
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.planning.licensing import Assignment, Holder
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.machine_actions import licences as assigned
from ksm_onboard.project import find_project


def licences(
    application: Annotated[str | None, typer.Argument(metavar="[APPLICATION]", help="default: all pools")] = None,
    assign: Annotated[
        bool, typer.Option("--assign", help="give seats to machines that need one, and record it")
    ] = False,
    json: Json = False,
) -> None:
    """Show who holds which licence. Exit code 4 if a machine needs one and none is left."""
    project = find_project()
    declarations = Declarations(project)
    outcome = assignment(declarations)
    if application is not None and application not in {**outcome.seats, **outcome.without}:
        raise OnboardError(
            f"no licences of '{application}' are declared, or nobody is given it",
            hint="pools are declared in stacks/schwerin.yaml: licences: {KEY: {seats: N}}",
        )
    written = write_licences(project.stacks, outcome.seats) if assign else []
    pools = declarations.platform.content.licences if declarations.platform.content else {}
    keys = [application] if application else sorted({**outcome.seats, **outcome.without})
    if json:
        terminal.print_json(
            {
                "recorded": assign,
                "licences": [
                    {
                        "application": key,
                        "seats": pools[key].seats if key in pools else 0,
                        "holders": [holder._asdict() for holder in outcome.seats.get(key, ())],
                        "given": [holder._asdict() for holder in outcome.given.get(key, ())],
                        "released": [holder._asdict() for holder in outcome.released.get(key, ())],
                        "without": [holder._asdict() for holder in outcome.without.get(key, ())],
                    }
                    for key in keys
                ],
            }
        )
    else:
        terminal.print_table(
            "Licences",
            ("application", "seats", "held", "new", "released", "missing", "held by", "machines without"),
            (
                (
                    key,
                    pools[key].seats if key in pools else 0,
                    len(outcome.seats.get(key, ())),
                    len(outcome.given.get(key, ())),
                    len(outcome.released.get(key, ())),
                    len(outcome.without.get(key, ())),
                    outcome.holders(key),
                    some([holder.machine for holder in outcome.without.get(key, ())]) or "–",
                )
                for key in keys
            ),
        )
        for file in written:
            terminal.err.print(f"written: {relative(file, project.root)}")
        if not assign and (outcome.given or outcome.released):
            terminal.err.print("not recorded yet: ksm-onboard licences --assign")
    raise typer.Exit(ExitCode.DIFFERENCES if any(key in outcome.without for key in keys) else ExitCode.OK)


def assignment(declarations: Declarations) -> Assignment:
    """The seats as they would be given out now. Raises DeclarationRefusedError if a file cannot be read."""
    platform = declarations.platform.content
    records = load_licences(declarations.project.stacks)
    findings = [*declarations.platform.findings, *(f for record in records.values() for f in record.findings)]
    if platform is None or findings:
        raise DeclarationRefusedError(findings)
    recorded: dict[str, list[Holder]] = defaultdict(list)
    for member, record in records.items():
        for application, machines in (record.content.seats if record.content else {}).items():
            recorded[application] += [Holder(member, machine) for machine in machines]
    members = {
        key: (member, member.file.content)
        for key, member in declarations.members.items()
        if member.file.content is not None
    }
    return assigned(members, declarations.catalogue, platform, recorded)
