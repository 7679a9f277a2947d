"""Gates between waves, first days, windows and freezes: decided from what is handed in, and from nothing else."""

from __future__ import annotations

from datetime import date, datetime, time

import pytest

from ksm_onboard.planning.plan import FreezePlan, MemberPlan, Plan, WavePlan, WindowPlan
from ksm_onboard.planning.waves import Standing, decide, due, gate, in_order, of_wave

NOON = datetime(2027, 2, 10, 12, 0)
DONE, FAILED, OFF = Standing("done"), Standing("failed", "no room"), Standing("off")


def wave(key: str, after: tuple[str, ...] = (), **fields: object) -> WavePlan:
    written = {"title": "", "first_day": None, "last_day": None}
    return WavePlan.model_validate({**written, "key": key, "after": after, **fields})


@pytest.fixture
def member(plan: Plan) -> MemberPlan:
    """Ten workplaces in a pilot, ten in the second wave."""
    machines = [
        machine.model_copy(update={"wave": "pilot" if number < 10 else "zweite", "department": "bauamt"})
        for number, machine in enumerate(plan.member.workstations[:20])
    ]
    return plan.member.model_copy(
        update={"workstations": tuple(machines), "waves": (wave("pilot"), wave("zweite")), "freezes": ()}
    )


def pilot(member: MemberPlan, *standings: Standing) -> dict[str, Standing]:
    """How the pilot's machines stand: as given, the others done."""
    names = [machine.name for machine in of_wave(member, "pilot")]
    return dict.fromkeys(names, DONE) | dict(zip(names, standings, strict=False))


def with_waves(member: MemberPlan, *waves: WavePlan) -> MemberPlan:
    return member.model_copy(update={"waves": waves})


def second(member: MemberPlan, standings: dict[str, Standing], now: datetime = NOON, **more: bool) -> str:
    return decide(member, "zweite", now=now, standings=standings, begun={"pilot"}, **more).refusal


def test_the_second_wave_waits_for_the_pilot_and_its_gate(member: MemberPlan) -> None:
    assert decide(member, "pilot", now=NOON, standings={}, begun=()).hosts == tuple(
        machine.name for machine in of_wave(member, "pilot")
    )
    refused = decide(member, "zweite", now=NOON, standings={}, begun=())
    assert refused.refusal == "wave 'pilot' has not been run yet"
    assert "--wave pilot" in refused.hint
    assert not refused.hosts
    assert second(member, pilot(member)) == ""
    assert "not tried yet" in second(member, pilot(member, Standing()))


def test_more_failures_than_allowed_close_the_gate_and_exactly_as_many_do_not(member: MemberPlan) -> None:
    assert second(member, pilot(member, FAILED)) == ""
    closed = second(member, pilot(member, FAILED, FAILED))
    first, other = (machine.name for machine in of_wave(member, "pilot")[:2])
    assert closed == f"2 of 10 workplaces of wave 'pilot' failed (20 %, allowed are 10 %): {first}, {other}"
    strict = with_waves(member, wave("pilot", max_failed_percent=0), wave("zweite"))
    assert "1 of 10" in second(strict, pilot(member, FAILED))


def test_what_is_off_is_no_failure_but_counts_as_nothing_either(member: MemberPlan) -> None:
    assert second(member, pilot(member, *[OFF] * 9)) == ""
    assert "1 of 5" in second(member, pilot(member, FAILED, *[OFF] * 5))
    assert "could be reached" in second(member, pilot(member, *[OFF] * 10))


def test_a_blocking_application_closes_the_gate_even_on_one_machine(member: MemberPlan) -> None:
    strict = with_waves(member, wave("pilot", blocking_applications=["allris"]), wave("zweite"))
    lacking = Standing("failed", "allris is missing", ("allris",))
    name = of_wave(member, "pilot")[0].name
    assert second(strict, pilot(member, lacking)) == (
        f"'allris' must work before others follow, and is missing on {name}"
    )
    assert second(member, pilot(member, lacking)) == ""


def test_named_predecessors_replace_the_declared_order(member: MemberPlan) -> None:
    turned = with_waves(member, wave("pilot", ("zweite",)), wave("zweite"))
    assert in_order(turned) == ("zweite", "pilot")
    assert second(turned, {}) == ""
    assert in_order(member) == ("pilot", "zweite")


@pytest.mark.parametrize(
    ("at", "open_"), [("17:59", False), ("18:00", True), ("23:30", True), ("05:59", True), ("06:00", False)]
)
def test_a_window_over_midnight(member: MemberPlan, at: str, *, open_: bool) -> None:
    nightly = WindowPlan(begins=time(18), ends=time(6))
    planned = with_waves(member, wave("pilot"), wave("zweite", window=nightly))
    now = datetime.combine(date(2027, 2, 10), time.fromisoformat(at))
    assert (second(planned, pilot(member), now) == "") is open_
    assert second(planned, pilot(member), now, unscheduled=True) == ""


def test_the_first_day_is_waited_for_unless_somebody_says_otherwise(member: MemberPlan) -> None:
    planned = with_waves(member, wave("pilot"), wave("zweite", first_day=date(2027, 2, 11)))
    assert "begins on 2027-02-11, and it is 2027-02-10" in second(planned, pilot(member))
    assert second(planned, pilot(member), unscheduled=True) == ""
    assert second(planned, pilot(member), datetime(2027, 2, 11, 0, 0)) == ""


def test_a_freeze_holds_its_departments_back_whatever_anybody_says(member: MemberPlan) -> None:
    machines = list(member.workstations)
    machines[0] = machines[0].model_copy(update={"department": "kaemmerei"})
    freeze = FreezePlan(
        key="abschluss", first_day=date(2027, 2, 1), last_day=date(2027, 2, 10), reason="Jahresabschluss",
        departments=("kaemmerei",),
    )  # fmt: skip
    planned = member.model_copy(update={"workstations": tuple(machines), "freezes": (freeze,)})
    decision = decide(planned, "pilot", now=NOON, standings={}, begun=(), unscheduled=True)
    assert decision.held == {machines[0].name: "Jahresabschluss, until 2027-02-10"}
    assert machines[0].name not in decision.hosts
    assert len(decision.hosts) == 9
    assert not decide(planned, "pilot", now=datetime(2027, 2, 11), standings={}, begun=()).held
    everybody = planned.model_copy(update={"freezes": (freeze.model_copy(update={"departments": None}),)})
    assert "keeps still" in decide(everybody, "pilot", now=NOON, standings={}, begun=(), unscheduled=True).refusal


def test_due_is_what_is_not_done_of_waves_that_were_begun(member: MemberPlan) -> None:
    standings = pilot(member, FAILED, OFF, Standing())
    assert due(member, standings, {"pilot"}) == tuple(m.name for m in of_wave(member, "pilot")[:3])
    assert due(member, standings, ()) == ()
    assert len(due(member, standings, {"pilot", "zweite"})) == 13


def test_an_unknown_wave_is_refused_with_those_that_there_are(member: MemberPlan) -> None:
    refused = decide(member, "dritte", now=NOON, standings={}, begun=())
    assert "no wave 'dritte'" in refused.refusal
    assert refused.hint == "its waves: pilot, zweite"


def test_a_wave_without_workplaces_holds_nobody_up(member: MemberPlan) -> None:
    assert gate(member, wave("leer"), {}, ()) == ""
