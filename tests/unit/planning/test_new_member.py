"""``new``: a small declaration that passes the checks, or nothing at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest

from ksm_onboard.atomic import create_atomically
from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.declaration.models import MemberKind
from ksm_onboard.declaration.record import write_record
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.new_member import WrongAnswersError, create
from ksm_onboard.project import Project

ANSWERS = {
    "key": "ludwigslust",
    "name": "Stadt Ludwigslust",
    "kind": "stadt",
    "short": "lud",
    "dns_domain": "ludwigslust.internal",
    "responsible": "Bürgermeisteramt",
}
SITE = ("Altes Rathaus", "Schloßstraße 38, 19288 Ludwigslust")


def files(project: Project) -> set[str]:
    return {str(file.relative_to(project.stacks)) for file in project.stacks.rglob("*") if file.is_file()}


@pytest.mark.parametrize("kind", get_args(MemberKind))
def test_every_kind_passes_the_checks(checkout: Project, kind: str) -> None:
    created = create(checkout, {**ANSWERS, "kind": kind}, SITE)
    assert Declarations(checkout).findings() == []
    plan = Declarations(checkout).plan("ludwigslust")
    assert plan.member.block == created.allocated.after.block
    assert [site.key for site in plan.member.sites] == ["altes-rathaus"]
    assert plan.member.servers


@pytest.mark.parametrize("name", ["Stadt: 'Lust' # \"x\"", "- a", "{a}", "ja", "No", "*a &b !c %d", "12"])
def test_any_name_is_written_so_that_it_is_read_back(checkout: Project, name: str) -> None:
    create(checkout, {**ANSWERS, "name": name, "responsible": name}, (name, name))
    member = Declarations(checkout).members["ludwigslust"].file.content
    assert member is not None
    assert (member.member.name, member.member.responsible) == (name, name)
    (site,) = member.sites.values()
    assert (site.name, site.address) == (name, name)


@pytest.mark.parametrize("name", ["Zoo\nmember: {}", "Amt\u2028x", "Gra\u202ewob"])
def test_a_name_with_what_nobody_sees_is_refused(checkout: Project, name: str) -> None:
    before = files(checkout)
    with pytest.raises(DeclarationRefusedError) as refused:
        create(checkout, {**ANSWERS, "name": name}, SITE)
    assert {finding.rule for finding in refused.value.findings} == {"hidden-character"}
    assert files(checkout) == before


def test_nothing_is_overwritten(checkout: Project, grabow: Path) -> None:
    before = grabow.read_bytes()
    with pytest.raises(OnboardError, match="is there already"):
        create(checkout, {**ANSWERS, "key": "grabow"}, SITE)
    with pytest.raises(OnboardError, match="is there already"):
        create(checkout, {**ANSWERS, "key": "schwerin"}, SITE)
    assert grabow.read_bytes() == before


@pytest.mark.parametrize(
    ("answers", "site", "words"),
    [
        ({"kind": "staadt"}, SITE, "--kind"),
        ({"short": "LUD"}, SITE, "--short"),
        ({"key": "../x"}, SITE, "KEY"),
        ({"dns_domain": "nix"}, SITE, "--dns-domain"),
        ({}, ("x", ""), "--address"),
    ],
)
def test_wrong_answers_write_nothing(
    checkout: Project, answers: dict[str, str], site: tuple[str, str], words: str
) -> None:
    before = files(checkout)
    with pytest.raises(WrongAnswersError, match=words):
        create(checkout, {**ANSWERS, **answers}, site)
    assert files(checkout) == before


def test_what_the_checks_refuse_writes_nothing_and_is_told_about_the_projects_files(checkout: Project) -> None:
    before = files(checkout)
    with pytest.raises(DeclarationRefusedError) as refused:
        create(checkout, {**ANSWERS, "short": "gra"}, SITE)
    assert [f.rule for f in refused.value.findings] == ["short-twice"]
    assert refused.value.findings[0].place.file.is_relative_to(checkout.root)
    assert files(checkout) == before


def test_a_write_that_fails_leaves_nothing_behind(checkout: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    before = files(checkout)
    monkeypatch.setattr("ksm_onboard.planning.new_member.create_atomically", full)
    with pytest.raises(OnboardError, match="No space left"):
        create(checkout, ANSWERS, SITE)
    assert files(checkout) == before


def test_somebody_else_who_was_faster_keeps_the_file(checkout: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    target = checkout.stacks / "ludwigslust.yaml"

    def overtaken(path: Path, text: str) -> None:
        target.write_text("theirs", encoding="utf-8")
        create_atomically(path, text)

    monkeypatch.setattr("ksm_onboard.planning.new_member.create_atomically", overtaken)
    with pytest.raises(OnboardError, match="created by somebody else"):
        create(checkout, ANSWERS, SITE)
    assert target.read_text(encoding="utf-8") == "theirs"
    assert not (checkout.stacks / "allocations" / "ludwigslust.yaml").exists()


def test_a_run_stopped_after_the_record_is_completed_by_the_next(checkout: Project) -> None:
    first = create(checkout, ANSWERS, SITE)
    first.declaration.unlink()
    again = create(checkout, ANSWERS, SITE)
    assert again.allocated.after == first.allocated.after
    assert again.allocated.lines == ()
    assert Declarations(checkout).findings() == []


@pytest.mark.parametrize("kind", ["stadt", "schule"])
def test_the_examples_in_the_comments_fit_the_kind(checkout: Project, kind: str) -> None:
    created = create(checkout, {**ANSWERS, "kind": kind}, SITE)
    text = created.declaration.read_text(encoding="utf-8")
    keys = ("departments:", "  hauptamt:", "workstations:", "servers:", "  file01:", "  dns:", "compute:")
    for key in keys:
        text = text.replace(f"# {key}", key)
    created.declaration.write_text(text, encoding="utf-8")
    (change,) = new_records(Declarations(checkout), ["ludwigslust"])
    write_record(checkout.stacks, "ludwigslust", change.after)
    assert Declarations(checkout).findings(["ludwigslust"]) == []
    assert len(Declarations(checkout).plan("ludwigslust").member.workstations) == 10
