"""``drill``: lose something and watch, or only work out what losing it would do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json, MemberKey
from ksm_onboard.cli.surroundings import find_surroundings, planned
from ksm_onboard.drilling.drill import drill as drill_in_the_lab
from ksm_onboard.drilling.drill import foretell
from ksm_onboard.drilling.lab_losses import LabLosses
from ksm_onboard.drilling.loss import FORMS, named, parse_losses
from ksm_onboard.drilling.result import DrillResult, save_result
from ksm_onboard.errors import ExitCode
from ksm_onboard.verifying.audit import reports_dir

_OUTCOMES = {
    "stays": "stays",
    "stayed": "stayed up",
    "returns": "returns",
    "returned": "came back",
    "restarts": "is restarted",
    "lost": "lost",
    "off": "is off",
}


def drill(
    member: MemberKey,
    lose: Annotated[
        list[str], typer.Option("--lose", metavar="WHAT", help=f"what is lost: {FORMS}; again for more at once")
    ],
    forecast: Annotated[
        bool, typer.Option("--forecast", help="only work out what it would do; works on a real data centre, reads only")
    ] = False,
    json: Json = False,
) -> None:
    """Lose fire sections, hosts, datastores or links in the lab, and see what the member's people would see.

    Exit code 4 if a service is not back within its recovery time, or not everything is back where it belongs.
    """
    plan = planned(member)
    surroundings = find_surroundings()
    connection = surroundings.connection
    losses = parse_losses(lose, plan, (store.name for store in plan.member.datastores))
    now = datetime.now(UTC)
    progress = terminal.TerminalProgress()
    if forecast:
        result = foretell(connection, plan, losses, now=now)
    else:
        result = drill_in_the_lab(connection, plan, losses, LabLosses(connection.name), now=now, progress=progress)
    kept = save_result(result, reports_dir(surroundings.project, connection, member))
    if json:
        terminal.print_json({**result.model_dump(mode="json"), "kept": result.kept, "surprises": result.surprises})
    else:
        _show(result)
        terminal.err.print(f"kept for the hand-over protocol: {kept}")
    raise typer.Exit(ExitCode.OK if result.kept else ExitCode.DIFFERENCES)


def _show(result: DrillResult) -> None:
    what = "Forecast" if result.forecast_only else "Drill"
    label = " (lab: the vCenter is simulated)" if result.simulated else ""
    title = f"{what}: {result.member} without {named(result.losses)}{label}"
    if result.forecast_only:
        terminal.print_table(
            title,
            ("service", "level", "outcome", "servers"),
            ((s.title, str(s.service_level), _OUTCOMES[s.outcome], ", ".join(s.servers)) for s in result.expected),
        )
    else:
        terminal.print_table(
            title,
            ("service", "level", "outcome", "away", "within", "promise"),
            (
                (
                    s.title,
                    str(s.service_level),
                    _OUTCOMES[s.outcome],
                    f"{s.away_seconds:.0f} s" if s.outcome != "stayed" else "–",
                    f"{s.rto_hours} h" if s.rto_hours is not None else "no promise",
                    {True: "kept", False: "BROKEN", None: "–"}[s.kept],
                )
                for s in result.services
            ),
        )
        returns = ", ".join(f"{told.server} after {told.after_seconds:.0f} s" for told in result.returns)
        silent = "no server that fell silent answered again" if result.lost else "no server fell silent"
        terminal.out.print(f"answered again, in this order: {returns}" if returns else silent)
    for fate in result.lost:
        terminal.out.print(f"[red]lost:[/] {fate.machine}: {fate.reason}")
    if result.elsewhere:
        others = ", ".join(f"{number} {_OUTCOMES[outcome]}" for outcome, number in sorted(result.elsewhere.items()))
        terminal.out.print(f"machines of others, as foretold: {others}")
    for key in result.surprises:
        terminal.out.print(f"[yellow]not as foretold:[/] {key}")
    for name in result.silent:
        terminal.out.print(f"[red]does not answer after the return:[/] {name}")
    for name in result.displaced:
        terminal.out.print(f"[red]not back in its fire section:[/] {name}")
