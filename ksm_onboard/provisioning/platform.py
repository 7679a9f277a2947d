"""The platform stack: what all members share. It never knows a member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pulumi
import pulumi_vsphere as vsphere

from ksm_onboard.planning.plan import PlatformPlan
from ksm_onboard.planning.platform_plan import TIER_CATEGORY
from ksm_onboard.provisioning.data_centre import DataCentre

# What of an adopted cluster belongs to vCenter's administrators. A change of its data centre would replace it.
_NOT_OURS = (
    "datacenter_id",
    "folder",
    "host_system_ids",
    "tags",
    "custom_attributes",
    "drs_advanced_options",
    "drs_enable_predictive_drs",
    "drs_enable_vm_overrides",
    "dpm_automation_level",
    "dpm_enabled",
    "dpm_threshold",
    "ha_advanced_options",
    "ha_heartbeat_datastore_ids",
    "ha_heartbeat_datastore_policy",
    "proactive_ha_automation_level",
    "proactive_ha_enabled",
    "proactive_ha_moderate_remediation",
    "proactive_ha_provider_ids",
    "proactive_ha_severe_remediation",
    "vsan_disk_groups",
    "vsan_enabled",
)


class PlatformStack(pulumi.ComponentResource):
    """The cluster's settings, tags, storage policies, fire-section host groups and roles."""

    def __init__(self, plan: PlatformPlan, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ksm:platform:Platform", plan.key, None, opts)
        self._plan = plan
        self._child = pulumi.ResourceOptions(parent=self)
        self.centre = DataCentre(plan, self)
        self.categories: dict[str, vsphere.TagCategory] = {}
        self.tags: dict[str, dict[str, vsphere.Tag]] = {}
        self._tag_categories(plan)
        self.policies = self._storage_policies(plan)
        self.cluster = self._cluster(plan)
        self.host_groups = self._host_groups(plan)
        self.roles = self._roles(plan)
        self.register_outputs(self.outputs())

    def outputs(self) -> dict[str, Any]:
        """What members need: ids by the plan's names."""
        return {
            "category_ids": {name: category.id for name, category in self.categories.items()},
            "tag_ids": {name: {tag: made.id for tag, made in tags.items()} for name, tags in self.tags.items()},
            "policy_ids": {key: policy.id for key, policy in self.policies.items()},
            "host_groups": {key: group.name for key, group in self.host_groups.items()},
            "role_ids": {name: role.id for name, role in self.roles.items()},
            "tiers": {tier.key: {"mirrored": tier.mirrored, "encrypted": tier.encrypted} for tier in self._plan.tiers},
        }

    def _tag_categories(self, plan: PlatformPlan) -> None:
        for category in plan.tag_categories:
            made = vsphere.TagCategory(
                category.name,
                name=category.name,
                description=category.description,
                cardinality=category.cardinality,
                associable_types=list(category.associable_types),
                opts=self._child,
            )
            self.categories[category.name] = made
            self.tags[category.name] = {
                tag: vsphere.Tag(f"{category.name}-{tag}", name=tag, category_id=made.id, opts=self._child)
                for tag in category.tags
            }

    def _storage_policies(self, plan: PlatformPlan) -> dict[str, vsphere.VmStoragePolicy]:
        # Names, not ids, go into the rule; read from the tag so that it exists before the policy does.
        return {
            tier.key: vsphere.VmStoragePolicy(
                tier.policy,
                name=tier.policy,
                description=tier.description,
                tag_rules=[
                    vsphere.VmStoragePolicyTagRuleArgs(
                        tag_category=self.categories[TIER_CATEGORY].name,
                        tags=[self.tags[TIER_CATEGORY][tier.tag].name],
                        include_datastores_with_tags=True,
                    )
                ],
                opts=self._child,
            )
            for tier in plan.tiers
        }

    def _cluster(self, plan: PlatformPlan) -> vsphere.ComputeCluster:
        """Adopt the cluster that is there and set what the plan says about it; leave the rest as it is.

        It is never made, deleted or replaced, and hosts are never moved in or out: vCenter's administrators do that.
        """
        settings, ha = plan.cluster_settings, plan.cluster_settings.high_availability
        return vsphere.ComputeCluster(
            plan.cluster,
            name=plan.cluster,
            datacenter_id=self.centre.id,
            drs_enabled=True,
            drs_automation_level="fullyAutomated",
            drs_migration_threshold=settings.drs_migration_threshold,
            ha_enabled=True,
            ha_host_monitoring="enabled",
            ha_admission_control_policy="resourcePercentage",
            # Left to itself vCenter keeps one host's worth, not a fire section's.
            ha_admission_control_resource_percentage_auto_compute=False,
            ha_admission_control_resource_percentage_cpu=ha.reserved_percent,
            ha_admission_control_resource_percentage_memory=ha.reserved_percent,
            ha_host_isolation_response=ha.isolation_response,
            ha_vm_component_protection="enabled",
            ha_datastore_pdl_response=ha.pdl_response,
            ha_datastore_apd_response=ha.apd_response,
            ha_vm_restart_priority=ha.restart_priority,
            ha_vm_dependency_restart_condition=ha.ready_condition,
            ha_vm_restart_timeout=ha.restart_timeout_seconds,
            ha_vm_monitoring=ha.vm_monitoring,
            opts=pulumi.ResourceOptions.merge(
                self._child,
                pulumi.ResourceOptions(
                    import_=settings.inventory_path, retain_on_delete=True, ignore_changes=list(_NOT_OURS)
                ),
            ),
        )

    def _host_groups(self, plan: PlatformPlan) -> dict[str, vsphere.ComputeClusterHostGroup]:
        return {
            section.key: vsphere.ComputeClusterHostGroup(
                section.host_group,
                name=section.host_group,
                compute_cluster_id=self.cluster.id,
                host_system_ids=[self.centre.host_id(host) for host in section.hosts],
                opts=self._child,
            )
            for section in plan.sections
        }

    def _roles(self, plan: PlatformPlan) -> dict[str, vsphere.Role]:
        return {
            role.name: vsphere.Role(role.name, name=role.name, role_privileges=list(role.privileges), opts=self._child)
            for role in plan.roles
        }


class PlatformReference(Protocol):
    """What whoever builds on the platform needs of it: ids by the plan's names."""

    def for_the_policies(self) -> dict[str, Any]:
        """Everything, by the names of the platform's outputs: in a preview, rules know resources by ids only."""

    def category(self, name: str) -> pulumi.Output[str]:
        """A tag category's id."""

    def tag(self, category: str, name: str) -> pulumi.Output[str]:
        """A tag's id."""

    def policy(self, tier: str) -> pulumi.Output[str]:
        """A storage tier's policy."""

    def host_group(self, section: str) -> pulumi.Output[str]:
        """The name of a fire section's host group."""

    def role(self, name: str) -> pulumi.Output[str]:
        """A role's id."""


@dataclass(frozen=True)
class SameStack:
    """The platform, for what its own stack builds on it: its VMs."""

    _made: PlatformStack

    def for_the_policies(self) -> dict[str, Any]:
        return self._made.outputs()

    def category(self, name: str) -> pulumi.Output[str]:
        return self._made.categories[name].id

    def tag(self, category: str, name: str) -> pulumi.Output[str]:
        return self._made.tags[category][name].id

    def policy(self, tier: str) -> pulumi.Output[str]:
        return self._made.policies[tier].id

    def host_group(self, section: str) -> pulumi.Output[str]:
        return self._made.host_groups[section].name

    def role(self, name: str) -> pulumi.Output[str]:
        return self._made.roles[name].id


@dataclass(frozen=True)
class PlatformIds:
    """The platform's outputs, as a member's stack uses them."""

    _tags: pulumi.Output[Mapping[str, Mapping[str, str]]]
    _categories: pulumi.Output[Mapping[str, str]]
    _policies: pulumi.Output[Mapping[str, str]]
    _host_groups: pulumi.Output[Mapping[str, str]]
    _roles: pulumi.Output[Mapping[str, str]]
    _tiers: pulumi.Output[Mapping[str, Mapping[str, bool]]]

    @classmethod
    def of(cls, platform: pulumi.StackReference) -> PlatformIds:
        """The ids that the platform stack has put out; a missing one fails the stack by its name."""
        return cls(
            _tags=platform.require_output("tag_ids"),
            _categories=platform.require_output("category_ids"),
            _policies=platform.require_output("policy_ids"),
            _host_groups=platform.require_output("host_groups"),
            _roles=platform.require_output("role_ids"),
            _tiers=platform.require_output("tiers"),
        )

    def for_the_policies(self) -> dict[str, Any]:
        return {
            "tag_ids": self._tags,
            "category_ids": self._categories,
            "policy_ids": self._policies,
            "host_groups": self._host_groups,
            "role_ids": self._roles,
            "tiers": self._tiers,
        }

    def category(self, name: str) -> pulumi.Output[str]:
        return self._categories.apply(lambda ids: _of("tag category", name, ids))

    def tag(self, category: str, name: str) -> pulumi.Output[str]:
        return self._tags.apply(lambda ids: _of("tag", name, ids.get(category, {})))

    def policy(self, tier: str) -> pulumi.Output[str]:
        return self._policies.apply(lambda ids: _of("storage tier", tier, ids))

    def host_group(self, section: str) -> pulumi.Output[str]:
        return self._host_groups.apply(lambda names: _of("fire section", section, names))

    def role(self, name: str) -> pulumi.Output[str]:
        return self._roles.apply(lambda ids: _of("role", name, ids))


def _of(kind: str, name: str, ids: Mapping[str, str]) -> str:
    if name not in ids:
        raise pulumi.RunError(
            f"the platform stack has no {kind} '{name}'; bring it up to date first: pulumi up -s schwerin"
        )
    return ids[name]
