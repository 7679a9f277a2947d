"""From files to typed declarations, with every error found at once.

A file with errors still yields as much of its declaration as is sound: offending values
are set aside or given a stand-in, so that the checks that follow can find their errors in
the same run. A declaration that had any error is never planned from (see planning.load).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from ksm_onboard.declaration.catalogue import Application, CatalogueFile, ProtectionProposal
from ksm_onboard.declaration.findings import TOLD_ONE_BY_ONE, Finding, Place, bounded
from ksm_onboard.declaration.schema_errors import findings_for
from ksm_onboard.declaration.source import Loc, Written, read_yaml
from ksm_onboard.declaration.stand_ins import stand_in_for

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Loaded(Generic[Model]):
    """Typed content as far as it is sound, and where everything stands.

    ``set_aside`` holds the paths that were left out of ``content`` because of an error already
    reported; ``stand_ins`` the values put in place of required ones.
    """

    file: Path
    source: Written
    content: Model | None
    findings: tuple[Finding, ...]
    set_aside: frozenset[Loc] = frozenset()
    stand_ins: Mapping[Loc, object] = field(default_factory=dict)
    _index: dict[Loc, list[int]] = field(default_factory=dict)

    def place(self, *loc: str | int) -> Place:
        """The place of the value at this path of ``content``."""
        return self.source.place(_original(loc, self._index))

    def key_place(self, *loc: str | int) -> Place:
        """The place of the key at this path of ``content``."""
        return self.source.key_place(_original(loc, self._index))

    def mentions(self, *loc: str | int) -> bool:
        """Whether there is an entry at this path that was set aside for an error of its own."""
        return loc in self._holding_aside or any(loc[:length] in self._aside for length in range(1, len(loc) + 1))

    def is_whole(self, *loc: str | int) -> bool:
        """Whether all that its author wrote at and below this path of ``content`` is in force."""
        below = len(loc)
        return not self.mentions(*loc) and not any(written[:below] == loc for written in self.stand_ins)

    @cached_property
    def _aside(self) -> frozenset[Loc]:
        """What was set aside; with a key in capitals also what refers to it in small letters."""
        small = (tuple(part.lower() if isinstance(part, str) else part for part in loc) for loc in self.set_aside)
        return self.set_aside.union(small)

    @cached_property
    def _holding_aside(self) -> frozenset[Loc]:
        return frozenset(aside[:length] for aside in self._aside for length in range(1, len(aside) + 1))

    def is_sound(self, *loc: str | int) -> bool:
        """Whether the value at this path of ``content`` is its author's, not a stand-in."""
        return _original(loc, self._index) not in self.stand_ins

    def accuses_a_stand_in(self, finding: Finding) -> bool:
        """Whether ``finding`` points at a value that is not the author's."""
        return finding.place in self._stand_in_places

    @cached_property
    def _stand_in_places(self) -> frozenset[Place]:
        return frozenset(self.source.place(loc) for loc in self.stand_ins)


def load_file(file: Path, model: type[Model]) -> Loaded[Model]:
    """Read ``file`` as ``model``. Never raises for what a person wrote; see ``findings``."""
    located, findings = read_yaml(file)
    if located.data is None:
        return Loaded(file, located, None, tuple(findings))
    return validated(file, located, model, findings)


def validated(
    file: Path, source: Written, model: type[Model], findings: list[Finding], absent: Iterable[Loc] = ()
) -> Loaded[Model]:
    """The data of ``source`` as ``model``, with the findings of reading it and those of validating it.

    ``absent``: the paths of what ``findings`` say is missing.
    """
    findings = list(bounded(findings))
    told = {finding.place for finding in findings}
    repair = _Repair(set_aside=set(absent))
    while True:
        repair.index.clear()
        try:
            content = model.model_validate(repair.applied_to(source.data, ()))
        except ValidationError as failed:
            learnt = repair.learn(failed, source, model)
            fresh = (finding for finding in learnt if finding.place not in told)
            findings.extend(bounded(fresh, and_more=_too_many(failed)))
            if () not in repair.set_aside and not _too_many(failed):
                continue
            content = None
        return Loaded(
            file, source, content, tuple(findings), frozenset(repair.set_aside), repair.stand_ins, dict(repair.index)
        )


def _too_many(failed: ValidationError) -> bool:
    """Whether not all errors are told one by one; what is left of such a file says nothing about the rest of it."""
    return failed.error_count() > TOLD_ONE_BY_ONE


@dataclass
class _Repair:
    """What is left out, or stands in for something, so that the rest can be read."""

    set_aside: set[Loc] = field(default_factory=set)
    stand_ins: dict[Loc, object] = field(default_factory=dict)
    standing_in: dict[Loc, dict[str, object]] = field(default_factory=dict)
    index: dict[Loc, list[int]] = field(default_factory=dict)

    def learn(self, failed: ValidationError, source: Written, model: type[BaseModel]) -> Iterator[Finding]:
        """The findings of one round of validation; what is to be repaired before the next is remembered at once."""
        told: list[tuple[Any, Loc]] = []
        holders = {aside[:-1] for aside in self.set_aside}
        # What is not told need not be repaired either: the file's other errors are sought once these are gone.
        for error in failed.errors(include_url=False)[: TOLD_ONE_BY_ONE + 1]:
            loc = _original(tuple(part for part in error["loc"] if part != "[key]"), self.index)
            missing = error["type"] == "missing"
            caused_by_us = (missing and loc in self.set_aside) or (error["type"] == "too_short" and loc in holders)
            if not caused_by_us:
                told.append((error, loc))
            stand_in = None if "[key]" in error["loc"] else stand_in_for(model, loc)
            if stand_in is not None and loc not in self.stand_ins:
                self.stand_ins[loc] = stand_in
                self.standing_in.setdefault(loc[:-1], {})[str(loc[-1])] = stand_in
            else:
                self.set_aside.add(loc[:-1] if missing else loc)
        return findings_for(told, source, model)

    def applied_to(self, data: Any, loc: Loc) -> Any:
        """A copy of ``data`` with the repairs made; ``index`` keeps the original list positions."""
        if not self.set_aside and not self.stand_ins:
            return data
        if isinstance(data, dict):
            kept = {
                key: self.applied_to(value, (*loc, key))
                for key, value in data.items()
                if (*loc, key) not in self.set_aside
            }
            return kept | self.standing_in.get(loc, {})
        if isinstance(data, list):
            positions = [i for i in range(len(data)) if (*loc, i) not in self.set_aside]
            self.index[loc] = positions
            return [self.applied_to(data[i], (*loc, i)) for i in positions]
        return data


def _original(loc: Loc, index: dict[Loc, list[int]]) -> Loc:
    """``loc`` in the data as written, for a ``loc`` in the copy made by ``applied_to``."""
    original: Loc = ()
    for part in loc:
        kept = index.get(original)
        original = (*original, kept[part] if kept is not None and isinstance(part, int) and part < len(kept) else part)
    return original


@dataclass(frozen=True)
class CatalogueEntry:
    """An application with its domain and the place of its entry."""

    key: str
    domain: str
    application: Application
    place: Place
    protection: ProtectionProposal | None = None
    """The entry's own, or its domain's."""


def load_catalogue(folder: Path) -> tuple[dict[str, CatalogueEntry], list[Finding]]:
    """All applications of ``catalogue/``, by key."""
    entries: dict[str, CatalogueEntry] = {}
    findings: list[Finding] = []
    for file in sorted(folder.glob("*.yaml")):
        loaded = load_file(file, CatalogueFile)
        findings.extend(loaded.findings)
        if loaded.content is None:
            continue
        for key, application in loaded.content.applications.items():
            place = loaded.key_place("applications", key)
            if key in entries:
                findings.append(
                    Finding(
                        rule="application-twice",
                        place=place,
                        message=f"the application '{key}' is in the catalogue twice",
                        hint=f"the first entry is at {entries[key].place}; keep one of them",
                    )
                )
                continue
            protection = application.protection or loaded.content.protection
            entries[key] = CatalogueEntry(key, loaded.content.domain, application, place, protection)
    for entry in entries.values():
        findings.extend(
            Finding(
                rule="application-unknown",
                place=entry.place,
                message=f"'{entry.key}' requires '{required}', which is not in the catalogue",
                value=required,
            )
            for required in entry.application.requires
            if required not in entries
        )
    return entries, findings
