"""The platform's stack: which resources it asks for, with which values, and how many."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pulumi
import pytest

from ksm_onboard.planning.plan import Plan
from ksm_onboard.provisioning.platform import PlatformIds
from tests.unit.provisioning.conftest import Recorder, use

Platform = tuple[Recorder, dict[str, Any]]


def test_how_many_of_each_type(platform: Platform) -> None:
    recorder, _ = platform
    assert Counter(made.type.rsplit(":", 1)[-1] for made in recorder.made) == {
        "vsphere": 1,
        "Platform": 1,
        "TagCategory": 5,
        "Tag": 21 + 2 + 4 + 4,  # zones, fire sections, service levels, storage tiers
        "VmStoragePolicy": 4,
        "ComputeClusterHostGroup": 2,
        "Role": 4,
        "ComputeCluster": 1,
    }


def test_the_cluster_is_adopted_and_set(platform: Platform) -> None:
    (cluster,) = platform[0].of("ComputeCluster").values()
    assert cluster.import_id == "/Schwerin/host/sn-cluster01"
    assert cluster.inputs["haAdmissionControlResourcePercentageCpu"] == 50
    assert cluster.inputs["haAdmissionControlResourcePercentageMemory"] == 50
    assert cluster.inputs["haAdmissionControlResourcePercentageAutoCompute"] is False
    assert cluster.inputs["haHostIsolationResponse"] == "powerOff"
    assert cluster.inputs["haDatastorePdlResponse"] == "restartAggressive"
    assert cluster.inputs["haVmDependencyRestartCondition"] == "guestHbStatusGreen"
    assert cluster.inputs["drsAutomationLevel"] == "fullyAutomated"


def test_the_cluster_is_never_deleted_replaced_or_emptied(platform: Platform) -> None:
    (cluster,) = platform[0].of("ComputeCluster").values()
    assert cluster.retain_on_delete
    assert {"hostSystemIds", "datacenterId", "folder"} <= set(cluster.ignore_changes)
    assert "hostSystemIds" not in cluster.inputs
    assert "forceEvacuateOnDestroy" not in cluster.inputs


def test_host_groups_hold_the_hosts_of_their_section(platform: Platform) -> None:
    groups = platform[0].of("ComputeClusterHostGroup")
    assert groups["ksm-section-a"].inputs["hostSystemIds"] == [f"sn-esx-a0{n}.id" for n in range(1, 5)]
    assert groups["ksm-section-b"].inputs["hostSystemIds"] == [f"sn-esx-b0{n}.id" for n in range(1, 5)]
    assert {made.inputs["computeClusterId"] for made in groups.values()} == {"sn-cluster01.id"}


def test_storage_policies_select_datastores_by_tag(platform: Platform) -> None:
    policies = platform[0].of("VmStoragePolicy")
    assert {name: made.inputs["tagRules"] for name, made in policies.items()} == {
        f"ksm-{tier}": [{"tagCategory": "ksm-storage-tier", "tags": [tier], "includeDatastoresWithTags": True}]
        for tier in ("gold-mirrored", "silver-mirrored", "local-a", "local-b")
    }


def test_tags_belong_to_their_category(platform: Platform) -> None:
    tags = [made for made in platform[0].made if made.type.endswith(":Tag")]
    of_category = Counter(made.inputs["categoryId"] for made in tags)
    assert of_category == {"ksm-zone.id": 21, "ksm-section.id": 2, "ksm-service-level.id": 4, "ksm-storage-tier.id": 4}


def test_categories_are_as_planned(platform: Platform, plan: Plan) -> None:
    categories = platform[0].of("TagCategory")
    for category in plan.platform.tag_categories:
        inputs = categories[category.name].inputs
        assert inputs["cardinality"] == category.cardinality
        assert inputs["associableTypes"] == list(category.associable_types)


def test_roles_have_exactly_the_planned_privileges(platform: Platform, plan: Plan) -> None:
    roles = platform[0].of("Role")
    assert {name: tuple(made.inputs["rolePrivileges"]) for name, made in roles.items()} == {
        role.name: role.privileges for role in plan.platform.roles
    }


def test_outputs_are_what_members_look_up(platform: Platform) -> None:
    _, outputs = platform
    assert set(outputs) == {"category_ids", "tag_ids", "policy_ids", "host_groups", "role_ids", "tiers"}
    assert outputs["tag_ids"]["ksm-section"] == {"A": "ksm-section-A.id", "B": "ksm-section-B.id"}
    assert outputs["host_groups"] == {"A": "ksm-section-a", "B": "ksm-section-b"}
    assert outputs["policy_ids"]["local-a"] == "ksm-local-a.id"
    assert outputs["role_ids"]["ksm-operator"] == "ksm-operator.id"


def test_an_outdated_platform_is_named_as_the_cause() -> None:
    outputs = ("category_ids", "tag_ids", "policy_ids", "host_groups", "role_ids", "tiers")
    recorder = Recorder(platform_outputs={name: {} for name in outputs})
    use(recorder)

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> pulumi.Output[str]:
        return PlatformIds.of(pulumi.StackReference("organization/ksm-onboard/schwerin")).policy("gold-mirrored")

    with pytest.raises(pulumi.RunError, match=r"no storage tier 'gold-mirrored'.*pulumi up -s schwerin"):
        program()
