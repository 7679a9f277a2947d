"""Pydantic's complaints in the words of the person who wrote the declaration."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.models import PATTERNS_IN_WORDS
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.declaration.source import Loc, Written
from ksm_onboard.declaration.stand_ins import keys_at

_RULES: dict[str, Rule] = {
    "extra_forbidden": "unknown-key",
    "missing": "missing-key",
    "literal_error": "value-not-allowed",
    "enum": "value-not-allowed",
    "string_pattern_mismatch": "wrong-format",
    "string_too_long": "wrong-format",
    "string_too_short": "wrong-format",
    "greater_than_equal": "out-of-range",
    "less_than_equal": "out-of-range",
    "too_short": "too-few",
    "ip_v4_address": "wrong-format",
    "ip_v4_network": "wrong-format",
}


# What pydantic calls by the names of Python's types.
_NEEDED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list, for example [a, b],",
    "tuple_type": "a list, for example [a, b],",
    "dict_type": "a table, a key with its value on each line,",
    "model_type": "a table, a key with its value on each line,",
    "date_type": "a day, for example 2027-03-01,",
    "date_parsing": "a day, for example 2027-03-01,",
    "date_from_datetime_parsing": "a day, for example 2027-03-01,",
    "date_from_datetime_inexact": "a day without a time, for example 2027-03-01,",
    "ip_v4_address": "an IPv4 address, for example 10.64.12.11,",
    "ip_v4_network": "a network, for example 10.64.12.0/24,",
    "too_short": "at least one entry",
}


def findings_for(
    told: Sequence[tuple[Mapping[str, Any], Loc]], source: Written, model: type[BaseModel]
) -> Iterator[Finding]:
    """The findings for pydantic's errors, each with its path; keys missing in one place are one finding.

    A key that is missing because it is misspelt is told once, as the unknown one.
    """
    misspelt = {(*loc[:-1], close) for e, loc in told if e["type"] == "extra_forbidden" for close in _close(loc, model)}
    missing: dict[Loc, list[str]] = {}
    for error, loc in told:
        if error["type"] == "missing" and loc not in misspelt:
            missing.setdefault(loc[:-1], []).append(str(loc[-1]))
    for error, loc in told:
        if error["type"] != "missing":
            yield _finding_for(error, loc, source, model, at_key="[key]" in error["loc"])
        elif names := missing.pop(loc[:-1], None):
            yield _missing(names, loc, source)


def _missing(names: Sequence[str], loc: Loc, source: Written) -> Finding:
    keys = ", ".join(f"'{name}'" for name in names)
    around = source.written(loc)[:-1]
    return Finding(
        rule="missing-key",
        place=source.place(loc),
        message=(f"the key {keys} is missing" if len(names) == 1 else f"the keys {keys} are missing")
        + (f" in {_dotted(around)}" if around else ""),
        hint="add " + ", ".join(f"{name}: …" for name in names),
    )


def _close(loc: Loc, model: type[BaseModel]) -> list[str]:
    """The known key that the unknown one at ``loc`` is most like, if any."""
    return difflib.get_close_matches(str(loc[-1]), keys_at(model, loc[:-1]), n=1)


def _finding_for(
    error: Mapping[str, Any], loc: Loc, source: Written, model: type[BaseModel], *, at_key: bool = False
) -> Finding:
    """The finding for one pydantic error at ``loc``; paths are named as their author wrote them."""
    kind = str(error["type"])
    rule: Rule = _RULES.get(kind, "wrong-type")
    written = source.written(loc)
    value = error.get("input")
    shown = None if isinstance(value, dict | list) else str(value)
    if rule == "unknown-key":
        known, close = keys_at(model, loc[:-1]), _close(loc, model)
        return Finding(
            rule=rule,
            place=source.key_place(loc),
            message=f"unknown key '{loc[-1]}'" + (f" in {_dotted(written[:-1])}" if len(loc) > 1 else ""),
            value=str(loc[-1]),
            allowed=", ".join(known) or None,
            hint=f"did you mean '{close[0]}'?" if close else "remove it, or look the key up in docs/reference",
        )
    return Finding(
        rule=rule,
        place=source.key_place(loc) if at_key else source.place(loc),
        message=f"{_dotted(written)}: {in_words(error)}",
        value=shown,
        allowed=allowed_in_words(error),
        hint=_hint(kind, error),
    )


def _dotted(loc: Loc) -> str:
    return ".".join(str(part) for part in loc)


def in_words(error: Mapping[str, Any]) -> str:
    """What is wrong with a value, as part of a sentence."""
    kind, message = str(error["type"]), str(error["msg"])
    if kind in _NEEDED:
        return f"{_NEEDED[kind]} is needed here"
    if kind == "string_pattern_mismatch":
        return f"'{error['input']}' is not written the way it must be"
    if kind == "literal_error":
        return f"'{error['input']}' is not one of the allowed values"
    return message[0].lower() + message[1:]


def allowed_in_words(error: Mapping[str, Any]) -> str | None:
    """What would be right instead, if the error tells."""
    context = error.get("ctx") or {}
    if "expected" in context:
        return str(context["expected"])
    if "pattern" in context:
        return PATTERNS_IN_WORDS.get(context["pattern"], f"text matching {context['pattern']}")
    if "ge" in context:
        return f"at least {context['ge']}"
    if "le" in context:
        return f"at most {context['le']}"
    return None


def _hint(kind: str, error: Mapping[str, Any]) -> str | None:
    if kind == "literal_error":
        options = [word.strip(" '") for word in str(error["ctx"]["expected"]).replace(" or ", ",").split(",")]
        close = difflib.get_close_matches(str(error["input"]), options, n=1)
        return f"did you mean '{close[0]}'?" if close else None
    if kind == "string_type" and isinstance(error.get("input"), bool | int | float):
        return "YAML takes it for a number or for true or false: put it in quotation marks"
    if kind == "ip_v4_network":
        return "write network and prefix length, the network without host bits"
    return None
