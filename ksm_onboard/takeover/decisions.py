"""What a person has decided about titles, kept in a file that only grows.

One line per title: ``"Title as exported": key | ignore | retire | open``. The import adds a line for
every title that it cannot place itself, below what is there; it never changes a line. A
decision holds for later versions of the title, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.source import read_yaml
from ksm_onboard.takeover.matching import Candidate
from ksm_onboard.takeover.titles import Title

IGNORE: Final = "ignore"
RETIRE: Final = "retire"
OPEN: Final = "open"

_HEADER: Final = """\
# What the titles of installed software are. One line per title:
#   a key of the catalogue   it is this application
#   ignore                   it is no application to take over (a driver, a part of something else)
#   retire                   it is switched off with the take-over
#   open                     not decided yet
# The import adds new titles at the end; it never changes a line. A decision holds for later versions, too.
"""


@dataclass(frozen=True)
class Decision:
    """One line of the file."""

    title: str
    what: str


@dataclass(frozen=True)
class Decisions:
    """Everything decided so far; ``text`` is the file as it is, empty if there is none yet."""

    file: Path
    text: str = ""
    made: Mapping[str, Decision] = field(default_factory=dict)

    @cached_property
    def _by_spelling(self) -> dict[str, Decision]:
        return {Title(decision.title).folded: decision for decision in self.made.values()}

    @cached_property
    def _by_stable_form(self) -> dict[str, Decision | None]:
        """Decisions by title without version; None where titles that differ only in it were decided differently."""
        found: dict[str, Decision | None] = {}
        for decision in self.made.values():
            if decision.what == OPEN:
                continue
            stable = Title(decision.title).stable
            other = found.get(stable, decision)
            found[stable] = decision if other is not None and other.what == decision.what else None
        return found

    def for_title(self, title: Title) -> Decision | None:
        """The decision for exactly this title, else for the same title with another version."""
        exact = self._by_spelling.get(title.folded)
        if exact is not None and exact.what != OPEN:
            return exact
        return self._by_stable_form.get(title.stable) or exact


def read_decisions(file: Path, keys: Sequence[str]) -> tuple[Decisions, list[Finding]]:
    """Read the file; a file that does not exist yet holds no decisions. ``keys`` are the catalogue's."""
    if not file.exists():
        return Decisions(file), []
    located, findings = read_yaml(file)
    if [finding.rule for finding in findings] == ["file-empty"]:
        return Decisions(file, file.read_text(encoding="utf-8-sig")), []
    if located.data is None:
        return Decisions(file), findings
    if not isinstance(located.data, dict):
        message = 'the file must hold one line per title, for example "7-Zip 23.01 (x64)": 7zip'
        return Decisions(file), [*findings, Finding("wrong-type", located.place(()), message)]
    made: dict[str, Decision] = {}
    allowed = (IGNORE, RETIRE, OPEN)
    for title, what in located.data.items():
        if what is None:
            made[title] = Decision(title, OPEN)
        elif isinstance(what, str) and (what in allowed or what in keys):
            made[title] = Decision(title, what)
        else:
            close = get_close_matches(str(what), (*keys, *allowed), n=1)
            findings.append(
                Finding(
                    rule="application-unknown",
                    place=located.place((title,)),
                    message=f"'{what}' is neither a key of the catalogue nor {', '.join(allowed)}",
                    value=str(what),
                    allowed=f"a key of the catalogue, {', '.join(allowed)}",
                    hint=f"did you mean '{close[0]}'?" if close else "look the key up in catalogue/",
                )
            )
    text = "" if findings else file.read_text(encoding="utf-8-sig")
    return Decisions(file, text, made), findings


def with_new_titles(
    decisions: Decisions, titles: Sequence[tuple[str, Sequence[Candidate]]]
) -> tuple[str, list[Finding]]:
    """The file's new text: as it is, with a line for each of ``titles`` that is not in it yet."""
    fresh = [(title, candidates) for title, candidates in titles if title not in decisions.made]
    text = decisions.text or _HEADER
    if not fresh:
        return text, []
    lines = [text if text.endswith("\n") else text + "\n"]
    for title, candidates in fresh:
        hint = ", ".join(f"{candidate.key} ({candidate.score:.0f})" for candidate in candidates)
        lines.append(f"{_quoted(title)}: {OPEN}{f'  # perhaps {hint}' if hint else ''}\n")
    updated = "".join(lines)
    wanted = {decision.title: decision.what for decision in decisions.made.values()} | {t: OPEN for t, _ in fresh}
    if _parsed(updated) != wanted:
        place = read_yaml(decisions.file)[0].place(())
        hint = "write one title per line, without indentation or braces around them"
        return text, [Finding("wrong-format", place, "new titles cannot be added below this", hint=hint)]
    return updated, []


def _quoted(title: str) -> str:
    """The title as a YAML key that every parser reads back the same."""
    emitted: str = yaml.safe_dump(title, default_style='"', allow_unicode=True, width=100_000)
    return emitted.strip()


def _parsed(text: str) -> dict[str, str] | None:
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return (
        {str(key): OPEN if value is None else str(value) for key, value in data.items()}
        if isinstance(data, dict)
        else None
    )
