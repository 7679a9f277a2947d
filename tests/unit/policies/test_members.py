"""What is committed, built by the real components and judged by the rules: the platform, and every member."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest

from ksm_onboard.connection import Connection
from ksm_onboard.planning.load import Declarations
from ksm_onboard.policies.judge import Finding, Verdict, judge
from ksm_onboard.policies.resources import Resource, Stack
from ksm_onboard.project import Project
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.provisioning.data_centre import vcenter_provider
from ksm_onboard.provisioning.growth import DiskGrowth
from ksm_onboard.provisioning.member import MemberStack
from ksm_onboard.provisioning.platform import PlatformIds
from tests.unit.policies.conftest import TODAY
from tests.unit.provisioning.conftest import PUBLIC_KEY, Recorder, built, connection, platform

ROOT = Path(__file__).resolve().parents[3]
DECLARATIONS = Declarations(Project(ROOT))

__all__ = ["connection", "platform"]


def verdicts(recorder: Recorder) -> dict[str, Verdict]:
    resources = [
        Resource(
            urn=made.urn,
            type=made.type,
            name=made.name,
            inputs=made.inputs,
            id=f"{made.name}.id",
            parent=made.parent_urn,
            protect=made.protect,
            refers=made.refers,
        )
        for made in recorder.made
    ]
    return {verdict.rule.id: verdict for verdict in judge(Stack.of(resources), TODAY)}


def told(verdicts: dict[str, Verdict], *, stopping: bool) -> list[tuple[str, str, str]]:
    def of(finding: Finding) -> tuple[str, str, str]:
        return finding.rule.id, finding.resource.name, finding.message

    return [of(f) for verdict in verdicts.values() for f in verdict.findings if f.stops == stopping]


def test_the_platform_violates_nothing(platform: tuple[Recorder, dict[str, Any]]) -> None:
    found = verdicts(platform[0])
    assert told(found, stopping=True) == told(found, stopping=False) == []
    assert {rule for rule, v in found.items() if v.judged} >= {"roles-least", "sections-equal"}


@pytest.mark.parametrize("key", DECLARATIONS.member_keys)
def test_no_member_violates_what_stops_a_run(
    key: str, connection: Connection, platform: tuple[Recorder, dict[str, Any]]
) -> None:
    recorder = Recorder(platform_outputs=platform[1])

    def make() -> MemberStack:
        return MemberStack(
            DECLARATIONS.plan(key),
            PlatformIds.of(pulumi.StackReference("organization/ksm-onboard/schwerin")),
            Customisation(ROOT / "templates", "ops", PUBLIC_KEY),
            DiskGrowth(connection),
            pulumi.ResourceOptions(providers=[vcenter_provider(connection)]),
        )

    built(recorder, make)
    found = verdicts(recorder)
    assert told(found, stopping=True) == []
    assert found["tenant-places"].judged == len(recorder.of("VirtualMachine")) > 0
