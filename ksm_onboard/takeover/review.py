"""The review of an import: one HTML page to read, one CSV file to sort and filter."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ksm_onboard.declaration.findings import Finding, relative
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.takeover.analysis import Consolidation, Duplicate, LicenceNeed, SupportEnd
from ksm_onboard.takeover.columns import Columns, Export
from ksm_onboard.takeover.grouping import Sets
from ksm_onboard.takeover.matching import Verdict
from ksm_onboard.takeover.propose import ProposedDevice
from ksm_onboard.takeover.read import OwnedLicences
from ksm_onboard.takeover.software import Judged

# Excel and LibreOffice execute cells that begin so (OWASP, CSV injection).
_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r")
_CSV_COLUMNS: Final = ("section", "item", "devices", "verdict", "key", "method", "score", "candidates", "note")
_ORDER: Final[tuple[Verdict, ...]] = ("doubtful", "unknown", "matched", "retired", "ignored")


@dataclass(frozen=True)
class Changes:
    """What differs from the import before this one; all empty at the first."""

    first: bool = True
    new_titles: tuple[str, ...] = ()
    gone_titles: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    new_devices: tuple[str, ...] = ()
    gone_devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Review:
    """Everything that the review shows. ``root`` is the folder that places are given relative to."""

    member: str
    name: str
    today: date
    root: Path
    judged: Sequence[Judged]
    devices: Sequence[ProposedDevice]
    sets: Sets
    support: Sequence[SupportEnd]
    duplicates: Sequence[Duplicate]
    licences: Sequence[LicenceNeed]
    licences_listed: bool
    unclear_licences: Sequence[OwnedLicences]
    consolidation: Sequence[Consolidation]
    not_compared: Sequence[str]
    findings: Sequence[Finding]
    changes: Changes
    catalogue: Mapping[str, CatalogueEntry]
    columns: Mapping[Export, Columns]

    def of(self, verdict: Verdict) -> list[Judged]:
        """The titles with this verdict: those to decide by the number of devices, most first, others by name."""
        found = [one for one in self.judged if one.match.verdict == verdict]
        return sorted(found, key=lambda one: -len(one.found.devices)) if found and found[0].is_open else found

    @property
    def counts(self) -> Mapping[str, int]:
        """Titles per verdict."""
        found = Counter(one.match.verdict for one in self.judged)
        return {verdict: found[verdict] for verdict in _ORDER}

    @property
    def without_software(self) -> list[str]:
        """Devices for which no software is listed."""
        listed = {hostname for one in self.judged for hostname in one.found.devices}
        return sorted({d.placed.device.hostname for d in self.devices} - listed)

    @property
    def singles(self) -> list[tuple[ProposedDevice, list[str]]]:
        """Devices with applications that neither the baseline nor their profile brings."""
        found = [(device, self.sets.single(device.placed)) for device in self.devices]
        return [(device, keys) for device, keys in found if keys]

    def product(self, key: str) -> str:
        """The product's name for a key of the catalogue."""
        return self.catalogue[key].application.product

    def place(self, finding: Finding) -> str:
        """``file:line:column`` as people name it."""
        return f"{relative(finding.place.file, self.root)}:{finding.place.line}:{finding.place.column}"


def review_html(review: Review, templates: Path) -> str:
    """The review as one self-contained page. Whatever came from an export is escaped."""
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("takeover/review.html.j2").render(review=review)


def review_csv(review: Review) -> str:
    """The review as CSV (semicolons; written with a byte order mark, Excel reads it by a double click)."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(_CSV_COLUMNS)
    for row in _rows(review):
        writer.writerow([neutral(cell) for cell in row])
    return "\ufeff" + out.getvalue()


def neutral(cell: str) -> str:
    """The cell so that no spreadsheet calculates it: an apostrophe before signs that begin a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA_SIGNS) else cell


def _rows(review: Review) -> Iterator[tuple[str, ...]]:
    for verdict in _ORDER:
        for one in review.of(verdict):
            match = one.match
            candidates = ", ".join(f"{candidate.key} ({candidate.score:.0f})" for candidate in match.candidates)
            note = match.reason or "; ".join(candidate.why for candidate in match.candidates)
            score = f"{match.score:.0f}" if match.key or match.candidates else ""
            devices = str(len(one.found.devices))
            yield "software", one.text, devices, verdict, match.key or "", match.method, score, candidates, note
    for end in review.support:
        note = f"support {'ended' if end.ended else 'ends'} on {end.end.isoformat()}"
        note += f"; successor: {end.successor}" if end.successor else ""
        yield _row("support", ", ".join(end.titles), len(end.devices), end.key, note)
    for duplicate in review.duplicates:
        claimed = ", ".join(f"{name} (line {place.line})" for name, place in duplicate.claimed)
        yield _row("duplicate", f"{duplicate.what} {duplicate.value}", len(duplicate.claimed), "", claimed)
    for need in review.licences:
        owned = "not known" if need.owned is None else str(need.owned)
        missing = "" if need.missing is None else f"; missing: {need.missing}"
        metric = f"{need.metric}{' (uncertain)' if need.uncertain else ''}"
        note = f"counted by {metric}; owned: {owned}{missing}"
        yield _row("licence", review.product(need.key), need.installed, need.key, note)
    for licence in review.unclear_licences:
        yield _row("licence", licence.title, 0, "", f"{licence.seats} owned; not clear what for")
    for candidate in review.consolidation:
        here = ", ".join(f"{key} on {number}" for key, number in candidate.here.items())
        others = ", ".join(f"{key} at {', '.join(members)}" for key, members in candidate.elsewhere.items())
        note = f"here: {here}" + (f"; elsewhere: {others}" if others else "")
        yield _row("consolidation", candidate.job, sum(candidate.here.values()), "", note)
    for device in review.devices:
        placed = device.placed
        groups = f"{placed.site.key}/{placed.department.key}/{placed.profile}/{device.wave}"
        note = f"department: {placed.department.why}; site: {placed.site.why}; profile: {placed.profile_why}"
        yield _row("device", f"{placed.device.hostname} -> {device.hostname}", 1, groups, note)
    for finding in review.findings:
        yield _row("problem", finding.message, 0, finding.rule, review.place(finding))


def _row(section: str, item: str, devices: int, key: str, note: str) -> tuple[str, ...]:
    return section, item, str(devices) if devices else "", "", key, "", "", "", note
