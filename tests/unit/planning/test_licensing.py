"""Seats of pools that all members share: kept, given, released, and named where none is left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.planning.licensing import Holder, assign

A, B, C = Holder("amt", "amt-ws1"), Holder("grabow", "gra-ws1"), Holder("zoo", "zoo-ws1")


def test_whoever_holds_a_seat_keeps_it_and_the_next_in_line_waits() -> None:
    given_out = assign({"cad": 2}, {"cad": [A, B, C]}, {"cad": [C]})
    assert given_out.seats == {"cad": (A, C)}
    assert given_out.given == {"cad": (A,)}
    assert given_out.without == {"cad": (B,)}
    assert given_out.refusals(B) == {"cad": "held by amt 1, zoo 1"}
    assert given_out.refusals(C) == {}


def test_a_seat_that_is_not_wanted_any_more_is_released_and_given_on() -> None:
    given_out = assign({"cad": 1}, {"cad": [B]}, {"cad": [A]})
    assert given_out.released == {"cad": (A,)}
    assert given_out.seats == {"cad": (B,)}


def test_a_pool_that_is_gone_or_shrunk_takes_seats_back() -> None:
    given_out = assign({"cad": 1}, {"cad": [A, B], "gis": [A]}, {"cad": [A, B], "gis": [A]})
    assert given_out.seats == {"cad": (A,)}
    assert given_out.released == {"cad": (B,), "gis": (A,)}


holders = st.lists(st.builds(Holder, st.sampled_from("abc"), st.sampled_from("123")), unique=True)
seats = st.dictionaries(st.sampled_from(["x", "y"]), holders)


@given(st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 6)), seats, seats)
def test_no_pool_is_overdrawn_no_free_seat_is_withheld_and_a_second_look_changes_nothing(
    pools: dict[str, int], wanted: dict[str, list[Holder]], recorded: dict[str, list[Holder]]
) -> None:
    first = assign(pools, wanted, recorded)
    for application, size in pools.items():
        held = first.seats.get(application, ())
        assert len(held) == min(size, len(wanted.get(application, ())))
        assert set(held) <= set(wanted.get(application, ()))
    again = assign(pools, wanted, first.seats)
    assert again.seats == first.seats
    assert not again.given
    assert not again.released
