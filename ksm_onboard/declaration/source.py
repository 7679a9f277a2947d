"""YAML files as data whose every value remembers where it stands.

PyYAML's C parser reports events with marks; one pass over them gives the plain values, and
``Located`` answers "which line is ``servers.dns01.address`` on?" for any path.
Only plain YAML is accepted: no tabs, tags, anchors, aliases, duplicate keys or characters that cannot
be seen, so what a person reads in the file is what the toolkit sees, and a small file stays small.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import yaml

from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.rules import Rule

Loc = tuple[str | int, ...]

# Far above any declaration a person would write by hand; a guard against accidents and bombs.
MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 24


class Written(Protocol):
    """Data that somebody wrote, in one file or in several layers, and where each value stands."""

    @property
    def data(self) -> Any: ...

    def place(self, loc: Loc) -> Place: ...

    def key_place(self, loc: Loc) -> Place: ...

    def written(self, loc: Loc) -> Loc: ...


# Where a value begins (line and column from 0, as PyYAML counts) and what lies below it: a list's marks, or a
# mapping's entries by key, each with the key's own line and column. Tuples, because there is one for every value.
_Mark = tuple[int, int, Any]
_Entry = tuple[int, int, _Mark]


@dataclass
class Located:
    """One YAML file: its plain data, and the place of every value in it."""

    file: Path
    data: Any = None
    _root: _Mark = (0, 0, None)

    def place(self, loc: Loc) -> Place:
        """The place of the value at ``loc``, or of the nearest thing around it that exists."""
        mark, _ = self._walk(loc)
        return Place(self.file, mark[0] + 1, mark[1] + 1)

    def key_place(self, loc: Loc) -> Place:
        """The place of the key that introduces ``loc``; the value's own place for list items."""
        holder, found = self._walk(loc[:-1])
        if loc and found and isinstance(holder[2], dict) and (entry := holder[2].get(loc[-1])) is not None:
            return Place(self.file, entry[0] + 1, entry[1] + 1)
        return self.place(loc)

    def written(self, loc: Loc) -> Loc:
        """The path under which the value at ``loc`` is written in the file: the same one."""
        return loc

    def _walk(self, loc: Loc) -> tuple[_Mark, bool]:
        """The mark at ``loc``, or the nearest around it and False."""
        mark = self._root
        for part in loc:
            below = mark[2]
            if isinstance(below, dict) and (entry := below.get(part)) is not None:
                mark = entry[2]
            elif isinstance(below, list) and isinstance(part, int) and part < len(below):
                mark = below[part]
            else:
                return mark, False
        return mark, True


def read_yaml(file: Path) -> tuple[Located, list[Finding]]:
    """Read one file. What cannot be read is reported as findings, never raised."""
    located = Located(file)
    text, refused = read_text(file)
    if text is None:
        return located, refused
    reader = _Reader(text, file)
    try:
        data, mark = reader.document()
    except yaml.YAMLError as error:
        return located, [*reader.fatal, _syntax_finding(error, file, text)]
    except _StoppedError:
        return located, reader.fatal
    if reader.fatal:
        return located, reader.fatal
    if mark is None or data is None:
        return located, [Finding(rule="file-empty", place=Place(file, 1, 1), message="the file is empty")]
    located.data, located._root = data, mark
    return located, reader.findings


def read_text(file: Path) -> tuple[str | None, list[Finding]]:
    """The file's text, without a byte order mark; None and a finding if it cannot be read as UTF-8."""

    def refuse(
        rule: Rule, message: str, line: int = 1, column: int = 1, hint: str | None = None
    ) -> tuple[None, list[Finding]]:
        return None, [Finding(rule=rule, place=Place(file, line, column), message=message, hint=hint)]

    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            return refuse("file-too-large", f"the file has {size:,} bytes; at most {MAX_BYTES:,} are allowed")
        raw = file.read_bytes()
    except OSError as error:
        return refuse("file-unreadable", f"cannot read the file: {error.strerror}")
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return refuse("file-encoding", "the file is not UTF-8 text", line, column, "save the file as UTF-8")


def _syntax_finding(error: yaml.YAMLError, file: Path, text: str) -> Finding:
    mark = getattr(error, "problem_mark", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
    if mark is None and (odd := yaml.reader.Reader.NON_PRINTABLE.search(text)):
        # The parser does not say where a character stands that no YAML file may hold.
        before = text[: odd.start()]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    hint = "indent with spaces; YAML does not allow tabs" if "cannot start any token" in problem else None
    return Finding(rule="yaml-syntax", place=place, message=f"this is not valid YAML: {problem}", hint=hint)


class _StoppedError(Exception):
    """The rest of the file is not worth reading."""


class _Reader:
    """Builds data and marks in one pass; ``fatal`` findings refuse the whole file."""

    def __init__(self, text: str, file: Path) -> None:
        self._file = file
        self._next: Callable[[], Any] = yaml.CSafeLoader(text).get_event
        self.fatal: list[Finding] = []
        self.findings: list[Finding] = []

    def document(self) -> tuple[Any, _Mark | None]:
        """The first document's value and mark; None as mark if there is none."""
        self._next()  # the stream's start
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return None, None
        first = self._next()
        empty = isinstance(first, yaml.ScalarEvent) and first.value == "" and first.implicit[0]
        data, mark = self._value(first, 1)
        self._next()  # the document's end
        event = self._next()
        if isinstance(event, yaml.DocumentStartEvent):
            self._refuse("yaml-second-document", event, "the file holds a second document")
        return data, None if empty else mark

    def _value(self, event: Any, depth: int) -> tuple[Any, _Mark]:
        start = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            self._refuse("yaml-alias", event, f"aliases are not allowed (*{event.anchor})", "write the value out")
            return None, (start.line, start.column, None)
        if event.anchor:
            hint = "write the value out where it is needed"
            self._refuse("yaml-anchor", event, f"anchors are not allowed (&{event.anchor})", hint)
        if event.tag:
            self._refuse("yaml-tag", event, f"tags are not allowed ({event.tag})")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event), (start.line, start.column, None)
        if depth > MAX_DEPTH:
            self._refuse("yaml-depth", event, f"nested deeper than {MAX_DEPTH} levels")
            raise _StoppedError
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(start, depth)
        return self._sequence(start, depth)

    def _mapping(self, start: Any, depth: int) -> tuple[dict[str, Any], _Mark]:
        data: dict[str, Any] = {}
        entries: dict[str, _Entry] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            at = event.start_mark
            plain = isinstance(event, yaml.ScalarEvent)
            key = event.value if plain else ""
            if not plain:
                self._note("yaml-key", at, "a key must be plain text")
                self._value(event, depth + 1)
            elif key in data:
                hint = f"it was first given at line {entries[key][0] + 1}; keep one of them"
                self._note("yaml-duplicate-key", at, f"the key '{key}' is given twice", hint)
            elif event.anchor or event.tag:
                self._value(event, depth + 1)
            value, mark = self._value(self._next(), depth + 1)
            if plain and key not in data:
                data[key] = value
                entries[key] = (at.line, at.column, mark)
        return data, (start.line, start.column, entries)

    def _sequence(self, start: Any, depth: int) -> tuple[list[Any], _Mark]:
        data: list[Any] = []
        items: list[_Mark] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            value, mark = self._value(event, depth + 1)
            data.append(value)
            items.append(mark)
        return data, (start.line, start.column, items)

    def _scalar(self, event: Any) -> Any:
        if "{" in event.value and any(marker in event.value for marker in ("{{", "{%", "{#")):
            # Ansible evaluates expressions in its variables: declared text must stay text.
            hint = "write the text without {{, {% and {#"
            self._note("template-marker", event.start_mark, "the text looks like a template expression", hint)
        if not event.value.isprintable() and (hidden := _hidden(event.value)) is not None:
            hint = "type the text anew, on one line, in place of what was pasted"
            self._note("hidden-character", event.start_mark, f"the text holds {hidden}", hint)
        if not event.implicit[0]:
            return event.value
        try:
            return _plain(event.value)
        except ValueError as error:
            self._note("yaml-value", event.start_mark, f"'{event.value}' is not a value: {error}")
            return None

    def _refuse(self, rule: Rule, event: Any, message: str, hint: str | None = None) -> None:
        self.fatal.append(self._finding(rule, event.start_mark, message, hint))

    def _note(self, rule: Rule, mark: Any, message: str, hint: str | None = None) -> None:
        self.findings.append(self._finding(rule, mark, message, hint))

    def _finding(self, rule: Rule, mark: Any, message: str, hint: str | None) -> Finding:
        return Finding(rule=rule, place=Place(self._file, mark.line + 1, mark.column + 1), message=message, hint=hint)


def _hidden(text: str) -> str | None:
    """The first character of ``text`` that a reader cannot see, in words; a tab is taken for a blank."""
    for character in text.strip():
        if character != "\t" and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp"):
            if character in "\n\r":
                return "a line break"
            return f"a character that cannot be seen, {unicodedata.name(character, f'U+{ord(character):04X}')}"
    return None


# Octal for YAML 1.1, decimal for YAML 1.2 and for people.
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_RESOLVE: Any = yaml.SafeLoader("")  # only for its rules of what a plain scalar means


@lru_cache(maxsize=65536)
def _plain(text: str) -> Any:
    """The value of an unquoted scalar: null, bool, int, float, or the text itself.

    Dates stay text (the models parse them, and report them, in one place), and so does
    what YAML 1.1 would take for a number of base 60, such as a time or a MAC address.
    """
    tag = _RESOLVE.resolve(yaml.ScalarNode, text, (True, False))
    numeric = tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    if _LEADING_ZERO.fullmatch(text):
        why = "with a leading zero it is another number for some programs"
        raise ValueError(f"{why}; leave the zero out, or put it in quotation marks")
    if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:bool") or (numeric and ":" not in text):
        return _RESOLVE.construct_object(yaml.ScalarNode(tag, text), deep=True)
    return text
