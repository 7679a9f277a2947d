"""How well titles are matched, measured against a list that a person labelled.

``titles.csv`` holds titles in the spellings that Windows reports. ``truth`` is the key of the catalogue,
``runtime:key`` for runtimes, ``ignored``, ``unknown`` (not in the catalogue) or ``ambiguous``. Rules were
written looking at the titles of the set ``tuning`` only; ``held-out`` tells how they do on others. ``independent``
was labelled by somebody else before they had seen how titles are matched; what it showed has been put right since.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.takeover.matching import Match, Matcher
from ksm_onboard.takeover.titles import Title


class Labelled(NamedTuple):
    title: str
    publisher: str
    truth: str
    set: str

    @property
    def key(self) -> str | None:
        """The key that is right; None where no key is."""
        key = self.truth.removeprefix("runtime:")
        return None if key in ("ignored", "unknown", "ambiguous") else key


def labelled() -> list[Labelled]:
    with (Path(__file__).parent / "titles.csv").open(encoding="utf-8", newline="") as file:
        return [Labelled(**row) for row in csv.DictReader(file, delimiter=";")]


@pytest.fixture(scope="module")
def answers(matcher: Matcher) -> list[tuple[Labelled, Match]]:
    return [(title, matcher.match(Title(title.title, title.publisher))) for title in labelled()]


def test_the_list_is_of_a_realistic_size() -> None:
    assert len(labelled()) >= 400
    assert Counter(title.set for title in labelled())["held-out"] >= 100


def test_every_label_is_a_key_of_the_catalogue(catalogue: Mapping[str, CatalogueEntry]) -> None:
    assert [title for title in labelled() if title.key and title.key not in catalogue] == []


def test_no_title_is_matched_with_a_wrong_entry(answers: list[tuple[Labelled, Match]]) -> None:
    wrong = [(title, match) for title, match in answers if match.key is not None and match.key != title.key]
    assert wrong == []


def test_no_application_is_ignored(answers: list[tuple[Labelled, Match]]) -> None:
    lost = [
        title
        for title, match in answers
        if match.verdict == "ignored" and title.truth != "ignored" and not title.truth.startswith("runtime:")
        and match.key != title.key
    ]  # fmt: skip
    assert lost == []


def test_what_is_ambiguous_or_unknown_is_left_to_a_person(answers: list[tuple[Labelled, Match]]) -> None:
    decided = [
        title
        for title, match in answers
        if title.truth in ("ambiguous", "unknown") and match.verdict not in ("doubtful", "unknown")
    ]
    assert decided == []


@pytest.mark.parametrize("which", ["tuning", "held-out", "independent"])
def test_recall(answers: list[tuple[Labelled, Match]], which: str) -> None:
    """The figures in docs/how-to/import-a-member.md are these; they may only get better."""
    asked = [(title, match) for title, match in answers if title.set == which and title.key]
    settled = sum(match.key == title.key for title, match in asked)
    offered = sum(
        match.key == title.key or any(candidate.key == title.key for candidate in match.candidates)
        for title, match in asked
    )
    noise = [(title, match) for title, match in answers if title.set == which and title.truth == "ignored"]
    assert settled / len(asked) >= 0.95
    assert offered / len(asked) >= 0.98
    assert all(match.verdict == "ignored" for _, match in noise)


def test_the_documented_figures_are_the_measured_ones(answers: list[tuple[Labelled, Match]]) -> None:
    docs = (Path(__file__).parents[3] / "docs/how-to/import-a-member.md").read_text(encoding="utf-8")
    for which in ("tuning", "held-out", "independent"):
        asked = [(title, match) for title, match in answers if title.set == which and title.key]
        settled = sum(match.key == title.key for title, match in asked)
        offered = sum(any(c.key == title.key for c in match.candidates) for title, match in asked)
        none = len(asked) - settled - offered
        assert f"| {which} | {len(asked)} | {settled} | {offered} | {none} | 0 |" in docs


@pytest.mark.parametrize(
    ("title", "publisher", "key", "method"),
    [
        ("7-Zip", "", "7zip", "exact"),
        ("7-ZIP 24.08 (x64)", "Igor Pavlov", "7zip", "normalised"),
        ("Microsoft Office Standard 2016", "Microsoft Corporation", "ms-office-2016", "alias"),
        ("Microsoft Windows Desktop Runtime - 6.0.36 (x64)", "Microsoft", "dotnet-6", "alias"),
        ("Netwrix Pasword Secure", "Netwrix", "netwrix-password-secure", "fuzzy"),
    ],
)
def test_the_method_is_told(matcher: Matcher, title: str, publisher: str, key: str, method: str) -> None:
    match = matcher.match(Title(title, publisher))
    assert (match.key, match.method) == (key, method)


@pytest.mark.parametrize(
    ("title", "publisher"),
    [
        ("Microsoft Office Standard 2003", "Microsoft Corporation"),  # another generation than any in the catalogue
        ("Python 3.12.1 (64-bit)", "Python Software Foundation"),  # the catalogue knows 2.7 only
        ("Session 1.11.0", "Oxen"),  # a messenger, not the council information system
        ("Zeus", "Some Gaming Studio"),  # not the time recording of ISGUS
        ("Microsoft SQL Server 2008 (64-bit)", "Microsoft Corporation"),  # the catalogue knows 2008 R2 and later ones
        ("Password Safe 3.60", "Rony Shapiro"),  # a namesake by another maker
        ("ELOoffice 11", "ELO Digital Office GmbH"),  # another product of the same maker
        ("VNC Viewer 6.20.529", "RealVNC"),  # not the server
        ("BASyS", ""),  # two products have this name, and no maker is told
        ("", ""),
        ("1.2.3", ""),
    ],
)
def test_never_matched(matcher: Matcher, title: str, publisher: str) -> None:
    assert matcher.match(Title(title, publisher)).key is None


def test_a_name_that_two_products_share_is_settled_by_the_maker(matcher: Matcher) -> None:
    assert matcher.match(Title("BaSYS 9.1", "Barthauer Software GmbH")).key == "basys-kanal"
    assert matcher.match(Title("BASyS", "ITEM KG")).key == "basys-vhs"


def test_the_catalogue_gives_no_alias_twice(matcher: Matcher) -> None:
    assert matcher.findings == []


def test_an_alias_given_twice_is_told_with_its_place(catalogue: Mapping[str, CatalogueEntry]) -> None:
    entry = catalogue["winrar"]
    double = entry.application.model_copy(update={"aliases": ("7-Zip",)})
    changed = dict(catalogue) | {"winrar": CatalogueEntry("winrar", entry.domain, double, entry.place)}
    (finding,) = Matcher(changed).findings
    assert finding.rule == "alias-twice"
    assert finding.place in (entry.place, catalogue["7zip"].place)


def test_every_ignored_title_has_a_reason(answers: list[tuple[Labelled, Match]]) -> None:
    assert all(match.reason for _, match in answers if match.verdict == "ignored")
