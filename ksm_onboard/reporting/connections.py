"""Which connections are open between zones, in the protocol's words: a matrix, a list, and the proof with packets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from ksm_onboard.firewall.record import ProofRecord
from ksm_onboard.planning.flows import EVERY_SERVER
from ksm_onboard.planning.plan import FlowEndPlan, MemberPlan, Plan
from ksm_onboard.reporting import wording

OUTSIDE = "außerhalb"
_SURPRISES_SHOWN = 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Connection(_Part):
    """Connections that may be opened for one reason; ``number`` is what the matrix shows."""

    number: int
    reason: str
    services: tuple[str, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]


class MatrixRow(_Part):
    """A zone and what may be opened from it: for each zone, and outside, the numbers of connections."""

    zone: str
    cells: tuple[tuple[int, ...], ...]


class Proof(_Part):
    """The proof with packets, made in the lab; ``surprises`` are the first of ``surprising``."""

    at: datetime
    hosts: int
    tried: int
    allowed: int
    refused: int
    tricks: int
    surprising: int
    surprises: tuple[str, ...]


class Connections(_Part):
    """Everything about connections between zones. What is not listed is refused."""

    zones: tuple[str, ...]
    matrix: tuple[MatrixRow, ...]
    listed: tuple[Connection, ...]
    proof: Proof | None


def connections(plan: Plan, proof: ProofRecord | None, zone: ZoneInfo) -> Connections:
    """The open connections of a member; ``proof`` is the one that was kept, its time told in ``zone``."""
    member = plan.member
    numbers = {flow.key: number for number, flow in enumerate(member.flows, start=1)}
    between: dict[tuple[str | None, str | None], set[int]] = defaultdict(set)
    for flow in member.flows:
        for rule in flow.rules:
            if not rule.switched:
                between[rule.source.zone, rule.target.zone].add(numbers[flow.key])
    places: list[str | None] = [*(z.key for z in member.zones), None]
    titles: dict[str | None, str] = {None: OUTSIDE, **{zone.key: zone.title for zone in member.zones}}
    shown = [titles[place] for place in places]
    return Connections(
        zones=tuple(shown),
        matrix=tuple(
            MatrixRow(zone=title, cells=tuple(tuple(sorted(between[place, other])) for other in places))
            for title, place in zip(shown, places, strict=True)
        ),
        listed=tuple(_listed(plan)),
        proof=_proof(proof, zone) if proof is not None else None,
    )


def reached_from(member: MemberPlan, zone: str) -> tuple[str, ...]:
    """The titles of the zones that may open connections into ``zone``, and ``außerhalb``."""
    sources = {
        rule.source.zone
        for flow in member.flows
        for rule in flow.rules
        if rule.target.zone == zone and not rule.switched
    }
    titles = [other.title for other in member.zones if other.key in sources]
    return (*titles, OUTSIDE) if None in sources else tuple(titles)


def open_points(proof: ProofRecord | None) -> Iterator[tuple[str, str]]:
    """What somebody still has to see to: nothing where every connection did as planned."""
    if proof is None:
        yield "Nicht geprüft", "Erlaubte und verbotene Verbindungen zwischen den Netzzonen wurden nicht erprobt."
    elif not proof.result.holds:
        first = f", zuerst {proof.result.surprises[0]}" if proof.result.surprises else ""
        number = wording.counted(proof.result.surprising, "Verbindung verhielt", "Verbindungen verhielten")
        yield "Abweichung", f"Erprobung der Netzzonen: {number} sich anders als geplant{first}."


def _proof(proof: ProofRecord, zone: ZoneInfo) -> Proof:
    result = proof.result
    return Proof(
        at=proof.at.astimezone(zone),
        surprises=tuple(str(surprise) for surprise in result.surprises[:_SURPRISES_SHOWN]),
        **result.model_dump(include={"hosts", "tried", "allowed", "refused", "tricks", "surprising"}),
    )


def _listed(plan: Plan) -> Iterator[Connection]:
    services = {service.key: service.title for service in plan.platform.services}
    for number, flow in enumerate(plan.member.flows, start=1):
        yield Connection(
            number=number,
            reason=flow.reason,
            services=tuple(services[key] for key in flow.services),
            sources=_ends(plan, [rule.source for rule in flow.rules]),
            targets=_ends(plan, [rule.target for rule in flow.rules]),
        )


def _ends(plan: Plan, ends: list[FlowEndPlan]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_end(plan, end) for end in ends))


def _end(plan: Plan, end: FlowEndPlan) -> str:
    """An end in words: the zone's title, with the servers where it is not the whole zone."""
    if end.zone is None:
        return _outside(plan, end.name)
    zone = next(zone for zone in plan.member.zones if zone.key == end.zone)
    if end.networks == (zone.cidr,):
        return zone.title
    if end.name.endswith(f", {EVERY_SERVER}"):
        return f"{zone.title} (alle Server)"
    addresses = {network.network_address for network in end.networks}
    names = [server.name for server in plan.member.servers if server.address in addresses]
    return f"{zone.title} ({wording.name_ranges(names)})"


def _outside(plan: Plan, name: str) -> str:
    kind, _, key = name.rpartition(":")
    if kind == "data-centre":
        title = next((shared.title for shared in plan.platform.shared_networks if shared.key == key), key)
        return f"Rechenzentrum: {title}"
    if kind == "legacy":
        return f"Altnetz {key}"
    if kind == "member":
        return f"Mitglied {key.replace('/', ', Zone ')}"
    return {"internet": "Internet", "federal": "Register des Bundes"}[name]
