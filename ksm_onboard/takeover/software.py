"""Installed software by title: on which devices, in which versions, and what it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ksm_onboard.declaration.findings import Place
from ksm_onboard.takeover.decisions import IGNORE, OPEN, RETIRE, Decisions
from ksm_onboard.takeover.matching import Match, Matcher
from ksm_onboard.takeover.read import Installed
from ksm_onboard.takeover.titles import Title


@dataclass(frozen=True)
class Found:
    """A title as the export spells it, and where it is installed. ``place`` is its first line."""

    title: Title
    devices: frozenset[str]
    versions: tuple[str, ...]
    place: Place


@dataclass(frozen=True)
class Judged:
    """A title and what it is."""

    found: Found
    match: Match

    @property
    def text(self) -> str:
        return self.found.title.text

    @property
    def is_open(self) -> bool:
        """Whether a person has to decide."""
        return self.match.verdict in ("doubtful", "unknown")


def by_title(installed: Iterable[Installed]) -> list[Found]:
    """Every distinct title once, however often and with whichever blanks and case it is listed."""
    groups: dict[str, list[Installed]] = defaultdict(list)
    for item in installed:
        groups[" ".join(item.title.split()).casefold()].append(item)
    found = []
    for items in groups.values():
        publisher = next((item.publisher for item in items if item.publisher), "")
        versions = tuple(sorted({item.version for item in items if item.version}))
        devices = frozenset(item.hostname for item in items)
        found.append(Found(Title(items[0].title, publisher), devices, versions, items[0].place))
    return sorted(found, key=lambda one: one.title.folded)


def judge(found: Sequence[Found], matcher: Matcher, decisions: Decisions) -> list[Judged]:
    """What each title is; a decision that a person made comes before everything else."""
    return [Judged(one, _decided(one, decisions) or matcher.match(one.title)) for one in found]


def _decided(found: Found, decisions: Decisions) -> Match | None:
    made = decisions.for_title(found.title)
    if made is None or made.what == OPEN:
        return None
    reason = "decided" if made.title == found.title.text else f"decided for '{made.title}'"
    if made.what == IGNORE:
        return Match("ignored", "decision", reason=reason)
    if made.what == RETIRE:
        return Match("retired", "decision", reason=reason)
    return Match("matched", "decision", made.what, reason=reason)
