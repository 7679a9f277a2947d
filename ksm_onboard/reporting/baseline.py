"""How far a member fulfils the requirements of BSI IT-Grundschutz that the toolkit knows, and what proves it. Pure.

Three sources: what the policy rules say about the stacks' resources, what the audit found in
vCenter and on machines, and, where nothing else can be asked, what the plan declares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ksm_onboard.planning.plan import Plan
from ksm_onboard.policies.catalogue import entries
from ksm_onboard.policies.judge import Verdict
from ksm_onboard.policies.model import CATALOGUE, EDITION, MANDATORY_LEVELS, NEEDS, Level
from ksm_onboard.verifying.audit_report import Area, AuditReport
from ksm_onboard.verifying.comparison import EVERYTHING

Status = Literal["violated", "waived", "partly", "fulfilled", "not checkable"]
"""``partly``: what was looked at agrees, but not all of it was looked at, or it is only declared."""

STATUSES: tuple[Status, ...] = ("violated", "waived", "partly", "fulfilled", "not checkable")
"""In the order in which they are told, and in which one of them decides for a whole requirement."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Evidence(_Part):
    """What one source says. ``looked_at`` of ``there`` things were judged; ``wrong`` names what does not agree."""

    source: Literal["rule", "machines", "area", "plan", "none"]
    name: str
    looked_at: int = 0
    there: int = 0
    wrong: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        if self.wrong:
            return "violated"
        if self.waived:
            return "waived"
        if not self.looked_at:
            return "not checkable"
        return "partly" if self.looked_at < self.there or self.source == "plan" else "fulfilled"


class Covered(_Part):
    """One requirement. ``wanted``: its level belongs to what the member's protection need makes mandatory."""

    id: str
    title: str
    titel: str
    level: Level
    wanted: bool
    status: Status
    evidence: tuple[Evidence, ...]


class Baseline(_Part):
    """The coverage of all requirements of one member."""

    catalogue: str
    edition: str
    member: str
    requirements: tuple[Covered, ...]

    @property
    def counts(self) -> dict[Status, int]:
        found = Counter(covered.status for covered in self.requirements)
        return {status: found[status] for status in STATUSES}

    @property
    def violated(self) -> tuple[Covered, ...]:
        """What is wanted and not fulfilled."""
        return tuple(covered for covered in self.requirements if covered.wanted and covered.status == "violated")


def baseline(plan: Plan, verdicts: Sequence[Verdict] | None, audit: AuditReport | None) -> Baseline:
    """The coverage for a member.

    ``verdicts`` are those of its stack and of the platform's; None (as for ``audit``) where there is nothing yet.
    """
    protection = plan.member.protection
    needs = list(protection.model_dump().values()) if protection else [NEEDS[-1]]
    levels = MANDATORY_LEVELS[max(needs, key=NEEDS.index)]
    sources = _Sources(plan, verdicts or (), audit)
    return Baseline(
        catalogue=CATALOGUE,
        edition=EDITION,
        member=plan.member.key,
        requirements=tuple(
            _covered(id_, entry, tuple(sources.evidence(id_, entry)), entry["level"] in levels)
            for id_, entry in entries().items()
        ),
    )


def _covered(id_: str, entry: Mapping[str, Any], evidence: tuple[Evidence, ...], wanted: bool) -> Covered:
    return Covered(
        id=id_,
        title=entry["title"],
        titel=entry["titel"],
        level=entry["level"],
        wanted=wanted,
        status=_together([part.status for part in evidence]),
        evidence=evidence,
    )


def _together(statuses: Sequence[Status]) -> Status:
    """Of several sources; where one could not be asked, the others prove a part only."""
    if set(statuses) == {"fulfilled", "not checkable"}:
        return "partly"
    return min(statuses, key=STATUSES.index)


class _Sources:
    def __init__(self, plan: Plan, verdicts: Sequence[Verdict], audit: AuditReport | None) -> None:
        self._plan = plan
        self._verdicts = verdicts
        self._audit = audit

    def evidence(self, id_: str, entry: Mapping[str, Any]) -> Iterator[Evidence]:
        if "unchecked" in entry:
            yield Evidence(source="none", name=entry["unchecked"])
        if entry.get("rules"):
            yield from self._rules(id_)
        for area in entry.get("areas", ()):
            yield self._area(Area(area))
        if "machines" in entry:
            yield self._machines(entry["machines"])
        if "plan" in entry:
            yield from _PLANNED[entry["plan"]](self._plan)

    def _rules(self, id_: str) -> Iterator[Evidence]:
        found = [v for v in self._verdicts if id_ in (requirement.id for requirement in v.rule.requirements)]
        for verdict in found:
            yield Evidence(
                source="rule",
                name=verdict.rule.id,
                looked_at=verdict.judged,
                there=verdict.judged,
                wrong=tuple(f"{f.resource.name}: {f.message}" for f in verdict.findings if not f.waiver),
                waived=tuple(f"{f.resource.name}: {f.message}" for f in verdict.findings if f.waiver),
            )
        if not found:
            yield Evidence(source="rule", name="")

    def _area(self, area: Area) -> Evidence:
        if self._audit is None:
            return Evidence(source="area", name=area.value)
        points = sum(tally.points for tally in self._audit.tallies if tally.area == area)
        gaps = sum(gap.area == area for gap in self._audit.not_checked)
        wrong = [d for d in self._audit.differences if d.area == area]
        return Evidence(
            source="area",
            name=area.value,
            looked_at=points,
            there=points + gaps,
            wrong=tuple(f"{d.object}: {d.attribute}" for d in wrong),
        )

    def _machines(self, asked: Mapping[str, Any]) -> Evidence:
        """Machines that told all of these attributes; an attribute may be a family's first word (``ssh_keys``)."""
        attributes, kind = asked["attributes"], asked.get("kind")
        member = self._plan.member
        servers = [server.name for server in member.servers] if kind != "workstation" else []
        workstations = [workstation.name for workstation in member.workstations] if kind != "server" else []
        planned = [*servers, *workstations]
        if self._audit is None:
            return Evidence(source="machines", name=kind or "", there=len(planned))

        def meant(attribute: str) -> bool:
            return attribute in attributes or attribute.partition(" ")[0] in attributes

        seen = {machine.name for machine in self._audit.machines}
        silent = {
            gap.object
            for gap in self._audit.not_checked
            if gap.area is Area.MACHINES and (gap.what == EVERYTHING or meant(gap.what))
        }
        wrong = [
            f"{d.object}: {d.attribute}"
            for d in self._audit.differences
            if d.area is Area.MACHINES and d.object.partition(":")[0] in planned and meant(d.attribute)
        ]
        return Evidence(
            source="machines",
            name=kind or "",
            looked_at=sum(name in seen and name not in silent for name in planned),
            there=len(planned),
            wrong=tuple(wrong),
        )


def _log_servers(plan: Plan) -> Iterator[Evidence]:
    """Without any, machines agree with a plan that is wrong; with some, machines and collectors prove it."""
    if not plan.platform.baseline.log_servers:
        yield Evidence(source="plan", name="log_servers", wrong=("log_servers",))


def _backups(plan: Plan) -> Iterator[Evidence]:
    """Every data disk has a class and copies, or is declared to need none, which is told like a waiver."""
    disks = [f"{server.name}-{disk.name}" for server in plan.member.servers for disk in server.disks]
    planned = {f"{backup.server}-{backup.name}": backup for backup in plan.member.backups}
    yield Evidence(
        source="plan",
        name="backups",
        looked_at=len(disks),
        there=len(disks),
        wrong=tuple(disk for disk in disks if disk not in planned),
        waived=tuple(f"{d}: {found.reason}" for d in disks if (found := planned.get(d)) and not found.copies),
    )


_PLANNED: Mapping[str, Callable[[Plan], Iterator[Evidence]]] = {"log_servers": _log_servers, "backups": _backups}
