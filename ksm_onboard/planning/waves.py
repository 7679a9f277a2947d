"""Which workplaces of a wave may be switched over now, which are held back, and whether the next wave may begin. Pure.

The present time is a parameter. What happened so far is handed in as it was recorded; nothing is looked up here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Literal

from ksm_onboard.planning.plan import FreezePlan, MemberPlan, WavePlan, WorkstationPlan

State = Literal["due", "done", "failed", "off"]
"""``off``: it could not be reached, which is no failure; it stays due. ``done``: it told so itself."""


@dataclass(frozen=True)
class Standing:
    """How one workplace stands. ``missing`` names declared applications that it lacks, by its own word."""

    state: State = "due"
    reason: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What may be done now. ``refusal`` says why nothing may, ``hint`` what to do then."""

    hosts: tuple[str, ...] = ()
    held: Mapping[str, str] | None = None
    """Workplaces that keep still today, and why."""
    refusal: str = ""
    hint: str = ""


Standings = Mapping[str, Standing]


def of_wave(member: MemberPlan, wave: str) -> tuple[WorkstationPlan, ...]:
    """The workplaces of a wave, in the plan's order."""
    return tuple(workstation for workstation in member.workstations if workstation.wave == wave)


def before(member: MemberPlan, wave: WavePlan) -> tuple[str, ...]:
    """The waves that must be through first: those it names; where no wave names any, the one declared before it."""
    if any(other.after for other in member.waves):
        return wave.after
    keys = [other.key for other in member.waves]
    position = keys.index(wave.key)
    return tuple(keys[max(0, position - 1) : position])


def in_order(member: MemberPlan) -> tuple[str, ...]:
    """All waves, each behind those that it comes after. Cycles are refused when the declaration is checked."""
    waves = {wave.key: wave for wave in member.waves}
    done: dict[str, None] = {}

    def visit(key: str) -> None:
        if key in waves and key not in done:
            for earlier in before(member, waves[key]):
                visit(earlier)
            done.setdefault(key)

    for key in waves:
        visit(key)
    return tuple(done)


def gate(
    member: MemberPlan, wave: WavePlan, standings: Standings, begun: Collection[str], ignoring: Collection[str] = ()
) -> str:
    """Why the waves after ``wave`` may not begin; empty if they may. ``ignoring`` workplaces that keep still.

    Counted are the workplaces that were reached: those that are off stay due and hold nobody up, unless all are off.
    """
    machines = [machine for machine in of_wave(member, wave.key) if machine.name not in ignoring]
    if not machines:
        return ""
    if wave.key not in begun:
        return f"wave '{wave.key}' has not been run yet"
    states = {machine.name: standings.get(machine.name, Standing()) for machine in machines}
    untried = [name for name, standing in states.items() if standing.state == "due"]
    if untried:
        return f"wave '{wave.key}' is not finished: {_named(untried)} not tried yet"
    reached = {name: standing for name, standing in states.items() if standing.state != "off"}
    if not reached:
        return f"nobody of wave '{wave.key}' could be reached: {_named(list(states))}"
    for application in wave.blocking_applications:
        lacking = [name for name, standing in reached.items() if application in standing.missing]
        if lacking:
            return f"'{application}' must work before others follow, and is missing on {_named(lacking)}"
    failed = [name for name, standing in reached.items() if standing.state == "failed"]
    share = 100 * len(failed) / len(reached)
    if share > wave.max_failed_percent:
        return (
            f"{len(failed)} of {len(reached)} workplaces of wave '{wave.key}' failed ({share:.0f} %, allowed are "
            f"{wave.max_failed_percent} %): {_named(failed)}"
        )
    return ""


def decide(
    member: MemberPlan,
    key: str,
    *,
    now: datetime,
    standings: Standings,
    begun: Collection[str],
    unscheduled: bool = False,
) -> Decision:
    """Whether wave ``key`` may run ``now`` (local time of the data centre), and on which workplaces.

    Those that are done are confirmed along with the others, which costs one task each; those held back by a freeze
    are left out. ``unscheduled``: its first day and maintenance window are not waited for; gates and freezes hold.
    """
    waves = {wave.key: wave for wave in member.waves}
    if key not in waves:
        return Decision(refusal=f"{member.key} has no wave '{key}'", hint=f"its waves: {', '.join(waves) or 'none'}")
    wave = waves[key]
    still = dict(frozen(member, member.workstations, now.date()))
    for earlier in before(member, wave):
        if closed := gate(member, waves[earlier], standings, begun, still):
            return Decision(
                refusal=closed,
                hint=f"put it right and run: ksm-onboard configure {member.key} --wave {earlier}",
            )
    if not unscheduled and (early := _too_early(wave, now)):
        return Decision(refusal=early, hint="run it then, or now all the same with --unscheduled")
    held = {machine.name: still[machine.name] for machine in of_wave(member, key) if machine.name in still}
    hosts = tuple(machine.name for machine in of_wave(member, key) if machine.name not in held)
    if held and not hosts:
        return Decision(held=held, refusal=f"all of wave '{key}' keeps still: {next(iter(held.values()))}",
                        hint="run it after that")  # fmt: skip
    return Decision(hosts, held)


def frozen(member: MemberPlan, machines: Sequence[WorkstationPlan], day: date) -> Iterator[tuple[str, str]]:
    """The workplaces on which nothing is changed on that day, and why."""
    freezes = [freeze for freeze in member.freezes if freeze.first_day <= day <= freeze.last_day]
    for machine in machines:
        for freeze in freezes:
            if _concerns(freeze, machine):
                yield machine.name, f"{freeze.reason}, until {freeze.last_day}"
                break


def due(member: MemberPlan, standings: Standings, begun: Collection[str]) -> tuple[str, ...]:
    """The workplaces of waves that were begun which are not done: failed, off, or never tried."""
    return tuple(
        machine.name
        for machine in member.workstations
        if machine.wave in begun and standings.get(machine.name, Standing()).state != "done"
    )


def _concerns(freeze: FreezePlan, machine: WorkstationPlan) -> bool:
    return freeze.departments is None or machine.department in freeze.departments


def _too_early(wave: WavePlan, now: datetime) -> str:
    if wave.first_day is not None and now.date() < wave.first_day:
        return f"wave '{wave.key}' begins on {wave.first_day}, and it is {now.date()}"
    if wave.window is not None and not _within(wave.window.begins, wave.window.ends, now.time()):
        hours = f"{wave.window.begins:%H:%M} to {wave.window.ends:%H:%M}"
        return f"the maintenance window of wave '{wave.key}' is from {hours}, and it is {now:%H:%M}"
    return ""


def _within(begins: time, ends: time, at: time) -> bool:
    """Whether ``at`` lies in a window that may go over midnight; its end is not in it."""
    return begins <= at < ends if begins < ends else at >= begins or at < ends


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
