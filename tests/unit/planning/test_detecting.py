"""How applications are recognised: one precedence, nothing guessed, contradictions found."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from ksm_onboard.declaration.catalogue import Application
from ksm_onboard.planning.detecting import outdated, rules, server_side, updated_by
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project

CODE = "{01234567-89AB-CDEF-0123-456789ABCDEF}"


def application(**fields: object) -> Application:
    written = {"product": "Produkt", "vendor": "V", "platforms": ["windows"], "component": "client", "licence": "free"}
    return Application.model_validate(written | fields)


def test_the_first_kind_of_the_precedence_comes_first_whatever_the_order_written() -> None:
    full = application(
        packages={"chocolatey": "produkt"},
        detection={"registry": r"HKLM:\SOFTWARE\V\Produkt", "product_code": CODE, "file": {"path": r"C:\V\p.exe"}},
    )
    assert [rule.kind for rule in rules(full, "windows")] == ["package", "product-code", "file-version", "registry"]
    assert rules(full, "linux") == ()


def test_without_anything_stated_windows_list_of_software_is_searched() -> None:
    [rule] = rules(application(aliases=["Produkt 2024*"]), "windows")
    assert (rule.kind, rule.values) == ("registry", ("Produkt", "Produkt 2024*"))


def test_what_no_entry_says_is_unknown() -> None:
    assert server_side(application()) is None
    assert updated_by(application(), "windows") is None
    assert rules(application(component="extension"), "windows") == ()
    assert server_side(application(requires=["mssql-odbc"])) == ("mssql",)
    assert server_side(application(server_side=["none"], requires=["mssql-odbc"])) == ("none",)


ENTRY = "vendor: V, component: client, licence: free"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            f'a: {{product: A, platforms: [windows], {ENTRY}, detection: {{product_code: "{CODE}"}}}}\n'
            f'  b: {{product: B, platforms: [windows], {ENTRY}, detection: {{product_code: "{CODE}"}}}}',
            "'b' and 'a' have one product code",
        ),
        (
            f'a: {{product: A, platforms: [linux], {ENTRY}, detection: {{product_code: "{CODE}"}}}}',
            "does not run on Windows",
        ),
        (f"a: {{product: A, platforms: [linux], {ENTRY}, server_side: [none, mssql]}}", "needs nothing on servers"),
    ],
)
def test_contradictions_in_an_entry_are_found(checkout: Project, entries: str, words: str) -> None:
    (checkout.catalogue / "probe.yaml").write_text(f"domain: probe\napplications:\n  {entries}\n")
    [finding] = Declarations(checkout).findings()
    assert finding.rule == "application-detection"
    assert words in finding.message
    assert finding.place.file == checkout.catalogue / "probe.yaml"


@pytest.mark.parametrize("code", ["01234567", CODE.lower(), CODE[1:-1]])
def test_a_product_code_in_another_form_is_refused_where_it_stands(checkout: Project, code: str) -> None:
    (checkout.catalogue / "probe.yaml").write_text(
        f"domain: probe\napplications:\n  a: {{product: A, platforms: [windows], {ENTRY},\n"
        f'    detection: {{product_code: "{code}"}}}}\n'
    )
    [finding] = Declarations(checkout).findings()
    assert (finding.place.file.name, finding.place.line) == ("probe.yaml", 4)


def test_support_that_has_ended_or_ends_soon_on_a_given_day(plan_root: Path) -> None:
    catalogue = Declarations(Project(plan_root)).catalogue
    day = date(2026, 1, 1)
    found = outdated(catalogue.values(), day, timedelta(days=365))
    assert found
    assert all(entry.support_end <= date(2027, 1, 1) for entry in found)
    assert [entry.support_end for entry in found] == sorted(entry.support_end for entry in found)
    by_key = {entry.key: entry for entry in found}
    assert by_key["windows-10"].days == (date(2025, 10, 14) - day).days
    assert not outdated(catalogue.values(), date(2010, 1, 1), timedelta(days=30))


@pytest.fixture
def plan_root() -> Path:
    return Path(__file__).resolve().parents[3]


def test_protection_is_the_domain_s_unless_the_entry_says_otherwise(checkout: Project) -> None:
    (checkout.catalogue / "probe.yaml").write_text(
        f'domain: probe\nprotection: {{need: high, source: "§ 30 AO"}}\napplications:\n'
        f"  a: {{product: A, platforms: [linux], {ENTRY}}}\n"
        f'  b: {{product: B, platforms: [linux], {ENTRY}, protection: {{need: normal, source: "nur Sitzpläne"}}}}\n'
    )
    catalogue = Declarations(checkout).catalogue
    needs = {key: entry.protection.need for key in ("a", "b") if (entry := catalogue[key]).protection}
    assert needs == {"a": "high", "b": "normal"}
    assert catalogue["libreoffice"].protection is None
