"""A new member: a small declaration that says who it is, checked and given addresses before anything is written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from ksm_onboard.atomic import create_atomically
from ksm_onboard.declaration.findings import DeclarationRefusedError, Finding, relative
from ksm_onboard.declaration.models import Member
from ksm_onboard.declaration.record import record_file, write_record
from ksm_onboard.declaration.schema_errors import allowed_in_words, in_words
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.planning.allocating import RecordChange, new_records
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.project import Project


class WrongAnswersError(OnboardError):
    """What was said about the new member cannot be."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Created:
    """The files of the new member, and what was given out to it."""

    declaration: Path
    record: Path
    allocated: RecordChange


# What each field of the member is asked for as; the order in which they are written.
_FLAGS = {
    "key": "KEY",
    "name": "--name",
    "kind": "--kind",
    "short": "--short",
    "dns_domain": "--dns-domain",
    "responsible": "--responsible",
}
_SITE_FLAGS = {"site_name": "--site", "address": "--address"}

_TEMPLATE = """\
# yaml-language-server: $schema=../docs/schema/member.json
# {name}. What a member of the kind {kind} has anyway comes from its kind and the platform;
# here stand only this member's own facts and deviations. Everything that is in force, and where it
# comes from: ksm-onboard explain {key}
member:
{member}

sites:
  {site}: {{name: {site_name}, address: {site_address}}}

# Departments that have workstations, for example:
# departments:
#   hauptamt: {{name: Hauptamt}}

# Workstations: list them in {key}.devices.csv, one a line, under
# hostname;serial;mac;site;department;profile;platform;wave;replaces
# or, as long as they are not known one by one:
# workstations:
#   hauptamt: {{department: hauptamt, site: {site}, profile: {profile}, count: 10, platform: windows, wave: pilot}}

# Deviations from the kind, for example {deviation}
"""

_LARGER_FILE_SERVER = """\
a larger file server:
# servers:
#   file01: {memory_gib: 16, disks: {data: {size_gib: 800}}}"""
# A school has no server for files of its own.
_MORE_MEMORY = """\
more memory for its DNS servers:
# servers:
#   dns: {memory_gib: 6}
# compute: {memory_gib: 24}"""


def proposals(key: str, kind: str | None, name: str | None) -> dict[str, str]:
    """What a person is likely to answer, by field."""
    return {
        "short": "".join(letter for letter in key if "a" <= letter <= "z")[:3],
        "dns_domain": f"{key}.internal",
        "responsible": f"Leitung {name}" if name else "",
        "site_name": "Schulgebäude" if kind == "schule" else "Rathaus" if kind in ("stadt", "amt") else "Hauptgebäude",
    }


def refuse_taken(project: Project, key: str) -> None:
    """Raises OnboardError if there is a declaration with that key already."""
    if _target(project, key).exists() or key == PLATFORM:
        raise OnboardError(
            f"{relative(_target(project, key), project.root)} is there already; it stays as it is",
            hint=f"edit it, and run: ksm-onboard check {key}",
        )


def complaint(field: str, answer: str) -> str | None:
    """What is wrong with one answer by itself; None if nothing is. ``field``: of the member, or of its first site."""
    if field in _SITE_FLAGS:
        return None if len(answer.strip()) >= 2 else "at least two characters"
    annotation = Member.model_fields[field]
    annotated: Any = Annotated[annotation.annotation, Field(), *annotation.metadata]
    adapter: TypeAdapter[object] = TypeAdapter(annotated)
    try:
        adapter.validate_python(answer.strip())
    except ValidationError as failed:
        return _complaint(failed.errors(include_url=False)[0])
    return None


def _complaint(error: Mapping[str, Any]) -> str:
    allowed = allowed_in_words(error)
    return in_words(error) + (f" ({allowed})" if allowed else "")


def _target(project: Project, key: str) -> Path:
    return project.stacks / f"{key}.yaml"


def create(project: Project, answers: Mapping[str, str], site: tuple[str, str]) -> Created:
    """Write the declaration and the allocation record of a new member; ``site`` is name and address of its first one.

    ``answers`` holds the fields of the section ``member``. Nothing is written unless the
    declaration passes the checks and everything it needs could be given out; existing files are
    never overwritten. Raises WrongAnswersError for answers that cannot be, OnboardError where the
    member is there already, DeclarationRefusedError for what the checks find.
    """
    member = _member(answers, site)
    refuse_taken(project, member.key)
    target = _target(project, member.key)
    text = _declaration(member, site)
    change = _tried_out(project, member.key, text)
    record = record_file(project.stacks, member.key)
    was_there = record.read_bytes() if record.exists() else None
    try:
        # The record first: alone it only reserves, while a declaration alone would be refused.
        write_record(project.stacks, member.key, change.after)
        create_atomically(target, text)
    except BaseException as failed:
        if was_there is None:
            record.unlink(missing_ok=True)
        else:
            record.write_bytes(was_there)
        if isinstance(failed, FileExistsError):
            raise OnboardError(f"{target} has just been created by somebody else; it stays as it is") from None
        if isinstance(failed, OSError):
            raise OnboardError(f"cannot write {target}: {failed.strerror}", hint="nothing was written") from None
        raise
    return Created(target, record, change)


def _tried_out(project: Project, key: str, text: str) -> RecordChange:
    """What the declaration ``text`` would be given, found out on a copy of the project's declarations."""
    with _copy(project) as draft:
        (draft.stacks / f"{key}.yaml").write_text(text, encoding="utf-8")
        try:
            drafted = Declarations(draft)
            # Nothing is left to give out where a run before was stopped after writing the record.
            change = next(iter(new_records(drafted, [key])), None) or _as_recorded(drafted, key)
            write_record(draft.stacks, key, change.after)
            findings = Declarations(draft).findings([key])
            if any(finding.severity == "error" for finding in findings):
                raise DeclarationRefusedError(findings)
        except DeclarationRefusedError as refused:
            raise DeclarationRefusedError([_moved(f, draft.root, project.root) for f in refused.findings]) from None
        return change


def _as_recorded(declarations: Declarations, key: str) -> RecordChange:
    record = declarations.members[key].allocated
    return RecordChange(key, record, record)


def _moved(finding: Finding, draft: Path, project: Path) -> Finding:
    """``finding`` about a file of the draft as one about the project's."""
    place = finding.place
    if place.file.is_relative_to(draft):
        place = replace(place, file=project / place.file.relative_to(draft))
    return replace(finding, place=place, hint=finding.hint and finding.hint.replace(str(draft), str(project)))


def _member(answers: Mapping[str, str], site: tuple[str, str]) -> Member:
    wrong = []
    member = None
    try:
        member = Member.model_validate(dict(answers))
    except ValidationError as failed:
        for error in failed.errors(include_url=False):
            field = str(error["loc"][0])
            # A domain that was only proposed from a wrong key is no second mistake.
            if not (field == "dns_domain" and answers[field] == proposals(answers["key"], None, None)[field]):
                wrong.append(f"{_FLAGS[field]}: {_complaint(error)}")
    for (field, flag), said in zip(_SITE_FLAGS.items(), site, strict=True):
        if why := complaint(field, said):
            wrong.append(f"{flag}: {why}")
    if member is None or wrong:
        raise WrongAnswersError(
            "this cannot be: " + "; ".join(wrong), hint="nothing was written; see: ksm-onboard new --help"
        )
    return member


def _declaration(member: Member, site: tuple[str, str]) -> str:
    said = member.model_dump()
    return _TEMPLATE.format(
        name="".join(letter if letter.isprintable() else " " for letter in member.name),
        kind=member.kind,
        key=member.key,
        member="\n".join(f"  {field}: {_scalar(said[field])}" for field in _FLAGS),
        profile="schulverwaltung" if member.kind == "schule" else "standard",
        deviation=_MORE_MEMORY if member.kind == "schule" else _LARGER_FILE_SERVER,
        site=_site_key(site[0]),
        site_name=_scalar(site[0], inside=True),
        site_address=_scalar(site[1], inside=True),
    )


def _scalar(text: str, *, inside: bool = False) -> str:
    """``text`` as YAML, quoted only where that is needed; ``inside`` a mapping in braces."""
    value: object = [text] if inside else {"x": text}
    written = yaml.safe_dump(value, allow_unicode=True, width=10_000, default_flow_style=inside).strip()
    return written[1:-1] if inside else written.removeprefix("x: ")


def _site_key(name: str) -> str:
    plain = name.lower()
    for umlaut, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        plain = plain.replace(umlaut, letters)
    words = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in plain).split()
    return "-".join(words)[:40].strip("-") or "hauptsitz"


@contextmanager
def _copy(project: Project) -> Iterator[Project]:
    """The project's declarations in a folder of their own, to try out on."""
    with TemporaryDirectory(prefix="ksm-onboard-") as folder:
        draft = Project(Path(folder))
        ignore = shutil.ignore_patterns("Pulumi.*", "*.py", "__pycache__", ".*")
        shutil.copytree(project.stacks, draft.stacks, ignore=ignore)
        draft.catalogue.symlink_to(project.catalogue.resolve())
        yield draft
