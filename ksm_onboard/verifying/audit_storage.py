"""What vCenter must show of a member's storage: its datastores, their clusters, and every disk. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ksm_onboard.planning.plan import DatastoreClusterPlan, DatastorePlan, Plan
from ksm_onboard.planning.platform_plan import MEMBER_CATEGORY
from ksm_onboard.verifying.audit_report import Area, Reason
from ksm_onboard.verifying.comparison import EVERYTHING, Comparison
from ksm_onboard.verifying.storage_facts import DatastoreClusterFacts, DatastoreFacts
from ksm_onboard.verifying.vcenter_facts import DiskFacts, HomeFacts, VCenterFacts, VmFacts

_AREA = Area.STORAGE
COMPLIANT = "compliant"


def compare_storage(plan: Plan, facts: VCenterFacts, vms: Mapping[str, VmFacts], points: Comparison) -> None:
    """Compare datastores, clusters and disks; ``vms`` are the member's that were found, by name."""
    points.expects(_AREA, (*plan.member.servers, *plan.member.datastores))
    _datastores(plan, facts, points)
    _clusters(plan, facts, points)
    _disks(plan, vms, points)


def _datastores(plan: Plan, facts: VCenterFacts, points: Comparison) -> None:
    hosts = {section.key: section.hosts for section in plan.platform.sections}
    found = {store.name: store for store in facts.datastores}
    for planned in plan.member.datastores:
        store = found.get(planned.name)
        what = f"{planned.remote_host}:{planned.remote_path}"
        if points.present(_AREA, planned.name, "datastore", store, expected=what) and store:
            _datastore(planned, store, tuple(h for key in planned.sections for h in hosts[key]), points)
    declared = {planned.name for planned in plan.member.datastores}
    points.nothing_else(_AREA, "", "datastore", declared, _own(plan, found))


def _datastore(planned: DatastorePlan, store: DatastoreFacts, hosts: tuple[str, ...], points: Comparison) -> None:
    name = planned.name
    points.same(_AREA, name, "export", f"{planned.remote_host}:{planned.remote_path}", _export(store))
    points.same(_AREA, name, "size_gib", planned.size_gib, store.capacity_gib)
    points.same(_AREA, name, "datastore_cluster", planned.cluster, store.cluster)
    points.same(_AREA, name, "mounted_on", hosts, store.hosts)
    points.same(_AREA, name, "writable", True, store.writable)
    for category, tag in planned.tags.items():
        points.same(_AREA, name, f"tag {category}", (tag,), store.tags.get(category, ()))


def _export(store: DatastoreFacts) -> str:
    return f"{store.remote_host}:{store.remote_path}" if store.remote_path else f"none ({store.kind})"


def _own(plan: Plan, found: Mapping[str, DatastoreFacts | DatastoreClusterFacts]) -> list[str]:
    """Names that are, or claim to be, the member's. The volume of the templates is named like the data centre's own."""
    member, library = plan.member, plan.platform.library.name
    return [
        name
        for name, what in found.items()
        if (name.startswith(f"{member.short}-") and name != library) or member.key in what.tags.get(MEMBER_CATEGORY, ())
    ]


def _clusters(plan: Plan, facts: VCenterFacts, points: Comparison) -> None:
    found = {cluster.name: cluster for cluster in facts.datastore_clusters}
    for planned in plan.member.datastore_clusters:
        cluster = found.get(planned.name)
        if points.present(_AREA, planned.name, "datastore_cluster", cluster) and cluster:
            _cluster(planned, cluster, points)
    declared = {planned.name for planned in plan.member.datastore_clusters}
    points.nothing_else(_AREA, "", "datastore_cluster", declared, _own(plan, found))


def _cluster(planned: DatastoreClusterPlan, cluster: DatastoreClusterFacts, points: Comparison) -> None:
    points.same(_AREA, planned.name, "storage_drs", True, cluster.storage_drs)
    points.same(_AREA, planned.name, "automation", planned.automation, cluster.automation)
    points.same(_AREA, planned.name, "automation_overrides", (), cluster.overrides)
    points.same(_AREA, planned.name, "keeps_policies", True, cluster.keeps_policies)
    # Nothing foreign, and nothing unreplicated, may be where storage DRS could move a disk to.
    points.same(_AREA, planned.name, "datastores", planned.datastores, cluster.datastores)
    for category, tag in planned.tags.items():
        points.same(_AREA, planned.name, f"tag {category}", (tag,), cluster.tags.get(category, ()))


def _disks(plan: Plan, vms: Mapping[str, VmFacts], points: Comparison) -> None:
    policies = {tier.key: tier.policy for tier in plan.platform.tiers}
    for server in plan.member.servers:
        if (vm := vms.get(server.name)) is None:
            points.gap(_AREA, server.name, EVERYTHING, Reason.VM_MISSING)
            continue
        points.same(_AREA, server.name, "home_datastore", server.datastore, vm.home.datastore)
        _policy(server.name, policies[server.tier], vm.home, points)
        by_unit = {disk.unit_number: disk for disk in vm.disks}
        system = by_unit.get(0)
        name = f"{server.name}: system"
        if points.present(_AREA, name, "disk", system, expected=server.datastore) and system:
            points.same(_AREA, name, "datastore", server.datastore, system.datastore)
            points.same(_AREA, name, "size_gib", server.system_disk_gib, _gib(system))
            points.same(_AREA, name, "disk_mode", "persistent", system.mode)
            _policy(name, policies[server.tier], system, points)
        for planned in server.disks:
            disk, name = by_unit.get(planned.unit_number), f"{server.name}: {planned.name}"
            if points.present(_AREA, name, "disk", disk, expected=f"[{planned.datastore}] {planned.vmdk}") and disk:
                points.same(_AREA, name, "datastore", planned.datastore, disk.datastore)
                points.same(_AREA, name, "disk_path", planned.vmdk, disk.path)
                points.same(_AREA, name, "size_gib", planned.size_gib, _gib(disk))
                points.same(_AREA, name, "disk_mode", "persistent", disk.mode)
                _policy(name, policies[planned.tier], disk, points)
        units = {0, *(disk.unit_number for disk in server.disks)}
        strangers = [f"[{disk.datastore}] {disk.path}" for disk in vm.disks if disk.unit_number not in units]
        points.nothing_else(_AREA, server.name, "disk", (), strangers)


def _policy(name: str, planned: str, seen: DiskFacts | HomeFacts, points: Comparison) -> None:
    """By its own policy and as vCenter judges it: it compares the policy's rules with the datastore's tags."""
    if points.same(_AREA, name, "policy", planned, seen.policy):
        points.same(_AREA, name, "policy_compliance", COMPLIANT, seen.compliance)


def _gib(disk: DiskFacts) -> float | int:
    whole, rest = divmod(disk.capacity_mib, 1024)
    return whole if rest == 0 else round(disk.capacity_mib / 1024, 2)
