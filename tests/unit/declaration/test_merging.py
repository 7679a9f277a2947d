"""The merge rules, one by one and as properties; and that every value knows where it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksm_onboard.declaration.merging import Layer, LayerName, Merged, layer_of, merge
from ksm_onboard.declaration.source import Located, read_yaml

NAMES: tuple[LayerName, ...] = ("platform default", "profile", "archetype", "declaration")


def layers(*data: dict[str, Any]) -> list[Layer]:
    return [Layer(name, each, Located(Path(f"{name}.yaml"))) for name, each in zip(NAMES, data, strict=False)]


def merged(*data: dict[str, Any]) -> dict[str, Any]:
    return merge(layers(*data)).data


@pytest.mark.parametrize(
    ("far", "near", "expected"),
    [
        ({"t": {"a": 1, "b": {"x": 1}}}, {"t": {"b": {"y": 2}}}, {"t": {"a": 1, "b": {"x": 1, "y": 2}}}),
        ({"l": [1, 2]}, {"l": [3]}, {"l": [3]}),
        ({"l": [1, 2]}, {"l": []}, {"l": []}),
        ({"l": [1, 2]}, {}, {"l": [1, 2]}),
        ({"t": {"a": {"x": 1}, "b": 2}}, {"t": {"a": None}}, {"t": {"b": 2}}),
        ({"t": {"a": {"x": 1}}}, {"t": {"a": {"x": None, "y": 1}}}, {"t": {"a": {"y": 1}}}),
        ({"v": 1}, {"v": {"x": 1}}, {"v": {"x": 1}}),
    ],
)
def test_tables_merge_everything_else_replaces_and_null_removes(
    far: dict[str, Any], near: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert merged(far, near) == expected


def test_what_is_removed_can_be_stated_anew_without_its_past() -> None:
    assert merged({"t": {"a": {"x": 1}}}, {"t": {"a": None}}, {"t": {"a": {"y": 2}}}) == {"t": {"a": {"y": 2}}}


def test_counted_servers_are_numbered_refined_and_removed_one_by_one() -> None:
    archetype = {"servers": {"dns": {"count": 3, "cpus": 2, "pair": "dns"}, "z": {"cpus": 1}, "dns02": {"cpus": 4}}}
    declaration = {"servers": {"dns01": {"pair": None}, "dns03": None}}
    found = merged({}, {}, archetype, declaration)
    assert found["servers"] == {"dns01": {"cpus": 2}, "dns02": {"cpus": 4, "pair": "dns"}, "z": {"cpus": 1}}
    assert list(found["servers"]) == ["dns01", "dns02", "z"]


def test_a_counted_server_can_be_counted_differently() -> None:
    found = merged({}, {}, {"servers": {"app": {"count": 2, "cpus": 2}}}, {"servers": {"app": {"count": 3}}})
    assert list(found["servers"]) == ["app01", "app02", "app03"]


@pytest.mark.parametrize("count", [0, 100, "2", True, 1.5, None])
def test_a_count_that_is_none_stays_for_the_models_to_refuse(count: object) -> None:
    assert list(merged({"servers": {"app": {"count": count, "cpus": 1}}})["servers"]) == ["app"]


def test_the_entry_for_all_fills_what_entries_leave_open_whoever_declares_them() -> None:
    platform = {"servers": {"*": {"tier": "silver", "level": 3}}}
    archetype = {"servers": {"app": {"count": 2, "level": 2}}}
    found = merged(platform, {}, archetype, {"servers": {"x": {"tier": "gold"}, "app02": {"level": 1}}})
    assert found["servers"] == {
        "app01": {"tier": "silver", "level": 2},
        "app02": {"tier": "silver", "level": 1},
        "x": {"tier": "gold", "level": 3},
    }


def test_null_also_keeps_out_what_the_entry_for_all_says() -> None:
    found = merged({"servers": {"*": {"pair": "p", "cpus": 1}}}, {"servers": {"x": {"pair": None}}})
    assert found["servers"] == {"x": {"cpus": 1}}


def written(tmp_path: Path, *texts: str) -> Merged:
    found = []
    for name, text in zip(NAMES, texts, strict=False):
        file = tmp_path / f"{name}.yaml"
        file.write_text(text, encoding="utf-8")
        located, findings = read_yaml(file)
        assert findings == []
        found.append(layer_of(name, located))
    return merge(found)


def test_every_value_knows_where_it_was_written_and_what_it_overrides(tmp_path: Path) -> None:
    layers = written(
        tmp_path,
        'servers:\n  "*": {tier: silver}\n',
        "{}",
        "servers:\n  app: {count: 2, cpus: 2}\n  app02: {cpus: 4}\nlist: [a, b]\n",
        "servers:\n  app02:\n    cpus: 8\nlist: [c]\n",
    )

    def said(*loc: str | int) -> list[tuple[str, int, Any]]:
        return [(o.layer.name, o.place.line, o.value) for o in layers.origins(loc)]

    assert said("servers", "app02", "cpus") == [("declaration", 3, 8), ("archetype", 3, 4), ("archetype", 2, 2)]
    assert said("servers", "app01", "cpus") == [("archetype", 2, 2)]
    assert said("servers", "app01", "tier") == [("platform default", 2, "silver")]
    assert said("list") == [("declaration", 4, ["c"]), ("archetype", 4, ["a", "b"])]
    assert said("list", 0) == [("declaration", 4, "c"), ("archetype", 4, "a")]
    assert said("list", 1) == []
    assert layers.place(("servers", "app01", "nonsense")).file.name == "archetype.yaml"
    assert layers.written(("servers", "app01", "cpus")) == ("servers", "app", "cpus")
    assert layers.nearest(("servers", "app01", "cpus"), ("servers", "app02", "cpus")).file.name == "declaration.yaml"


def test_a_removed_value_is_placed_where_it_is_removed(tmp_path: Path) -> None:
    layers = written(tmp_path, "t: {a: {x: 1}}\n", "\nt:\n  a: null\n")
    assert layers.origins(("t", "a", "x")) == []
    assert (layers.place(("t", "a")).file.name, layers.place(("t", "a")).line) == ("profile.yaml", 3)
    assert layers.removed_at(("t", "a")) == layers.place(("t", "a"))


keys = st.sampled_from(["a", "b", "c", "d"])
leaves = st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=2)
tables = st.recursive(
    st.dictionaries(keys, leaves | st.none(), max_size=4),
    lambda inner: st.dictionaries(keys, inner | leaves | st.none(), max_size=4),
    max_leaves=8,
)


def nulls_gone(data: Any) -> Any:
    return {k: nulls_gone(v) for k, v in data.items() if v is not None} if isinstance(data, dict) else data


def paths(data: Any, loc: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(data, dict):
        return [(loc, data)]
    return [found for key, value in data.items() for found in paths(value, (*loc, key))]


@given(tables)
def test_one_layer_alone_is_itself(data: dict[str, Any]) -> None:
    assert merged(data) == nulls_gone(data)


@given(tables, tables)
def test_a_layer_that_says_nothing_changes_nothing(far: dict[str, Any], near: dict[str, Any]) -> None:
    assert merged(far, {}, near, {}) == merged(far, near)


@given(tables)
def test_the_same_layer_twice_is_the_layer(data: dict[str, Any]) -> None:
    assert merged(data, data) == merged(data)


@settings(max_examples=300)
@given(tables, tables, tables)
def test_every_value_is_that_of_its_first_origin(
    far: dict[str, Any], middle: dict[str, Any], near: dict[str, Any]
) -> None:
    found = merge(layers(far, middle, near))
    for loc, value in paths(found.data):
        origins = found.origins(loc)
        if value == {} and not origins:
            continue
        assert origins[0].value == value or (value == {} and isinstance(origins[0].value, dict))
        positions = [found.layers.index(origin.layer) for origin in origins]
        assert positions == sorted(positions, reverse=True)


@given(tables, tables)
def test_what_the_nearest_layer_says_holds(far: dict[str, Any], near: dict[str, Any]) -> None:
    found = dict(paths(merged(far, near)))
    for loc, value in paths(nulls_gone(near)):
        if value != {}:
            assert found[loc] == value
