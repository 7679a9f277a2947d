"""Which machines the central monitoring watches, and what it says about each. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final

from ksm_onboard.planning.plan import Plan, ServerPlan, SharedServerPlan

MONITORING: Final = "data-centre:monitoring"
"""The end of flows that stands for the monitoring machines."""


@dataclass(frozen=True)
class Target:
    """A machine that tells its metrics. ``labels`` are what alerts name beside its full name and whose it is."""

    name: str
    fqdn: str
    address: IPv4Address
    labels: dict[str, str] = field(default_factory=dict)


def targets(plan: Plan) -> tuple[Target, ...]:
    """A member's Linux servers that the monitoring may reach; of the data centre itself, all its machines.

    A member's firewall decides: a server that no flow lets the monitoring reach, such as one in the administration's
    own zone, is not watched, and no alert is raised about what nobody can see.
    """
    if plan.member.key == plan.platform.key:
        return _own_targets(plan)
    open_to = [
        network
        for flow in plan.member.flows
        for rule in flow.rules
        if rule.source.name == MONITORING
        for network in rule.target.networks
    ]
    return tuple(
        _target(plan, server)
        for server in plan.member.servers
        if server.platform == "linux" and any(server.address in network for network in open_to)
    )


def _own_targets(plan: Plan) -> tuple[Target, ...]:
    return (
        *(_target(plan, server) for server in plan.member.servers),
        *(_physical(server) for server in plan.platform.shared_servers),
    )


def _target(plan: Plan, server: ServerPlan) -> Target:
    labels: dict[str, str] = {"section": server.section}
    if server.pair is not None:
        labels["pair"] = server.pair
    classes = [b.backup_class for b in plan.member.backups if b.server == server.name and b.copies and b.backup_class]
    if classes:
        # The strictest of its disks: one that is saved less often than its class wants is never overlooked.
        labels["backup_rpo_hours"] = str(min(plan.platform.backup_class(key).rpo_hours for key in classes))
    return Target(server.name, server.fqdn, server.address, labels)


def _physical(server: SharedServerPlan) -> Target:
    return Target(server.name, server.fqdn, server.address, {"section": server.location})
