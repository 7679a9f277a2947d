"""YAML files as data whose every value remembers where it stands.

PyYAML's C parser builds a tree of nodes with marks; plain values are taken from it,
and ``Located`` answers "which line is ``servers.2.address`` on?" for any path.
Only plain YAML is accepted: no tabs, tags, anchors, aliases or duplicate keys, so what
a person reads in the file is what the toolkit sees, and a small file stays small.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ksm_onboard.declaration.findings import Finding, Place

Loc = tuple[str | int, ...]

# Far above any declaration a person would write by hand; a guard against accidents and bombs.
MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 24


@dataclass
class Located:
    """One YAML file: its plain data, and the place of every value in it."""

    file: Path
    data: Any = None
    _places: dict[Loc, Place] = field(default_factory=dict)
    _keys: dict[Loc, Place] = field(default_factory=dict)

    def place(self, loc: Loc) -> Place:
        """The place of the value at ``loc``, or of the nearest thing around it that exists."""
        for length in range(len(loc), -1, -1):
            if (found := self._places.get(loc[:length])) is not None:
                return found
        return Place(self.file, 1, 1)

    def key_place(self, loc: Loc) -> Place:
        """The place of the key that introduces ``loc``; the value's own place for list items."""
        return self._keys.get(loc) or self.place(loc)


def read_yaml(file: Path) -> tuple[Located, list[Finding]]:
    """Read one file. What cannot be read is reported as findings, never raised."""
    located = Located(file)

    def refuse(rule: str, message: str, place: Place | None = None, hint: str | None = None) -> Finding:
        return Finding(rule=rule, place=place or Place(file, 1, 1), message=message, hint=hint)

    try:
        raw = file.read_bytes()
    except OSError as error:
        return located, [refuse("file-unreadable", f"cannot read the file: {error.strerror}")]
    if len(raw) > MAX_BYTES:
        return located, [
            refuse("file-too-large", f"the file has {len(raw):,} bytes; at most {MAX_BYTES:,} are allowed")
        ]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return located, [
            refuse("file-encoding", "the file is not UTF-8 text", Place(file, line, 1), "save the file as UTF-8")
        ]
    findings: list[Finding] = []
    try:
        findings.extend(_events_refused(text, file))
        if findings:
            return located, findings
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        return located, [_syntax_finding(error, file)]
    if root is None:
        return located, [refuse("file-empty", "the file is empty")]
    located.data = _value(root, (), located, findings)
    return located, findings


def _syntax_finding(error: yaml.YAMLError, file: Path) -> Finding:
    mark = getattr(error, "problem_mark", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    hint = "indent with spaces; YAML does not allow tabs" if "cannot start any token" in problem else None
    return Finding(rule="yaml-syntax", place=place, message=f"this is not valid YAML: {problem}", hint=hint)


def _events_refused(text: str, file: Path) -> Iterator[Finding]:
    """Anchors, aliases, tags, a second document and bottomless nesting, found before a tree is built."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        place = _at(file, event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                yield Finding(rule="yaml-second-document", place=place, message="the file holds a second document")
                return
        elif isinstance(event, yaml.AliasEvent):
            yield Finding(
                rule="yaml-alias",
                place=place,
                message=f"aliases are not allowed (*{event.anchor})",
                hint="write the value out",
            )
        elif isinstance(event, yaml.NodeEvent):
            if event.anchor:
                yield Finding(
                    rule="yaml-anchor",
                    place=place,
                    message=f"anchors are not allowed (&{event.anchor})",
                    hint="write the value out where it is needed",
                )
            if tag := getattr(event, "tag", None):
                yield Finding(rule="yaml-tag", place=place, message=f"tags are not allowed ({tag})")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                yield Finding(rule="yaml-depth", place=place, message=f"nested deeper than {MAX_DEPTH} levels")
                return
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


_RESOLVE = yaml.SafeLoader("")  # only for its scalar constructors (int, float, bool, null, dates)


def _value(node: yaml.Node, loc: Loc, located: Located, findings: list[Finding]) -> Any:
    """The plain value of ``node``; its place, and those of everything below, go into ``located``."""
    located._places[loc] = _place(node, located)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                findings.append(
                    Finding(rule="yaml-key", place=_place(key_node, located), message="a key must be plain text")
                )
                continue
            key = str(key_node.value)
            if key in mapping:
                findings.append(
                    Finding(
                        rule="yaml-duplicate-key",
                        place=_place(key_node, located),
                        message=f"the key '{key}' is given twice",
                        hint=f"it was first given at line {located.key_place((*loc, key)).line}; keep one of them",
                    )
                )
                continue
            located._keys[(*loc, key)] = _place(key_node, located)
            mapping[key] = _value(value_node, (*loc, key), located, findings)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*loc, index), located, findings) for index, item in enumerate(node.value)]
    try:
        return _scalar(node)
    except ValueError as error:
        findings.append(
            Finding(rule="yaml-value", place=_place(node, located), message=f"'{node.value}' is not a value: {error}")
        )
        return None


def _scalar(node: yaml.Node) -> Any:
    # Dates stay text here: the models parse them, and report them, in one place.
    if node.tag in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"):
        return node.value
    return _RESOLVE.construct_object(node, deep=True)


def _place(node: yaml.Node, located: Located) -> Place:
    return _at(located.file, node.start_mark)


def _at(file: Path, mark: Any) -> Place:
    """PyYAML counts lines and columns from 0; people count from 1."""
    return Place(file, mark.line + 1, mark.column + 1)
