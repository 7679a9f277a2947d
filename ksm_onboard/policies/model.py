"""What a rule is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ksm_onboard.policies.resources import Resource, Stack

Level = Literal["B", "S", "H"]
Need = Literal["normal", "high", "very-high"]
Goal = Literal["confidentiality", "integrity", "availability"]
Enforcement = Literal["mandatory", "advisory"]

PACK = "ksm-grundschutz"
"""The policy pack's name in the engine's events."""
VERSION = "1.0.0"
"""Also in policies/PulumiPolicy.yaml, which the engine shows."""

CATALOGUE = "BSI IT-Grundschutz"
EDITION = "2023"

NEEDS: tuple[Need, ...] = ("normal", "high", "very-high")

MANDATORY_LEVELS: Mapping[Need, frozenset[Level]] = {
    "normal": frozenset({"B"}),
    "high": frozenset({"B", "S"}),
    "very-high": frozenset({"B", "S", "H"}),
}
"""Which levels of requirements stop a run, by protection need; the others are advice.

BSI-Standard 200-2: basic requirements are a must for everybody, standard requirements reach normal protection in
full, those for high need go beyond. The data centre stops runs for standard requirements from high need on, since
the members' own profile is the basic protection of municipalities (Basis-Absicherung Kommunalverwaltung).
"""


@dataclass(frozen=True)
class Requirement:
    """A requirement of the catalogue, by its id there (``SYS.1.5.A4``); the title is shortened."""

    id: str
    title: str
    level: Level

    def __str__(self) -> str:
        return f"{self.id} ({self.level}) {self.title}"


@dataclass(frozen=True)
class Violation:
    """What is wrong with one resource, in words; what to do about it stands with the rule."""

    resource: Resource
    message: str


@dataclass(frozen=True)
class Rule:
    """One demand on resources.

    ``subjects`` picks what it is about; ``judge`` yields what is wrong with them. Where there are
    no subjects, ``absent`` says why nothing could be judged. ``goals`` are the protection goals
    whose need decides whether a violation stops the run; with ``always`` it does so for everybody,
    for the reason given there.
    """

    id: str
    title: str
    requirements: tuple[Requirement, ...]
    goals: tuple[Goal, ...]
    stack: Literal["member", "platform", "any"]
    subjects: Callable[[Stack], Sequence[Resource]]
    judge: Callable[[Stack, Sequence[Resource]], Iterator[Violation]]
    absent: str
    todo: str
    always: str = ""

    def concerns(self, stack: Stack) -> bool:
        """Whether the rule is meant for such a stack; one without an owner is judged as a member's."""
        return self.stack == "any" or (self.stack == "platform") == stack.is_platform


def enforcement(rule: Rule, protection: Mapping[str, object] | None) -> Enforcement:
    """Whether a violation stops the run. Whose protection need is not told is judged as the highest."""
    if rule.always:
        return "mandatory"
    needs = [(protection or {}).get(goal) for goal in rule.goals]
    need = max((n if n in NEEDS else NEEDS[-1] for n in needs), key=_rank)
    levels = MANDATORY_LEVELS[NEEDS[_rank(need)]]
    return "mandatory" if any(requirement.level in levels for requirement in rule.requirements) else "advisory"


def _rank(need: object) -> int:
    return NEEDS.index(need) if need in NEEDS else len(NEEDS) - 1
