"""What vCenter must show for a plan, point by point. Pure: plan and facts in, points out."""

from __future__ import annotations

from collections.abc import Mapping

from ksm_onboard.planning.plan import Plan, ServerPlan
from ksm_onboard.verifying.audit_report import Area, Reason
from ksm_onboard.verifying.audit_storage import compare_storage
from ksm_onboard.verifying.cluster_settings import planned_settings
from ksm_onboard.verifying.comparison import EVERYTHING, Comparison
from ksm_onboard.verifying.vcenter_facts import PermissionFacts, RuleFacts, VCenterFacts, VmFacts

# vCenter adds these to every role (vSphere Security: "System" privileges cannot be removed).
_IMPLICIT_PRIVILEGES = "System."


def compare_vcenter(plan: Plan, facts: VCenterFacts, points: Comparison) -> None:
    """Compare everything that vCenter knows about the member."""
    vms = {server.name: vm for server in plan.member.servers if (vm := _vm_of(server, plan, facts))}
    _member(plan, facts, points)
    _networks(plan, facts, points)
    _servers(plan, facts, vms, points)
    compare_storage(plan, facts, vms, points)
    _redundancy(plan, facts, vms, points)
    _permissions(plan, facts, points)


def missing_servers(plan: Plan, facts: VCenterFacts) -> frozenset[str]:
    """Names of declared servers that have no VM."""
    return frozenset(server.name for server in plan.member.servers if _vm_of(server, plan, facts) is None)


def _vm_of(server: ServerPlan, plan: Plan, facts: VCenterFacts) -> VmFacts | None:
    """The VM of that name; the one in the member's folder if there are several."""
    named = [vm for vm in facts.vms if vm.name == server.name]
    return next((vm for vm in named if vm.folder == plan.member.folder), named[0] if named else None)


def _member(plan: Plan, facts: VCenterFacts, points: Comparison) -> None:
    member, area = plan.member, Area.MEMBER
    points.expects(area, [member])
    if points.present(area, member.folder, "folder", member.folder in facts.folders):
        for category, tag in member.tags.items():
            points.same(area, member.folder, f"tag {category}", (tag,), facts.folder_tags.get(category, ()))
    wanted, pool = member.resource_pool, facts.pool
    if points.present(area, wanted.name, "resource_pool", pool) and pool:
        points.same(area, wanted.name, "cpu_limit_mhz", wanted.cpu_limit_mhz, pool.cpu_limit_mhz)
        points.same(area, wanted.name, "memory_limit_mib", wanted.memory_limit_mib, pool.memory_limit_mib)
        for category, tag in member.tags.items():
            points.same(area, wanted.name, f"tag {category}", (tag,), pool.tags.get(category, ()))


def _networks(plan: Plan, facts: VCenterFacts, points: Comparison) -> None:
    area = Area.NETWORKS
    points.expects(area, plan.member.zones)
    found = {group.name: group for group in facts.port_groups}
    for zone in plan.member.zones:
        group = found.get(zone.port_group)
        if points.present(area, zone.port_group, "port_group", group, expected=f"VLAN {zone.vlan}") and group:
            points.same(area, zone.port_group, "vlan", zone.vlan, group.vlan)
            points.same(area, zone.port_group, "switch", plan.platform.switch, group.switch)
            points.same(area, zone.port_group, "promiscuous", False, group.promiscuous)
            points.same(area, zone.port_group, "mac_changes", False, group.mac_changes)
            points.same(area, zone.port_group, "forged_transmits", False, group.forged_transmits)
            points.same(area, zone.port_group, "active_uplinks", plan.platform.uplinks, group.active_uplinks)
            points.same(area, zone.port_group, "overridable", (), group.overridable)
    points.nothing_else(area, "", "port_group", {zone.port_group for zone in plan.member.zones}, found)


def _servers(plan: Plan, facts: VCenterFacts, vms: Mapping[str, VmFacts], points: Comparison) -> None:
    area = Area.SERVERS
    points.expects(area, plan.member.servers)
    guest_ids = {template.key: template.guest_id for template in plan.platform.templates}
    for server in plan.member.servers:
        vm = vms.get(server.name)
        if not points.present(area, server.name, "vm", vm) or vm is None:
            continue
        points.same(area, server.name, "folder", plan.member.folder, vm.folder)
        points.same(area, server.name, "resource_pool", plan.member.resource_pool.name, vm.resource_pool)
        points.same(area, server.name, "powered_on", True, vm.powered_on)
        points.same(area, server.name, "cpus", server.cpus, vm.cpus)
        points.same(area, server.name, "memory_mib", server.memory_mib, vm.memory_mib)
        points.same(area, server.name, "guest_id", guest_ids[server.template], vm.guest_id)
        points.same(area, server.name, "port_groups", (server.port_group,), [nic.port_group for nic in vm.nics])
        points.same(area, server.name, "network_connected", True, all(nic.connected for nic in vm.nics))
        points.same(area, server.name, "reported_address", True, str(server.address) in vm.addresses)
        for category, tag in server.tags.items():
            points.same(area, server.name, f"tag {category}", (tag,), vm.tags.get(category, ()))
        told = vm.customisation
        points.same(area, server.name, "customised_name", server.name, told.host_name if told else None)
        address = f"{server.address}/{server.prefix_length}"
        points.same(area, server.name, "customised_address", (address,), told.addresses if told else ())
    known = [id(vm) for vm in vms.values()]
    strangers = [f"{vm.name} ({vm.folder or 'root folder'})" for vm in facts.vms if id(vm) not in known]
    points.nothing_else(area, "", "vm", (), strangers)


def _redundancy(plan: Plan, facts: VCenterFacts, vms: Mapping[str, VmFacts], points: Comparison) -> None:
    area, cluster = Area.REDUNDANCY, facts.cluster
    member, platform = plan.member, plan.platform
    points.expects(area, (*member.placements, *member.pairs))
    # Without DRS nothing acts on the rules, without HA nothing restarts a VM in the other section.
    points.same(area, cluster.name, "drs_enabled", True, cluster.drs_enabled)
    points.same(area, cluster.name, "ha_enabled", True, cluster.ha_enabled)
    for setting, expected in planned_settings(platform.cluster_settings).items():
        points.same(area, cluster.name, setting, expected, cluster.settings.get(setting))
    for section in platform.sections:
        group = cluster.host_groups.get(section.host_group)
        if points.present(area, section.host_group, "host_group", group is not None):
            points.same(area, section.host_group, "hosts", section.hosts, group)

    section_of = platform.section_of_host
    running_in = {name: section_of.get(vm.host or "") for name, vm in vms.items()}
    for server in member.servers:
        if server.name in vms:
            points.same(area, server.name, "section", server.section, running_in[server.name])
            default = platform.cluster_settings.high_availability.restart_priority
            own = cluster.restart_priorities.get(server.name, default)
            points.same(area, server.name, "restart_priority", server.restart_priority or default, own)
            points.same(area, server.name, "own_settings", (), cluster.own_settings.get(server.name, ()))

    rules = {rule.name: rule for rule in cluster.rules}
    for placement in member.placements:
        servers = [name for name in placement.servers if name in vms]
        vm_group = cluster.vm_groups.get(placement.vm_group)
        if points.present(area, placement.vm_group, "vm_group", vm_group is not None):
            points.same(area, placement.vm_group, "vms", servers, vm_group)
        rule = rules.get(placement.rule)
        if points.present(area, placement.rule, "vm_host_rule", rule and rule.vm_group) and rule:
            _rule_in_force(rule, points)
            points.same(area, rule.name, "vm_group", placement.vm_group, rule.vm_group)
            points.same(area, rule.name, "host_group", placement.host_group, rule.affine_host_group)
            points.same(area, rule.name, "avoided_host_group", None, rule.anti_affine_host_group)

    for pair in member.pairs:
        if any(name not in vms for name in pair.servers):
            points.gap(area, pair.rule, EVERYTHING, Reason.PAIR_INCOMPLETE)
            continue
        apart = {running_in[name] for name in pair.servers}
        points.same(area, pair.rule, "sections_of_pair", True, None not in apart and len(apart) == len(pair.servers))
        rule = rules.get(pair.rule)
        if points.present(area, pair.rule, "anti_affinity_rule", rule and rule.apart) and rule:
            _rule_in_force(rule, points)
            points.same(area, rule.name, "vms", pair.servers, rule.apart)

    _undeclared_rules(plan, facts, points)


def _rule_in_force(rule: RuleFacts, points: Comparison) -> None:
    points.same(Area.REDUNDANCY, rule.name, "rule_enabled", True, rule.enabled)
    # A mandatory rule would keep HA from restarting a VM in the section that is left.
    points.same(Area.REDUNDANCY, rule.name, "rule_mandatory", False, rule.mandatory)


def _undeclared_rules(plan: Plan, facts: VCenterFacts, points: Comparison) -> None:
    """Rules and groups that touch the member's VMs, but that the plan does not know."""
    member = plan.member
    names = {server.name for server in member.servers}
    groups = {placement.vm_group for placement in member.placements}
    touching = {name for name, vms in facts.cluster.vm_groups.items() if names & set(vms)}
    points.nothing_else(Area.REDUNDANCY, "", "vm_group", groups, touching)
    declared = {placement.rule for placement in member.placements} | {pair.rule for pair in member.pairs}
    rules = {
        rule.name
        for rule in facts.cluster.rules
        if names & {*rule.apart, *rule.together} or rule.vm_group in groups | touching
    }
    points.nothing_else(Area.REDUNDANCY, "", "rule", declared, rules)


def _permissions(plan: Plan, facts: VCenterFacts, points: Comparison) -> None:
    area, member = Area.PERMISSIONS, plan.member
    points.expects(area, member.permissions)
    found = {_account(entry.principal): entry for entry in facts.permissions if entry.on == "folder"}
    for planned in member.permissions:
        entry = found.get(_account(planned.principal))
        if points.present(area, planned.principal, "permission", entry, expected=planned.role) and entry:
            points.same(area, planned.principal, "role", planned.role, entry.role)
            points.same(area, planned.principal, "is_group", planned.is_group, entry.is_group)
            points.same(area, planned.principal, "propagate", planned.propagate, entry.propagate)
    declared = {_account(entry.principal) for entry in member.permissions}
    points.nothing_else(area, member.folder, "permission", declared, found)
    on_pool = [_stranger(entry) for entry in facts.permissions if entry.on == "pool"]
    points.nothing_else(area, member.resource_pool.name, "permission", (), on_pool)
    used = {permission.role for permission in member.permissions}
    for role in plan.platform.roles:
        if role.name in used:
            privileges = facts.roles.get(role.name)
            if points.present(area, role.name, "role", privileges is not None):
                explicit = [p for p in privileges or () if not p.startswith(_IMPLICIT_PRIVILEGES)]
                points.same(area, role.name, "privileges", role.privileges, explicit)


def _account(principal: str) -> str:
    """vCenter compares accounts without regard to case and may return them in its own."""
    return principal.casefold()


def _stranger(entry: PermissionFacts) -> str:
    return f"{_account(entry.principal)} ({entry.role})"
