"""What the hand-over protocol says of fail-over drills."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from ksm_onboard.drilling.forecast import Fate
from ksm_onboard.drilling.loss import Loss
from ksm_onboard.drilling.result import DrillResult, Return, ServiceForecast
from ksm_onboard.drilling.verdict import ServiceVerdict
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import find_project
from ksm_onboard.reporting.drills import drills, open_points

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Declarations(find_project()).plan("grabow")


def service(key: str, outcome: str, *, kept: bool) -> ServiceVerdict:
    return ServiceVerdict.model_validate(
        {
            "key": key,
            "title": key.capitalize(),
            "service_level": 2,
            "rto_hours": 8,
            "outcome": outcome,
            "away_seconds": 0 if outcome == "stayed" else 4.2,
            "back_after_seconds": 6.0 if outcome == "returned" else None,
            "kept": kept,
            "servers": ("a", "b"),
            "left": (),
        }
    )


def result(section: str = "A", *services: ServiceVerdict, **changes: object) -> DrillResult:
    told = DrillResult(
        member="grabow",
        losses=(Loss(kind="section", name=section),),
        at=datetime(2027, 3, 1, 18, 0, tzinfo=UTC),
        simulated=True,
        forecast_only=False,
        fates=(Fate(machine="gra-db01", outcome="lost", reason="gra-local-a ist nicht mehr erreichbar"),),
        elsewhere={},
        expected=(),
        watched_seconds=20,
        services=services,
        returns=(Return(server="gra-dns01", after_seconds=3.1),),
    )
    return told.model_copy(update=changes)


def test_a_drill_is_told_with_what_people_would_have_noticed() -> None:
    services = (service("dns", "stayed", kept=True), service("drives", "returned", kept=True))
    [told] = drills([result("A", *services)], BERLIN)
    assert told.what == "Ausfall des Brandabschnitts A"
    assert told.at.hour == 19
    assert [(s.outcome, s.promise) for s in told.services] == [
        ("lief weiter", "eingehalten (8 Std.)"),
        ("kam zurück, 4 s ohne Antwort", "eingehalten (8 Std.)"),
    ]
    assert told.returns == "gra-dns01 nach 3 s"
    assert told.remarks == ("gra-db01: gra-local-a ist nicht mehr erreichbar",)
    assert told.kept


def test_what_did_not_come_back_is_an_open_point(plan: Plan) -> None:
    broken = result("A", service("writing", "lost", kept=False), displaced=("gra-app02",))
    points = list(open_points(plan, [broken, result("B")]))
    assert points == [
        (
            "Schwenktest",
            "Ausfall des Brandabschnitts A (Schwenktest): ohne Eingriff nicht wieder da: Writing; "
            "gra-db01: gra-local-a ist nicht mehr erreichbar; nicht zurück im eigenen Brandabschnitt: gra-app02",
        )
    ]


def test_a_section_that_nobody_drilled_stays_open_and_a_forecast_is_no_drill(plan: Plan) -> None:
    expected = ServiceForecast(key="dns", title="Namen", service_level=1, outcome="returns", servers=("a",))
    forecast = result("B", forecast_only=True, services=(), expected=(expected,), returns=())
    points = list(open_points(plan, [result("A"), forecast]))
    assert points == [("Ausstehend", "Ausfall erproben (Schwenktest): Brandabschnitt B.")]
    [told] = drills([forecast], BERLIN)
    assert told.forecast_only
    assert [(s.outcome, s.promise) for s in told.services] == [("kommt zurück", "nicht gemessen")]
