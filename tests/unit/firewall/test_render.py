"""The rules as text: complete, the same each time, and safe against what people write into reasons and names."""

from __future__ import annotations

import csv
import io
import json
import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ksm_onboard.cli.schema import output_schemas
from ksm_onboard.firewall.policy import OUTSIDE, FirewallPolicy, firewall_policy
from ksm_onboard.firewall.render import as_csv, as_json, as_nft, comment
from ksm_onboard.planning.flows import internet
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project
from tests.unit.conftest import ROOT

SNAPSHOT = Path(__file__).parent / "grabow.nft"


@pytest.fixture(scope="session")
def policy(plan: Plan) -> FirewallPolicy:
    return firewall_policy(plan.member)


@pytest.fixture(scope="session")
def school() -> FirewallPolicy:
    return firewall_policy(Declarations(Project(ROOT)).plan("schule-hagenow").member)


def test_grabows_rules_are_as_reviewed(policy: FirewallPolicy) -> None:
    """After a wanted change: KSM_UPDATE_SNAPSHOTS=1 pytest, and look at what git shows."""
    text = as_nft(policy, ROOT / "templates")
    if os.environ.get("KSM_UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8")


def test_every_planned_rule_is_rendered_once_and_switched_ones_are_not(plan: Plan, policy: FirewallPolicy) -> None:
    asked = sum(not rule.switched for flow in plan.member.flows for rule in flow.rules)
    assert [len(domain.rules) for domain in policy.policies] == [asked]
    chains = as_nft(policy, ROOT / "templates").split("chain from-", 1)[1].split("chain refused")[0]
    assert chains.count(" counter accept comment ") == asked
    assert any(rule.switched for flow in plan.member.flows for rule in flow.rules)


def test_rules_name_addresses_of_their_zones_only(school: FirewallPolicy) -> None:
    networks = {zone.key: zone.network for domain in school.policies for zone in domain.zones}
    for domain in school.policies:
        own = {zone.key for zone in domain.zones} | {OUTSIDE}
        for rule in domain.rules:
            assert {rule.source_zone, rule.target_zone} <= own
            ends = ((rule.source_zone, rule.source_networks), (rule.target_zone, rule.target_networks))
            for zone, addresses in ends:
                assert addresses
                for address in addresses:
                    inside = [key for key, network in networks.items() if address.subnet_of(network)]
                    assert inside == ([] if zone == OUTSIDE else [zone])


def test_lessons_and_administration_share_no_rule_set(school: FirewallPolicy) -> None:
    zones = {domain.routing_domain: {zone.key for zone in domain.zones} for domain in school.policies}
    assert zones == {
        "school-administration": {"school-administration", "infrastructure", "printers", "management"},
        "school-pedagogic": {"school-pedagogic", "school-tablets", "school-byod"},
    }
    text = as_nft(school, ROOT / "templates")
    assert text.count("delete table inet ") == 2


def test_json_fits_its_schema_and_reads_back(policy: FirewallPolicy) -> None:
    ((file, schema),) = output_schemas(ROOT).items()
    assert file.read_text("utf-8") == schema
    Draft202012Validator(json.loads(schema)).validate(json.loads(as_json(policy)))
    assert FirewallPolicy.model_validate_json(as_json(policy)) == policy


def test_csv_has_a_line_per_rule_and_one_for_everything_else(school: FirewallPolicy) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(school))))
    assert len(rows) == sum(len(domain.rules) + 1 for domain in school.policies)
    assert [row["policy"] for row in rows if row["action"] == "drop"] == [domain.name for domain in school.policies]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


@given(st.text(max_size=300))
def test_a_comment_is_one_short_quoted_string(text: str) -> None:
    quoted = comment(text)
    assert quoted[0] == quoted[-1] == '"'
    assert '"' not in quoted[1:-1] and "\\" not in quoted and "\n" not in quoted
    assert len(quoted.encode()) <= 122


@given(st.integers(0, 2**32 - 1))
def test_the_internet_is_every_address_that_is_global(number: int) -> None:
    address = IPv4Address(number)
    inside = any(address in network for network in internet())
    special = [IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "224.0.0.0/4")]
    assert not (inside and any(address in network for network in special))
    if address.is_global and not address.is_multicast and address not in IPv4Network("192.0.0.0/24"):
        assert inside
