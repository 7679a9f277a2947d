"""What a drill takes away: fire sections, hosts, datastores, single network links of hosts, in any combination."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.planning.plan import Plan

LossKind = Literal["section", "host", "datastore", "link"]
FORMS = "section-a, host:NAME, datastore:NAME or link:HOST/UPLINK"


class UnknownLossError(OnboardError):
    """What shall be lost is not part of the data centre."""

    exit_code = ExitCode.USAGE


class Loss(BaseModel):
    """One thing that is lost: a section by its key, a host or datastore by its name, a link by host and uplink."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: LossKind
    name: str
    uplink: str | None = None

    def __str__(self) -> str:
        if self.kind == "section":
            return f"section-{self.name.lower()}"
        return f"{self.kind}:{self.name}" + (f"/{self.uplink}" if self.uplink else "")

    def in_words(self) -> str:
        """For the protocol, in German."""
        return {
            "section": f"Ausfall des Brandabschnitts {self.name}",
            "host": f"Ausfall des Hosts {self.name}",
            "datastore": f"Ausfall des Datastores {self.name}",
            "link": f"Ausfall der Netzanbindung {self.uplink} des Hosts {self.name}",
        }[self.kind]


def named(losses: Sequence[Loss]) -> str:
    """Several losses at once, as they are written: ``section-a + datastore:gra-local-b``."""
    return " + ".join(map(str, losses))


def in_words(losses: Sequence[Loss]) -> str:
    """Several losses at once, for the protocol, in German."""
    return ", zugleich ".join(loss.in_words() for loss in losses)


def parse_losses(texts: Iterable[str], plan: Plan, datastores: Iterable[str]) -> tuple[Loss, ...]:
    """Everything that is lost at once, each once and in an order of its own. Raises UnknownLossError."""
    known = tuple(datastores)
    return tuple(sorted({parse_loss(text, plan, known) for text in texts}, key=str))


def parse_loss(text: str, plan: Plan, datastores: Iterable[str]) -> Loss:
    """What ``text`` names in the plan's data centre; ``datastores`` are those whose loss can be drilled.

    Raises UnknownLossError with what there is.
    """
    platform = plan.platform
    hosts = list(platform.section_of_host)
    kind, _, name = text.partition(":")
    if kind.startswith("section-") and not name:
        keys = {section.key.lower(): section.key for section in platform.sections}
        wanted = kind.removeprefix("section-").lower()
        _known(wanted, keys, "fire section", lambda key: f"section-{key}")
        return Loss(kind="section", name=keys[wanted])
    if kind == "host":
        _known(name, hosts, "host", lambda host: f"host:{host}")
        return Loss(kind="host", name=name)
    if kind == "datastore":
        names = list(datastores)
        _known(name, names, "datastore", lambda datastore: f"datastore:{datastore}")
        return Loss(kind="datastore", name=name)
    if kind == "link":
        host, _, uplink = name.partition("/")
        _known(host, hosts, "host", lambda known: f"link:{known}/{platform.uplinks[0]}")
        _known(uplink, platform.uplinks, "uplink", lambda known: f"link:{host}/{known}")
        return Loss(kind="link", name=host, uplink=uplink)
    raise UnknownLossError(f"'{text}' names nothing that can be lost", hint=f"allowed: {FORMS}")


def _known(value: str, known: Iterable[str], what: str, written: Callable[[str], str]) -> None:
    options = sorted(known)
    if value in options:
        return
    close = get_close_matches(value, options, n=1)
    raise UnknownLossError(
        f"the data centre has no {what} '{value}'",
        hint=(f"did you mean {written(close[0])}? " if close else "")
        + "allowed: "
        + (", ".join(written(option) for option in options) or "none"),
    )
