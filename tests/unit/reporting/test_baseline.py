"""The coverage of requirements: nothing is claimed that was not looked at, and every violation shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.planning.plan import Plan, ProtectionPlan, WaiverPlan
from ksm_onboard.policies.catalogue import entries
from ksm_onboard.policies.judge import Verdict, Waiver, judge
from ksm_onboard.policies.resources import Stack
from ksm_onboard.reporting.baseline import Baseline, Covered, Status, baseline
from ksm_onboard.reporting.baseline_wording import words
from ksm_onboard.reporting.documents import render_html
from ksm_onboard.reporting.network_plan import network_plan_svg
from ksm_onboard.reporting.protocol import protocol
from ksm_onboard.verifying.audit_report import Area, AuditReport, Difference, MachineSeen, NotChecked, Reason, Tally
from ksm_onboard.verifying.comparison import EVERYTHING
from ksm_onboard.verifying.restores import Restores
from tests.unit.policies.conftest import change, member, platform

ROOT = Path(__file__).resolve().parents[3]
TODAY = date(2026, 11, 22)

NETWORKS = {"NET.1.1.A15", "NET.1.1.A24", "NET.1.1.A4", "SYS.1.5.A4"}
# Whatever differs on a machine differs from its hardened standard and from the target.
TARGETS = {"OPS.1.1.1.A5", "OPS.1.1.1.A8"}


def verdicts(*, spoilt: bool = False, waivers: tuple[Waiver, ...] = ()) -> list[Verdict]:
    there = member()
    if spoilt:
        change("t-management", allowPromiscuous=True)(there)
    stacks = (Stack.of(there.values()), Stack.of(platform().values()))
    return [verdict for stack in stacks for verdict in judge(stack, TODAY, waivers)]


def audit(plan: Plan, *, asked: int | None = None, **changes: Any) -> AuditReport:
    """An audit of Grabow that found nothing wrong; of its workstations, only the first ``asked`` answered."""
    workstations = [w.name for w in plan.member.workstations]
    seen = workstations if asked is None else workstations[:asked]
    away = [w for w in workstations if w not in seen]
    servers = [server.name for server in plan.member.servers]
    whole = AuditReport(
        member="grabow",
        data_centre="lab",
        simulated=True,
        at=datetime(2026, 11, 22, tzinfo=UTC),
        tallies=tuple(Tally(area=area, points=10, differences=0, applicable=True) for area in Area),
        differences=(),
        not_checked=tuple(
            NotChecked(area=Area.MACHINES, object=name, what=EVERYTHING, reason=Reason.NOT_STARTED) for name in away
        ),
        machines=tuple(_seen(name, name in servers) for name in (*servers, *seen)),
    )
    return whole.model_copy(update=changes)


def _seen(name: str, server: bool) -> MachineSeen:
    return MachineSeen(name=name, kind="server" if server else "workstation", operating_system="", applications={})


def of(found: Baseline, id_: str) -> Covered:
    return next(covered for covered in found.requirements if covered.id == id_)


def status(found: Baseline, id_: str) -> Status:
    return of(found, id_).status


def difference(attribute: str, object_: str, area: Area = Area.MACHINES) -> Difference:
    return Difference(
        kind="different", area=area, object=object_, attribute=attribute, expected="a", found="b", how_seen="ssh"
    )


def test_every_requirement_is_told_once(plan: Plan) -> None:
    found = baseline(plan, verdicts(), audit(plan))
    assert [covered.id for covered in found.requirements] == list(entries())
    assert sum(found.counts.values()) == len(entries())


def test_without_stack_and_audit_nothing_is_proven(plan: Plan) -> None:
    found = baseline(plan, None, None)
    told = {covered.status for covered in found.requirements if set(entries()[covered.id]) & {"rules", "areas"}}
    assert told == {"not checkable"}
    assert found.counts["fulfilled"] == 0
    assert words(of(found, "NET.1.1.A24").evidence[0], "en") == "the stacks are not set up yet"


def test_what_was_looked_at_completely_is_fulfilled_with_its_numbers(plan: Plan) -> None:
    found = baseline(plan, verdicts(), audit(plan))
    assert status(found, "NET.1.1.A24") == "fulfilled"
    assert [words(e, "en") for e in of(found, "NET.1.1.A24").evidence] == [
        "network-own-vlan: 2 resources judged",
        "networks: 10 points compared",
    ]
    assert status(found, "SYS.2.1.A1") == "fulfilled"
    number = len(plan.member.workstations)
    assert words(of(found, "SYS.2.1.A1").evidence[0], "de") == f"auf {number} von {number} Arbeitsplätzen erhoben"


def test_a_part_proves_a_part(plan: Plan) -> None:
    found = baseline(plan, verdicts(), audit(plan, asked=2))
    assert status(found, "SYS.2.1.A1") == "partly"
    assert "asked on 2 of" in words(of(found, "SYS.2.1.A1").evidence[0], "en")
    # A server's requirement does not suffer from workstations that are away.
    assert status(found, "SYS.1.3.A8") == "fulfilled"
    assert status(baseline(plan, verdicts(), None), "NET.1.1.A24") == "partly"
    assert status(baseline(plan, None, audit(plan)), "NET.1.1.A24") == "partly"


def test_what_the_lab_cannot_show_is_not_fulfilled_by_it(plan: Plan) -> None:
    names = [*(s.name for s in plan.member.servers), *(w.name for w in plan.member.workstations)]
    gaps = tuple(
        NotChecked(area=Area.MACHINES, object=name, what="unit chrony.service", reason=Reason.NOT_IN_LAB)
        for name in names
    )
    found = baseline(plan, verdicts(), audit(plan, not_checked=gaps))
    assert status(found, "OPS.1.1.5.A4") == "not checkable"
    assert status(found, "SYS.2.1.A3") == "fulfilled"


def test_what_is_only_declared_is_partly_proven(plan: Plan) -> None:
    found = baseline(plan, verdicts(), audit(plan))
    assert plan.member.backups
    assert status(found, "CON.3.A4") == "partly"
    without = plan.model_copy(update={"member": plan.member.model_copy(update={"backups": ()})})
    assert status(baseline(without, verdicts(), audit(plan)), "CON.3.A4") == "violated"


@pytest.mark.parametrize(
    ("found", "violated"),
    [
        (difference("screen_lock_enabled", "gra-ws0001"), {"SYS.2.1.A1", *TARGETS}),
        (difference("ssh_keys ksm-support", "gra-dns01"), {"SYS.2.3.A1", "SYS.1.3.A8", *TARGETS}),
        (difference("sshd passwordauthentication", "gra-ws0001"), {"SYS.2.3.A1", "ORP.4.A22", *TARGETS}),
        (
            difference("vlan", "grabow-clients", Area.NETWORKS),
            NETWORKS,
        ),
    ],
)
def test_a_difference_of_the_audit_violates_what_it_is_about(plan: Plan, found: Difference, violated: set[str]) -> None:
    before = baseline(plan, verdicts(), audit(plan))
    after = baseline(plan, verdicts(), audit(plan, differences=(found,)))
    changed = {c.id for c in after.requirements if c.status == "violated" and status(before, c.id) != "violated"}
    assert changed == violated


def test_a_violated_rule_violates_its_requirements_and_a_waiver_shows(plan: Plan) -> None:
    found = baseline(plan, verdicts(spoilt=True), audit(plan))
    assert status(found, "SYS.1.5.A4") == "violated"
    assert "SYS.1.5.A4" in {covered.id for covered in found.violated}
    waiver = Waiver("w", "network-closed", "t-management", "so it is", "IT", TODAY)
    assert status(baseline(plan, verdicts(spoilt=True, waivers=(waiver,)), audit(plan)), "SYS.1.5.A4") == "waived"
    lapsed = replace(waiver, expires=date(2026, 11, 21))
    assert status(baseline(plan, verdicts(spoilt=True, waivers=(lapsed,)), audit(plan)), "SYS.1.5.A4") == "violated"


def test_only_what_the_member_needs_counts_as_violated(plan: Plan) -> None:
    def with_need(need: Any) -> Plan:
        protection = ProtectionPlan(confidentiality=need, integrity="normal", availability="normal")
        return plan.model_copy(update={"member": plan.member.model_copy(update={"protection": protection})})

    there = platform()
    change("cluster", haEnabled=False)(there)
    spoilt = [*verdicts(), *judge(Stack.of(there.values()), TODAY, ())]
    for need, counts in (("normal", False), ("high", False), ("very-high", True)):
        found = baseline(with_need(need), spoilt, audit(plan))
        assert status(found, "SYS.1.5.A20") == "violated"
        assert ("SYS.1.5.A20" in {covered.id for covered in found.violated}) is counts


def test_every_evidence_has_words_in_both_languages(plan: Plan) -> None:
    for found in (baseline(plan, None, None), baseline(plan, verdicts(spoilt=True), audit(plan, asked=1))):
        for covered in found.requirements:
            for evidence in covered.evidence:
                assert words(evidence, "en") != words(evidence, "de")


def test_the_protocol_shows_coverage_and_waivers(plan: Plan) -> None:
    granted = WaiverPlan(
        key="w",
        rule="alike-apart",
        resource="gra-print*",
        reason="Der zweite Druckserver kommt später.",
        owner="Leitung IT",
        granted=date(2026, 11, 1),
        expires=date(2026, 11, 20),
    )
    waived = plan.model_copy(update={"member": plan.member.model_copy(update={"waivers": (granted,)})})
    found = baseline(waived, verdicts(spoilt=True), audit(plan))
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    content = protocol(waived, audit(plan), None, Restores(), baseline=found, data_centre="x", created=now)
    assert content.baseline is not None
    assert sum(content.baseline.counts.values()) == len(content.baseline.requirements) == len(entries())
    points = [(point.kind, point.text) for point in content.open_points]
    (waiver,) = (text for kind, text in points if kind == "Ausnahme")
    assert waiver == (
        "Regel alike-apart für gra-print*: Der zweite Druckserver kommt später. Verantwortlich: Leitung IT; "
        "seit 20. November 2026 abgelaufen."
    )
    violated = [text for kind, text in points if kind == "Grundschutz"]
    assert any(text.startswith("SYS.1.5.A4 sichere Konfiguration des Netzes") for text in violated)
    html = render_html(ROOT / "templates", content, network_plan_svg(plan))
    assert "Anhang: Umsetzung des IT-Grundschutzes" in html
    assert "20. November 2026 (abgelaufen)" in html
    assert "VMs may listen to each other" in html
