"""Open connections between zones as the protocol tells them: every one, and nothing that nobody tried."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from ksm_onboard.firewall.proof import ProofResult, Surprise
from ksm_onboard.firewall.record import ProofRecord, fingerprint, load_proof, save_proof
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project
from ksm_onboard.reporting.connections import OUTSIDE, connections, open_points, reached_from
from tests.unit.conftest import ROOT

BERLIN = ZoneInfo("Europe/Berlin")


def record(*surprises: Surprise) -> ProofRecord:
    result = ProofResult(
        member="grabow",
        hosts=33,
        tried=25000,
        allowed=200,
        refused=24800,
        tricks=14000,
        surprising=len(surprises),
        surprises=surprises,
        seconds=3,
    )
    return ProofRecord(at=datetime(2026, 3, 2, 18, 0, tzinfo=UTC), rules=fingerprint("rules"), result=result)


LEAK = Surprise(kind="leak", source="gra-ws0001 (clients)", target="gra-db01 (database)", what="tcp/5432 passes")


@pytest.mark.parametrize("member", ["grabow", "schule-hagenow", "stadtwerke", "ludwigslust-parchim"])
def test_the_matrix_has_a_number_wherever_a_rule_leads_and_nowhere_else(member: str) -> None:
    plan = Declarations(Project(ROOT)).plan(member)
    told = connections(plan, None, BERLIN)
    keys = [*(zone.key for zone in plan.member.zones), None]
    shown = {
        (keys[row], keys[column], plan.member.flows[number - 1].key)
        for row, line in enumerate(told.matrix)
        for column, cell in enumerate(line.cells)
        for number in cell
    }
    asked = {
        (rule.source.zone, rule.target.zone, flow.key)
        for flow in plan.member.flows
        for rule in flow.rules
        if not rule.switched
    }
    assert shown == asked
    assert len(told.listed) == len(plan.member.flows)
    assert all(row.services and row.sources and row.targets for row in told.listed)


def test_lessons_and_administration_have_empty_cells_between_them() -> None:
    told = connections(Declarations(Project(ROOT)).plan("schule-hagenow"), None, BERLIN)
    lessons = {"Schule, pädagogisch", "Schule, Tablets", "Schule, eigene Geräte"}
    for row in told.matrix:
        for title, cell in zip(told.zones, row.cells, strict=True):
            if OUTSIDE not in (row.zone, title) and (row.zone in lessons) != (title in lessons):
                assert cell == ()


def test_ends_are_told_with_their_servers(plan: Plan) -> None:
    listed = {row.reason: row for row in connections(plan, None, BERLIN).listed}
    assert listed["Netzlaufwerke"].targets == ("Verzeichnis, DNS, Dateien (gra-file01)",)
    assert listed["Netzlaufwerke"].services == ("Dateifreigaben (SMB)",)
    assert listed["Uhrzeit stellen"].targets == ("Rechenzentrum: Zeitdienst",)


def test_who_reaches_a_zone(plan: Plan) -> None:
    assert reached_from(plan.member, "management") == (OUTSIDE,)
    assert reached_from(plan.member, "database") == ("Anwendungsserver", OUTSIDE)


def test_without_a_proof_nothing_is_claimed(plan: Plan) -> None:
    assert connections(plan, None, BERLIN).proof is None
    assert [kind for kind, _ in open_points(None)] == ["Nicht geprüft"]


def test_a_surprise_is_a_deviation() -> None:
    assert list(open_points(record())) == []
    ((kind, text),) = open_points(record(LEAK))
    assert kind == "Abweichung"
    assert "1 Verbindung verhielt sich anders" in text and "gra-db01" in text


def test_a_proof_counts_for_the_rules_it_was_made_with_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("reports")
    assert load_proof(folder, "rules") is None
    save_proof(record(LEAK), folder)
    assert load_proof(folder, "rules") == record(LEAK)
    assert load_proof(folder, "other rules") is None
