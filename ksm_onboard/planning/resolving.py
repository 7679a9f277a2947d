"""What has to happen on one machine: from what it shall have and what it has to an ordered list of actions. Pure.

What is wanted and what is there are kept apart: the declaration says the one, the machine itself the other.
Removals come first, what builds on others before them; then everything wanted, what others build on before those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verb = Literal["install", "update", "remove", "keep"]


@dataclass(frozen=True)
class Wanted:
    """An application that the machine shall have.

    ``requires`` are those that must be there before it, ``conflicts`` those that cannot be beside it. ``version`` is
    what its source offers; None where that is not known: then any version that is there is kept.
    """

    key: str
    because: str
    requires: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    version: str | None = None


@dataclass(frozen=True)
class Present:
    """An application that the machine has, in ``version`` where it told. ``ours``: a run of ours installed it."""

    version: str | None = None
    ours: bool = True
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class Action:
    """One step on the machine. ``was`` and ``version``: before and after it, as far as known."""

    verb: Verb
    key: str
    because: str
    was: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Problem:
    """Why an application is not dealt with: the others that stand in its way are named."""

    kind: Literal["cycle", "conflict", "missing", "licence"]
    key: str
    message: str


@dataclass(frozen=True)
class Resolution:
    """The actions in their order. What has a problem, and what requires it, is in no action that installs."""

    actions: tuple[Action, ...]
    problems: tuple[Problem, ...]

    def of(self, verb: Verb) -> tuple[str, ...]:
        """The keys with that verb, in order."""
        return tuple(action.key for action in self.actions if action.verb == verb)


def resolve(
    wanted: Sequence[Wanted], present: Mapping[str, Present], without_licence: Mapping[str, str] | None = None
) -> Resolution:
    """What to do on the machine, in order, and what cannot be done.

    ``present`` holds what the machine has, by key. Something that is there, not wanted and not ``ours`` is left alone.
    ``without_licence`` names wanted applications for which this machine has no seat, and says who holds the seats.
    """
    by_key = {wish.key: wish for wish in wanted}
    problems = [*_cycles(by_key), *_conflicts(by_key, present)]
    problems += [
        Problem("licence", key, f"no licence is left for '{key}': {holders}")
        for key, holders in sorted((without_licence or {}).items())
        if key in by_key and key not in present
    ]
    problems += _missing(by_key)
    blocked = _and_dependents({problem.key for problem in problems}, by_key)
    told = {problem.key for problem in problems}
    problems += [
        Problem(
            "missing", key, f"'{key}' requires {_quoted(r for r in by_key[key].requires if r in blocked)}, see there"
        )
        for key in sorted(blocked - told)
    ]
    removals = [
        Action("remove", key, "not declared for this machine any more", was=present[key].version)
        for key in _removable(by_key, present)
    ]
    rest = [_action(by_key[key], present) for key in _ordered(by_key) if key not in blocked or key in present]
    return Resolution((*removals, *rest), tuple(problems))


def _action(wish: Wanted, present: Mapping[str, Present]) -> Action:
    there = present.get(wish.key)
    if there is None:
        return Action("install", wish.key, wish.because, version=wish.version)
    differs = wish.version is not None and there.version is not None and wish.version != there.version
    return Action(
        "update" if differs else "keep",
        wish.key,
        wish.because,
        was=there.version,
        version=wish.version or there.version,
    )


def _ordered(wanted: Mapping[str, Wanted]) -> list[str]:
    """Requirements first, else as declared."""
    done: dict[str, None] = {}
    entered: set[str] = set()

    def visit(key: str) -> None:
        if key in entered or key not in wanted:
            return
        entered.add(key)
        for required in wanted[key].requires:
            visit(required)
        done[key] = None

    for key in wanted:
        visit(key)
    return list(done)


def _removable(wanted: Mapping[str, Wanted], present: Mapping[str, Present]) -> list[str]:
    """What goes, dependents before what they require. What something that stays requires stays, too."""
    needed = {
        required for key, there in present.items() if key in wanted or not there.ours for required in there.requires
    }
    needed |= {required for wish in wanted.values() for required in wish.requires}
    going = {key for key, there in present.items() if there.ours and key not in wanted}
    # A requirement of something that stays stays, and so do its own requirements.
    while kept := {key for key in going if key in needed}:
        going -= kept
        needed |= {required for key in kept for required in present[key].requires}
    as_wishes = {key: Wanted(key, "", present[key].requires) for key in sorted(going)}
    return list(reversed(_ordered(as_wishes)))


def _cycles(wanted: Mapping[str, Wanted]) -> list[Problem]:
    found: dict[tuple[str, ...], None] = {}
    finished: set[str] = set()

    def walk(key: str, path: tuple[str, ...]) -> None:
        if key in path:
            ring = path[path.index(key) :]
            first = ring.index(min(ring))
            found[ring[first:] + ring[:first]] = None
            return
        if key in finished or key not in wanted:
            return
        for required in wanted[key].requires:
            walk(required, (*path, key))
        finished.add(key)

    for key in sorted(wanted):
        walk(key, ())
    return [
        Problem("cycle", key, f"{' requires '.join((*ring, ring[0]))}: none of them can be first")
        for ring in found
        for key in ring
    ]


def _conflicts(wanted: Mapping[str, Wanted], present: Mapping[str, Present]) -> list[Problem]:
    staying = {key for key, there in present.items() if not there.ours} | wanted.keys()
    pairs = {
        (key, other): None
        for key in sorted(wanted)
        for other in sorted(staying)
        if key != other and (other in wanted[key].conflicts or (other in wanted and key in wanted[other].conflicts))
    }
    return [
        Problem(
            "conflict",
            key,
            f"'{key}' and '{other}' cannot be on one machine; "
            + ("both are declared for it" if other in wanted else f"'{other}' is there and was not installed by us"),
        )
        for key, other in pairs
    ]


def _missing(wanted: Mapping[str, Wanted]) -> list[Problem]:
    return [
        Problem("missing", key, f"'{key}' requires {_quoted(absent)}, which this machine is not given")
        for key, wish in sorted(wanted.items())
        if (absent := [required for required in wish.requires if required not in wanted])
    ]


def _and_dependents(blocked: set[str], wanted: Mapping[str, Wanted]) -> set[str]:
    while more := {key for key, wish in wanted.items() if key not in blocked and blocked & set(wish.requires)}:
        blocked = blocked | more
    return blocked


def _quoted(keys: Iterable[str]) -> str:
    return ", ".join(f"'{key}'" for key in keys)
