"""The result of an audit: how many points were compared, what differs, and what nobody looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from ksm_onboard.verifying.host_facts import HostKind


class Area(StrEnum):
    """What a compared point is about."""

    MEMBER = "member"
    NETWORKS = "networks"
    SERVERS = "servers"
    STORAGE = "storage"
    REDUNDANCY = "redundancy"
    PERMISSIONS = "permissions"
    MACHINES = "machines"
    APPLICATIONS = "applications"
    SHARES = "shares"
    PRINTING = "printing"
    DATABASES = "databases"
    PUBLISHING = "publishing"
    NAMES = "names"
    BACKUP = "backup"


class Reason(StrEnum):
    """Why something that is declared was not looked at."""

    NOT_STARTED = "not started in the lab"
    VM_MISSING = "its VM is missing"
    SILENT = "it does not answer"
    PAIR_INCOMPLETE = "a server of the pair is missing"
    NOT_IN_LAB = "the lab's machines cannot run it"
    NOT_ON_WINDOWS = "not asked on Windows"
    NOT_REACHABLE = "no flow lets the monitoring reach it"
    NOT_LINUX = "only planned yet: nothing but Linux is configured"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


DifferenceKind = Literal["missing", "different", "extra"]


class Difference(_Part):
    """One point where what stands is not what was declared.

    ``missing``: declared, but not there; ``extra``: there, but not declared; ``how_seen``: where it was read.
    """

    kind: DifferenceKind
    area: Area
    object: str
    attribute: str
    expected: str
    found: str
    how_seen: str


class NotChecked(_Part):
    """Points that could not be compared, and why. An audit without differences says nothing about them.

    ``what`` is an attribute, or ``everything`` that only the object itself could tell about its area.
    """

    area: Area
    object: str
    what: str
    reason: Reason


class Tally(_Part):
    """How many points of an area were compared. ``applicable`` is false where nothing of the kind is declared."""

    area: Area
    points: int
    differences: int
    applicable: bool


class MachineSeen(_Part):
    """A machine that answered: its system, and what of each application is there.

    An application's parts are its packages, with their versions, or its address in the browser; None: missing.
    """

    name: str
    kind: HostKind
    operating_system: str
    applications: Mapping[str, Mapping[str, str | None]]
    simulated: bool = False
    """Whether a simulation answered and no machine."""


class AuditReport(_Part):
    """One audit of one member. An area that is declared but of which nothing was looked at is not a result.

    ``at`` is when vCenter was read, ``simulated`` whether the data centre is the lab.
    """

    member: str
    data_centre: str
    simulated: bool
    at: datetime
    tallies: tuple[Tally, ...]
    differences: tuple[Difference, ...]
    not_checked: tuple[NotChecked, ...]
    machines: tuple[MachineSeen, ...]

    @model_validator(mode="after")
    def _compared_something(self) -> Self:
        excused = {entry.area for entry in self.not_checked}
        empty = [t.area.value for t in self.tallies if t.applicable and t.points == 0 and t.area not in excused]
        if empty or not self.tallies:
            raise ValueError(f"the audit compared nothing in: {', '.join(empty) or 'any area'}")
        return self

    @property
    def points(self) -> int:
        return sum(tally.points for tally in self.tallies)
