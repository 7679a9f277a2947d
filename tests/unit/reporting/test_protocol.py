"""The hand-over protocol: complete, honest, harmless, printable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.configuring.results import HostResult, RunResult
from ksm_onboard.connection import Connection, GuestAccess, Trust, VCenterAccess
from ksm_onboard.planning.plan import ApplicationPlan, Plan
from ksm_onboard.project import Project
from ksm_onboard.reporting import wording
from ksm_onboard.reporting.documents import write_documents
from ksm_onboard.reporting.network_plan import network_plan_svg
from ksm_onboard.reporting.protocol import Protocol, protocol, summarise
from ksm_onboard.verifying.audit_report import Area, AuditReport, Difference, MachineSeen, NotChecked, Reason, Tally
from ksm_onboard.verifying.restores import Attempt, DatabaseLoaded, Restored, Restores

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 3, 2, 19, 5, tzinfo=UTC)
VOID = {"meta", "br", "link", "img", "input", "hr"}

DIFFERENCES = (
    Difference(
        kind="different",
        area=Area.SERVERS,
        object="gra-db01",
        attribute="memory_mib",
        expected="16384",
        found="8192",
        how_seen="vCenter",
    ),
    Difference(
        kind="missing",
        area=Area.SHARES,
        object="bauamt",
        attribute="share",
        expected="/srv/data/bauamt",
        found="none",
        how_seen="ssh gra-file01: testparm",
    ),
    Difference(
        kind="extra",
        area=Area.SERVERS,
        object="gra-old01 (grabow)",
        attribute="vm",
        expected="none",
        found="gra-old01 (grabow)",
        how_seen="vCenter",
    ),
)


class Document(HTMLParser):
    """A strict reader: every element that opens closes, in order; ids are unique."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "span":
            self.texts.append(" ")
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        self.ids += [value or "" for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts)).replace("\u00ad", "")


def read(html: str) -> Document:
    document = Document()
    document.feed(html)
    document.close()
    assert document.open == []
    assert len(document.ids) == len(set(document.ids))
    return document


def audit_of(plan: Plan, differences: tuple[Difference, ...] = (), *, asked: int = 6, **changes: Any) -> AuditReport:
    packages = {a.key: a.packages for a in plan.member.applications}
    workstations = plan.member.workstations
    return AuditReport(
        member=plan.member.key,
        data_centre="lab",
        at=NOW - timedelta(minutes=5),
        tallies=tuple(
            Tally(area=a, points=100, differences=sum(d.area is a for d in differences), applicable=True) for a in Area
        ),
        differences=differences,
        not_checked=tuple(
            NotChecked(area=area, object=w.name, what="everything", reason=Reason.NOT_STARTED)
            for w in workstations[asked:]
            for area in (Area.MACHINES, Area.APPLICATIONS)
        ),
        machines=tuple(
            MachineSeen(
                name=w.name,
                kind="workstation",
                operating_system="Debian GNU/Linux 12 (bookworm)",
                applications={key: dict.fromkeys(packages[key], "1.2.3-4") for key in w.applications},
            )
            for w in workstations[:asked]
        ),
        **{"simulated": True, **changes},
    )


NOTHING_RESTORED = Restores()
RUN = RunResult(
    member="grabow",
    started=NOW - timedelta(minutes=30),
    ended=NOW - timedelta(minutes=10),
    status="failed",
    hosts={
        "gra-db01": HostResult(ok=20, notes=("chrony is not running",)),
        "gra-db02": HostResult(changed=3, failed=1, problems=("package <x> not found",)),
        "gra-dns01": HostResult(unreachable=1, notes=("chrony is not running",)),
    },
)


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    return Connection(
        name="lab",
        simulated=True,
        vcenter=VCenterAccess(server="vcenter.example:8989", user="svc", password_file=tmp_path / "password"),
        guests=GuestAccess(private_key_file=tmp_path / "key"),
        trust=Trust(root_ca_file=tmp_path / "ca.pem"),
    )


Write = Callable[..., tuple[Document, str, Protocol]]


@pytest.fixture
def write(connection: Connection, tmp_path: Path) -> Write:
    def written(
        plan: Plan, audit: AuditReport, run: RunResult | None = RUN, restores: Restores = NOTHING_RESTORED
    ) -> tuple[Document, str, Protocol]:
        done = summarise(run) if run else None
        folder = tmp_path / "out"
        paths = write_documents(Project(ROOT), connection, plan, audit, done, restores=restores, folder=folder, now=NOW)
        html = paths.html.read_text()
        return read(html), html, Protocol.model_validate_json(paths.json.read_text())

    return written


def member(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update={"member": plan.member.model_copy(update=changes)})


def test_it_says_everything_that_is_handed_over(plan: Plan, write: Write) -> None:
    document, _, _ = write(plan, audit_of(plan))
    wanted = {plan.member.name, plan.platform.operator, plan.member.responsible, plan.platform.responsible}
    wanted |= {text for site in plan.member.sites for text in (site.name, site.address)}
    wanted |= {text for zone in plan.member.zones for text in (zone.title, str(zone.vlan), str(zone.cidr))}
    wanted |= {text for server in plan.member.servers for text in (server.name, str(server.address))}
    wanted |= {disk.vmdk for server in plan.member.servers for disk in server.disks}
    wanted |= {text for share in plan.member.shares for text in (share.name, share.path, share.comment)}
    wanted |= {text for queue in plan.member.print_queues for text in (queue.name, queue.model, queue.device_uri)}
    wanted |= {database.name for database in plan.member.databases}
    wanted |= {published.name for published in plan.member.published}
    wanted |= set(plan.member.departments.values())
    wanted |= {application.product for application in plan.member.applications}
    wanted |= {text for w in plan.member.workstations for text in (w.name, str(w.address))}
    wanted |= {"Übergabeprotokoll", "Unterschrift", "2. März 2026, 20:00 Uhr", "2. März 2026, 20:05 Uhr", "1.400"}
    assert {text for text in wanted if text not in document.text} == set()


def test_html_and_json_say_the_same(plan: Plan, write: Write) -> None:
    document, _, content = write(plan, audit_of(plan, DIFFERENCES))
    for point in content.open_points:
        assert point.text in document.text
    for row in content.audit.differences:
        assert row.attribute in document.text and row.found in document.text
    assert content.open_points and len(content.audit.differences) == 3


def test_installed_versions_are_those_that_machines_told(plan: Plan, write: Write) -> None:
    document, _, content = write(plan, audit_of(plan))
    [ausweisapp] = [a for a in content.applications if a.product == "AusweisApp"]
    assert (ausweisapp.versions, ausweisapp.planned_on, ausweisapp.asked, ausweisapp.found_on) == (
        ("ausweisapp2 1.2.3-4",),
        10,
        6,
        6,
    )
    assert "ausweisapp2 1.2.3-4" in document.text
    [nginx] = [a for a in content.applications if a.product == "nginx"]
    assert (nginx.versions, nginx.asked, nginx.found_on) == ((), 0, 0)


def test_what_nobody_looked_at_is_never_shown_as_installed(plan: Plan, write: Write) -> None:
    document, _, content = write(plan, audit_of(plan, asked=0))
    assert all(application.versions == () for d in content.departments for application in d.applications)
    assert {workstation.asked for workstation in content.workstations} == {False}
    assert "1.2.3-4" not in document.text
    assert "nicht geprüft" in document.text


def test_every_difference_and_every_gap_is_an_open_point(plan: Plan, write: Write) -> None:
    _, _, content = write(plan, audit_of(plan, DIFFERENCES))
    texts = [(point.kind, point.text) for point in content.open_points]
    assert ("Abweichung", "Server, gra-db01: Arbeitsspeicher (MiB) soll „16384“ sein, ist „8192“.") in texts
    assert ("Abweichung", "Netzlaufwerke, bauamt: Netzlaufwerk (/srv/data/bauamt) fehlt.") in texts
    strange = "Server, gra-old01 (grabow): virtuelle Maschine vorhanden, aber nicht deklariert."
    assert ("Abweichung", strange) in texts
    gaps = "49 Geräte (gra-ws0007 bis gra-ws0055): Grundeinrichtung der Geräte und Anwendungen"
    assert ("Nicht geprüft", f"{gaps} (im Labor nicht gestartet).") in texts
    failed = "Konfigurationslauf, gra-db02: fehlgeschlagen: package <x> not found"
    assert ("Abweichung", failed) in texts
    assert ("Abweichung", "Konfigurationslauf, gra-dns01: nicht erreichbar: ohne Meldung") in texts
    assert ("Abweichung", "Der letzte Konfigurationslauf endete mit Fehlern.") in texts
    note = "2 Geräte (gra-db01, gra-dns01): Meldung des Konfigurationslaufs: „chrony is not running“"
    assert ("Hinweis", note) in texts
    assert [point.number for point in content.open_points] == list(range(1, len(texts) + 1))


def test_the_same_difference_on_many_machines_is_one_row(plan: Plan, write: Write) -> None:
    missing = [
        Difference(
            kind="missing",
            area=Area.APPLICATIONS,
            object=f"{w.name}: 7zip",
            attribute="package",
            expected="7zip",
            found="none",
            how_seen=f"ssh {w.name}",
        )
        for w in plan.member.workstations[:3]
    ]
    document, _, content = write(plan, audit_of(plan, (*DIFFERENCES, *missing)))
    assert content.audit.differing == 6 and len(content.audit.differences) == 4
    assert "6 Punkte weichen von der Deklaration ab." in document.text
    text = "Anwendungen, gra-ws0001 bis gra-ws0003: 7zip: Programmpaket (7zip) fehlt."
    assert text in [point.text for point in content.open_points]


def test_uncertain_catalogue_entries_are_open_points(plan: Plan, write: Write) -> None:
    doubtful = ApplicationPlan(
        key="7zip",
        product="7-Zip",
        vendor="?",
        domain="x",
        packages=("7zip",),
        uncertain=("vendor", "licence"),
    )
    others = tuple(a for a in plan.member.applications if a.key != "7zip")
    document, _, _ = write(member(plan, applications=(doubtful, *others)), audit_of(plan))
    assert "7-Zip: im Anwendungskatalog nicht bestätigte Angaben: vendor, licence" in document.text


def test_no_run_is_said_and_not_passed_over(plan: Plan, write: Write) -> None:
    document, _, content = write(plan, audit_of(plan), None)
    assert "kein Konfigurationslauf aufgezeichnet" in document.text
    assert any("kein Konfigurationslauf" in point.text for point in content.open_points)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "interrupted", "problem": "somebody stopped it"}, "wurde abgebrochen: somebody stopped it"),
        ({"status": "finished", "check": True}, "war ein Probelauf"),
        ({"status": "finished", "limit": "gra-db01"}, "nur einen Teil"),
    ],
)
def test_a_run_that_proves_little_is_an_open_point(
    plan: Plan, write: Write, changes: dict[str, Any], words: str
) -> None:
    _, _, content = write(plan, audit_of(plan), RUN.model_copy(update=changes))
    assert any(words in point.text for point in content.open_points)


def test_a_simulation_is_labelled_on_top_on_every_page_and_among_the_open_points(plan: Plan, write: Write) -> None:
    document, html, content = write(plan, audit_of(plan))
    assert document.text.index("Simulation") < document.text.index("Ergebnis")
    assert '@bottom-center { content: "Simulation, kein Nachweis"' in html
    assert [point.kind for point in content.open_points].count("Simulation") == 1
    document, html, content = write(plan, audit_of(plan, simulated=False))
    assert "Simulation" not in document.text and "Simulation" not in html
    assert not content.simulated


HOSTILE = "<script>alert(1)</script>\"'</style>]]>&amp;{{ 7*7 }}"


def test_hostile_names_are_harmless(plan: Plan, write: Write) -> None:
    site = plan.member.sites[0].model_copy(update={"name": HOSTILE, "address": HOSTILE})
    share = plan.member.shares[0].model_copy(update={"comment": HOSTILE})
    zone = plan.member.zones[0].model_copy(update={"title": HOSTILE})
    spoilt = member(
        plan,
        name=HOSTILE,
        responsible=HOSTILE,
        sites=(site, *plan.member.sites[1:]),
        shares=(share,),
        zones=(zone, *plan.member.zones[1:]),
        departments=dict.fromkeys(plan.member.departments, HOSTILE),
    )
    odd = DIFFERENCES[0].model_copy(update={"found": HOSTILE, "object": HOSTILE})
    document, html, _ = write(spoilt, audit_of(plan, (odd,)))
    assert "script" not in document.tags
    assert document.tags.count("style") == 1
    assert "<script" not in html
    assert document.text.count("alert(1)") >= 10
    assert " 49 " not in document.text.split("Ergebnis")[0]


def test_nothing_is_fetched_from_anywhere(plan: Plan, write: Write) -> None:
    document, html, _ = write(plan, audit_of(plan))
    assert not {"script", "img", "link", "iframe", "object", "image", "use", "a"} & set(document.tags)
    assert [(t, k, v) for t, k, v in document.attributes if k in {"src", "href", "xlink:href", "style"}] == []
    assert [(t, k) for t, k, _ in document.attributes if k.startswith("on")] == []
    assert "@import" not in html and "url(" not in html
    policy = [v for t, k, v in document.attributes if t == "meta" and k == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy


def test_it_is_readable_for_everybody(plan: Plan, write: Write) -> None:
    document, html, _ = write(plan, audit_of(plan))
    assert ("html", "lang", "de") in document.attributes
    assert document.tags.count("h1") == 1
    assert {value for tag, key, value in document.attributes if tag == "th" and key == "scope"} == {"col", "row"}
    assert document.tags.count("th") == len([1 for t, k, _ in document.attributes if t == "th" and k == "scope"])
    picture = html[html.index("<svg") : html.index("</svg>")]
    assert 'role="img"' in picture and "<title" in picture and "gra-dns01" in picture
    assert "size: A4" in html


def test_the_same_input_gives_the_same_bytes(plan: Plan, write: Write) -> None:
    assert write(plan, audit_of(plan))[1] == write(plan, audit_of(plan))[1]


def test_json_is_plain(plan: Plan, connection: Connection, tmp_path: Path) -> None:
    paths = write_documents(
        Project(ROOT), connection, plan, audit_of(plan), None, restores=Restores(), folder=tmp_path, now=NOW
    )
    data = json.loads(paths.json.read_text())
    assert data["member"] == "Stadt Grabow" and data["simulated"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "netzplan.svg",
        "uebergabeprotokoll.html",
        "uebergabeprotokoll.json",
    ]


def test_a_failure_leaves_the_old_protocol(
    plan: Plan, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_documents(
        Project(ROOT), connection, plan, audit_of(plan), None, restores=Restores(), folder=tmp_path, now=NOW
    )
    before = paths.html.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        broken = audit_of(plan, DIFFERENCES)
        write_documents(Project(ROOT), connection, plan, broken, None, restores=Restores(), folder=tmp_path, now=NOW)
    assert paths.html.read_text() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_another_members_audit_is_refused(plan: Plan) -> None:
    audit = audit_of(plan).model_copy(update={"member": "ludwigslust"})
    with pytest.raises(ValueError, match="ludwigslust"):
        protocol(plan, audit, None, NOTHING_RESTORED, data_centre="x", created=NOW)


# --- network plan -------------------------------------------------------------------------


def test_the_network_plan_shows_every_zone_and_every_server_in_its_section(plan: Plan) -> None:
    picture = network_plan_svg(plan)
    assert picture == network_plan_svg(plan)
    for zone in plan.member.zones:
        assert f"VLAN {zone.vlan}" in picture.replace("\u00a0", " ") and str(zone.cidr) in picture
    for server in plan.member.servers:
        assert server.name in picture
    assert "Brandabschnitt A" in picture and "Brandabschnitt B" in picture
    assert "noch einzurichten" in picture


# --- wording ------------------------------------------------------------------------------


def test_every_area_and_reason_is_worded() -> None:
    assert set(wording.AREAS) == set(Area)
    assert set(wording.REASONS) == set(Reason)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ""),
        (["a1"], "a1"),
        (["a2", "a1"], "a1, a2"),
        (["a1", "a2", "a3", "a7"], "a1 bis a3, a7"),
        (["gra-ws0099", "gra-ws0100", "gra-ws0098"], "gra-ws0098 bis gra-ws0100"),
        (["x", "y"], "x, y"),
    ],
)
def test_names_are_drawn_together(names: list[str], expected: str) -> None:
    assert wording.name_ranges(names) == expected


def test_german_numbers_and_dates() -> None:
    assert wording.number(1234567) == "1.234.567"
    assert wording.counted(1, "Punkt", "Punkte") == "1 Punkt"
    assert wording.date(datetime(2026, 3, 2, tzinfo=UTC)) == "2. März 2026"


# --- backups ------------------------------------------------------------------------------


def attempt(server: str, source: str, repository: str, **changes: Any) -> Attempt:
    restored = Restored(
        snapshot="0a1b2c3d",
        taken=NOW - timedelta(hours=3),
        manifest="ab" * 32,
        files=1234,
        bytes=5_000_000,
        changed_meanwhile=0,
        databases={"fachdaten": DatabaseLoaded(tables=2, rows=40)} if source == "pgdata" else {},
    )
    done = Attempt(
        server=server, source=source, repository=repository, at=NOW - timedelta(hours=2), seconds=9, restored=restored,
        problem="",
    )  # fmt: skip
    return done.model_copy(update=changes)


def test_restore_tests_are_proven_copy_by_copy(plan: Plan, write: Write) -> None:
    restores = Restores(
        proofs=(attempt("gra-file01", "data", "outside"), attempt("gra-db01", "pgdata", "outside")),
        failures=(
            attempt("gra-file01", "data", "section-b", restored=None, problem="the repository is damaged <here>"),
        ),
    )
    document, _, content = write(plan, audit_of(plan), restores=restores)
    assert "Datensicherung und Rücksicherungsprobe" in document.text
    assert "sn-backup03 (außerhalb beider Brandabschnitte)" in document.text
    assert "zuletzt fehlgeschlagen: the repository is damaged <here>" in document.text
    assert "fachdaten: 2 Tabellen, 40 Zeilen" in document.text
    assert "1.234" in document.text and "ab" * 32 in document.text
    assert "alle 14 Tage lang, danach 31 täglich, 13 wöchentlich, 12 monatlich" in document.text
    by_disk = {(b.server, b.disk): b for b in content.backups}
    assert [c.tested is not None for c in by_disk["gra-file01", "data"].copies] == [False, True]
    assert [c.tested for c in by_disk["gra-db02", "pgdata"].copies] == [None, None]


def test_what_is_not_backed_up_is_told_with_its_reason(plan: Plan, write: Write) -> None:
    backups = tuple(
        b.model_copy(update={"backup_class": None, "copies": (), "reason": "Kopie eines Bestands"})
        if b.server == "gra-file01"
        else b
        for b in plan.member.backups
    )
    document, _, content = write(member(plan, backups=backups), audit_of(plan))
    assert "wird nicht gesichert: Kopie eines Bestands" in document.text
    assert ("Hinweis", "gra-file01, Datenlaufwerk data: wird nicht gesichert (Kopie eines Bestands).") in [
        (point.kind, point.text) for point in content.open_points
    ]
