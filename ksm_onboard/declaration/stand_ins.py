"""Values that stand in for wrong or missing ones, so that the rest of a file can still be checked.

A required scalar that is wrong would otherwise take everything around it out of sight.
Findings at the place of a stand-in are dropped, and nothing is ever planned from one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

Loc = tuple[str | int, ...]

# Tried in turn: counts, names, domains, paths, addresses, networks.
_CANDIDATES: tuple[object, ...] = (1, 100, "xx", "x", "a.b", "/x", "0.0.0.0", "0.0.0.0/0")  # noqa: S104


def stand_in_for(model: type[BaseModel], loc: Loc) -> object | None:
    """A valid value for the required scalar at ``loc``; None if it is optional or not a scalar."""
    owner = _annotation_at(model, loc[:-1])
    return _stand_in(owner, str(loc[-1])) if loc and _is_model(owner) else None


@lru_cache
def _stand_in(owner: type[BaseModel], name: str) -> object | None:
    field = owner.model_fields.get(name)
    if field is None or not field.is_required() or _holds_more(field.annotation):
        return None
    annotated: Any = Annotated[field.annotation, Field(), *field.metadata]
    adapter: TypeAdapter[object] = TypeAdapter(annotated)
    options: tuple[object, ...] = get_args(field.annotation) or _CANDIDATES
    for candidate in options:
        try:
            adapter.validate_python(candidate)
        except ValidationError:
            continue
        return candidate
    return None


def keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that the model at ``loc`` knows; empty where ``loc`` is not a model."""
    annotation = _annotation_at(model, loc)
    return sorted(annotation.model_fields) if _is_model(annotation) else []


def field_at(model: type[BaseModel], loc: Loc) -> FieldInfo | None:
    """The field at ``loc``; None where ``loc`` is not a field of a model."""
    owner = _annotation_at(model, loc[:-1])
    return owner.model_fields.get(str(loc[-1])) if loc and _is_model(owner) else None


def is_table(model: type[BaseModel], loc: Loc) -> bool:
    """Whether ``loc`` is a table: a mapping whose keys the author chooses."""
    return bool(loc) and get_origin(_annotation_at(model, loc)) is dict


def accepts_null(model: type[BaseModel], loc: Loc) -> bool:
    """Whether ``loc`` is a field that may be left without a value."""
    field = field_at(model, loc)
    return field is not None and type(None) in get_args(field.annotation)


def knows(model: type[BaseModel], loc: Loc) -> bool:
    """Whether ``loc`` is a field of a model, or lies in a table."""
    return field_at(model, loc) is not None or is_table(model, loc[:-1])


def _annotation_at(model: type[BaseModel], loc: Loc) -> Any:
    annotation: Any = model
    for part in loc:
        annotation = _step(annotation, part)
    return annotation


def _step(annotation: Any, part: str | int) -> Any:
    if _is_model(annotation):
        field = annotation.model_fields.get(str(part))
        return _unwrapped(field.annotation) if field else None
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple and arguments:
        return _unwrapped(arguments[0])
    if origin is dict:
        return _unwrapped(arguments[1])
    return None


def _unwrapped(annotation: Any) -> Any:
    """``X`` for ``X | None``; anything else unchanged."""
    options = [a for a in get_args(annotation) if a is not type(None)]
    return options[0] if len(options) == 1 and type(None) in get_args(annotation) else annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _holds_more(annotation: Any) -> bool:
    return _is_model(annotation) or get_origin(annotation) in (tuple, dict, list)
