"""Whether the software depots serve what was published, to somebody who trusts the data centre's root only. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ksm_onboard.depot.serving import Answer
from ksm_onboard.verifying.audit_report import Area
from ksm_onboard.verifying.comparison import Comparison


@dataclass(frozen=True)
class DepotsSeen:
    """What each depot answered, by name, and the id of the publication that all of them should serve."""

    published: str | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)


def compare_depots(seen: DepotsSeen, now: datetime, points: Comparison) -> None:
    """Every depot serves the newest publication, and machines still accept it."""
    for name, answer in seen.answers.items():
        how = f"https {name}"
        if isinstance(answer, str):
            points.same(Area.MACHINES, name, "depot", "serves", answer, how=how)
            continue
        points.same(Area.MACHINES, name, "publication", seen.published, answer.id, how=how)
        valid = "yes" if now < answer.valid_until else f"no longer since {answer.valid_until:%Y-%m-%d}"
        points.same(Area.MACHINES, name, "publication_valid", "yes", valid, how=how)
