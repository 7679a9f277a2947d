"""The import from end to end: what it writes, what it keeps, and that it writes nothing if anything is wrong."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
import yaml
from typer import Typer
from typer.testing import CliRunner

from ksm_onboard.cli.takeover import import_exports
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.load import Declarations
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project
from ksm_onboard.takeover import ExportsRefusedError, run_import
from ksm_onboard.takeover.review import neutral
from tests.unit.takeover.conftest import EXPORTS, imported, sources


def rows(project: Project, section: str) -> list[dict[str, str]]:
    text = (project.root / "proposals/muster/review.csv").read_text(encoding="utf-8-sig")
    return [row for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=";") if row["section"] == section]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_everything_is_written_into_the_folder_and_nowhere_else(workplace: Project) -> None:
    before = snapshot(workplace.root)
    result = imported(workplace, sources(EXPORTS))
    fresh = snapshot(workplace.root).keys() - before.keys()
    assert {name.removeprefix("proposals/muster/") for name in fresh} == {
        "review.html", "review.csv", "muster.yaml", "muster.devices.csv", "decisions.yaml", "import.json",
    }  # fmt: skip
    assert {name: snapshot(workplace.root)[name] for name in before} == before
    assert (sum(result.counts.values()), result.devices) == (457, 55)
    assert result.changes.first


def test_the_same_exports_give_the_same_files(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    first = snapshot(workplace.root / "proposals")
    result = imported(workplace, sources(EXPORTS))
    second = snapshot(workplace.root / "proposals")
    html = "muster/review.html"  # tells that nothing has changed
    assert {name for name in first if first[name] != second[name]} <= {html}
    assert b"Nothing has changed" in second[html]
    assert (result.changes.new_titles, result.changes.gone_titles, result.changes.new_devices) == ((), (), ())


def test_check_finds_nothing_wrong_with_the_proposal_but_that_it_has_no_addresses_yet(workplace: Project) -> None:
    """Its Office 2016 is recognised and not offered any more; what needs an office suite gets the archetype's."""
    imported(workplace, sources(EXPORTS))
    for name in ("muster.yaml", "muster.devices.csv"):
        (workplace.root / "proposals/muster" / name).rename(workplace.stacks / name)
    findings = Declarations(workplace).findings(["muster"])
    assert {finding.rule for finding in findings if finding.severity == "error"} == {"not-allocated"}


def test_the_proposed_declaration(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    text = (workplace.root / "proposals/muster/muster.yaml").read_text(encoding="utf-8")
    said = yaml.safe_load(text)
    assert said["departments"]["buergerbuero"] == {"name": "Bürgerbüro"}
    assert set(said["sites"]) == {"rathaus", "bauhof", "stadtbibliothek", "stadtmuseum", "feuerwehr"}
    assert "firefox-esr" not in said.get("extra_applications", ())  # comes from the archetype
    assert {"vois-meso", "vois-geka"} <= set(said["profiles"]["buergerbuero"]["extra_applications"])
    assert "hh-prodoppik" not in said["profiles"]["kaemmerei"]["extra_applications"]  # the town's profile brings it
    assert said["profiles"]["bauamt-mobil"]["zone"] == "laptops"
    assert set(said["shares"]) == {
        "verwaltung",
        "kaemmerei",
        "bauamt",
        "buergerbuero",
        "scans",
    }  # not ADMIN$ and the like
    assert said["servers"]["file01"]["disks"]["data"]["size_gib"] >= 1750
    assert said["printers"]["rathaus-og"]["site"] == "rathaus"
    proposed = {key for profile in said["profiles"].values() for key in profile.get("extra_applications", ())}
    assert not any(key.startswith("ms-office-20") for key in proposed)  # not offered any more


def test_the_proposed_devices(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    text = (workplace.root / "proposals/muster/muster.devices.csv").read_text(encoding="utf-8")
    devices = list(csv.DictReader(io.StringIO(text), delimiter=";"))
    assert len({d["hostname"] for d in devices}) == len({d["replaces"] for d in devices}) == 55
    for column in ("serial", "mac"):
        given = [d[column] for d in devices if d[column]]
        assert len(given) == len(set(given))
    assert {d["platform"] for d in devices} == {"windows"}
    assert sum(d["wave"] == "pilot" for d in devices) == 6  # one of every department with three desks or more


def test_a_declared_member_keeps_its_identity(workplace: Project) -> None:
    before = (workplace.stacks / "grabow.yaml").read_bytes()
    imported(workplace, sources(EXPORTS), "grabow")
    said = yaml.safe_load((workplace.root / "proposals/grabow/grabow.yaml").read_text(encoding="utf-8"))
    assert said["member"]["name"] == "Stadt Grabow"
    assert said["member"]["short"] == "gra"
    assert (workplace.stacks / "grabow.yaml").read_bytes() == before


# --- the review ---------------------------------------------------------------------------


def test_duplicates(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    assert [(row["item"].split()[0], row["devices"]) for row in rows(workplace, "duplicate")] == [
        ("mac", "2"),
        ("serial", "2"),
    ]


def test_ends_of_support(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    found = {row["key"]: row["note"] for row in rows(workplace, "support")}
    assert found["windows-7"] == "support ended on 2020-01-14; successor: windows-11"
    assert "windows-10" in found
    assert found["adobe-flash-player"] == "support ended on 2020-12-31"
    assert found["dotnet-6"].startswith("support ended on 2024-11-12")  # a runtime, ignored otherwise
    assert found["dotnet-8-desktop"] == "support ends on 2026-11-10"  # within a year
    assert "windows-11" not in found


def test_licence_gaps(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    notes = {row["key"]: row["note"] for row in rows(workplace, "licence")}
    installed = {row["key"]: int(row["devices"]) for row in rows(workplace, "licence") if row["key"]}
    assert (
        notes["hh-prodoppik"]
        == f"counted by named-user (uncertain); owned: 5; missing: {installed['hh-prodoppik'] - 5}"
    )
    assert notes["ms-office-2016"].endswith("owned: 40; missing: 0")
    assert notes["autocad"].endswith(f"owned: 0; missing: {installed['autocad']}")
    assert notes[""] == "1 owned; not clear what for"


def test_without_a_licence_list_nothing_is_claimed(workplace: Project) -> None:
    files = sources(EXPORTS)
    imported(workplace, type(files)(files.devices, files.software))
    assert all("owned: not known" in row["note"] for row in rows(workplace, "licence"))
    assert "No licence list was given" in (workplace.root / "proposals/muster/review.html").read_text(encoding="utf-8")


def test_candidates_for_consolidation_here_and_at_other_members(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    notes = {row["item"]: row["note"] for row in rows(workplace, "consolidation")}
    assert "7zip on" in notes["packprogramm"]
    assert "winrar on" in notes["packprogramm"]
    # Grabow uses keepassxc; here there is KeePass, too.
    assert re.search(r"here: keepass on \d+.*elsewhere: keepassxc at grabow", notes["passwortsafe"])
    assert "laufzeitumgebung" not in notes


def test_a_member_with_errors_is_left_out_of_the_comparison_and_named(workplace: Project) -> None:
    (workplace.stacks / "grabow.yaml").write_text("member: {key: grabow}\n", encoding="utf-8")
    imported(workplace, sources(EXPORTS))
    assert "declarations have errors: grabow" in (workplace.root / "proposals/muster/review.html").read_text(
        encoding="utf-8"
    ).replace("\n", " ")


def with_title(exports: Path, title: str) -> None:
    with (exports / "software.csv").open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerow(["PC-BB-01", title, "1", "<b>x</b>", ""])


@pytest.mark.parametrize("sign", ["+", "-", "@"])
def test_nothing_in_the_review_is_calculated_or_executed(workplace: Project, exports: Path, sign: str) -> None:
    nasty = f"{sign}Spezial <script>alert</script>"
    with_title(exports, nasty)
    imported(workplace, sources(exports))
    raw = (workplace.root / "proposals/muster/review.csv").read_text(encoding="utf-8-sig")
    for row in csv.reader(io.StringIO(raw, newline=""), delimiter=";"):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
    assert any(row["item"] == f"'{nasty}" for row in rows(workplace, "software"))
    html = (workplace.root / "proposals/muster/review.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("formula", ['=HYPERLINK("http://127.0.0.1")', "=1", "@SUM(A1)", "+1+cmd|'/C calc'!A0"])
def test_a_formula_is_refused(workplace: Project, exports: Path, formula: str) -> None:
    with_title(exports, formula)
    with pytest.raises(ExportsRefusedError) as refused:
        imported(workplace, sources(exports))
    assert [f.rule for f in refused.value.findings if f.severity == "error"] == ["csv-formula"]


def test_neutral() -> None:
    assert [neutral(cell) for cell in ("=1", "+1", "-1", "@a", "\tx", "a=1", "")] == [
        "'=1",
        "'+1",
        "'-1",
        "'@a",
        "'\tx",
        "a=1",
        "",
    ]


def test_the_review_is_one_page_without_anything_from_elsewhere(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    html = (workplace.root / "proposals/muster/review.html").read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)\s*=\s*"(?!#)', html)
    assert "url(" not in html


def test_no_person_appears_in_anything_written(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    written = b"".join(snapshot(workplace.root / "proposals").values()).decode("utf-8", "replace").casefold()
    assert "nutzer01" not in written
    assert "ehemalige person" not in written


# --- decisions ----------------------------------------------------------------------------


def decide(project: Project, **made: str) -> Path:
    file = project.root / "proposals/muster/decisions.yaml"
    text = file.read_text(encoding="utf-8")
    for title, what in made.items():
        text, found = re.subn(rf'(?m)^"{re.escape(title)}": open.*$', f'"{title}": {what}', text)
        assert found == 1
    file.write_text(text, encoding="utf-8")
    return file


def test_decisions_are_kept_and_only_what_is_new_is_asked(workplace: Project, exports: Path) -> None:
    imported(workplace, sources(exports))
    file = decide(
        workplace,
        **{
            "Axians Infoma newsystem 7 RTC": "infoma-newsystem",
            "Lexware reisekosten 2020": "retire",
            "Mitarbeiterverzeichnis": "ignore",
        },
    )
    file.write_text("# von Frau Muster geprüft\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    decided = file.read_text(encoding="utf-8")
    software = (exports / "software.csv").read_text(encoding="utf-8-sig")
    added = '"PC-BB-01","Ganz Neues Fachverfahren 2.0","2.0","Niemand",""\r\n'
    (exports / "software.csv").write_text(software + added, encoding="utf-8-sig", newline="")

    result = imported(workplace, sources(exports))

    found = {row["item"]: row for row in rows(workplace, "software")}
    kept = found["Axians Infoma newsystem 7 RTC"]
    assert (kept["verdict"], kept["key"], kept["method"]) == ("matched", "infoma-newsystem", "decision")
    assert found["Lexware reisekosten 2020"]["verdict"] == "retired"
    assert found["Mitarbeiterverzeichnis"]["verdict"] == "ignored"
    assert set(result.changes.settled) == {
        "Lexware reisekosten 2020",
        "Mitarbeiterverzeichnis",
        "Axians Infoma newsystem 7 RTC",
    }
    assert "Ganz Neues Fachverfahren 2.0" in result.changes.new_titles
    now = file.read_text(encoding="utf-8")
    assert now.startswith(decided)  # every line as the person left it
    assert '"Ganz Neues Fachverfahren 2.0": open' in now.removeprefix(decided)


def test_a_decision_holds_for_the_next_version(workplace: Project, exports: Path) -> None:
    imported(workplace, sources(exports))
    decide(workplace, **{"ArcGIS 10.6.1 for Desktop": "arcgis-pro"})
    software = (exports / "software.csv").read_text(encoding="utf-8-sig")
    (exports / "software.csv").write_text(
        software.replace("ArcGIS 10.6.1", "ArcGIS 10.8.2"), encoding="utf-8", newline=""
    )
    result = imported(workplace, sources(exports))
    (row,) = [row for row in rows(workplace, "software") if row["item"] == "ArcGIS 10.8.2 for Desktop"]
    assert (row["verdict"], row["key"], row["note"]) == (
        "matched",
        "arcgis-pro",
        "decided for 'ArcGIS 10.6.1 for Desktop'",
    )
    assert "ArcGIS 10.8.2 for Desktop" not in result.open_titles


def test_a_decision_overrules_the_matching(workplace: Project) -> None:
    imported(workplace, sources(EXPORTS))
    file = workplace.root / "proposals/muster/decisions.yaml"
    file.write_text(file.read_text(encoding="utf-8") + '"Greenshot 1.2.10.6": retire\n', encoding="utf-8")
    imported(workplace, sources(EXPORTS))
    (row,) = [row for row in rows(workplace, "software") if row["item"].startswith("Greenshot")]
    assert (row["verdict"], row["method"]) == ("retired", "decision")


def test_new_names_of_devices_are_kept(workplace: Project, exports: Path) -> None:
    imported(workplace, sources(exports))
    before = json.loads((workplace.root / "proposals/muster/import.json").read_text(encoding="utf-8"))["devices"]
    lines = (exports / "geraete.csv").read_bytes().split(b"\r\n")
    lines[1:2] = [lines[1].replace(b"PC-BB-01", b"AA-NEU-1").replace(b"YM", b"ZZ")]
    (exports / "geraete.csv").write_bytes(b"\r\n".join(lines))
    result = imported(workplace, sources(exports))
    after = json.loads((workplace.root / "proposals/muster/import.json").read_text(encoding="utf-8"))["devices"]
    assert {old: new for old, new in after.items() if old in before} == {o: n for o, n in before.items() if o in after}
    assert after["aa-neu-1"] not in {new for old, new in after.items() if old != "aa-neu-1"}
    assert (result.changes.new_devices, result.changes.gone_devices) == (("aa-neu-1",), ("pc-bb-01",))


@pytest.mark.parametrize(
    ("content", "rule", "line"),
    [
        ('"avviso": aviso-vollstreckung\n', "application-unknown", 1),
        ('"avviso": ignore\n"avviso": retire\n', "yaml-duplicate-key", 2),
        ('"avviso": [ignore]\n', "application-unknown", 1),
        ("- avviso\n", "wrong-type", 1),
        ("avviso: &a ignore\n", "yaml-anchor", 1),
        ("\tavviso: ignore\n", "yaml-syntax", 1),
        ('{"avviso": ignore}\n', "wrong-format", 1),
    ],
)
def test_wrong_decisions_are_refused_with_the_place(workplace: Project, content: str, rule: str, line: int) -> None:
    file = workplace.root / "proposals/muster/decisions.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ExportsRefusedError) as refused:
        imported(workplace, sources(EXPORTS))
    (finding,) = [f for f in refused.value.findings if f.severity == "error"]
    assert (finding.rule, finding.place.line, finding.place.file) == (rule, line, file)
    assert snapshot(file.parent) == {"decisions.yaml": content.encode()}


# --- refusals -----------------------------------------------------------------------------


def test_nothing_is_written_if_an_export_has_an_error(workplace: Project, exports: Path) -> None:
    (exports / "freigaben.csv").write_text("Freigabe;Größe\nDaten;=1+1\n", encoding="utf-8")
    before = snapshot(workplace.root)
    with pytest.raises(ExportsRefusedError) as refused:
        imported(workplace, sources(exports))
    assert str(refused.value) == "the import has 1 error; nothing was written"
    assert snapshot(workplace.root) == before


@pytest.mark.parametrize("where", ["stacks", "stacks/new", "catalogue"])
def test_what_people_write_is_never_a_target(workplace: Project, where: str) -> None:
    before = snapshot(workplace.root)
    with pytest.raises(OnboardError, match="where only people write"):
        run_import(workplace, "muster", sources(EXPORTS), None, workplace.root / where, progress=Silent())
    assert snapshot(workplace.root) == before


@pytest.mark.parametrize("member", ["../grabow", "Stadt Grabow", ""])
def test_a_member_that_is_no_key_is_refused(workplace: Project, member: str) -> None:
    with pytest.raises(OnboardError, match="no key of a member"):
        imported(workplace, sources(EXPORTS), member)


# --- the command --------------------------------------------------------------------------


def command(project: Project, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    app = Typer()
    app.command("import")(import_exports)
    monkeypatch.chdir(project.root)
    files = ["--devices", str(EXPORTS / "geraete.csv"), "--software", str(EXPORTS / "software.csv")]
    result = CliRunner().invoke(app, ["muster", *files, *arguments])
    return result.exit_code, result.stdout


def test_the_command_speaks_json(workplace: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out = command(workplace, monkeypatch, "--json", "--shares", str(EXPORTS / "freigaben.csv"))
    said = json.loads(out)
    assert code == 0
    assert said["devices"] == 55
    assert said["files"]["review"].endswith("proposals/muster/review.html")
    assert {finding["severity"] for finding in said["findings"]} == {"warning"}


def test_the_command_says_what_to_do_next(workplace: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out = command(workplace, monkeypatch, "--out", str(workplace.root / "elsewhere"))
    assert code == 0
    assert "457 titles on 55 devices" in out
    assert (workplace.root / "elsewhere/review.html").is_file()


def test_printers_stand_where_devices_do_and_a_fax_is_none(workplace: Project, exports: Path) -> None:
    (exports / "printers.tsv").write_text(
        "Druckername\tTreibername\tAnschluss\tStandort\n"
        "Kyo 1\tKyocera ECOSYS P3260dn KX\tIP_192.168.10.51\tRathaus EG\n"
        "Fax\tMicrosoft Shared Fax Driver\tSHRFAX:\t\n"
        "Microsoft Print to PDF\tMicrosoft Print To PDF\tPORTPROMPT:\t\n",
        encoding="utf-8",
    )
    imported(workplace, sources(exports))
    text = (workplace.root / "proposals/muster/muster.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["printers"] == {"kyo-1": {"site": "rathaus", "model": "Kyocera ECOSYS P3260dn KX"}}
    assert "# 2 queues left out" in text
