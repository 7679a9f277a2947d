"""How every workplace of a member stands: what is declared for it against what it last told. Pure; asks nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ksm_onboard.planning.plan import MemberPlan
from ksm_onboard.planning.waves import State


class Told(Protocol):
    """What is known of one workplace; ``installed`` holds versions of parts (None: missing) by application."""

    @property
    def at(self) -> datetime: ...
    @property
    def state(self) -> State: ...
    @property
    def reason(self) -> str: ...
    @property
    def checked(self) -> bool: ...
    @property
    def installed(self) -> Mapping[str, Mapping[str, str | None]]: ...


@dataclass(frozen=True)
class WorkplaceStatus:
    """One workplace. ``installed``: versions by application; ``due``: declared, and not known to be there.

    ``checked``: the machine was asked by other means than those that installed. ``since``: None if nothing is known.
    ``stand_ins``: what of ``installed`` is not the product, but the depot's empty stand-in for it.
    """

    name: str
    wave: str
    platform: str
    simulated: bool
    state: State
    since: datetime | None
    checked: bool
    reason: str
    installed: Mapping[str, str]
    due: tuple[str, ...]
    withheld: tuple[str, ...]
    stand_ins: tuple[str, ...]


def workplace_statuses(
    member: MemberPlan,
    told: Mapping[str, Told],
    withheld: Mapping[str, Collection[str]],
    *,
    simulated_platforms: Collection[str],
) -> tuple[WorkplaceStatus, ...]:
    """Every workplace, in the plan's order. ``withheld``: workplaces from which an application was taken back.

    ``simulated_platforms`` are those whose machines are no real ones in this data centre. What is done but was given
    an application since is due again.
    """
    nothing_to_install = {a.key for a in member.applications if not a.packages and not (a.in_browser and a.url)}
    stand_in_on = {a.key: a.stand_in_on for a in member.applications}
    found = []
    for machine in member.workstations:
        known = told.get(machine.name)
        without = {key for key, names in withheld.items() if machine.name in names}
        parts = known.installed if known else {}
        # What has no parts on Linux is nothing that could be missing there.
        expected = [
            key
            for key in machine.applications
            if key not in without and not (machine.platform == "linux" and key in nothing_to_install)
        ]
        there = {
            key: ", ".join(dict.fromkeys(v for v in versions.values() if v)) for key, versions in parts.items()
            if None not in versions.values() and key in machine.applications and key not in without
        }  # fmt: skip
        missing = tuple(key for key in expected if key not in there)
        state: State = known.state if known else "due"
        reason = known.reason if known else ""
        if state == "done" and missing:
            state, reason = "due", f"declared since: {', '.join(missing)}"
        found.append(
            WorkplaceStatus(
                name=machine.name,
                wave=machine.wave,
                platform=machine.platform,
                simulated=machine.platform in simulated_platforms,
                state=state,
                since=known.at if known else None,
                checked=known.checked if known else False,
                reason=reason,
                installed=there,
                due=missing,
                withheld=tuple(sorted(without & set(machine.applications))),
                stand_ins=tuple(key for key in there if machine.platform in stand_in_on.get(key, ())),
            )
        )
    return tuple(found)
