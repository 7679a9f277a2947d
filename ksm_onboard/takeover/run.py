"""The whole import: read, match, group, propose, review; then write, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, get_args

from ksm_onboard.atomic import write_atomically
from ksm_onboard.declaration.effective import Archetypes
from ksm_onboard.declaration.findings import DeclarationRefusedError, Finding, in_order
from ksm_onboard.declaration.load import load_catalogue
from ksm_onboard.declaration.merging import merge
from ksm_onboard.declaration.models import MemberKind
from ksm_onboard.declaration.source import read_yaml
from ksm_onboard.errors import OnboardError
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project
from ksm_onboard.takeover.analysis import consolidation, duplicates, licence_needs, support_ends
from ksm_onboard.takeover.columns import Columns
from ksm_onboard.takeover.decisions import read_decisions, with_new_titles
from ksm_onboard.takeover.elsewhere import applications_elsewhere
from ksm_onboard.takeover.grouping import place_devices, slug
from ksm_onboard.takeover.matching import Matcher
from ksm_onboard.takeover.propose import (
    Archetype,
    Identity,
    ProposedDevice,
    declaration_text,
    devices_csv,
    propose_devices,
)
from ksm_onboard.takeover.read import Sources, read_exports
from ksm_onboard.takeover.review import Changes, Review, review_csv, review_html
from ksm_onboard.takeover.software import Judged, by_title, judge
from ksm_onboard.takeover.tables import read_table

REVIEW_HTML: Final = "review.html"
REVIEW_CSV: Final = "review.csv"
RECORD: Final = "import.json"
DECISIONS: Final = "decisions.yaml"


class ExportsRefusedError(DeclarationRefusedError):
    """The exports, the mapping or the decisions have errors; nothing was written."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(findings)
        errors = sum(finding.severity == "error" for finding in self.findings)
        self.args = (f"the import has {errors} error{'s' if errors != 1 else ''}; nothing was written",)


@dataclass(frozen=True)
class ImportResult:
    """What the import made of the exports, and the files it wrote (by what they are)."""

    member: str
    counts: Mapping[str, int]
    devices: int
    changes: Changes
    open_titles: tuple[str, ...]
    findings: tuple[Finding, ...]
    files: Mapping[str, Path]

    def as_json(self, root: Path) -> dict[str, Any]:
        """A plain mapping for machines."""
        return {
            "member": self.member,
            "titles": dict(self.counts),
            "devices": self.devices,
            "first_import": self.changes.first,
            "new_titles": list(self.changes.new_titles),
            "gone_titles": list(self.changes.gone_titles),
            "settled_titles": list(self.changes.settled),
            "new_devices": list(self.changes.new_devices),
            "gone_devices": list(self.changes.gone_devices),
            "to_decide": list(self.open_titles),
            "findings": [finding.as_json(root) for finding in self.findings],
            "files": {what: str(path) for what, path in self.files.items()},
        }


def run_import(
    project: Project,
    member: str,
    sources: Sources,
    decisions_file: Path | None,
    target_dir: Path,
    *,
    progress: Progress,
    today: date | None = None,
) -> ImportResult:
    """Import a member's exports; write review, proposal and open decisions into ``target_dir``.

    Run again, it keeps what was decided and the new names it gave to devices. ``decisions_file``
    is by default ``decisions.yaml`` in ``target_dir``. ``today`` is the day that ends of support are judged
    by. Raises ExportsRefusedError where a file has errors, OnboardError where the
    target is no place to write to; then nothing was written.
    """
    _refuse_bad_target(project, member, target_dir)
    progress.step("reading the exports")
    exports = read_exports(sources)
    catalogue, catalogue_findings = load_catalogue(project.catalogue)
    matcher = Matcher(catalogue)
    decisions, decision_findings = read_decisions(decisions_file or target_dir / DECISIONS, list(catalogue))
    findings = [*exports.findings, *catalogue_findings, *matcher.findings, *decision_findings]
    _refuse_errors(findings)
    for export, columns in exports.columns.items():
        progress.line(f"{export}: {_columns_words(columns)}")
    progress.line(f"{len(exports.devices)} devices, {len(exports.software)} installations")

    progress.step("matching software with the catalogue")
    judged = judge(by_title(exports.software), matcher, decisions)
    open_titles = [one for one in judged if one.is_open]
    new_text, refused = with_new_titles(decisions, [(one.text, one.match.candidates) for one in open_titles])
    _refuse_errors([*findings, *refused])
    progress.line(f"{len(judged)} titles, {len(open_titles)} to decide")

    progress.step("grouping devices and proposing a declaration")
    identity = _identity(project, member)
    archetype = _archetype(identity.kind)
    placed, sets = place_devices(exports.devices, exports.users, judged, catalogue, identity.name)
    names = _names_given(target_dir / f"{member}.devices.csv") | _names_given(project.stacks / f"{member}.devices.csv")
    devices = propose_devices(placed, identity, archetype, names)
    declaration = declaration_text(
        identity,
        devices,
        sets=sets,
        shares=exports.shares,
        printers=exports.printers,
        archetype=archetype,
        catalogue=catalogue,
    )

    progress.step("comparing with the other members")
    elsewhere, not_compared = applications_elsewhere(project, member)
    needs, unclear = licence_needs(judged, exports.licences, matcher, decisions, catalogue)
    record = _record(member, judged, devices)
    changes = _changes(target_dir / RECORD, record)
    review = Review(
        member=member,
        name=identity.name,
        today=today or date.today(),
        root=project.root,
        judged=judged,
        devices=devices,
        sets=sets,
        support=support_ends(judged, exports.devices, matcher, catalogue, today or date.today()),
        duplicates=duplicates(exports.devices, exports.printers),
        licences=needs,
        licences_listed=exports.licences is not None,
        unclear_licences=unclear,
        consolidation=consolidation(judged, elsewhere, catalogue),
        not_compared=not_compared,
        findings=in_order(findings),
        changes=changes,
        catalogue=catalogue,
        columns=exports.columns,
    )

    progress.step("writing")
    files = {
        "review": (target_dir / REVIEW_HTML, review_html(review, project.templates)),
        "review_csv": (target_dir / REVIEW_CSV, review_csv(review)),
        "declaration": (target_dir / f"{member}.yaml", declaration),
        "devices": (target_dir / f"{member}.devices.csv", devices_csv(devices)),
        "decisions": (decisions.file, new_text),
        "record": (target_dir / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n"),
    }
    _write(files)
    return ImportResult(
        member,
        review.counts,
        len(devices),
        changes,
        tuple(one.text for one in open_titles),
        tuple(review.findings),
        {what: path for what, (path, _) in files.items()},
    )


def _columns_words(columns: Columns) -> str:
    """Which column is read as what, and which are not read: a column that is overlooked must not go unnoticed."""
    used = ", ".join(f"{name} from '{header}'" for name, header in columns.used.items())
    unused = ", ".join(f"'{header}'" for header in columns.unused)
    return f"{used}; not read: {unused or 'none'}"


def _refuse_errors(findings: Sequence[Finding]) -> None:
    if any(finding.severity == "error" for finding in findings):
        raise ExportsRefusedError(findings)


def _refuse_bad_target(project: Project, member: str, target: Path) -> None:
    if not member or slug(member) != member:
        message = f"'{member}' is no key of a member: lower-case letters, digits and single hyphens"
        raise OnboardError(message, hint=f"for example {slug(member) or 'grabow'}")
    for source in (project.stacks, project.catalogue):
        if target.resolve().is_relative_to(source.resolve()):
            raise OnboardError(
                f"{target} lies in {source}, where only people write",
                hint=f"choose another folder with --out, for example {project.root / 'proposals' / member}",
            )
    if target.exists() and not target.is_dir():
        raise OnboardError(f"{target} is a file, not a folder", hint="choose another folder with --out")


def _write(files: Mapping[str, tuple[Path, str]]) -> None:
    for path, text in files.values():
        try:
            write_atomically(path, text)
        except OSError as error:
            hint = "choose another folder with --out, or make it writable, and import again"
            raise OnboardError(f"cannot write {path}: {error.strerror}", hint=hint) from error


# --- who the member is --------------------------------------------------------------------


def _identity(project: Project, member: str) -> Identity:
    """From the member's declaration if there is one; otherwise guesses that are marked as such."""
    letters = "".join(c for c in member if c.isalpha())
    guessed = {
        "name": member.replace("-", " ").title(),
        "kind": "stadt",
        "short": (letters + "xx")[:3],
        "dns_domain": f"{member}.internal",
        "responsible": "noch offen",
    }
    file = project.stacks / f"{member}.yaml"
    data = read_yaml(file)[0].data if file.is_file() else None
    said = data.get("member") if isinstance(data, dict) else None
    given = {k: str(said[k]) for k in guessed if isinstance(said, dict) and isinstance(said.get(k), str)}
    if given.get("kind") not in get_args(MemberKind):
        given.pop("kind", None)
    return Identity(key=member, given=given.keys() == guessed.keys(), **(guessed | given))


def _archetype(kind: str) -> Archetype:
    """What the kind's archetype and the shared profiles bring; as much of it as a proposal needs."""
    archetypes = Archetypes()
    archetype = merge([layer for layer, _ in (archetypes.profiles, *archetypes.of_kind(kind))]).data
    profiles = _mapping(archetype.get("profiles"))
    disks = _mapping(_mapping(_mapping(archetype.get("servers")).get("file01")).get("disks"))
    size = _mapping(disks.get("data")).get("size_gib")
    return Archetype(
        applications=_brought(archetype),
        profiles={key: _brought(_mapping(profile)) for key, profile in profiles.items()},
        waves=tuple(_mapping(archetype.get("waves"))),
        zones=frozenset(_mapping(archetype.get("zones"))),
        file_disk_gib=size if isinstance(size, int) else None,
    )


def _brought(table: Mapping[str, Any]) -> frozenset[str]:
    """The applications that a table gives to Windows workplaces; a member's old devices are such."""
    on_windows = _mapping(table.get("applications_on")).get("windows")
    return frozenset((*(table.get("applications") or ()), *(on_windows or ())))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# --- imports before this one --------------------------------------------------------------


def _names_given(devices: Path) -> dict[str, str]:
    """New names by old ones, from a device list that was proposed or declared before."""
    if not devices.is_file():
        return {}
    tables, _ = read_table(devices)
    if not tables:
        return {}
    header, *rows = tables[0].rows
    cells = [cell.lower() for cell in header.cells]
    if "hostname" not in cells or "replaces" not in cells:
        return {}
    new, old = cells.index("hostname"), cells.index("replaces")
    return {row.cells[old].lower(): row.cells[new] for row in rows if len(row.cells) == len(cells) and row.cells[old]}


def _record(member: str, judged: Sequence[Judged], devices: Sequence[ProposedDevice]) -> dict[str, Any]:
    return {
        "member": member,
        "titles": {
            one.text: {
                "verdict": one.match.verdict,
                "key": one.match.key,
                "method": one.match.method,
                "score": one.match.score,
                "devices": len(one.found.devices),
                "versions": list(one.found.versions),
            }
            for one in judged
        },
        "devices": {device.placed.device.hostname: device.hostname for device in devices},
    }


def _changes(before: Path, record: Mapping[str, Any]) -> Changes:
    """What is new against the record of the import before. One that cannot be read counts as none."""
    try:
        old = json.loads(before.read_text(encoding="utf-8"))
        titles, devices = dict(old["titles"]), dict(old["devices"])
        unsettled = {title for title, was in titles.items() if was["verdict"] in ("doubtful", "unknown")}
    except (OSError, ValueError, KeyError, TypeError):
        return Changes()
    now = record["titles"]
    settled = [title for title in now if title in unsettled and now[title]["verdict"] not in ("doubtful", "unknown")]
    return Changes(
        first=False,
        new_titles=tuple(title for title in now if title not in titles),
        gone_titles=tuple(title for title in titles if title not in now),
        settled=tuple(settled),
        new_devices=tuple(name for name in record["devices"] if name not in devices),
        gone_devices=tuple(name for name in devices if name not in record["devices"]),
    )
