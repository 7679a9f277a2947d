"""Fail-over drills in the hand-over protocol: what was lost, and what people would have noticed. Texts are German."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from ksm_onboard.drilling.loss import in_words
from ksm_onboard.drilling.result import DrillResult
from ksm_onboard.planning.plan import Plan

_OUTCOMES = {"stayed": "lief weiter", "returned": "kam zurück", "lost": "blieb aus"}
_EXPECTED = {"stays": "läuft weiter", "returns": "kommt zurück", "lost": "bleibt aus"}
_PROMISES = {True: "eingehalten", False: "nicht eingehalten", None: "keine zugesagt"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DrilledService(_Part):
    """What became of a service; ``promise`` says whether it was back within its recovery time."""

    title: str
    level: int
    outcome: str
    promise: str


class Drill(_Part):
    """The newest drill, or forecast of one, of each combination of losses; ``kept``: nothing is left to be done."""

    what: str
    at: datetime
    forecast_only: bool
    services: tuple[DrilledService, ...]
    returns: str
    remarks: tuple[str, ...]
    kept: bool


def drills(results: Sequence[DrillResult], zone: ZoneInfo) -> tuple[Drill, ...]:
    """The kept results as the protocol shows them."""
    return tuple(
        Drill(
            what=in_words(result.losses),
            at=result.at.astimezone(zone),
            forecast_only=result.forecast_only,
            services=tuple(_services(result)),
            returns=", ".join(f"{told.server} nach {told.after_seconds:.0f} s" for told in result.returns),
            remarks=tuple(_remarks(result)),
            kept=result.kept,
        )
        for result in results
    )


def open_points(plan: Plan, results: Sequence[DrillResult]) -> Iterator[tuple[str, str]]:
    """What the drills leave to be done: those that did not go well, and the loss of a section that nobody tried."""
    for result in results:
        if not result.kept:
            what = "Vorhersage" if result.forecast_only else "Schwenktest"
            yield (
                "Schwenktest",
                f"{in_words(result.losses)} ({what}): {'; '.join(_remarks(result)) or 'nicht bestanden'}",
            )
    tried = {
        result.losses[0].name
        for result in results
        if not result.forecast_only and [loss.kind for loss in result.losses] == ["section"]
    }
    missing = [section.name for section in plan.platform.sections if section.key not in tried]
    if plan.member.pairs and missing:
        yield "Ausstehend", f"Ausfall erproben (Schwenktest): {', '.join(missing)}."


def _services(result: DrillResult) -> Iterator[DrilledService]:
    if result.forecast_only:
        for told in result.expected:
            yield DrilledService(
                title=told.title, level=told.service_level, outcome=_EXPECTED[told.outcome], promise="nicht gemessen"
            )
    for seen in result.services:
        outcome = _OUTCOMES[seen.outcome]
        if seen.outcome == "returned":
            outcome += f", {seen.away_seconds:.0f} s ohne Antwort"
        within = f" ({seen.rto_hours} Std.)" if seen.rto_hours is not None else ""
        yield DrilledService(
            title=seen.title, level=seen.service_level, outcome=outcome, promise=_PROMISES[seen.kept] + within
        )


def _remarks(result: DrillResult) -> Iterator[str]:
    lost = [service.title for service in (result.expected if result.forecast_only else result.services)
            if service.outcome == "lost"]  # fmt: skip
    if lost:
        yield f"ohne Eingriff nicht wieder da: {', '.join(lost)}"
    for fate in result.fates:
        if fate.outcome == "lost":
            yield f"{fate.machine}: {fate.reason}"
    if result.silent:
        yield f"antwortet nach der Rückkehr nicht: {', '.join(result.silent)}"
    if result.displaced:
        yield f"nicht zurück im eigenen Brandabschnitt: {', '.join(result.displaced)}"
    if result.surprises:
        yield f"anders als vorhergesagt: {', '.join(result.surprises)}"
