"""What happens on a machine, in which order, and what is named instead of being done."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.planning.resolving import Present, Resolution, Wanted, resolve

KEYS = [f"app{number}" for number in range(8)]


def wish(key: str, *requires: str, conflicts: tuple[str, ...] = (), version: str | None = None) -> Wanted:
    return Wanted(key, "declared", requires, conflicts, version)


def told(resolution: Resolution) -> list[str]:
    return [f"{action.verb} {action.key}" for action in resolution.actions]


def test_requirements_are_installed_first_and_what_is_there_is_kept() -> None:
    resolution = resolve([wish("a", "b"), wish("b", "c"), wish("c")], {"c": Present("1")})
    assert told(resolution) == ["keep c", "install b", "install a"]
    assert not resolution.problems


def test_removals_come_first_dependents_before_what_they_require() -> None:
    present = {"base": Present(), "tool": Present(requires=("base",)), "other": Present(ours=False)}
    assert told(resolve([wish("new")], present)) == ["remove tool", "remove base", "install new"]


def test_what_a_foreign_application_requires_stays() -> None:
    present = {"base": Present(), "deep": Present(), "foreign": Present(ours=False, requires=("base",))}
    present["base"] = Present(requires=("deep",))
    assert told(resolve([], present)) == []


def test_another_version_at_the_source_is_an_update_and_an_unknown_one_is_not() -> None:
    present = {"a": Present("1"), "b": Present("1"), "c": Present()}
    resolution = resolve([wish("a", version="2"), wish("b"), wish("c", version="2")], present)
    assert told(resolution) == ["update a", "keep b", "keep c"]
    assert (resolution.actions[0].was, resolution.actions[0].version) == ("1", "2")


def test_a_cycle_is_named_in_full_and_nothing_of_it_is_installed() -> None:
    resolution = resolve([wish("a", "b"), wish("b", "a"), wish("c", "a"), wish("d")], {})
    assert told(resolution) == ["install d"]
    assert [(p.kind, p.key) for p in resolution.problems] == [("cycle", "a"), ("cycle", "b"), ("missing", "c")]
    assert "a requires b requires a" in resolution.problems[0].message


def test_conflicts_name_both_and_say_whether_the_other_was_there() -> None:
    resolution = resolve(
        [wish("a", conflicts=("b",)), wish("b"), wish("c", conflicts=("x",))], {"x": Present(ours=False)}
    )
    assert told(resolution) == []
    assert [p.message for p in resolution.problems] == [
        "'a' and 'b' cannot be on one machine; both are declared for it",
        "'b' and 'a' cannot be on one machine; both are declared for it",
        "'c' and 'x' cannot be on one machine; 'x' is there and was not installed by us",
    ]


def test_what_we_installed_ourselves_makes_room_for_its_opposite() -> None:
    assert told(resolve([wish("a", conflicts=("old",))], {"old": Present()})) == ["remove old", "install a"]


def test_without_a_licence_neither_it_nor_what_requires_it_is_installed() -> None:
    resolution = resolve([wish("a"), wish("b", "a"), wish("c")], {}, {"a": "held by grabow 2", "z": "not wanted here"})
    assert told(resolution) == ["install c"]
    assert resolution.problems[0].message == "no licence is left for 'a': held by grabow 2"
    assert [p.key for p in resolution.problems] == ["a", "b"]


def test_a_requirement_that_is_not_given_is_named() -> None:
    [problem] = resolve([wish("a", "gone")], {}).problems
    assert (problem.kind, problem.key) == ("missing", "a")
    assert "'gone'" in problem.message


wishes = st.dictionaries(
    st.sampled_from(KEYS),
    st.tuples(st.lists(st.sampled_from(KEYS), max_size=3, unique=True), st.lists(st.sampled_from(KEYS), max_size=1)),
).map(lambda table: [wish(key, *needs, conflicts=tuple(never)) for key, (needs, never) in table.items()])
machines = st.dictionaries(
    st.sampled_from(KEYS), st.builds(Present, version=st.sampled_from([None, "1", "2"]), ours=st.booleans())
)


@given(wishes, machines)
def test_every_order_holds_and_nothing_is_lost(wanted: list[Wanted], present: Mapping[str, Present]) -> None:
    resolution = resolve(wanted, present)
    keys = [action.key for action in resolution.actions]
    assert len(keys) == len(set(keys))
    by_key = {w.key: w for w in wanted}
    accused = {problem.key for problem in resolution.problems}
    # Everything wanted is dealt with or accused; everything of ours that is not wanted goes, or something needs it.
    assert by_key.keys() <= set(keys) | accused
    assert not set(resolution.of("install")) & (present.keys() | accused)
    for key in resolution.of("install"):
        for required in by_key[key].requires:
            assert keys.index(required) < keys.index(key)
            assert required not in resolution.of("remove")
    assert all(present[key].ours and key not in by_key for key in resolution.of("remove"))
    assert not any(present[key].ours is False and key not in by_key for key in keys if key in present)


@given(wishes, machines)
def test_a_machine_that_is_as_resolved_has_nothing_left_to_do(
    wanted: list[Wanted], present: Mapping[str, Present]
) -> None:
    first = resolve(wanted, present)
    after = {key: there for key, there in present.items() if key not in first.of("remove")}
    after |= {key: Present() for key in first.of("install")}
    assert not set(resolve(wanted, after).of("install"))
    assert resolve(wanted, after).of("update") == first.of("update")
