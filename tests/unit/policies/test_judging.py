"""Levels, waivers and days; how resources are read; that the pack stands alone."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2

from ksm_onboard.policies.catalogue import entries
from ksm_onboard.policies.judge import Waiver, judge, told
from ksm_onboard.policies.model import NEEDS, VERSION, Need, enforcement
from ksm_onboard.policies.resources import Hidden, Resource, Stack, from_state, plain
from ksm_onboard.policies.rules import RULES
from ksm_onboard.policies.server import Analyzer
from tests.unit.policies.conftest import TODAY, change, member

ROOT = Path(__file__).resolve().parents[3]
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "geheim"}


# --- levels -------------------------------------------------------------------------------


def strictly(need: Need) -> set[str]:
    return {rule.id for rule in RULES.values() if enforcement(rule, dict.fromkeys(rule.goals, need)) == "mandatory"}


def test_a_higher_need_makes_more_mandatory_and_never_less() -> None:
    normal, high, very_high = (strictly(need) for need in NEEDS)
    assert normal < high < very_high == set(RULES)
    assert set(RULES) - high == {"alike-apart", "storage-encrypted", "cluster-survives-section"}
    assert high - normal == {"tags-complete"}


def test_only_the_goals_that_a_rule_serves_count() -> None:
    rule = RULES["storage-encrypted"]
    assert enforcement(rule, {"confidentiality": "normal", "availability": "very-high"}) == "advisory"
    assert enforcement(rule, {"confidentiality": "very-high", "availability": "normal"}) == "mandatory"


@pytest.mark.parametrize("protection", [None, {}, {"confidentiality": "none"}, {"confidentiality": None}])
def test_an_unknown_need_is_the_highest(protection: dict[str, Any] | None) -> None:
    assert enforcement(RULES["storage-encrypted"], protection) == "mandatory"


# --- waivers ------------------------------------------------------------------------------


def waiver(**changes: Any) -> Waiver:
    given = {
        "key": "alone",
        "rule": "network-closed",
        "resource": "t-man*",
        "reason": "the scanner needs it",
        "owner": "Leitung IT",
        "expires": TODAY,
    }
    return Waiver(**{**given, **changes})


def findings(*waivers: Waiver, today: date = TODAY) -> list[Any]:
    there = member()
    change("t-management", allowPromiscuous=True)(there)
    change("t-infrastructure", allowPromiscuous=True)(there)
    by_rule = {v.rule.id: v for v in judge(Stack.of(there.values()), today, waivers)}
    return list(by_rule["network-closed"].findings)


def test_a_waiver_lets_pass_what_it_covers_and_nothing_else() -> None:
    other, covered = findings(waiver())
    assert (other.resource.name, other.stops) == ("t-infrastructure", True)
    assert (covered.resource.name, covered.stops, covered.waiver.key) == ("t-management", False, "alone")
    assert "waived until 2026-11-22 by Leitung IT: the scanner needs it" in told(covered)
    assert [f.stops for f in findings(waiver(rule="data-kept"))] == [True, True]


def test_the_day_after_its_last_a_waiver_is_a_violation_again() -> None:
    _, covered = findings(waiver(expires=date(2026, 11, 21)))
    assert covered.stops
    assert "the waiver 'alone' of Leitung IT expired on 2026-11-21" in told(covered)
    assert "what to do" in told(covered)


def test_outcomes() -> None:
    def outcome(*waivers: Waiver) -> str:
        there = member()
        change("t-management", allowPromiscuous=True)(there)
        return next(v for v in judge(Stack.of(there.values()), TODAY, waivers) if v.rule.id == "network-closed").outcome

    assert (outcome(), outcome(waiver())) == ("violated", "waived")


def test_waivers_come_with_the_members_component() -> None:
    there = member()
    change("t-management", allowPromiscuous=True)(there)
    entry = {**waiver().__dict__, "expires": "2026-11-22"}
    change("t", waivers=[entry])(there)
    verdict = next(v for v in judge(Stack.of(there.values()), TODAY) if v.rule.id == "network-closed")
    assert [f.waiver for f in verdict.findings] == [waiver()]
    change("t", waivers=[{**entry, "expires": "soon"}])(there)
    with pytest.raises(ValueError, match="soon"):
        judge(Stack.of(there.values()), TODAY)


# --- reading resources --------------------------------------------------------------------


def test_unknown_and_secret_values_are_taken_out_wherever_they_are() -> None:
    given = {"a": UNKNOWN, "b": [{"c": SECRET}, UNKNOWN], "d": "x", "e": {"f": None}}
    assert plain(given) == {
        "a": Hidden.UNKNOWN,
        "b": [{"c": Hidden.SECRET}, Hidden.UNKNOWN],
        "d": "x",
        "e": {"f": None},
    }
    assert "geheim" not in repr(plain(given))


def test_a_stacks_state_is_read_with_what_it_depends_on() -> None:
    vm: dict[str, Any] = {
        "urn": "urn:pulumi:t::p::vsphere:index/virtualMachine:VirtualMachine::x",
        "type": "vsphere:index/virtualMachine:VirtualMachine",
        "id": "vm-1",
        "parent": "urn:parent",
        "protect": True,
        "inputs": {"memory": 1024, "password": SECRET},
        "propertyDependencies": {"folder": ["urn:folder"], "name": None},
    }
    gone = {**vm, "urn": "urn:pulumi:t::p::y::old", "delete": True}
    stack = from_state({"version": 3, "deployment": {"resources": [vm, gone]}})
    assert stack.resources == (
        Resource(
            urn=vm["urn"],
            type=vm["type"],
            name="x",
            inputs={"memory": 1024, "password": Hidden.SECRET},
            id="vm-1",
            parent="urn:parent",
            protect=True,
            refers={"folder": frozenset({"urn:folder"}), "name": frozenset()},
        ),
    )
    assert from_state({"deployment": None}).resources == ()


# --- the engine's questions ---------------------------------------------------------------


def struct(data: dict[str, Any]) -> struct_pb2.Struct:
    result = struct_pb2.Struct()
    result.update(data)
    return result


@contextmanager
def asked(resources: list[Resource]) -> Iterator[tuple[Analyzer, Any]]:
    """The analyzer, told of the inputs, and the request that follows."""
    analyzer = Analyzer(lambda: TODAY)
    request = analyzer_pb2.AnalyzeStackRequest()
    for resource in resources:
        analyzer.Analyze(
            analyzer_pb2.AnalyzeRequest(
                urn=resource.urn, type=resource.type, name=resource.name, properties=struct(dict(resource.inputs))
            ),
            None,  # type: ignore[arg-type]
        )
        request.resources.append(
            analyzer_pb2.AnalyzerResource(
                urn=resource.urn,
                type=resource.type,
                name=resource.name,
                parent=resource.parent,
                properties=struct({"id": resource.id, **resource.outputs}),
                options=analyzer_pb2.AnalyzerResourceOptions(protect=resource.protect),
                propertyDependencies={
                    name: analyzer_pb2.AnalyzerPropertyDependencies(urns=sorted(urns))
                    for name, urns in resource.refers.items()
                },
            )
        )
    yield analyzer, request


def test_the_engine_is_told_what_the_rules_found() -> None:
    there = member()
    change("t-management", allowPromiscuous=True)(there)
    with asked(list(there.values())) as (analyzer, request):
        answer = analyzer.AnalyzeStack(request, None)  # type: ignore[arg-type]
    (found,) = answer.diagnostics
    assert (found.policyName, found.urn) == ("network-closed", there["t-management"].urn)
    assert found.enforcementLevel == analyzer_pb2.MANDATORY
    assert "t-management: VMs may listen" in found.message
    left_out = {entry.policy_name for entry in answer.not_applicable}
    of_the_platform = {"roles-least", "sections-equal", "cluster-survives-section"}
    assert left_out == {"backup-class", "storage-own", "writing-survives-section"} | of_the_platform


def test_every_policy_names_its_requirements_in_their_edition() -> None:
    info = Analyzer(lambda: TODAY).GetAnalyzerInfo(None, None)  # type: ignore[arg-type]
    assert [policy.name for policy in info.policies] == list(RULES)
    by_name = {policy.name: policy for policy in info.policies}
    framework = by_name["storage-encrypted"].framework
    assert (framework.name, framework.version, framework.reference) == ("BSI IT-Grundschutz", "2023", "SYS.1.8.A23")
    assert by_name["storage-encrypted"].enforcementLevel == analyzer_pb2.ADVISORY
    assert by_name["network-closed"].enforcementLevel == analyzer_pb2.MANDATORY
    assert f"version: {VERSION}\n" in (ROOT / "policies/PulumiPolicy.yaml").read_text()


# --- by itself ----------------------------------------------------------------------------


def test_the_rules_ask_nobody_but_the_resources() -> None:
    for file in (ROOT / "ksm_onboard/policies").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            strangers = [n for n in names if n.startswith("ksm_onboard") and not n.startswith("ksm_onboard.policies")]
            assert not strangers, (file, strangers)


def test_every_requirement_that_rules_judge_says_so_and_no_other() -> None:
    judged = {requirement.id for rule in RULES.values() for requirement in rule.requirements}
    assert judged == {id_ for id_, entry in entries().items() if entry.get("rules")}
    assert json.dumps(list(RULES))


def test_what_is_about_to_be_deleted_is_not_judged() -> None:
    """The engine tells of it, since it still stands; but the program does not ask for it any more."""
    there = member()
    with asked(list(there.values())) as (analyzer, request):
        vm = there["t-dns01"]
        request.resources.append(
            analyzer_pb2.AnalyzerResource(
                urn=f"{vm.urn}-gone",
                type=vm.type,
                name="t-gone",
                parent=vm.parent,
                properties=struct({}),
                options=analyzer_pb2.AnalyzerResourceOptions(),
            )
        )
        answer = analyzer.AnalyzeStack(request, None)  # type: ignore[arg-type]
    assert not answer.diagnostics
