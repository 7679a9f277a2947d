"""What may be opened between zones, and what no declaration can open."""

from __future__ import annotations

import shutil

import pytest

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.planning.checks import Scope
from ksm_onboard.planning.checks_flows import check_flows, check_flows_across, check_services
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project
from tests.unit.conftest import ROOT
from tests.unit.planning.test_checks_zones import SCHOOL

# Zones that Grabow does not have, so that every rule can be tried on it.
MORE = """\
zones:
  guest: {prefix: 27}
  dmz: {prefix: 27}
  admin: {prefix: 28}
  backup: {prefix: 28}
  quarantine: {prefix: 28}
  ot-handover: {prefix: 28}
  building: {prefix: 28}
networks:
  legacy:
    alt: {cidr: 192.168.7.0/24, nat: 10.97.1.0/24}
    krank: {cidr: 192.168.8.0/24, quarantine: true}
servers:
  web01: {role: application, zone: dmz, cpus: 1, memory_gib: 2}
"""


def stated(sources: str, targets: str, services: str = "https", key: str = "probe") -> str:
    return f"  {key}: {{sources: [{sources}], targets: [{targets}], services: [{services}], reason: Ein Versuch}}\n"


def found(checkout: Project, key: str, addition: str) -> list[tuple[str, str, str]]:
    """Rule, severity and accused line of what is found about flows."""
    with (checkout.stacks / f"{key}.yaml").open("a", encoding="utf-8") as stream:
        stream.write(addition)
    declarations = Declarations(checkout)
    platform, members = declarations.platform.content, declarations.members
    assert platform is not None
    contents = {k: (m, m.file.content) for k, m in members.items() if m.file.content is not None}
    # The catalogue has no say here; not reading it saves most of the time.
    scopes = (Scope(m, content, platform, declarations.platform, {}) for m, content in contents.values())
    findings = [*check_services(declarations.platform), *(f for scope in scopes for f in check_flows(scope))]
    findings += [across.finding for across in check_flows_across(contents)]
    return [told(finding) for finding in findings]


def told(finding: Finding) -> tuple[str, str, str]:
    line = finding.place.file.read_text("utf-8").splitlines()[finding.place.line - 1]
    return finding.rule, finding.severity, line.strip()


@pytest.fixture
def school(checkout: Project) -> Project:
    (checkout.stacks / "schule.yaml").write_text(SCHOOL, encoding="utf-8")
    return checkout


@pytest.mark.parametrize(
    ("sources", "targets", "services", "rule"),
    [
        ("clients", "guets", "https", "zone-unknown"),
        ("clients", "voip", "https", "zone-unknown"),
        ("clients", "role:fil", "https", "flow-end-unknown"),
        ("clients", "server:app99", "https", "flow-end-unknown"),
        ("clients", "pair:nix", "https", "flow-end-unknown"),
        ("clients", "legacy:nix", "https", "flow-end-unknown"),
        ("clients", "'data-centre:nix'", "https", "flow-end-unknown"),
        ("clients", "'member:nix/clients'", "https", "flow-end-unknown"),
        ("clients", "database", "htps", "service-unknown"),
        ("'data-centre:time'", "internet", "https", "flow-opens-nothing"),
        ("clients", "management", "ssh", "flow-into-management"),
        ("building", "management", "ssh", "flow-into-management"),
        ("servers", "management", "ssh", "flow-into-management"),
        ("internet", "management", "ssh", "flow-into-management"),
        ("clients", "admin", "rdp", "flow-into-admin"),
        ("clients", "'data-centre:admin'", "ssh", "flow-into-admin"),
        ("clients", "backup", "backup", "flow-backup"),
        ("role:file", "backup", "'backup, ssh'", "flow-backup"),
        ("application", "backup", "backup", "flow-backup"),
        ("backup", "clients", "ssh", "flow-backup"),
        ("backup", "internet", "https", "flow-backup"),
        ("ot-handover", "application", "https", "flow-ot"),
        ("clients", "ot-handover", "https", "flow-ot"),
        ("ot-handover", "internet", "https", "flow-ot"),
        ("guest", "clients", "https", "flow-guest"),
        ("guest", "role:dns", "dns", "flow-guest"),
        ("guest", "'data-centre:time'", "ntp", "flow-guest"),
        ("clients", "guest", "https", "flow-guest"),
        ("quarantine", "clients", "smb", "flow-quarantine"),
        ("clients", "quarantine", "smb", "flow-quarantine"),
        ("quarantine", "internet", "https", "flow-quarantine"),
        ("quarantine", "legacy:alt", "smb", "flow-quarantine"),
        ("clients", "legacy:krank", "smb", "flow-quarantine"),
        ("dmz", "application", "https", "flow-from-dmz"),
        ("server:web01", "application", "https", "flow-from-dmz"),
        ("role:application", "role:database", "postgresql", "flow-from-dmz"),
        ("server:web01", "clients", "https", "flow-from-dmz"),
        ("dmz", "internet", "https", "flow-from-dmz"),
        ("dmz", "role:dns", "ssh", "flow-from-dmz"),
        ("internet", "application", "https", "flow-from-internet"),
        ("'data-centre:reverse-proxy'", "application", "https", "flow-from-internet"),
        ("printers", "federal", "https", "flow-federal"),
        ("federal", "application", "https", "flow-federal"),
        ("guest", "'member:grabow/clients'", "https", "flow-guest"),
        ("admin", "'member:grabow/clients'", "https", "flow-other-member"),
    ],
)
def test_what_is_refused(checkout: Project, sources: str, targets: str, services: str, rule: str) -> None:
    line = stated(sources.strip("'"), targets.strip("'"), services.strip("'"))
    hits = found(checkout, "grabow", f"{MORE}flows:\n{line}")
    assert (rule, "error", line.strip()) in hits


@pytest.mark.parametrize(
    ("sources", "targets", "services"),
    [
        ("clients", "building", "https"),
        ("server:web01", "pair:application", "https"),
        ("clients", "legacy:alt", "smb"),
        ("ot-handover", "legacy:alt", "https"),
        ("quarantine", "legacy:krank", "smb"),
        ("admin", "quarantine", "ssh"),
        ("role:file", "backup", "backup"),
        ("backup", "role:file", "backup"),
        ("application", "federal", "https"),
        ("internet", "dmz", "https"),
    ],
)
def test_what_may_be_declared(checkout: Project, sources: str, targets: str, services: str) -> None:
    assert found(checkout, "grabow", f"{MORE}flows:\n{stated(sources, targets, services)}") == []


@pytest.mark.parametrize(
    "line",
    [
        stated("school-administration", "school-pedagogic"),
        stated("school-tablets", "school-administration"),
        stated("school-pedagogic", "infrastructure"),
        stated("school-byod", "printers", "ipp"),
        stated("school-pedagogic", "pair:dns", "dns"),
        stated("school-pedagogic", "member:grabow/clients"),
    ],
)
def test_lessons_meet_nothing_of_the_administration(school: Project, line: str) -> None:
    assert ("flow-school-sides", "error", line.strip()) in found(school, "schule", f"flows:\n{line}")


@pytest.mark.parametrize("domain", ["school-pedagogic", "gemeinsam"])
def test_no_routing_domain_lets_lessons_meet_the_administration(school: Project, domain: str) -> None:
    """Neither directly, nor through a zone that is put on the lessons' side."""
    line = stated("school-administration", "school-pedagogic")
    zones = "".join(f"  {z}: {{routing_domain: {domain}}}\n" for z in ("school-pedagogic", "school-administration"))
    assert ("flow-school-sides", "error", line.strip()) in found(school, "schule", f"zones:\n{zones}flows:\n{line}")


def test_a_zone_in_between_belongs_to_one_side(school: Project) -> None:
    lines = stated("school-pedagogic", "printers", "ipp", "lessons") + stated(
        "school-administration", "printers", "ipp", "office"
    )
    hits = found(school, "schule", f"zones:\n  printers: {{routing_domain: school-pedagogic}}\nflows:\n{lines}")
    assert ("flow-between-domains", "error", lines.splitlines()[1].strip()) in hits
    assert not any("lessons:" in line for _, _, line in hits)


@pytest.mark.parametrize("far", ["legacy:alt"])
def test_two_domains_never_meet_outside(checkout: Project, far: str) -> None:
    lines = stated("ot-handover", far, "https", "one") + stated("clients", far, "https", "other")
    hits = found(checkout, "grabow", f"{MORE}flows:\n{lines}")
    assert ("flow-ot", "error", lines.splitlines()[1].strip()) in hits


def test_a_default_that_breaks_an_invariant_is_found_too(checkout: Project) -> None:
    file = checkout.stacks / "schwerin.yaml"
    text = file.read_text("utf-8").replace(
        "sources: [data-centre:admin, admin], targets: [management]", "sources: [clients], targets: [management]"
    )
    file.write_text(text, encoding="utf-8")
    assert [finding.rule for finding in Declarations(checkout).findings()] == ["flow-into-management"]


def test_every_service_at_once_is_everything(checkout: Project) -> None:
    platform = Declarations(checkout).platform.content
    assert platform is not None
    line = stated("clients", "database", ", ".join(platform.services))
    assert ("flow-opens-everything", "error", line.strip()) in found(checkout, "grabow", f"flows:\n{line}")


@pytest.mark.parametrize(
    ("line", "accused"),
    [
        (stated("clients", "server:app01", "https"), "probe"),  # applications opens the whole zone
        (stated("clients", "building, building", "https", "a") + stated("clients", "building", "https", "b"), "b"),
        (stated("clients, clients", "server:db01, database", "postgresql"), "probe"),
    ],
)
def test_what_is_opened_already_is_pointed_at(checkout: Project, line: str, accused: str) -> None:
    hits = [h for h in found(checkout, "grabow", f"{MORE}flows:\n{line}") if h[0] == "flow-overlap"]
    assert [(rule, severity, text.partition(":")[0]) for rule, severity, text in hits] == [
        ("flow-overlap", "warning", accused)
    ]


def test_a_server_that_nobody_reaches_is_pointed_at(checkout: Project) -> None:
    hits = found(checkout, "grabow", "flows:\n  files: null\n")
    assert [(rule, severity) for rule, severity, _ in hits] == [("service-unreachable", "warning")]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("ports: [tcp/445]", "ports: [tcp/1-65535]", "service-too-wide"),
        ("ports: [tcp/445]", "ports: [tcp/99999]", "service-too-wide"),
        ("ports: [tcp/445]", "ports: [tcp/445-444]", "service-too-wide"),
        ("networks: [10.96.8.0/24]", "networks: [10.64.0.0/16]", "shared-network-overlap"),
        ("networks: [10.96.8.0/24]", "networks: [0.0.0.0/0]", "shared-network-overlap"),
        ("networks: [10.96.8.0/24]", "networks: [10.96.0.0/16]", "shared-network-overlap"),
    ],
)
def test_the_platform_opens_nothing_wide(checkout: Project, old: str, new: str, rule: str) -> None:
    file = checkout.stacks / "schwerin.yaml"
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    assert (rule, "error") in {hit[:2] for hit in found(checkout, "grabow", "")}


@pytest.fixture
def two(checkout: Project) -> Project:
    for file in ("zoo.yaml", "zoo.devices.csv", "allocations/zoo.yaml"):
        shutil.copy(ROOT / "stacks" / file, checkout.stacks / file)
    return checkout


OURS = stated("clients", "member:zoo/application", "https", "visit")


@pytest.mark.parametrize(
    ("theirs", "rules"),
    [
        ("", ["flow-one-sided"]),
        (stated("member:grabow/clients", "application", "https", "visitors"), []),
        (stated("member:grabow/clients", "pair:application", "https", "visitors"), []),
        (stated("member:grabow/clients", "application", "http", "visitors"), ["flow-one-sided", "flow-one-sided"]),
        (stated("member:grabow/application", "application", "https", "v"), ["flow-one-sided", "flow-one-sided"]),
        (stated("member:grabow/clients", "database", "https", "visitors"), ["flow-one-sided", "flow-one-sided"]),
        (stated("application", "member:grabow/clients", "https", "back"), ["flow-one-sided", "flow-one-sided"]),
    ],
)
def test_between_members_both_have_to_declare_it(two: Project, theirs: str, rules: list[str]) -> None:
    if theirs:
        with (two.stacks / "zoo.yaml").open("a", encoding="utf-8") as stream:
            stream.write(f"flows:\n{theirs}")
    assert [rule for rule, _, _ in found(two, "grabow", f"flows:\n{OURS}")] == rules


def test_what_both_declare_is_planned_with_the_others_network(two: Project) -> None:
    with (two.stacks / "zoo.yaml").open("a", encoding="utf-8") as stream:
        stream.write("flows:\n" + stated("member:grabow/clients", "application", "https", "visitors"))
    with (two.stacks / "grabow.yaml").open("a", encoding="utf-8") as stream:
        stream.write("flows:\n" + OURS)
    declarations = Declarations(two)
    zoo = {zone.key: zone.cidr for zone in declarations.plan("zoo").member.zones}
    (flow,) = (flow for flow in declarations.plan("grabow").member.flows if flow.key == "visit")
    assert [rule.target.networks for rule in flow.rules] == [(zoo["application"],)]


def test_a_declared_counted_server_stands_for_all(checkout: Project) -> None:
    with (checkout.stacks / "grabow.yaml").open("a", encoding="utf-8") as stream:
        stream.write("flows:\n" + stated("clients", "server:db", "postgresql"))
    (flow,) = (flow for flow in Declarations(checkout).plan("grabow").member.flows if flow.key == "probe")
    assert [str(network) for network in flow.rules[0].target.networks] == ["10.64.11.11/32", "10.64.11.12/32"]
