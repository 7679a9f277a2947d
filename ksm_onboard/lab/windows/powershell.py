"""Reads PowerShell source without running it: its literals and its syntax errors. Pure.

The grammar (tree-sitter-powershell) does not know all of the language: some files of Ansible's own collections do not
parse as a whole. What is read from them are single literals that parsed; what could not be read is ``UNKNOWN``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, Final

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
"""A value that only PowerShell itself could work out."""

_CONSTANTS: Final[dict[str, Any]] = {"$true": True, "$false": False, "$null": None}


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_powershell.language()))


def syntax_errors(source: bytes) -> tuple[int, ...]:
    """Lines (from 1) that the grammar cannot read; empty if the whole text parses."""
    root = _parser().parse(source).root_node
    return tuple(sorted({node.start_point[0] + 1 for node in _walk(root) if node.type == "ERROR" or node.is_missing}))


def hash_with(source: bytes, key: str) -> dict[str, Any] | None:
    """The first hash literal outside any other that has ``key``, as plain data; None if there is none that parsed."""
    root = _parser().parse(source).root_node
    for node in _outermost_hashes(root):
        value = _value(node)
        if isinstance(value, dict) and key in value:
            return value
    return None


def named_arguments(source: bytes, command: str, parameter: str) -> frozenset[str]:
    """The strings given to ``parameter`` wherever ``command`` is called, for example Get-AnsibleParam -name."""
    found = set()
    for node in _walk(_parser().parse(source).root_node):
        if node.type != "command" or _first_word(node).lower() != command.lower():
            continue
        elements = [child for child in _walk(node) if child.type in ("command_parameter", "string_literal")]
        for before, after in pairwise(elements):
            if before.type == "command_parameter" and _text(before).lower() == f"-{parameter.lower()}":
                value = _value(after)
                if isinstance(value, str):
                    found.add(value)
    return frozenset(found)


def _first_word(command: Node) -> str:
    return _text(command.children[0]) if command.children else ""


def _walk(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(current.children))


def _outermost_hashes(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        current = stack.pop()
        if current.type == "hash_literal_expression":
            yield current
        else:
            stack.extend(reversed(current.children))


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _value(node: Node) -> Any:
    """The value of a literal. Expressions of one part are as much as that part."""
    kind = node.type
    if kind == "ERROR" or node.is_missing:
        return UNKNOWN
    if kind == "hash_literal_expression":
        return _hash(node)
    if kind == "array_expression":
        inner = [_value(child) for child in node.named_children if child.type == "statement_list"]
        return _listed(inner[0]) if inner else []
    if kind == "string_literal":
        return _string(node)
    if kind == "variable":
        return _CONSTANTS.get(_text(node).lower(), UNKNOWN)
    if kind == "decimal_integer_literal":
        return int(_text(node)) if _text(node).isdigit() else UNKNOWN
    children = [child for child in node.named_children if child.type != "comment"]
    if kind == "array_literal_expression" and len(children) > 1:
        return [_value(child) for child in children]
    if len(children) == 1 and _text(node.children[0]) == ",":
        return [_value(children[0])]
    return _value(children[0]) if len(children) == 1 else UNKNOWN


def _listed(value: Any) -> Any:
    if value is UNKNOWN or isinstance(value, list):
        return value
    return [value]


def _hash(node: Node) -> dict[str, Any]:
    found = {}
    for body in node.named_children:
        for entry in body.named_children:
            if entry.type == "hash_entry" and len(entry.named_children) >= 2:
                parts = [part for part in entry.named_children if part.type != "comment"]
                found[_text(parts[0]).strip("'\"")] = _value(parts[-1])
    return found


def _string(node: Node) -> Any:
    text = _text(node)
    if text.startswith("'") and text.endswith("'"):
        return text[1:-1].replace("''", "'")
    if text.startswith('"') and text.endswith('"') and "$" not in text and "`" not in text:
        return text[1:-1].replace('""', '"')
    return UNKNOWN
