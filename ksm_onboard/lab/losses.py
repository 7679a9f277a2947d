"""Make things in a running lab fail and come back, as drills and tests need it.

Talks to the lab's vCenter over a Unix socket of its own (``lab/vcenter/control.go``), never over the vSphere API:
nothing that works against a real vCenter can do any of this.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.lab.layout import LabPlaces

_ANSWERS_WITHIN = 60.0
_SETTLES_WITHIN = 900.0
"""Seconds. HA may wait for guests of one priority before it starts those of the next."""


class LabFailureError(OnboardError):
    """The lab's vCenter refused a command, or does not come to rest."""


@dataclass(frozen=True)
class Section:
    """A fire section: its hosts, and its copies of datastores."""

    key: str


@dataclass(frozen=True)
class Host:
    """A hypervisor host."""

    name: str


@dataclass(frozen=True)
class Datastore:
    """A datastore, for all its hosts."""

    name: str


@dataclass(frozen=True)
class Link:
    """One uplink of a host."""

    host: str
    uplink: str


Losable = Section | Host | Datastore | Link


class _State(BaseModel):
    model_config = ConfigDict(frozen=True)


class HostState(_State):
    """A hypervisor host."""

    name: str
    section: str
    state: str
    """``connected`` or ``notResponding``, as vCenter shows it."""
    uplinks_lost: tuple[str, ...]


class DatastoreState(_State):
    """A datastore, as all its hosts see it."""

    name: str
    sections: tuple[str, ...]
    """Fire sections that hold a copy."""
    accessible: bool
    capacity_gib: int
    free_gib: int


class MachineState(_State):
    """A VM; templates are none."""

    name: str
    host: str
    power: str
    connection: str
    guest: bool
    """Whether its guest has said that it runs. Not whether its services do."""
    waiting: str = ""
    """Why it ended or still stays down, if HA would restart it."""


class LabState(_State):
    """How everything in the data centre stands."""

    settled: bool
    """HA and DRS have done what they can; guests may still be starting."""
    lost: tuple[dict[str, Any], ...]
    hosts: tuple[HostState, ...]
    datastores: tuple[DatastoreState, ...]
    machines: tuple[MachineState, ...] = Field(default=())

    def machine(self, name: str) -> MachineState:
        """Raises LabFailureError if there is none of that name."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise LabFailureError(f"the lab has no VM called {name}")


class Control:
    """The control socket of a running lab's vCenter.

    Every method raises NotReadyError if there is no such vCenter, LabFailureError if it refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, lab: str) -> Control:
        """That of the lab with this name on this machine."""
        return cls(control_socket(lab))

    def lose(self, what: Losable) -> LabState:
        """Make it fail, and return when its VMs have ended. HA's restarts go on; see ``settled``."""
        return LabState.model_validate(self._ask({"lose": _spelled(what)}))

    def restore(self, what: Losable) -> LabState:
        """Let it come back. HA tries again what it could not restart, and DRS moves VMs where rules want them."""
        return LabState.model_validate(self._ask({"restore": _spelled(what)}))

    def restore_everything(self) -> LabState:
        """Let everything come back that is lost."""
        return LabState.model_validate(self._ask({"restore": {"everything": True}}))

    def state(self) -> LabState:
        return LabState.model_validate(self._ask({"state": {}}))

    def settled(self, within: float = _SETTLES_WITHIN) -> LabState:
        """Wait until HA and DRS have done what they can, at most ``within`` seconds."""
        end = time.monotonic() + within
        while not (now := self.state()).settled:
            if time.monotonic() > end:
                raise LabFailureError(f"HA and DRS did not come to rest within {within:.0f} s")
            time.sleep(0.1)
        return now

    def plan_fault(self, method: str, fault: str, *, name: str = "", message: str = "", times: int = 1) -> None:
        """Answer the next ``times`` calls of a method of the API with a fault of this type.

        ``name`` restricts it to what is called, or made, or configured under that name.
        """
        self._ask({"fault": {"method": method, "name": name, "fault": fault, "message": message, "times": times}})

    def planned_faults(self, *, clear: bool = False) -> list[dict[str, Any]]:
        """Those that have not happened yet; with ``clear`` they never will."""
        return list(self._ask({"faults": {"clear": clear}}))

    def calls(self, *, reset: bool = False) -> dict[str, int]:
        """How often each method of the API was called since the start, or since the last reset."""
        return dict(self._ask({"calls": {"reset": reset}}))

    def _ask(self, command: dict[str, Any]) -> Any:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_ANSWERS_WITHIN)
                connection.connect(str(self._path))
                connection.sendall(json.dumps(command).encode() + b"\n")
                with connection.makefile() as lines:
                    answer: dict[str, Any] = json.loads(lines.readline())
        except TimeoutError:
            raise LabFailureError(f"the lab's vCenter did not answer within {_ANSWERS_WITHIN:.0f} s") from None
        except (OSError, ValueError) as error:
            raise NotReadyError(
                f"nothing answers at {self._path}: {error}", hint="run: ksm-onboard lab up (as root)"
            ) from None
        if "error" in answer:
            raise LabFailureError(f"the lab's vCenter refuses: {answer['error']}")
        return answer["ok"]


def control_socket(lab: str) -> Path:
    """Where the vCenter of a lab listens for what shall fail."""
    return LabPlaces(lab).run / "control"


def _spelled(what: Losable) -> dict[str, Any]:
    match what:
        case Section(key):
            return {"section": key}
        case Host(name):
            return {"host": name}
        case Datastore(name):
            return {"datastore": name}
        case Link(host, uplink):
            return {"link": {"host": host, "uplink": uplink}}
