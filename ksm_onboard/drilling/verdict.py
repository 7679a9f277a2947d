"""From what was seen to what it means: how long each service was away, and whether that keeps its promise. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ksm_onboard.drilling.watching import Change
from ksm_onboard.planning.plan import ItServicePlan

Outcome = Literal["stayed", "returned", "lost"]
_SECONDS_PER_HOUR = 3600


class ServiceVerdict(BaseModel):
    """What happened to a service.

    ``away_seconds`` is the longest time without an answer of any of its servers, counted to the end of the watch
    if it never came back; ``back_after_seconds`` counts from the loss. ``kept``: within its recovery time objective
    (RTO); None where none is promised. ``left`` names its servers that still answered when the watch ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    title: str
    service_level: int
    rto_hours: int | None
    outcome: Outcome
    away_seconds: float
    back_after_seconds: float | None
    kept: bool | None
    servers: tuple[str, ...]
    left: tuple[str, ...]


def verdict(
    service: ItServicePlan, changes: Mapping[tuple[str, str], Sequence[Change]], watched_seconds: float
) -> ServiceVerdict:
    """The verdict on one service after ``watched_seconds`` since the loss."""
    seen = {server: changes.get((service.key, server), ()) for server in service.servers}
    gaps = _gaps(seen.values(), watched_seconds)
    longest = max((end - begin for begin, end in gaps), default=0.0)
    lost = bool(gaps) and gaps[-1][1] >= watched_seconds
    outcome: Outcome = "lost" if lost else "returned" if gaps else "stayed"
    within = None
    if service.rto_hours is not None:
        within = not lost and longest <= service.rto_hours * _SECONDS_PER_HOUR
    return ServiceVerdict(
        key=service.key,
        title=service.title,
        service_level=service.service_level,
        rto_hours=service.rto_hours,
        outcome=outcome,
        away_seconds=round(longest, 1),
        back_after_seconds=round(gaps[-1][1], 1) if gaps and not lost else None,
        kept=within,
        servers=service.servers,
        left=tuple(server for server, told in seen.items() if told and told[-1].answers),
    )


def _gaps(servers: Iterable[Sequence[Change]], end: float) -> list[tuple[float, float]]:
    """The spans in which no server answered, up to ``end``; from before the loss only what reaches over it."""
    timelines = [list(changes) for changes in servers]
    moments = [-inf, *sorted({change.at for changes in timelines for change in changes if change.at <= end})]
    gaps: list[tuple[float, float]] = []
    begin: float | None = None
    for moment in moments:
        up = any(_at(changes, moment) for changes in timelines)
        if not up and begin is None:
            begin = moment
        elif up and begin is not None:
            gaps.append((begin, moment))
            begin = None
    if begin is not None:
        gaps.append((begin, end))
    return [(max(begin, 0.0), until) for begin, until in gaps if until > 0]


def _at(changes: Sequence[Change], moment: float) -> bool:
    """The state at ``moment``; before its first change a server counts as silent."""
    state = False
    for change in changes:
        if change.at > moment:
            break
        state = change.answers
    return state
