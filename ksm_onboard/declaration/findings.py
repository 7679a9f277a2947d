"""What a check found: a rule, a place, what is wrong, what is allowed, what to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ksm_onboard.declaration.rules import Rule
from ksm_onboard.errors import ExitCode, OnboardError

Severity = Literal["error", "warning"]


@dataclass(frozen=True, order=True)
class Place:
    """A position in a file; line and column count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Finding:
    """One thing that a person should put right.

    ``rule`` is a stable id, explained in docs/reference/rules.md. ``value`` is what was
    found, ``allowed`` what would be accepted, ``hint`` what to do.
    """

    rule: Rule
    place: Place
    message: str
    value: str | None = None
    allowed: str | None = None
    hint: str | None = None
    severity: Severity = "error"

    def as_json(self, root: Path) -> dict[str, Any]:
        """A plain mapping for machines, the file given relative to ``root`` where it lies below it."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "file": relative(self.place.file, root),
            "line": self.place.line,
            "column": self.place.column,
            "message": self.message,
            "value": self.value,
            "allowed": self.allowed,
            "hint": self.hint,
        }


def relative(file: Path, root: Path) -> str:
    """``file`` as people name it: relative to ``root`` if it lies below, in full otherwise."""
    try:
        return str(file.resolve().relative_to(root.resolve()))
    except ValueError:
        return str(file)


def some(names: Sequence[str]) -> str:
    """The first five of ``names``, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


# So many of one kind of trouble are told one by one; a list nobody reads to its end helps nobody.
TOLD_ONE_BY_ONE = 1000


def bounded(findings: Iterable[Finding], *, and_more: bool = False) -> Iterator[Finding]:
    """The first thousand of ``findings``, and one more that says that there are others. The rest is never made.

    ``and_more``: there are others that are not among ``findings``.
    """
    last: Finding | None = None
    for number, finding in enumerate(findings):
        if number >= TOLD_ONE_BY_ONE:
            yield _not_all(finding.place)
            return
        yield finding
        last = finding
    if and_more and last is not None:
        yield _not_all(last.place)


def _not_all(place: Place) -> Finding:
    return Finding(
        rule="too-many-findings",
        place=place,
        message=f"more than {TOLD_ONE_BY_ONE} findings; those from here on are not listed",
        hint="put right what is listed and check again",
    )


# Of findings at one value, those of the first kind say no more than those of the second.
_EXPLAINED_BY: Mapping[Rule, frozenset[Rule]] = {
    "allocation-contradicts": frozenset(
        (
            "immutable-changed",
            "address-outside-zone",
            "address-reserved",
            "address-twice",
            "zone-outside-block",
            "zone-overlap",
            "zone-too-small",
            "vlan-twice",
            "block-overlap",
            "tier-not-replicated",
            "writable-in-one-section",
            "pair-in-one-section",
            "pair-placed-together",
        )
    ),
    "address-outside-zone": frozenset(("immutable-changed", "workplace-zone", "ot-shared", "school-nets-mixed")),
    "address-reserved": frozenset(("immutable-changed",)),
    "address-twice": frozenset(("immutable-changed",)),
    "zone-outside-block": frozenset(("immutable-changed",)),
    "zone-overlap": frozenset(("immutable-changed",)),
    "vlan-twice": frozenset(("immutable-changed",)),
    "pair-of-one": frozenset(("server-unknown",)),
    "storage-quota": frozenset(("pool-too-small",)),
}


def without_explained(findings: Sequence[Finding]) -> list[Finding]:
    """``findings`` without those that another one at the same value explains: one defect is told once.

    A warning explains no error away.
    """
    at: dict[tuple[Place, bool], set[Rule]] = defaultdict(set)
    for finding in findings:
        at[finding.place, False].add(finding.rule)
        if finding.severity == "error":
            at[finding.place, True].add(finding.rule)
    return [f for f in findings if not _EXPLAINED_BY.get(f.rule, frozenset()) & at[f.place, f.severity == "error"]]


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Sorted by place, then rule; the same finding only once."""
    return sorted(dict.fromkeys(findings), key=lambda f: (f.place, f.rule, f.message))


class DeclarationRefusedError(OnboardError):
    """The declarations have errors; nothing was touched."""

    exit_code = ExitCode.DECLARATION_REFUSED

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = in_order(findings)
        errors = sum(f.severity == "error" for f in self.findings)
        super().__init__(f"the declarations have {errors} error{'s' if errors != 1 else ''}; nothing was touched")
