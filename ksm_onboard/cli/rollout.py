"""Waves on the command line: what may be asked for together, and what came of it in words."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape

from ksm_onboard.cli import terminal
from ksm_onboard.cli.surroundings import find_surroundings
from ksm_onboard.onboarding.rollout import Rolled, Rollout
from ksm_onboard.planning.plan import Plan
from ksm_onboard.planning.waves import of_wave
from ksm_onboard.planning.workplace_status import WorkplaceStatus
from ksm_onboard.progress import Progress


@dataclass(frozen=True)
class Chosen:
    """The options of ``configure`` that are about waves and applications."""

    limit: str | None
    wave: str | None
    application: str | None
    full: bool
    unscheduled: bool
    due: bool
    rollback: bool
    give_back: bool

    def refuse_contradictions(self) -> None:
        """Raises BadParameter for options that cannot be meant together."""
        back = self.rollback or self.give_back
        for wrong, words in (
            (self.wave is not None and self.due, "--wave contradicts --due"),
            (self.rollback and self.give_back, "--rollback contradicts --give-back"),
            (back and self.application is None, "--rollback and --give-back need --application"),
            (back and self.due, "--rollback and --give-back contradict --due"),
            (self.unscheduled and (self.wave is None or back), "--unscheduled needs --wave, and no rollback"),
        ):
            if wrong:
                raise typer.BadParameter(words)


def roll_out(plan: Plan, chosen: Chosen, progress: Progress) -> list[Rolled]:
    """Run what was chosen; see Rollout for what it raises."""
    chosen.refuse_contradictions()
    # A pipeline's log is read afterwards: there the pace of single hosts is noise.
    told: Progress = Quiet(progress) if os.environ.get("CI") else progress
    onboarding = find_surroundings().onboarding(plan, told)
    now = datetime.now(ZoneInfo(plan.platform.baseline.timezone))
    rollout = Rollout(onboarding, now, full=chosen.full, unscheduled=chosen.unscheduled)
    only = rollout.chosen(chosen.limit, chosen.application)
    if chosen.application is not None and (chosen.rollback or chosen.give_back):
        hosts = only if chosen.wave is None else {m.name for m in of_wave(plan.member, chosen.wave)} & only
        return [rollout.rollback(chosen.application, hosts, give_back=chosen.give_back)]
    if chosen.wave is not None:
        return rollout.waves(chosen.wave, only=only)
    return [rollout.due(only=only) if chosen.due else rollout.application(str(chosen.application), only)]


@dataclass(frozen=True)
class Quiet:
    """Steps and what went wrong, nothing else."""

    progress: Progress

    def step(self, title: str) -> None:
        self.progress.step(title)

    def line(self, text: str) -> None:
        if any(words in text for words in ("cannot be reached", "lacks", "held back", "stopped before", "fail")):
            self.progress.line(text)


def as_json(one: Rolled) -> dict[str, Any]:
    """What came of it, for machines."""
    return {
        "what": one.title,
        "closed": one.closed or None,
        "held": one.held,
        "hosts": {name: entry.model_dump(mode="json") for name, entry in one.states.items()},
        "run": one.run.model_dump(mode="json") if one.run else None,
    }


def show_rolled(rolled: Sequence[Rolled]) -> None:
    """One line per wave, and one per workplace that failed."""
    for one in rolled:
        for name in one.failed:
            terminal.err.print(f"[red]failed:[/] {escape(one.states[name].reason)}")
        counted = Counter("confirmed" if entry.confirmed else entry.state for entry in one.states.values())
        words = ", ".join(f"{number} {state}" for state, number in sorted(counted.items())) or "nothing to do"
        held = f", {len(one.held)} held back" if one.held else ""
        terminal.err.print(f"{one.title}: {words}{held}")
        if one.closed:
            terminal.err.print(f"[yellow]no further wave:[/] {escape(one.closed)}")


def _installed(workplace: WorkplaceStatus) -> Iterator[str]:
    for key, version in workplace.installed.items():
        yield f"{key} {version}" + (" (stand-in)" if key in workplace.stand_ins else "")


def show_workplaces(plan: Plan, workplaces: Sequence[WorkplaceStatus]) -> None:
    """One line per workplace that anything is known of; the others are counted."""
    known = [workplace for workplace in workplaces if workplace.since is not None]
    zone = ZoneInfo(plan.platform.baseline.timezone)
    terminal.print_table(
        f"Workplaces of {plan.member.key}",
        ("name", "wave", "system", "state", "since", "installed", "due", "taken back", "reason"),
        (
            (
                workplace.name,
                workplace.wave or "–",
                workplace.platform + (" (simulated)" if workplace.simulated else ""),
                workplace.state + (", asked itself" if workplace.checked else ""),
                f"{workplace.since.astimezone(zone):%Y-%m-%d %H:%M}" if workplace.since else "–",
                ", ".join(_installed(workplace)) or "–",
                ", ".join(workplace.due) or "–",
                ", ".join(workplace.withheld) or "–",
                workplace.reason or "–",
            )
            for workplace in known
        ),
    )
    if len(known) < len(workplaces):
        terminal.err.print(f"{len(workplaces) - len(known)} more workplaces are due; no run over them is known")
