"""From answers seen to verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.drilling.verdict import ServiceVerdict, verdict
from ksm_onboard.drilling.watching import Change
from ksm_onboard.planning.plan import ItServicePlan

UP, DOWN = True, False
PAIR = ItServicePlan(
    key="dns", title="Namensauflösung", probe="dns", servers=("dns01", "dns02"), service_level=1, rto_hours=4
)


def judged(*servers: list[tuple[float, bool]], watched: float = 100, rto_hours: int | None = 4) -> ServiceVerdict:
    service = PAIR.model_copy(update={"servers": PAIR.servers[: len(servers)], "rto_hours": rto_hours})
    changes = {
        ("dns", name): [Change(at, state) for at, state in told]
        for name, told in zip(service.servers, servers, strict=True)
    }
    return verdict(service, changes, watched)


def test_a_service_stays_as_long_as_one_server_answers() -> None:
    found = judged([(-5, UP), (1, DOWN), (60, UP)], [(-5, UP), (61, DOWN), (70, UP)])
    assert (found.outcome, found.away_seconds, found.kept) == ("stayed", 0, True)
    assert found.back_after_seconds is None
    assert found.left == ("dns01", "dns02")


def test_a_service_whose_servers_all_fall_silent_is_away_until_the_first_answers_again() -> None:
    found = judged([(-5, UP), (1, DOWN), (31, UP)], [(-5, UP), (2, DOWN)])
    assert (found.outcome, found.away_seconds, found.back_after_seconds) == ("returned", 29, 31)
    assert found.kept is True
    assert found.left == ("dns01",)


def test_the_longest_of_several_gaps_counts() -> None:
    found = judged([(-5, UP), (1, DOWN), (4, UP), (10, DOWN), (40, UP)])
    assert (found.away_seconds, found.back_after_seconds) == (30, 40)


def test_what_does_not_answer_when_the_watch_ends_is_lost() -> None:
    found = judged([(-5, UP), (1, DOWN)])
    assert (found.outcome, found.away_seconds, found.kept, found.left) == ("lost", 99, False, ())


def test_what_never_answered_is_lost_from_the_beginning() -> None:
    assert judged([(-5, DOWN)]).away_seconds == 100
    assert judged([]).outcome == "lost"


@pytest.mark.parametrize(("rto_hours", "kept"), [(0, False), (1, True), (None, None)])
def test_the_promise_is_kept_only_within_its_hours(rto_hours: int | None, kept: bool | None) -> None:
    assert judged([(-5, UP), (1, DOWN), (31, UP)], rto_hours=rto_hours).kept is kept


def test_a_silence_before_the_loss_does_not_count() -> None:
    assert judged([(-9, UP), (-5, DOWN), (-4, UP)]).outcome == "stayed"


@given(st.lists(st.lists(st.integers(-50, 99), max_size=8, unique=True).map(sorted), min_size=1, max_size=2))
def test_it_agrees_with_asking_second_by_second(moments: list[list[int]]) -> None:
    """The same question, answered the slow way: is any server up in this second?"""
    timelines = [[(float(at), index % 2 == 0) for index, at in enumerate(told)] for told in moments]

    def up(second: int) -> bool:
        return any(next((state for at, state in reversed(told) if at <= second), False) for told in timelines)

    longest = current = 0
    for second in range(100):
        current = 0 if up(second) else current + 1
        longest = max(longest, current)
    found = judged(*timelines)
    assert found.away_seconds == longest
    assert (found.outcome == "lost") is not up(99)
    assert (found.outcome == "stayed") is (longest == 0)
