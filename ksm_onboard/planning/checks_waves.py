"""Whether the waves of a member can be carried out in order and on days on which that is allowed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import date

from ksm_onboard.declaration.findings import Finding, some
from ksm_onboard.declaration.models import Freeze, Wave
from ksm_onboard.planning.checks import Scope, unknown


def check_waves(scope: Scope) -> list[Finding]:
    """Findings about the waves' order and days."""
    return [finding for check in _CHECKS for finding in check(scope)]


def _predecessors(scope: Scope) -> Iterator[Finding]:
    waves = scope.declared.waves
    for key, wave in waves.items():
        for index, earlier in enumerate(wave.after):
            if earlier not in waves and not scope.file.mentions("waves", earlier):
                place = scope.file.place("waves", key, "after", index)
                yield unknown("wave-unknown", f"{key}: the wave", earlier, waves, place)
        for index, application in enumerate(wave.blocking_applications):
            if application not in scope.catalogue:
                place = scope.file.place("waves", key, "blocking_applications", index)
                yield unknown("application-unknown", f"{key}: the application", application, scope.catalogue, place)
    for ring in _rings(waves):
        yield Finding(
            rule="wave-cycle",
            place=scope.member.nearest(*(("waves", key, "after") for key in ring)),
            message="these waves wait for each other in a circle: " + " → ".join((*ring, ring[0])),
            value=ring[0],
            hint="remove one of them from after",
        )


def _rings(waves: Mapping[str, Wave]) -> list[tuple[str, ...]]:
    """Every circle of waves once, beginning with its alphabetically first."""
    rings: set[tuple[str, ...]] = set()
    done: set[str] = set()

    def walk(key: str, path: tuple[str, ...]) -> None:
        if key in path:
            ring = path[path.index(key) :]
            first = ring.index(min(ring))
            rings.add(ring[first:] + ring[:first])
        elif key in waves and key not in done:
            for earlier in waves[key].after:
                walk(earlier, (*path, key))
            done.add(key)

    for key in sorted(waves):
        walk(key, ())
    return sorted(rings)


def _days(scope: Scope) -> Iterator[Finding]:
    tables: list[tuple[str, Mapping[str, Wave | Freeze]]] = [
        ("waves", scope.declared.waves),
        ("freezes", scope.declared.freezes),
    ]
    for table, entries in tables:
        for key, entry in entries.items():
            if entry.last_day is not None and entry.first_day is None:
                yield Finding(
                    rule="wave-days",
                    place=scope.file.place(table, key, "last_day"),
                    message=f"{table}.{key} has a last day and no first one",
                    value=str(entry.last_day),
                    hint="state first_day, too",
                )
            elif entry.first_day is not None and entry.last_day is not None and entry.last_day < entry.first_day:
                yield Finding(
                    rule="wave-days",
                    place=scope.member.nearest((table, key, "last_day"), (table, key, "first_day")),
                    message=f"{table}.{key} ends on {entry.last_day}, before it begins on {entry.first_day}",
                    value=str(entry.last_day),
                    allowed=f"{entry.first_day} or later",
                )


def _order(scope: Scope) -> Iterator[Finding]:
    waves = scope.declared.waves
    too_early: dict[str, list[str]] = defaultdict(list)
    for key, wave in waves.items():
        for earlier in _all_before(key, waves):
            if wave.first_day is None or (finished := _last_day(waves[earlier])) is None:
                continue
            if wave.first_day <= finished:
                too_early[earlier].append(key)
    for earlier, later in too_early.items():
        finished = _last_day(waves[earlier])
        if len(later) > 1:
            # It is the one that stands in the way of all of them.
            yield Finding(
                rule="wave-order",
                place=scope.member.nearest(("waves", earlier, "last_day"), ("waves", earlier, "first_day")),
                message=f"the wave {earlier} ends on {finished}, and waves that come after it have begun by then: "
                + some([f"{key} ({waves[key].first_day})" for key in later]),
                value=str(finished),
                allowed=f"a day before {min(day for key in later if (day := waves[key].first_day) is not None)}",
                hint="move it, or the waves after it, or change after",
            )
            continue
        wave = waves[later[0]]
        yield Finding(
            rule="wave-order",
            place=scope.member.nearest(("waves", later[0], "first_day"), ("waves", earlier, "last_day")),
            message=f"the wave {later[0]} begins on {wave.first_day}, "
            f"and {earlier}, which comes before it, ends on {finished}",
            value=str(wave.first_day),
            allowed=f"a day after {finished}",
            hint="move one of them, or change after",
        )


def _all_before(key: str, waves: Mapping[str, Wave]) -> list[str]:
    """Every wave that must be finished before ``key``, directly or through others."""
    before: dict[str, None] = {}
    pending = list(waves[key].after)
    while pending:
        earlier = pending.pop(0)
        if earlier in waves and earlier not in before and earlier != key:
            before[earlier] = None
            pending.extend(waves[earlier].after)
    return list(before)


def _last_day(wave: Wave) -> date | None:
    """The day on which the wave is finished, as far as it is known: a wave without a last day takes one day."""
    return wave.last_day or wave.first_day


def _freezes(scope: Scope) -> Iterator[Finding]:
    for name, freeze in scope.declared.freezes.items():
        for index, department in enumerate(freeze.departments or ()):
            known = scope.declared.departments
            if department not in known and not scope.file.mentions("departments", department):
                place = scope.file.place("freezes", name, "departments", index)
                # A freeze that members share names departments that only some of them have.
                if place.file != scope.file.file:
                    continue
                yield unknown("department-unknown", f"{name}: the department", department, known, place)
    departments: dict[str, set[str]] = defaultdict(set)
    for switched, department in {(row.wave, row.department) for row in scope.member.devices.rows}:
        departments[switched].add(department)
    for group in scope.declared.workstations.values():
        departments[group.wave].add(group.department)
    for key, wave in scope.declared.waves.items():
        if wave.first_day is None or (last := _last_day(wave)) is None:
            continue
        for name, freeze in scope.declared.freezes.items():
            if last < freeze.first_day or wave.first_day > freeze.last_day:
                continue
            concerned = sorted(departments[key] & set(freeze.departments)) if freeze.departments is not None else []
            if freeze.departments is not None and not concerned:
                continue
            place = scope.member.nearest(("waves", key, "first_day"), ("waves", key, "last_day"))
            yield Finding(
                rule="wave-in-freeze",
                place=place,
                message=f"the wave {key} ({wave.first_day} to {last}) lies in the freeze {name}, "
                f"{freeze.first_day} to {freeze.last_day}: {freeze.reason}"
                + (f"; it has devices of {', '.join(concerned)}" if concerned else ""),
                value=str(wave.first_day),
                allowed=f"before {freeze.first_day} or after {freeze.last_day}",
                hint="move the wave" + (", or put these departments into another one" if concerned else ""),
            )


_CHECKS: tuple[Callable[[Scope], Iterator[Finding]], ...] = (_predecessors, _days, _order, _freezes)
