"""Why an application is on a workplace: the line that declares it, the way over requirements, licences."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.licensing import Assignment, Holder, assign
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.why import Case, resolution_of, why, workplace
from ksm_onboard.project import Project

NOBODY = Assignment({}, {}, {}, {})


def case(project: Project, name: str, seats: Assignment = NOBODY) -> Case:
    declarations = Declarations(project)
    member = declarations.members["grabow"]
    declared = member.file.content
    assert declared
    return Case(member, declared, declarations.catalogue, workplace(member, declared, name), seats)


def told(case_: Case, application: str) -> dict[str, str]:
    return {reason.what: reason.text for reason in why(case_, application, resolution_of(case_, {}))}


def declare(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


def test_the_way_leads_from_the_declaring_line_over_requirements(checkout: Project, grabow: Path) -> None:
    (checkout.catalogue / "probe.yaml").write_text(
        "domain: probe\napplications:\n"
        "  oben: {product: O, vendor: V, platforms: [linux], component: client, licence: free,\n"
        "         packages: {debian: [hello]}, requires: [mitte]}\n"
        "  mitte: {product: M, vendor: V, platforms: [linux], component: client, licence: free,\n"
        "          packages: {debian: [hello]}, requires: [git]}\n"
    )
    declare(grabow, "extra_applications: [oben]\n")
    linux = case(checkout, "gra-ws0001")
    reasons = why(linux, "git", resolution_of(linux, {}))
    assert [r.text for r in reasons if r.what == "requires"] == ["oben requires mitte", "mitte requires git"]
    [declared] = [r for r in reasons if r.what == "declared"]
    assert declared.source
    assert declared.source.place.file == grabow
    actions = [f"{a.verb} {a.key}" for a in resolution_of(linux, {"mitte": "1", "old": "2"}).actions]
    assert actions[0] == "remove old"
    assert actions.index("install git") < actions.index("keep mitte") < actions.index("install oben")


def test_what_is_not_given_says_whether_it_was_taken_away_or_belongs_to_others(checkout: Project, grabow: Path) -> None:
    assert "given to profiles bauamt" in told(case(checkout, "gra-ws0001"), "qgis")["not given"]
    declare(grabow, "without_applications: [libreoffice]\n")
    assert "without_applications of the member" in told(case(checkout, "gra-ws0001"), "libreoffice")["not given"]


def test_without_a_seat_the_holders_are_named_and_nothing_is_installed(checkout: Project, grabow: Path) -> None:
    (checkout.catalogue / "probe.yaml").write_text(
        "domain: probe\napplications:\n  teuer: {product: T, vendor: V, platforms: [linux], component: client,\n"
        "    licence: commercial-device, packages: {debian: [hello]}}\n"
    )
    declare(grabow, "extra_applications: [teuer]\n")
    other, own = Holder("zoo", "zoo-ws1"), Holder("grabow", "gra-ws0001")
    seats = assign({"teuer": 1}, {"teuer": [other, own]}, {"teuer": [other]})
    without = case(checkout, "gra-ws0001", seats)
    reasons = told(without, "teuer")
    assert reasons["licence"] == "holds none; held by: zoo 1"
    assert reasons["problem"] == "no licence is left for 'teuer': held by zoo 1"
    assert "next run" not in reasons


def test_unknown_workplaces_and_applications_are_refused(checkout: Project) -> None:
    with pytest.raises(OnboardError, match="no workplace 'gra-ws9999'"):
        case(checkout, "gra-ws9999")
    with pytest.raises(OnboardError, match="no application 'gibtsnicht'"):
        told(case(checkout, "gra-ws0001"), "gibtsnicht")
