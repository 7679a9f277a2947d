from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.takeover.ignored import reason_to_ignore
from ksm_onboard.takeover.matching import Matcher
from ksm_onboard.takeover.titles import Title, compact, company_words, folded


@pytest.mark.parametrize(
    ("title", "form"),
    [
        ("Mozilla Firefox 115.6.0 ESR (x64 de)", "mozilla firefox esr"),
        ("Notepad++ (64-bit x64)", "notepad++"),
        ("Autodesk AutoCAD LT 2018 - Deutsch (German)", "autodesk autocad lt 2018"),
        ("OpenVPN 2.5.8-I604 amd64", "openvpn"),
        ("IrfanView (remove only)", "irfanview"),
        ("Microsoft Office Standard 2016 - de-de", "microsoft office standard 2016"),
        ("BricsCAD V21.2 (x64) de_DE", "bricscad"),
        ("QGIS 3.28.12 'Firenze'", "qgis"),
        ("Git version 2.31.1", "git"),
        ("d.3 smart explorer", "d 3 smart explorer"),
        ("Straßenverzeichnis Überwachung", "strassenverzeichnis ueberwachung"),
        ("Intel® PROSet/Wireless", "intel proset wireless"),
    ],
)
def test_what_is_dropped(title: str, form: str) -> None:
    assert Title(title).form == form


def test_numbers_are_kept_apart() -> None:
    title = Title("Microsoft Office Standard 2016 (x64)")
    assert title.generations == {"2016"}
    assert title.any_generation == "microsoft office standard"
    assert Title("7-Zip").form == "7 zip"


def test_words_that_tell_companies_apart() -> None:
    assert company_words("HSH Soft- und Hardware Vertriebs GmbH") == {"hsh", "hardware"}
    assert company_words("Martin Přikryl") == company_words("Martin Prikryl")


@given(st.text(max_size=200), st.text(max_size=60))
def test_normalising_anything_ends_and_is_stable(text: str, publisher: str) -> None:
    title = Title(text, publisher)
    assert Title(title.stable).stable == title.stable
    assert folded(title.folded) == title.folded
    assert set(title.generations) <= set(title.words)
    assert " " not in compact(title.form)
    assert title.without_publisher == "" or title.words
    reason_to_ignore(title.folded, folded(publisher))


@given(
    st.sampled_from(["7-Zip", "LibreOffice", "WinSCP", "Microsoft Edge", "PDF24 Creator"]),
    st.lists(st.integers(0, 999), min_size=2, max_size=4),
    st.sampled_from(["", " (x64)", " (x64 de)", " - de-de", " (64-bit)", " x86"]),
)
def test_version_and_architecture_do_not_matter(matcher: Matcher, name: str, version: list[int], tail: str) -> None:
    versioned = Title(f"{name} {'.'.join(map(str, version))}{tail}")
    assert matcher.match(versioned).key == matcher.match(Title(name)).key


@given(st.text(max_size=120), st.text(max_size=40))
def test_matching_anything_gives_a_verdict(matcher: Matcher, text: str, publisher: str) -> None:
    match = matcher.match(Title(text, publisher))
    assert (match.key is not None) == (
        match.verdict == "matched" or (match.verdict == "ignored" and match.method != "rule")
    )
    assert bool(match.candidates) == (match.verdict == "doubtful")
