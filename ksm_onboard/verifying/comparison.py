"""Collects compared points. Every comparison counts, so that "no difference" says how much was looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from ksm_onboard.verifying.audit_report import Area, Difference, DifferenceKind, NotChecked, Reason, Tally

VCENTER = "vCenter"
EVERYTHING = "everything"


class Comparison:
    """Points, differences and gaps of one audit, in the order in which they were looked at."""

    def __init__(self) -> None:
        self._points: Counter[Area] = Counter()
        self._applicable: set[Area] = set()
        self.differences: list[Difference] = []
        self.not_checked: list[NotChecked] = []

    def expects(self, area: Area, declared: Collection[object]) -> None:
        """An area applies if something of its kind is declared."""
        if declared:
            self._applicable.add(area)

    def same(
        self, area: Area, object_: str, attribute: str, expected: object, found: object, *, how: str = VCENTER
    ) -> bool:
        """Compare one attribute; sequences and sets without regard to order. Returns whether they agree."""
        expected, found = _unordered(expected), _unordered(found)
        self._points[area] += 1
        if expected == found:
            return True
        self._differ("different", area, object_, attribute, expected=expected, found=found, how=how)
        return False

    def present(
        self, area: Area, object_: str, attribute: str, found: object, *, how: str = VCENTER, expected: object = True
    ) -> bool:
        """Compare one existence. ``expected`` is what is said about the object if it is not there."""
        self._points[area] += 1
        if found:
            return True
        self._differ("missing", area, object_, attribute, expected=expected, found=None, how=how)
        return False

    def nothing_else(
        self,
        area: Area,
        object_: str,
        attribute: str,
        declared: Collection[str],
        found: Iterable[str],
        *,
        how: str = VCENTER,
    ) -> None:
        """One point: among ``found`` there is nothing that is not ``declared``; each stranger is a difference."""
        self._points[area] += 1
        for stranger in sorted(set(found) - set(declared)):
            where = f"{object_}: {stranger}" if object_ else stranger
            self._differ("extra", area, where, attribute, expected=None, found=stranger, how=how)

    def _differ(
        self,
        kind: DifferenceKind,
        area: Area,
        object_: str,
        attribute: str,
        *,
        expected: object,
        found: object,
        how: str,
    ) -> None:
        self.differences.append(
            Difference(
                kind=kind,
                area=area,
                object=object_,
                attribute=attribute,
                expected=_text(expected),
                found=_text(found),
                how_seen=how,
            )
        )

    def gap(self, area: Area, object_: str, what: str, reason: Reason) -> None:
        """Something that is declared could not be looked at."""
        self.not_checked.append(NotChecked(area=area, object=object_, what=what, reason=reason))

    def tallies(self) -> tuple[Tally, ...]:
        """Per area, in their order of definition."""
        different = Counter(difference.area for difference in self.differences)
        return tuple(
            Tally(
                area=area,
                points=self._points[area],
                differences=different[area],
                applicable=area in self._applicable or self._points[area] > 0,
            )
            for area in Area
        )


def _unordered(value: object) -> object:
    return sorted(map(str, value)) if isinstance(value, tuple | list | set | frozenset) else value


def _text(value: object) -> str:
    """A value as a person reads it; the report translates the words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value)
