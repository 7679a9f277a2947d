"""Where every value of a member comes from: layer, file and line, and what it overrides. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from ksm_onboard.declaration.devices import COLUMNS, DeviceRow
from ksm_onboard.declaration.effective import DeclaredMember
from ksm_onboard.declaration.findings import Place
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.declaration.merging import Merged, Origin
from ksm_onboard.declaration.models import DevicePlatform, MemberDeclaration
from ksm_onboard.declaration.source import Loc
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.applications import of_workstation, required_by, with_requirements


@dataclass(frozen=True)
class Source:
    """A layer that states a value, and where."""

    layer: str
    value: Any
    place: Place


@dataclass(frozen=True)
class Explained:
    """An effective value, its source, and the farther sources that it overrides."""

    path: str
    value: Any
    source: Source
    overrides: tuple[Source, ...] = ()


def explain(
    member: DeclaredMember, catalogue: Mapping[str, CatalogueEntry], path: str | None = None
) -> list[Explained]:
    """Every effective value of ``member``, or those at ``path`` and below (for example ``servers.dns01``).

    Single workstations are explained where the path names one (``devices.gra-ws0001``), datastores and
    what lies on them where it begins with ``datastores``.
    Raises OnboardError where the declaration cannot be read or there is nothing at the path.
    """
    layers = member.layers
    if layers is None:
        raise OnboardError(
            f"the declaration of {member.key} cannot be read",
            hint=f"see: ksm-onboard check {member.key}",
        )
    wanted = tuple(path.split(".")) if path else ()
    if wanted[:1] == ("devices",) and len(wanted) > 1:
        found = [value for value in _device(member, catalogue, wanted[1]) if _below(value.path, wanted)]
    elif wanted == ("devices",):
        found = list(_all_devices(member))
    elif wanted[:1] == ("datastores",):
        found = [value for value in _datastores(member) if _below(value.path, wanted)]
    else:
        found = [_explained(layers, loc) for loc in _leaves(layers.data) if loc[: len(wanted)] == wanted]
    if not found:
        raise _nothing_at(member, layers, path or "")
    return found


def _explained(layers: Merged, loc: Loc) -> Explained:
    first, *others = layers.origins(loc)
    overridden = [origin for origin in others if origin.value != first.value or origin.layer.name != "allocation"]
    return Explained(_dotted(loc), first.value, _source(first), tuple(_source(origin) for origin in overridden))


def _source(origin: Origin) -> Source:
    return Source(origin.layer.name, origin.value, origin.place)


def _leaves(data: Mapping[str, Any], loc: Loc = ()) -> Iterator[Loc]:
    """The paths of everything that is not a table; the sections in the order of the model."""
    sections = list(MemberDeclaration.model_fields)
    keys = sorted(data, key=lambda key: sections.index(key) if key in sections else len(sections)) if not loc else data
    for key in keys:
        value = data[key]
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*loc, key))
        else:
            yield (*loc, key)


def _datastores(member: DeclaredMember) -> Iterator[Explained]:
    """What was given out of the arrays, and which disks lie there."""
    record = member.record
    for name, store in member.allocated.datastores.items():
        for field, value in store.model_dump().items():
            source = Source("allocation", value, record.place("datastores", name, field))
            yield Explained(f"datastores.{name}.{field}", value, source)
        for disk, datastore in member.allocated.disks.items():
            if datastore == name:
                source = Source("allocation", name, record.place("disks", disk))
                yield Explained(f"datastores.{name}.disks.{disk}", name, source)


def _all_devices(member: DeclaredMember) -> Iterator[Explained]:
    """Every workstation in a line of its own."""
    for index, row in enumerate(member.devices.rows):
        shown = f"{row.department}, {row.site}, {row.profile}, {row.platform}, wave {row.wave}"
        yield Explained(f"devices.{row.hostname}", shown, Source("device list", shown, member.devices.place(index)))
    for name, group in member.allocated.workstations.items():
        yield Explained(
            f"devices.{name}", group, Source("allocation", group, member.record.key_place("workstations", name))
        )


def _device(member: DeclaredMember, catalogue: Mapping[str, CatalogueEntry], name: str) -> Iterator[Explained]:
    """One workstation: its cells, its address, its zone, and where each of its applications comes from."""
    at = f"devices.{name}"
    declared, record = member.file.content, member.record
    row = None
    for index, listed in enumerate(member.devices.rows):
        if listed.hostname == name:
            row = listed
            cells = ((column, getattr(row, column)) for column in COLUMNS)
            for column, value in cells:
                if value:
                    yield Explained(
                        f"{at}.{column}", value, Source("device list", value, member.devices.place(index, column))
                    )
    group = member.allocated.workstations.get(name)
    if row is None and declared is not None and group in declared.workstations:
        wanted = declared.workstations[group]
        row = DeviceRow(name, "", "", wanted.site, wanted.department, wanted.profile, wanted.platform, wanted.wave, "")
        yield Explained(f"{at}.hostname", name, Source("allocation", name, record.key_place("workstations", name)))
        for column in ("site", "department", "profile", "platform", "wave"):
            value = getattr(row, column)
            place = member.file.place("workstations", group, column)
            yield Explained(f"{at}.{column}", value, Source("declaration", value, place))
    if row is None:
        return
    if (address := member.allocated.hosts.get(name)) is not None:
        yield Explained(f"{at}.address", address, Source("allocation", address, record.place("hosts", name)))
    if declared is not None and row.profile in declared.profiles and member.layers is not None:
        zone = _explained(member.layers, ("profiles", row.profile, "zone"))
        yield Explained(f"{at}.zone", zone.value, zone.source, zone.overrides)
        yield from _applications(member.layers, declared, catalogue, row, at)


def _applications(
    layers: Merged, declared: MemberDeclaration, catalogue: Mapping[str, CatalogueEntry], row: DeviceRow, at: str
) -> Iterator[Explained]:
    stated: dict[str, Source] = {}
    platform = cast(DevicePlatform, row.platform)
    fields: list[Loc] = [("applications",), ("applications_on", platform), ("extra_applications",)]
    tables: list[Loc] = [(), ("profiles", row.profile)]
    lists: list[Loc] = [(*table, *field) for table in tables for field in fields]
    for loc in lists:
        for origin in layers.origins(loc)[:1]:
            for index, key in enumerate(origin.value if isinstance(origin.value, list) else ()):
                place = layers.place((*loc, index))
                stated.setdefault(str(key), Source(origin.layer.name, key, place))
    direct = of_workstation(declared, declared.profiles[row.profile], platform)
    needed_by: dict[str, str] = {}
    complete = with_requirements(direct, catalogue, platform)
    for key in complete:
        for required in required_by(catalogue[key].application, platform):
            needed_by.setdefault(required, key)
    for key in complete:
        if key in direct and key in stated:
            yield Explained(f"{at}.applications.{key}", key, stated[key])
        elif key in needed_by:
            source = Source(f"required by {needed_by[key]}", key, catalogue[needed_by[key]].place)
            yield Explained(f"{at}.applications.{key}", key, source)


def _nothing_at(member: DeclaredMember, layers: Merged, path: str) -> OnboardError:
    loc = tuple(path.split("."))
    if (removed := layers.removed_at(loc)) is not None:
        return OnboardError(f"{path} is removed at {removed}", hint="remove that line to have it back")
    known = sorted({_dotted(leaf[:length]) for leaf in _leaves(layers.data) for length in range(1, len(leaf) + 1)})
    names = [row.hostname for row in member.devices.rows] + list(member.allocated.workstations)
    known += [f"devices.{name}" for name in names]
    known += [f"datastores.{name}" for name in member.allocated.datastores]
    close = get_close_matches(path, known, n=3)
    return OnboardError(
        f"{member.key} has no value '{path}'",
        hint=f"did you mean {' or '.join(close)}?" if close else f"it has: {', '.join(sorted(layers.data))}",
    )


def _below(path: str, wanted: Sequence[str]) -> bool:
    return path.split(".")[: len(wanted)] == list(wanted)


def _dotted(loc: Loc) -> str:
    return ".".join(str(part) for part in loc)
