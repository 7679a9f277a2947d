"""The drill: look, foretell, lose, watch, give back, watch again.

Only the lab is ever harmed. On any data centre the same inventory can be read and the loss worked out (``foretell``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Final, Protocol

from ksm_onboard.connection import Connection
from ksm_onboard.drilling.forecast import Fate, forecast
from ksm_onboard.drilling.inventory import Inventory, read_inventory
from ksm_onboard.drilling.loss import Loss, named
from ksm_onboard.drilling.result import DrillResult, Return, expected_services
from ksm_onboard.drilling.verdict import verdict
from ksm_onboard.drilling.watching import Change, Watch, answers, watching
from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.it_services import it_services
from ksm_onboard.planning.plan import ItServicePlan, Plan, ProbeKind
from ksm_onboard.progress import Progress

FIRST_ANSWERS_WITHIN: Final = 30.0
AT_LEAST_WATCHED: Final = 15.0
"""Seconds that are watched even if nothing seems to happen: what falls silent late is seen too."""
SETTLES_WITHIN: Final = 300.0
"""Seconds after which what has not come back counts as not coming back."""
_LOOK_EVERY: Final = 1.0


class LossControl(Protocol):
    """Takes things of a data centre away and gives them back."""

    def lose(self, loss: Loss) -> None: ...

    def restore(self, loss: Loss) -> None: ...


def foretell(connection: Connection, plan: Plan, losses: Sequence[Loss], *, now: datetime) -> DrillResult:
    """What losing all of ``losses`` at once would do to the member now. Reads only.

    Raises NotReadyError if vCenter cannot be read, or not one of the member's servers is there.
    """
    inventory = read_inventory(connection, plan.platform)
    return _foretold(inventory, connection, plan, losses, now)


def drill(
    connection: Connection,
    plan: Plan,
    losses: Sequence[Loss],
    control: LossControl,
    *,
    now: datetime,
    progress: Progress,
    read: Callable[[], Inventory] | None = None,
    ask: Callable[[ProbeKind, str, str], bool] = answers,
) -> DrillResult:
    """Lose it all, watch the member's services, give it back. It is given back whatever happens in between.

    ``read`` and ``ask`` stand for vCenter and the servers; left out, they are asked for real.

    Raises NotReadyError if the data centre is not whole to begin with, or no lab.
    """
    if not connection.simulated:
        raise NotReadyError(
            f"{connection.name} is not a lab: nothing is ever taken away from a real data centre",
            hint="add --forecast: it works out what the loss would do, and only reads",
        )
    look = read or (lambda: read_inventory(connection, plan.platform))
    before = look()
    _must_be_whole(before, plan)
    foretold = _foretold(before, connection, plan, losses, now)
    watched = it_services(plan)
    reachable = {s.name: str(connection.guests.reachable_at(s.address)) for s in plan.member.servers}
    with watching(watched, reachable, plan.member.dns_domain, ask) as watch:
        progress.line(f"watching {len(watched)} services on {len(plan.member.servers)} servers")
        _must_answer(watch, watched)
        progress.step(f"losing {named(losses)}")
        with _lost(control, losses, progress) as zero:
            _until_settled(watch, watched, foretold.fates, zero, progress)
            seconds, changes = time.monotonic() - zero, watch.since(zero)
        displaced, silent = _until_whole(look, plan, watch, watched, progress)
    return foretold.model_copy(
        update={
            "forecast_only": False,
            "watched_seconds": round(seconds, 1),
            "services": tuple(verdict(service, changes, seconds) for service in watched),
            "returns": _returns(changes),
            "displaced": displaced,
            "silent": silent,
        }
    )


def _foretold(
    inventory: Inventory, connection: Connection, plan: Plan, losses: Sequence[Loss], now: datetime
) -> DrillResult:
    own = {server.name for server in plan.member.servers}
    missing = sorted(own - {machine.name for machine in inventory.machines})
    if missing:
        raise NotReadyError(
            f"vCenter has no VM {', '.join(missing)}",
            hint=f"bring the member up first: ksm-onboard up {plan.member.key}",
        )
    fates = forecast(inventory, losses, plan.platform, copies(inventory, plan))
    return DrillResult(
        member=plan.member.key,
        losses=tuple(losses),
        at=now,
        simulated=connection.simulated,
        forecast_only=True,
        fates=tuple(fate for fate in fates if fate.machine in own),
        elsewhere=dict(Counter(fate.outcome for fate in fates if fate.machine not in own)),
        expected=expected_services(it_services(plan), fates),
    )


def copies(inventory: Inventory, plan: Plan) -> dict[str, set[str]]:
    """Datastore → the fire sections that hold a copy of it: as planned, or, of other members, where it is mounted."""
    section_of = plan.platform.section_of_host
    held: dict[str, set[str]] = {}
    for host in inventory.hosts:
        for store in host.datastores:
            held.setdefault(store, set()).add(section_of.get(host.name, ""))
    return held | {store.name: set(store.sections) for store in plan.member.datastores}


def _must_be_whole(inventory: Inventory, plan: Plan) -> None:
    away = [host.name for host in inventory.hosts if not host.connected]
    if away:
        raise NotReadyError(
            f"not connected to vCenter already now: {', '.join(away)}",
            hint="an earlier drill may have been killed: ksm-onboard lab restore gives everything back",
        )
    own = {server.name for server in plan.member.servers}
    off = [machine.name for machine in inventory.machines if machine.name in own and not machine.powered_on]
    if off:
        raise NotReadyError(
            f"not powered on: {', '.join(off)}",
            hint=f"bring the member up first: ksm-onboard onboard {plan.member.key}",
        )


def _must_answer(watch: Watch, watched: Sequence[ItServicePlan]) -> None:
    deadline = time.monotonic() + FIRST_ANSWERS_WITHIN
    while silent := _silent(watch, watched):
        if time.monotonic() > deadline:
            raise NotReadyError(
                f"silent before anything was lost: {', '.join(silent)}",
                hint="ksm-onboard verify names what differs; a drill begins with everything in order",
            )
        time.sleep(_LOOK_EVERY)


def _silent(watch: Watch, watched: Sequence[ItServicePlan]) -> list[str]:
    """Servers that do not answer for a service, as ``server (service)``."""
    return [
        f"{server} ({service.title})"
        for service in watched
        for server in service.servers
        if not watch.now(service.key, server)
    ]


@contextmanager
def _lost(control: LossControl, losses: Sequence[Loss], progress: Progress) -> Iterator[float]:
    """Within the block all of it is lost; gives the moment when the first was."""
    zero = time.monotonic()
    with ExitStack() as given_back:
        for loss in losses:
            given_back.callback(control.restore, loss)
            control.lose(loss)
        given_back.callback(progress.step, f"giving back {named(losses)}")
        yield zero


def _until_settled(
    watch: Watch, watched: Sequence[ItServicePlan], fates: Sequence[Fate], zero: float, progress: Progress
) -> None:
    """Until every server that is expected back answers, or patience ends; but watched for a while in any case."""
    lost = {fate.machine for fate in fates if fate.outcome == "lost"}
    told: set[str] = set()
    while (seconds := time.monotonic() - zero) < SETTLES_WITHIN:
        waiting = [
            server
            for service in watched
            for server in service.servers
            if server not in lost and not watch.now(service.key, server)
        ]
        fresh = set(waiting) - told
        if fresh:
            told |= fresh
            progress.line(f"after {seconds:.0f} s silent: {', '.join(sorted(fresh))}")
        if not waiting and seconds > AT_LEAST_WATCHED:
            return
        time.sleep(_LOOK_EVERY)


def _until_whole(
    look: Callable[[], Inventory], plan: Plan, watch: Watch, watched: Sequence[ItServicePlan], progress: Progress
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Wait until all is back in its section and answers; returns who is not when patience ends."""
    deadline = time.monotonic() + SETTLES_WITHIN
    while True:
        displaced, silent = displaced_servers(look(), plan), tuple(_silent(watch, watched))
        if not displaced and not silent:
            progress.line("everything answers, each server in its fire section")
            return (), ()
        if time.monotonic() > deadline:
            return displaced, silent
        time.sleep(_LOOK_EVERY)


def displaced_servers(inventory: Inventory, plan: Plan) -> tuple[str, ...]:
    """Servers that do not run on a host of the section that they are planned for."""
    section_of = plan.platform.section_of_host
    runs = {machine.name: machine.host for machine in inventory.machines if machine.powered_on}
    return tuple(
        server.name for server in plan.member.servers if section_of.get(runs.get(server.name) or "") != server.section
    )


def _returns(changes: Mapping[tuple[str, str], Sequence[Change]]) -> tuple[Return, ...]:
    """Servers that fell silent after the loss and answered again, in the order of their first answer."""
    first: dict[str, float] = {}
    for (_, server), told in changes.items():
        silent = False
        for change in told:
            if change.at > 0 and not change.answers:
                silent = True
            elif silent and change.answers:
                first[server] = min(first.get(server, change.at), change.at)
                break
    return tuple(
        Return(server=server, after_seconds=round(at, 1))
        for server, at in sorted(first.items(), key=lambda item: (item[1], item[0]))
    )
