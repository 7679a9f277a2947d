"""Workplaces in waves: what may run is decided in planning.waves; here it is run, asked about, and written down.

Ansible's word that an application is installed is not taken for it: after each wave every host that said it was done
is asked itself, over plain ssh.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ksm_onboard.configuring.journal import Entry, Installed, Journal, WaveEntry, Withheld
from ksm_onboard.configuring.results import RunResult, runs_dir
from ksm_onboard.errors import OnboardError
from ksm_onboard.onboarding.steps import Onboarding
from ksm_onboard.planning.plan import MemberPlan
from ksm_onboard.planning.waves import decide, due, frozen, gate, in_order
from ksm_onboard.progress import Progress
from ksm_onboard.verifying.workplaces import installed_applications

ALL_WAVES = "all"


@dataclass(frozen=True)
class Rolled:
    """What came of one wave, or of the workplaces that were due."""

    title: str
    run: RunResult | None
    hosts: tuple[str, ...]
    held: dict[str, str]
    states: dict[str, Entry]
    closed: str = ""
    """Why the waves behind it may not begin; empty if they may."""

    @property
    def failed(self) -> tuple[str, ...]:
        """The workplaces that failed, whoever found it out."""
        return tuple(name for name in self.hosts if name in self.states and self.states[name].state == "failed")


@dataclass
class Pace:
    """How many workplaces are through, how fast, and how long the others will take at that rate."""

    title: str
    hosts: Collection[str]
    progress: Progress
    began: float = field(default_factory=time.monotonic)
    through: dict[str, str] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Count one workplace that came out."""
        if entry.host not in self.hosts:
            return
        self.through[entry.host] = "confirmed" if entry.confirmed else entry.state
        minutes = max(time.monotonic() - self.began, 0.001) / 60
        rate = len(self.through) / minutes
        left = (len(self.hosts) - len(self.through)) / rate
        counted = ", ".join(f"{number} {state}" for state, number in sorted(Counter(self.through.values()).items()))
        self.progress.line(
            f"{self.title}: {entry.host} {self.through[entry.host]}; {len(self.through)} of {len(self.hosts)} through "
            f"({counted}), {rate:.1f} per minute, about {left:.1f} minutes left"
        )


@dataclass(frozen=True)
class Rollout:
    """The waves of one member."""

    onboarding: Onboarding
    now: datetime
    """In the data centre's local time."""
    full: bool = False
    unscheduled: bool = False

    @property
    def member(self) -> MemberPlan:
        return self.onboarding.plan.member

    def journal(self) -> Journal:
        """What is known of the workplaces so far."""
        onboarding = self.onboarding
        return Journal(runs_dir(onboarding.project, onboarding.connection, onboarding.member))

    def waves(self, key: str, *, only: Collection[str] | None = None) -> list[Rolled]:
        """Run wave ``key``, or all in their order until a gate is closed; ``only`` some workplaces of it.

        A wave that was stopped is run again: what is done is confirmed, what is missing is done. Raises OnboardError
        if not even the first may begin.
        """
        keys = in_order(self.member) if key == ALL_WAVES else (key,)
        rolled: list[Rolled] = []
        for wave_key in keys:
            journal = self.journal()
            decision = decide(
                self._there(),
                wave_key,
                now=self.now,
                standings=journal.standings(),
                begun=journal.begun,
                unscheduled=self.unscheduled,
            )
            if decision.refusal:
                if rolled:
                    self.onboarding.progress.line(f"stopped before wave {wave_key}: {decision.refusal}")
                    return rolled
                raise OnboardError(decision.refusal, hint=decision.hint)
            hosts = tuple(host for host in decision.hosts if only is None or host in only)
            rolled.append(self._wave(journal, wave_key, hosts, dict(decision.held or {})))
            if rolled[-1].closed:
                return rolled
        return rolled

    def due(self, *, only: Collection[str] | None = None) -> Rolled:
        """Take up what is due of the waves that were begun: what failed, was off, or was never tried."""
        journal = self.journal()
        names = due(self._there(), journal.standings(), journal.begun)
        machines = [machine for machine in self.member.workstations if machine.name in names]
        held = dict(frozen(self.member, machines, self.now.date()))
        hosts = tuple(name for name in names if name not in held and (only is None or name in only))
        return self._run("what is due", hosts, held)

    def application(self, application: str, hosts: Collection[str]) -> Rolled:
        """Bring ``hosts`` up to date, all of which are given ``application``; those in a freeze keep still."""
        machines = [machine for machine in self._there().workstations if machine.name in hosts]
        held = dict(frozen(self.member, machines, self.now.date()))
        return self._run(f"workplaces with {application}", tuple(m.name for m in machines if m.name not in held), held)

    def chosen(self, limit: str | None, application: str | None) -> frozenset[str]:
        """The workplaces that ``limit`` (names, with commas between) and ``application`` leave; None leaves all.

        Raises OnboardError for a name or an application that the member does not have.
        """
        machines = {machine.name: machine for machine in self.member.workstations}
        names = [name.strip() for name in limit.split(",")] if limit else list(machines)
        if unknown := sorted(set(names) - machines.keys()):
            raise OnboardError(
                f"{self.member.key} has no workplace '{unknown[0]}'",
                hint="with waves and applications, --limit takes names of workplaces, with commas between",
            )
        if application is not None and not any(application in m.applications for m in machines.values()):
            raise OnboardError(
                f"no workplace of {self.member.key} is given '{application}'",
                hint=f"given are: {', '.join(sorted({a for m in machines.values() for a in m.applications})[:12])}, …",
            )
        return frozenset(n for n in names if application is None or application in machines[n].applications)

    def rollback(self, application: str, hosts: Collection[str], *, give_back: bool = False) -> Rolled:
        """Take ``application`` back from those of ``hosts`` that have it, or give it to them again.

        Neither gates nor freezes keep anybody from that. Raises OnboardError if something else there requires it.
        """
        machines = [m for m in self._there().workstations if m.name in hosts and application in m.applications]
        if not machines:
            raise OnboardError(
                f"'{application}' is declared for none of these workplaces",
                hint=f"ksm-onboard explain {self.member.key} devices.NAME shows what a workplace is given",
            )
        requiring = {other.key for other in self.member.applications if application in other.requires}
        for machine in machines:
            if not give_back and (needed := sorted(requiring & set(machine.applications))):
                raise OnboardError(
                    f"'{application}' cannot be taken back from {machine.name}: {', '.join(needed)} requires it",
                    hint=f"take that back first: --application {needed[0]} --rollback",
                )
        names = tuple(machine.name for machine in machines)
        self.journal().add(Withheld(application=application, hosts=names, withheld=not give_back))
        return self._run(f"{application} {'given back' if give_back else 'taken back'}", names, {})

    # ----------------------------------------------------------------------------------------

    def _wave(self, journal: Journal, key: str, hosts: tuple[str, ...], held: dict[str, str]) -> Rolled:
        journal.add(WaveEntry(wave=key, event="begun"))
        rolled = self._run(f"wave {key}", hosts, held)
        after = self.journal()
        after.add(WaveEntry(wave=key, event="ended"))
        wave = next(wave for wave in self.member.waves if wave.key == key)
        closed = gate(self._there(), wave, after.standings(), after.begun, held)
        return replace(rolled, held=held, closed=closed)

    def _there(self) -> MemberPlan:
        """The member with the workplaces that exist: in the lab only those that run."""
        present = self.onboarding.existing_workstations()
        machines = tuple(m for m in self.member.workstations if present is None or m.name in present)
        return self.member.model_copy(update={"workstations": machines})

    def _run(self, title: str, hosts: tuple[str, ...], held: dict[str, str]) -> Rolled:
        progress = self.onboarding.progress
        existing = {machine.name for machine in self._there().workstations}
        there = tuple(host for host in hosts if host in existing)
        for name, why in held.items():
            progress.line(f"{name} is held back: {why}")
        if not there:
            progress.line(f"{title}: nothing to do")
            return Rolled(title, None, (), held, {})
        pace = Pace(title, there, progress)
        run = self.onboarding.configure(limit=",".join(there), full=self.full, told=pace.take)
        self._check(there)
        journal = self.journal()
        return Rolled(title, run, there, held, {name: journal.hosts[name] for name in there if name in journal.hosts})

    def _check(self, hosts: Sequence[str]) -> None:
        """Ask the hosts that said that they are done what they have, and write down what they say."""
        journal = self.journal()
        said = [name for name in hosts if name in journal.hosts and journal.hosts[name].state == "done"]
        if not said:
            return
        self.onboarding.progress.step(f"ask {len(said)} workplaces themselves what they have")
        withheld = {name: journal.withheld_from(name) for name in said}
        for name, told in self.onboarding.ask_workstations(said).items():
            before = journal.hosts[name]
            if isinstance(told, str):
                journal.add(before.model_copy(update={"at": _now(), "state": "off", "reason": told, "checked": False}))
                continue
            has: Installed = installed_applications(self.onboarding.plan, name, told, without=withheld[name])
            entry = Entry(host=name, state="done", confirmed=before.confirmed, checked=True, installed=has)
            if entry.missing:
                reason = f"{name}: the run ended well, but the machine lacks {', '.join(entry.missing)}"
                entry = entry.model_copy(update={"state": "failed", "reason": reason})
                self.onboarding.progress.line(reason)
            journal.add(entry)


def _now() -> datetime:
    return Entry(host="", state="due").at
