"""What modules have in common: the situation they work in, and how they fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ksm_onboard.lab.windows.machine import Machine, Offers

Answer = dict[str, Any]


class FailedError(Exception):
    """A module fails, as it documents; ``more`` is returned beside the message."""

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.more = more


@dataclass
class Situation:
    """One call of a module: the host, which the module changes, and what it is asked for beside its arguments."""

    machine: Machine
    offers: Offers = field(default_factory=Offers)
    check_mode: bool = False
    diff: bool = False

    def shown(self, before: Any, after: Any) -> Answer:
        """The difference for people, if it was asked for."""
        return {"diff": {"before": before, "after": after}} if self.diff else {}

    def require_disk(self) -> None:
        """Fail where the disk is full; to be called by whoever writes files."""
        if self.machine.misbehaviour == "disk-full":
            raise FailedError("There is not enough space on the disk. (Exception from HRESULT: 0x80070070)")
