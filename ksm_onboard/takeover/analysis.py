"""What a review has to point out: ends of support, duplicates, missing licences, two products for one job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from ksm_onboard.declaration.findings import Place
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.takeover.decisions import Decisions
from ksm_onboard.takeover.matching import RUNTIME_JOBS, Matcher
from ksm_onboard.takeover.read import OldDevice, OldPrinter, OwnedLicences
from ksm_onboard.takeover.software import Judged
from ksm_onboard.takeover.titles import Title

# Ends of support within this time are told, too: a take-over lasts about a year.
NOTICE_DAYS: Final = 365
_NOT_A_CHOICE: Final = RUNTIME_JOBS | {"betriebssystem", "serverbetriebssystem"}


@dataclass(frozen=True)
class SupportEnd:
    """Something whose vendor's support has ended, or ends within ``NOTICE_DAYS``."""

    key: str
    titles: tuple[str, ...]
    devices: tuple[str, ...]
    end: date
    ended: bool
    successor: str | None


@dataclass(frozen=True)
class Duplicate:
    """One serial number, MAC address or name that several records claim."""

    what: str
    value: str
    claimed: tuple[tuple[str, Place], ...]


@dataclass(frozen=True)
class LicenceNeed:
    """Licences that the installed software needs. ``owned`` is None where the exports do not say."""

    key: str
    metric: str
    installed: int
    owned: int | None
    uncertain: bool

    @property
    def missing(self) -> int | None:
        """How many are missing by what is installed; None where it is not known what the member owns."""
        return None if self.owned is None else max(0, self.installed - self.owned)


@dataclass(frozen=True)
class Consolidation:
    """A job that more than one product does. ``here`` counts devices, ``elsewhere`` names members per product."""

    job: str
    here: Mapping[str, int]
    elsewhere: Mapping[str, tuple[str, ...]]


def support_ends(
    judged: Iterable[Judged],
    devices: Iterable[OldDevice],
    matcher: Matcher,
    catalogue: Mapping[str, CatalogueEntry],
    today: date,
) -> list[SupportEnd]:
    """Software and operating systems out of support on ``today`` or within a year, the earliest first."""
    titles: dict[str, set[str]] = defaultdict(set)
    hosts: dict[str, set[str]] = defaultdict(set)
    for one in judged:
        if one.match.key is not None:
            titles[one.match.key].add(one.text)
            hosts[one.match.key] |= one.found.devices
    for device in devices:
        key = matcher.match(Title(device.os)).key if device.os else None
        if key is not None:
            titles[key].add(device.os)
            hosts[key].add(device.hostname)
    found = []
    for key, spellings in titles.items():
        application = catalogue[key].application
        end = application.support_end
        if end is not None and (end - today).days <= NOTICE_DAYS:
            names, where = tuple(sorted(spellings)), tuple(sorted(hosts[key]))
            found.append(SupportEnd(key, names, where, end, end < today, application.successor))
    return sorted(found, key=lambda one: (one.end, one.key))


def duplicates(devices: Sequence[OldDevice], printers: Sequence[OldPrinter]) -> list[Duplicate]:
    """Names, serial numbers and MAC addresses that are there more than once."""
    claims: dict[tuple[str, str], list[tuple[str, Place]]] = defaultdict(list)
    for device in devices:
        claims["hostname", device.hostname].append((device.hostname, device.place))
        claims["serial", device.serial.upper()].append((device.hostname, device.place))
        claims["mac", device.mac].append((device.hostname, device.place))
    for printer in printers:
        claims["printer", printer.name.casefold()].append((printer.name, printer.place))
        claims["serial", printer.serial.upper()].append((printer.name, printer.place))
        claims["mac", printer.mac].append((printer.name, printer.place))
    return [
        Duplicate(what, value, tuple(claimed))
        for (what, value), claimed in sorted(claims.items())
        if value and len(claimed) > 1
    ]


def licence_needs(
    judged: Iterable[Judged],
    owned: Sequence[OwnedLicences] | None,
    matcher: Matcher,
    decisions: Decisions,
    catalogue: Mapping[str, CatalogueEntry],
) -> tuple[list[LicenceNeed], list[OwnedLicences]]:
    """What has to be licensed, and licences of which it is not clear what they are for.

    Installations are counted per device; where licences are counted by user or by concurrent use,
    that is what can be known from an export, and an upper bound.
    """
    seats: dict[str, int] = defaultdict(int)
    unclear = []
    for licence in owned or ():
        title = Title(licence.title)
        decided = decisions.for_title(title)
        key = decided.what if decided is not None and decided.what in catalogue else matcher.match(title).key
        if key is None:
            unclear.append(licence)
        else:
            seats[key] += licence.seats
    hosts: dict[str, set[str]] = defaultdict(set)
    for one in judged:
        if one.match.verdict == "matched" and one.match.key is not None:
            hosts[one.match.key] |= one.found.devices
    needs = []
    for key in sorted({*hosts, *seats}):
        application = catalogue[key].application
        if application.licence_metric is not None:
            has = None if owned is None else seats.get(key, 0)
            uncertain = "licence-metric" in application.uncertain
            needs.append(LicenceNeed(key, application.licence_metric, len(hosts.get(key, ())), has, uncertain))
    return needs, unclear


def consolidation(
    judged: Iterable[Judged], elsewhere: Mapping[str, Iterable[str]], catalogue: Mapping[str, CatalogueEntry]
) -> list[Consolidation]:
    """Jobs for which this member and the others together use more than one product. ``elsewhere``: keys per member."""
    here: dict[str, set[str]] = defaultdict(set)
    for one in judged:
        if one.match.verdict == "matched" and one.match.key is not None:
            here[one.match.key] |= one.found.devices
    others: dict[str, list[str]] = defaultdict(list)
    for member, keys in elsewhere.items():
        for key in set(keys):
            others[key].append(member)
    return list(_by_job(here, others, catalogue))


def _by_job(
    here: Mapping[str, set[str]], others: Mapping[str, list[str]], catalogue: Mapping[str, CatalogueEntry]
) -> Iterator[Consolidation]:
    jobs: dict[str, set[str]] = defaultdict(set)
    for key in (*here, *others):
        job = catalogue[key].application.job
        if job is not None and job not in _NOT_A_CHOICE:
            jobs[job].add(key)
    for job, keys in sorted(jobs.items()):
        if len(keys) > 1 and any(key in here for key in keys):
            yield Consolidation(
                job,
                {key: len(here[key]) for key in sorted(keys) if key in here},
                {key: tuple(sorted(others[key])) for key in sorted(keys) if key in others},
            )
