"""Judges a stack by all rules. Pure; the day on which waivers expire is handed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Literal

from ksm_onboard.policies.model import CATALOGUE, EDITION, Enforcement, Rule, enforcement
from ksm_onboard.policies.resources import Resource, Stack
from ksm_onboard.policies.rules import RULES

Outcome = Literal["fulfilled", "violated", "waived", "not checkable"]


@dataclass(frozen=True)
class Waiver:
    """A declared exception from one rule, to the end of its day. ``resource`` is a name or a pattern (``*``)."""

    key: str
    rule: str
    resource: str
    reason: str
    owner: str
    expires: date

    def covers(self, rule: str, resource: str) -> bool:
        return self.rule == rule and fnmatchcase(resource, self.resource)

    def in_force(self, today: date) -> bool:
        return today <= self.expires


@dataclass(frozen=True)
class Finding:
    """One violation. ``waiver`` is in force and lets it pass; ``lapsed`` did so until it expired."""

    rule: Rule
    resource: Resource
    message: str
    enforcement: Enforcement
    waiver: Waiver | None = None
    lapsed: Waiver | None = None

    @property
    def stops(self) -> bool:
        """Whether the run must not go on."""
        return self.enforcement == "mandatory" and self.waiver is None


@dataclass(frozen=True)
class Verdict:
    """What one rule says about a stack. ``judged`` counts the resources that it was about."""

    rule: Rule
    enforcement: Enforcement
    judged: int
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        if not self.judged:
            return "not checkable"
        if not self.findings:
            return "fulfilled"
        return "waived" if all(finding.waiver for finding in self.findings) else "violated"


def judge(stack: Stack, today: date, waivers: Iterable[Waiver] | None = None) -> tuple[Verdict, ...]:
    """What every rule that concerns such a stack says about it.

    ``waivers`` default to those that the stack's own component carries.
    """
    granted = None if waivers is None else tuple(waivers)
    found = [verdict for part in stack.parts for verdict in _judge_part(part, today, granted)]
    several = {verdict.rule.id: [v for v in found if v.rule.id == verdict.rule.id] for verdict in found}
    return tuple(_together(verdicts) for verdicts in several.values())


def _together(verdicts: list[Verdict]) -> Verdict:
    """What a rule says about all parts of a stack that it concerns."""
    if len(verdicts) == 1:
        return verdicts[0]
    return Verdict(
        verdicts[0].rule,
        "mandatory" if any(verdict.enforcement == "mandatory" for verdict in verdicts) else "advisory",
        sum(verdict.judged for verdict in verdicts),
        tuple(finding for verdict in verdicts for finding in verdict.findings),
    )


def _judge_part(stack: Stack, today: date, waivers: tuple[Waiver, ...] | None) -> tuple[Verdict, ...]:
    granted = tuple(waivers_of(stack) if waivers is None else waivers)
    told_need = stack.told.get("protection")
    # The platform carries every member's data, so it is judged like the one that needs most.
    protection = told_need if isinstance(told_need, Mapping) and not stack.is_platform else None
    return tuple(
        _verdict(rule, stack, enforcement(rule, protection), granted, today)
        for rule in RULES.values()
        if rule.concerns(stack)
    )


def _verdict(rule: Rule, stack: Stack, level: Enforcement, waivers: tuple[Waiver, ...], today: date) -> Verdict:
    subjects = rule.subjects(stack)
    findings = []
    for violation in rule.judge(stack, subjects) if subjects else ():
        covering = [waiver for waiver in waivers if waiver.covers(rule.id, violation.resource.name)]
        waiver = next((w for w in covering if w.in_force(today)), None)
        lapsed = None if waiver else max(covering, key=lambda w: w.expires, default=None)
        findings.append(Finding(rule, violation.resource, violation.message, level, waiver, lapsed))
    return Verdict(rule, level, len(subjects), tuple(findings))


def waivers_of(stack: Stack) -> Iterator[Waiver]:
    """The waivers that the stack's component carries. Raises ValueError or KeyError if one is damaged."""
    for entry in stack.told.get("waivers") or ():
        given: Mapping[str, Any] = entry
        yield Waiver(
            **{name: str(given[name]) for name in ("key", "rule", "resource", "reason", "owner")},
            expires=date.fromisoformat(str(given["expires"])),
        )


def told(finding: Finding) -> str:
    """A finding as the engine shows it: what is wrong where, what demands it, and what to do."""
    demanded = ", ".join(str(requirement) for requirement in finding.rule.requirements)
    lines = [f"{finding.resource.name}: {finding.message}", f"{CATALOGUE} {EDITION}: {demanded}"]
    if waiver := finding.waiver:
        lines.append(f"waived until {waiver.expires} by {waiver.owner}: {waiver.reason}")
        return "\n".join(lines)
    if lapsed := finding.lapsed:
        lines.append(f"the waiver '{lapsed.key}' of {lapsed.owner} expired on {lapsed.expires}")
    lines.append(f"what to do: {finding.rule.todo}")
    return "\n".join(lines)
