"""``baseline``: how far a member fulfils BSI IT-Grundschutz, and what proves it."""

from __future__ import annotations

import typer

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json, MemberKey
from ksm_onboard.cli.surroundings import find_surroundings, planned
from ksm_onboard.errors import ExitCode
from ksm_onboard.reporting.baseline import STATUSES, Baseline
from ksm_onboard.reporting.baseline_wording import words


def baseline(member: MemberKey, json: Json = False) -> None:
    """Show the coverage of BSI IT-Grundschutz. Exit code 4 if something that the member needs is violated."""
    plan = planned(member)
    surroundings = find_surroundings()
    found = surroundings.onboarding(plan, terminal.TerminalProgress()).baseline()
    simulated = surroundings.connection.simulated
    if json:
        told = {**found.model_dump(mode="json"), "counts": found.counts, "simulated": simulated}
        terminal.print_json(told)
    else:
        _show(found)
    counted = ", ".join(f"{number} {status}" for status, number in found.counts.items())
    label = " (simulated data centre)" if simulated else ""
    terminal.err.print(f"{found.catalogue} {found.edition}, {found.member}{label}: {counted}")
    raise typer.Exit(ExitCode.DIFFERENCES if found.violated else ExitCode.OK)


def _show(found: Baseline) -> None:
    order = {status: index for index, status in enumerate(STATUSES)}
    terminal.print_table(
        f"{found.catalogue}, edition {found.edition}: {found.member}",
        ("requirement", "level", "title", "result", "what proves it"),
        (
            (
                covered.id,
                covered.level + ("" if covered.wanted else " (beyond need)"),
                covered.title,
                covered.status,
                "; ".join(words(evidence, "en") for evidence in covered.evidence),
            )
            for covered in sorted(found.requirements, key=lambda covered: order[covered.status])
        ),
    )
