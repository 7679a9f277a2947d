"""What a drill (or a forecast) found, kept for the hand-over protocol: the newest of each combination of losses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ksm_onboard.atomic import write_atomically
from ksm_onboard.drilling.forecast import Fate
from ksm_onboard.drilling.loss import Loss
from ksm_onboard.drilling.verdict import ServiceVerdict
from ksm_onboard.planning.plan import ItServicePlan

ExpectedOutcome = Literal["stays", "returns", "lost"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServiceForecast(_Part):
    """What becomes of a service: it stays while one server stays, it returns with the first that is restarted."""

    key: str
    title: str
    service_level: int
    outcome: ExpectedOutcome
    servers: tuple[str, ...]


class Return(_Part):
    """A server that had fallen silent and answered again, in seconds since the loss."""

    server: str
    after_seconds: float


class DrillResult(_Part):
    """One drill of one member; ``losses`` is what was lost at once.

    ``fates``: what was to be expected of the member's machines; ``elsewhere`` counts the outcomes of all others.
    ``services`` is empty in a forecast, ``returns`` is in the order of the first answer. ``displaced`` names servers
    that did not run in their fire section when the watch after the return ended, ``silent`` those that did not answer.
    """

    member: str
    losses: tuple[Loss, ...]
    at: datetime
    simulated: bool
    forecast_only: bool
    fates: tuple[Fate, ...]
    elsewhere: dict[str, int]
    expected: tuple[ServiceForecast, ...]
    watched_seconds: float = 0
    services: tuple[ServiceVerdict, ...] = ()
    returns: tuple[Return, ...] = ()
    displaced: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def lost(self) -> tuple[Fate, ...]:
        """The member's machines that are not restarted anywhere."""
        return tuple(fate for fate in self.fates if fate.outcome == "lost")

    @property
    def kept(self) -> bool:
        """Every promise kept, and everything back where it belongs; of a forecast: no service is lost."""
        if self.forecast_only:
            return not any(service.outcome == "lost" for service in self.expected)
        return not self.displaced and not self.silent and all(service.kept is not False for service in self.services)

    @property
    def surprises(self) -> tuple[str, ...]:
        """Services for which the forecast was wrong: either the forecast or the data centre is not as we think."""
        seen = {service.key: service.outcome for service in self.services}
        expected = {"stays": "stayed", "returns": "returned", "lost": "lost"}
        return tuple(
            service.key
            for service in self.expected
            if service.key in seen and seen[service.key] != expected[service.outcome]
        )


def expected_services(services: Sequence[ItServicePlan], fates: Iterable[Fate]) -> tuple[ServiceForecast, ...]:
    """What the machines' fates mean for the services."""
    outcomes = {fate.machine: fate.outcome for fate in fates}

    def outcome(service: ItServicePlan) -> ExpectedOutcome:
        of_servers = {outcomes.get(server, "lost") for server in service.servers}
        return "stays" if "stays" in of_servers else "returns" if "restarts" in of_servers else "lost"

    return tuple(
        ServiceForecast(
            key=service.key,
            title=service.title,
            service_level=service.service_level,
            outcome=outcome(service),
            servers=service.servers,
        )
        for service in services
    )


def save_result(result: DrillResult, folder: Path) -> Path:
    """Keep ``result`` in place of an older one of the same losses and kind; returns its file."""
    kind = "forecast" if result.forecast_only else "drill"
    what = "+".join(str(loss).replace(":", "-").replace("/", "-") for loss in result.losses)
    path = folder / f"{kind}-{what}.json"
    write_atomically(path, result.model_dump_json(indent=2) + "\n")
    return path


def load_results(folder: Path) -> tuple[DrillResult, ...]:
    """All kept results, drills before forecasts. A file of another version is not a result any more and is left out."""
    results = []
    for path in sorted(folder.glob("drill-*.json")) + sorted(folder.glob("forecast-*.json")):
        try:
            results.append(DrillResult.model_validate_json(path.read_bytes()))
        except ValidationError:
            continue
    return tuple(results)
