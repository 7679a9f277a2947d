"""From files to typed declarations, with every error found at once.

A file with errors still yields as much of its declaration as is sound: offending values
are set aside, so that the checks that follow can find their errors in the same run. A
declaration that had any error is never planned from (see planning.load).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.models import Application, CatalogueFile
from ksm_onboard.declaration.schema_errors import finding_for
from ksm_onboard.declaration.source import Loc, Located, read_yaml

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Loaded(Generic[Model]):
    """One file: its typed content as far as it is sound, and where everything stands.

    ``set_aside`` holds the places in the file (as paths) that were left out of ``content``
    because of an error already reported.
    """

    located: Located
    content: Model | None
    findings: tuple[Finding, ...]
    set_aside: frozenset[Loc] = frozenset()
    _index: dict[Loc, list[int]] = field(default_factory=dict)

    def place(self, *loc: str | int) -> Place:
        """The place of the value at this path of ``content``."""
        return self.located.place(_original(loc, self._index))

    def key_place(self, *loc: str | int) -> Place:
        """The place of the key at this path of ``content``."""
        return self.located.key_place(_original(loc, self._index))

    def mentions(self, *loc: str | int) -> bool:
        """Whether the file has an entry at this path that was set aside for an error of its own."""
        return any(loc == aside[: len(loc)] or aside == loc[: len(aside)] for aside in self.set_aside)


def load_file(file: Path, model: type[Model]) -> Loaded[Model]:
    """Read ``file`` as ``model``. Never raises for what a person wrote; see ``findings``."""
    located, findings = read_yaml(file)
    if located.data is None:
        return Loaded(located, None, tuple(findings))
    set_aside: set[Loc] = set()
    while True:
        index: dict[Loc, list[int]] = {}
        data = _without(located.data, set_aside, (), index)
        try:
            content = model.model_validate(data)
        except ValidationError as failed:
            found, dropped = _explain(failed, located, model, index, set_aside)
            findings.extend(found)
            set_aside |= dropped
            if () in set_aside:
                return Loaded(located, None, tuple(findings), frozenset(set_aside), index)
        else:
            return Loaded(located, content, tuple(findings), frozenset(set_aside), index)


def _explain(
    failed: ValidationError, located: Located, model: type[BaseModel], index: dict[Loc, list[int]], set_aside: set[Loc]
) -> tuple[list[Finding], set[Loc]]:
    """Findings for one round of validation, and what to set aside before the next."""
    findings, dropped = [], set()
    for error in failed.errors(include_url=False):
        loc = _original(tuple(part for part in error["loc"] if part != "[key]"), index)
        if error["type"] == "missing":
            dropped.add(loc[:-1])
            if loc in set_aside:  # missing only because we took it out ourselves
                continue
        elif error["type"] == "too_short" and any(len(a) == len(loc) + 1 and a[:-1] == loc for a in set_aside):
            dropped.add(loc)
            continue
        else:
            dropped.add(loc)
        findings.append(finding_for(error, loc, located, model))
    return findings, dropped


def _without(data: Any, set_aside: set[Loc], loc: Loc, index: dict[Loc, list[int]]) -> Any:
    """A copy of ``data`` without the set-aside parts; ``index`` keeps the original list positions."""
    if not set_aside:
        return data
    if isinstance(data, dict):
        return {
            key: _without(value, set_aside, (*loc, key), index)
            for key, value in data.items()
            if (*loc, key) not in set_aside
        }
    if isinstance(data, list):
        kept = [i for i in range(len(data)) if (*loc, i) not in set_aside]
        index[loc] = kept
        return [_without(data[i], set_aside, (*loc, i), index) for i in kept]
    return data


def _original(loc: Loc, index: dict[Loc, list[int]]) -> Loc:
    """``loc`` in the file, for a ``loc`` in the copy made by ``_without``."""
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
            entries[key] = CatalogueEntry(key, loaded.content.domain, application, place)
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
