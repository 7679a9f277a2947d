"""Schools, management, operational technology, and services that must not stand alone."""

from __future__ import annotations

import pytest

from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project

SCHOOL = """\
member:
  key: schule
  name: Schule
  kind: schule
  short: sch
  dns_domain: schule.internal
  responsible: Schulleitung
sites:
  haus: {name: Schulhaus, address: Hauptstraße 1}
departments:
  lehrer: {name: Lehrkräfte}
"""


def found(checkout: Project, key: str, addition: str) -> list[tuple[str, str]]:
    """Rule and accused line, leaving out that nothing was given out yet for what the test adds."""
    file = checkout.stacks / f"{key}.yaml"
    with file.open("a", encoding="utf-8") as stream:
        stream.write(addition)
    return [
        (f.rule, f.place.file.read_text("utf-8").splitlines()[f.place.line - 1].strip())
        for f in Declarations(checkout).findings()
        if f.rule not in ("not-allocated", "zone-unknown")
    ]


@pytest.fixture
def school(checkout: Project) -> Project:
    (checkout.stacks / "schule.yaml").write_text(SCHOOL, encoding="utf-8")
    return checkout


@pytest.mark.parametrize("addition", ["", "profiles:\n  tablet: {zone: school-pedagogic}\n"])
def test_a_school_as_its_kind_has_it_is_fine(school: Project, addition: str) -> None:
    assert found(school, "schule", addition) == []


@pytest.mark.parametrize(
    ("addition", "rule", "line"),
    [
        (
            "zones:\n  school-pedagogic: {routing_domain: school-administration}\n",
            "school-nets-mixed",
            "school-pedagogic: {routing_domain: school-administration}",
        ),
        ("zones:\n  clients: {prefix: 27, routing_domain: school-pedagogic}\n", "school-nets-mixed", "clients: {"),
        ("profiles:\n  unterricht: {zone: school-administration}\n", "school-nets-mixed", "unterricht: {zone"),
        ("profiles:\n  schulverwaltung: {zone: school-tablets}\n", "school-nets-mixed", "schulverwaltung: {zone"),
        ("profiles:\n  tablet: {zone: infrastructure}\n", "school-nets-mixed", "tablet: {zone"),
        (
            "servers:\n  app01: {role: application, zone: infrastructure, cpus: 1, memory_gib: 2}\n",
            "school-server-shared",
            "app01: {role",
        ),
        (
            "servers:\n"
            "  adm: {role: file, pair: x, zone: school-administration, cpus: 1, memory_gib: 2}\n"
            "  ped: {role: file, pair: x, zone: school-pedagogic, cpus: 1, memory_gib: 2}\n",
            "school-server-shared",
            "ped: {role: file",
        ),
    ],
)
def test_administration_and_lessons_of_a_school_stay_apart(
    school: Project, addition: str, rule: str, line: str
) -> None:
    hits = [accused for found_rule, accused in found(school, "schule", addition) if found_rule == rule]
    assert hits and all(line in accused for accused in hits)


@pytest.mark.parametrize(
    ("addition", "rule", "line"),
    [
        ("zones:\n  school-pedagogic: {prefix: 25}\n", "school-nets-mixed", "school-pedagogic:"),
        ("profiles:\n  bauamt: {zone: management}\n", "workplace-zone", "bauamt: {zone"),
        ("profiles:\n  bauamt: {zone: database}\n", "workplace-zone", "bauamt: {zone"),
        ("profiles:\n  bauamt: {zone: ot-handover}\n", "ot-shared", "bauamt: {zone"),
        ("servers:\n  file01: {zone: management}\n", "management-reachable", "file01: {zone"),
        ("servers:\n  print01: {zone: ot-handover}\n", "ot-shared", "print01: {zone"),
        ("zones:\n  ot-handover: {prefix: 28, routing_domain: office}\n", "ot-shared", "ot-handover:"),
        ("servers:\n  print01: {zone: clients}\n", "server-among-workplaces", "print01: {zone"),
        ("servers:\n  file01: {service_level: 1}\n", "partner-missing", "file01: {service_level"),
        (
            "protection: {availability: very-high}\nservers:\n  file01: {service_level: 2}\n",
            "partner-missing",
            "file01",
        ),
        ("servers:\n  dns02: null\n  dns01: {pair: null, service_level: 1}\n", "partner-missing", "dns01: {pair"),
    ],
)
def test_each_rule_is_found_at_its_place(checkout: Project, addition: str, rule: str, line: str) -> None:
    hits = [accused for found_rule, accused in found(checkout, "grabow", addition) if found_rule == rule]
    assert hits and all(line in accused for accused in hits)


@pytest.mark.parametrize(
    "addition",
    [
        "zones:\n  ot-handover: {prefix: 28}\n",
        "servers:\n  ueber: {count: 2, role: application, zone: ot-handover, cpus: 1, memory_gib: 2}\n",
        "profiles:\n  edv: {zone: management}\n",  # no workstation has it
        "servers:\n  file01: {service_level: 2}\n",  # a town's availability is normal
    ],
)
def test_what_is_allowed_is_not_accused(checkout: Project, addition: str) -> None:
    assert found(checkout, "grabow", addition) == []
