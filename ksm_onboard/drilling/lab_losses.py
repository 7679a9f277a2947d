"""Losing things for real, in the lab."""

from __future__ import annotations

from ksm_onboard.drilling.loss import Loss
from ksm_onboard.lab.losses import Control, Datastore, Host, Link, Losable, Section


class LabLosses:
    """The losses of a running lab, by its name. Errors are those of ``lab.losses.Control``."""

    def __init__(self, lab: str) -> None:
        self._control = Control.of(lab)

    def lose(self, loss: Loss) -> None:
        """It fails now; HA begins to restart what it can."""
        self._control.lose(_losable(loss))

    def restore(self, loss: Loss) -> None:
        """It comes back; DRS begins to move what the rules want elsewhere."""
        self._control.restore(_losable(loss))


def _losable(loss: Loss) -> Losable:
    match loss.kind:
        case "section":
            return Section(loss.name)
        case "host":
            return Host(loss.name)
        case "datastore":
            return Datastore(loss.name)
        case "link":
            return Link(loss.name, loss.uplink or "")
