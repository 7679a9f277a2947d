"""Who holds which licence: seats of shared pools given to machines, across all members. Pure.

Whoever holds a seat keeps it as long as it is wanted; what is not wanted any more is released; what is free goes to
those without one, by member and machine. So the same record and the same wishes always give the same record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Holder(NamedTuple):
    """A machine of a member, which needs one seat."""

    member: str
    machine: str


Seats = Mapping[str, Collection[Holder]]
"""Who holds (or wants) a seat, by application."""


@dataclass(frozen=True)
class Assignment:
    """The seats as they are given out now, what changed, and who got none."""

    seats: Mapping[str, tuple[Holder, ...]]
    given: Mapping[str, tuple[Holder, ...]]
    released: Mapping[str, tuple[Holder, ...]]
    without: Mapping[str, tuple[Holder, ...]]

    def holders(self, application: str) -> str:
        """In words: which member holds how many seats of the application."""
        counted = Counter(holder.member for holder in self.seats.get(application, ()))
        return ", ".join(f"{member} {number}" for member, number in sorted(counted.items())) or "nobody"

    def refusals(self, holder: Holder) -> dict[str, str]:
        """The applications for which this machine has no seat, and who holds the seats."""
        return {
            application: f"held by {self.holders(application)}"
            for application, without in self.without.items()
            if holder in without
        }


def assign(pools: Mapping[str, int], wanted: Seats, recorded: Seats) -> Assignment:
    """Give the seats of ``pools`` (application → number bought) to those who want them.

    Applications without a pool are not counted: how many were bought is not declared. Holders that are recorded keep
    their seat first; should a pool have shrunk below them, those that come first by name keep theirs.
    """
    seats: dict[str, tuple[Holder, ...]] = {}
    given: dict[str, tuple[Holder, ...]] = {}
    released: dict[str, tuple[Holder, ...]] = {}
    without: dict[str, tuple[Holder, ...]] = {}
    for application in sorted({*pools, *recorded}):
        size = pools.get(application, 0)
        wishes, had = (
            set(wanted.get(application, ())) if application in pools else set(),
            set(recorded.get(application, ())),
        )
        kept = sorted(wishes & had)[:size]
        new = sorted(wishes - set(kept))
        fresh = [holder for holder in new if holder not in had][: max(0, size - len(kept))]
        holders = sorted({*kept, *fresh})
        for table, holders_of in (
            (seats, holders),
            (given, fresh),
            (released, sorted(had - set(holders))),
            (without, sorted(wishes - set(holders))),
        ):
            if holders_of:
                table[application] = tuple(holders_of)
    return Assignment(seats, given, released, without)
