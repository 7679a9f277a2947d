"""Layers become one declaration. The rules, all of them (docs/reference/merging.md):

1. Tables merge key by key, at every depth.
2. Anything else of the nearer layer replaces the farther one whole: lists, too; an empty list means empty.
3. ``null`` removes an entry of a farther layer, or an optional value.
4. In a table, an entry with ``count`` stands for so many numbered ones, and the entry ``*`` of the
   platform or an archetype for all: what is said of an entry by name is nearer than either.

Merging is pure and never fails; declaration/load.py reports what it is not given rightly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ksm_onboard.declaration.findings import Place
from ksm_onboard.declaration.source import Loc, Located

LayerName = Literal["platform default", "profile", "archetype", "allocation", "declaration"]

EVERY = "*"
COUNTED_TABLE = "servers"
_MAX_COUNT = 99


@dataclass(frozen=True)
class Layer:
    """One source of values: data shaped like a declaration, and where its values stand.

    ``root`` is the path in the file below which the data lie; ``written_at`` gives the paths of
    values that stand elsewhere in the file.
    """

    name: LayerName
    data: Mapping[str, Any]
    located: Located
    root: Loc = ()
    written_at: Mapping[Loc, Loc] = field(default_factory=dict)

    def written(self, loc: Loc) -> Loc:
        """The path in the layer's file of the value at ``loc``."""
        return self.written_at.get(loc) or (*self.root, *loc)

    def place(self, loc: Loc) -> Place:
        return self.located.place(self.written(loc))

    def key_place(self, loc: Loc) -> Place:
        return self.located.key_place(self.written(loc))


def layer_of(name: LayerName, located: Located, *root: str) -> Layer:
    """The layer that the table at ``root`` of a file makes up; an empty one if there is none."""
    data = located.data
    for key in root:
        data = data.get(key) if isinstance(data, dict) else None
    return Layer(name, data if isinstance(data, dict) else {}, located, root)


@dataclass(frozen=True)
class Origin:
    """A layer that says something about a value, and the path where it says it."""

    layer: Layer
    loc: Loc
    value: Any

    @property
    def place(self) -> Place:
        return self.layer.place(self.loc)


@dataclass(frozen=True)
class Merged:
    """The declaration in force, and where each of its values comes from. Layers farthest first.

    ``counted`` gives, for each numbered entry, the key of the entry that it was counted from.
    """

    layers: tuple[Layer, ...]
    data: dict[str, Any]
    counted: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def declaration(self) -> Layer:
        """The nearest layer."""
        return self.layers[-1]

    def upon(self, layer: Layer) -> Merged:
        """The same declaration with one more layer, farther than all others."""
        return Merged((layer, *self.layers), _completed(self.data, layer.data), self.counted)

    def origins(self, loc: Loc) -> list[Origin]:
        """Every layer's word on the value at ``loc``; the first is in force, it overrides the others."""
        return self._words(loc)[0]

    def place(self, loc: Loc) -> Place:
        """Where the value at ``loc`` is written or removed, or the nearest thing around it."""
        for length in range(len(loc), 0, -1):
            origins, removed = self._words(loc[:length])
            if origins:
                return origins[0].place
            if removed is not None:
                return removed
        return self.declaration.place(())

    def removed_at(self, loc: Loc) -> Place | None:
        """Where a null removes the value at ``loc`` that a farther layer states; None if none does."""
        origins, removed = self._words(loc)
        return None if origins else removed

    def nearest(self, *locs: Loc) -> Place:
        """Of several values the place of the one that stands in the nearest layer; the first of those."""
        said = [origins[0] for loc in locs if (origins := self.origins(loc))]
        by_layer = {id(layer): position for position, layer in enumerate(self.layers)}
        return max(said, key=lambda origin: by_layer[id(origin.layer)]).place if said else self.place(())

    def key_place(self, loc: Loc) -> Place:
        """Where the key is written that introduces ``loc``."""
        if loc and (origins := self.origins(loc)):
            return origins[0].layer.key_place(origins[0].loc)
        return self.place(loc)

    def written(self, loc: Loc) -> Loc:
        """The path of the value at ``loc`` as its author wrote it (``servers.dns.cpus`` for ``servers.dns01.cpus``)."""
        for length in range(len(loc), 0, -1):
            if origins := self.origins(loc[:length]):
                return (*origins[0].loc, *loc[length:])
        return loc

    def _words(self, loc: Loc) -> tuple[list[Origin], Place | None]:
        """The layers' words on ``loc``, nearest first, down to the one that removes it, and the place of that."""
        found: list[Origin] = []
        said = [layer for layer in reversed(self.layers) if layer.name != "allocation"]
        for path in self._paths(loc):
            for layer in said:
                value, outcome = look(layer.data, path)
                if outcome == "found":
                    found.append(Origin(layer, path, value))
                elif outcome == "removed":
                    return found, layer.place(path)
                elif outcome == "cut":
                    return found, None
        # What was given out is farther than all that people say, however they say it.
        for layer in self.layers:
            value, outcome = look(layer.data, loc) if layer.name == "allocation" else (None, "absent")
            if outcome == "found":
                found.append(Origin(layer, loc, value))
        return found, None

    def _paths(self, loc: Loc) -> Iterator[Loc]:
        """The paths that speak of ``loc``, nearest first: by name, by counted entry, by ``*``."""
        yield loc
        if len(loc) < 2:
            return
        table, key, *below = loc
        if (source := self.counted.get((str(table), str(key)))) is not None:
            yield (table, source, *below)
        if key != EVERY:
            yield (table, EVERY, *below)


Outcome = Literal["found", "absent", "removed", "cut"]


def look(data: Any, loc: Loc) -> tuple[Any, Outcome]:
    """What ``data`` say about ``loc``.

    ``removed`` by a null there; ``cut`` where they hold something else around it, so that
    farther layers have no word in it.
    """
    for part in loc:
        if isinstance(data, dict):
            if part not in data:
                return None, "absent"
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None, "cut"
    return (None, "removed") if data is None else (data, "found")


def merge(layers: Sequence[Layer]) -> Merged:
    """Merge ``layers``, farthest first, into the declaration that is in force."""
    data: dict[str, Any] = {}
    for layer in layers:
        data = _merged(data, layer.data)
    counted: dict[tuple[str, str], str] = {}
    for table, entries in data.items():
        if isinstance(entries, dict):
            data[table] = _filled(_counted_out(table, entries, counted))
    return Merged(tuple(layers), _without_removed(data), counted)


def _merged(far: Mapping[str, Any], near: Mapping[str, Any]) -> dict[str, Any]:
    """``near`` over ``far``; what is removed stays as null until all layers are in."""
    result = dict(far)
    for key, value in near.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return result


def _completed(near: Mapping[str, Any], far: Mapping[str, Any]) -> dict[str, Any]:
    """As ``_merged``, but in the order of ``near``."""
    merged = _merged(far, near)
    return {
        key: _completed(near[key], far[key])
        if isinstance(near.get(key), dict) and isinstance(far.get(key), dict)
        else merged[key]
        for key in dict.fromkeys((*near, *far))
    }


def _counted_out(table: str, entries: Mapping[str, Any], counted: dict[tuple[str, str], str]) -> dict[str, Any]:
    """``entries`` with every counted one replaced by its numbered ones, in its place."""
    if table != COUNTED_TABLE:
        return dict(entries)
    numbered: dict[str, list[str]] = {}
    for key, entry in entries.items():
        count = entry.get("count") if isinstance(entry, dict) and key != EVERY else None
        if type(count) is int and 1 <= count <= _MAX_COUNT:
            numbered[key] = [f"{key}{number:02d}" for number in range(1, count + 1)]
            counted |= {(table, name): key for name in numbered[key]}
    result: dict[str, Any] = {}
    for key, entry in entries.items():
        if key in numbered:
            alike = {k: v for k, v in entry.items() if k != "count"}
            for name in numbered[key]:
                result[name] = _merged({"": alike}, {"": entries[name]})[""] if name in entries else alike
        elif (table, key) not in counted:
            result[key] = entry
    return result


def _filled(entries: dict[str, Any]) -> dict[str, Any]:
    """``entries`` without the entry ``*``, which has filled what they leave open."""
    every = entries.get(EVERY)
    if not isinstance(every, dict):
        return entries
    return {
        key: _merged(every, entry) if isinstance(entry, dict) else entry
        for key, entry in entries.items()
        if key != EVERY
    }


def _without_removed(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_removed(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if value is not None
    }
