"""Whether the exceptions from policies that a member declares are ones: of a rule that there is, of something that
there is, and for a while. Whether the rule would be violated at all, only the policies know."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from fnmatch import fnmatchcase

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.planning.checks import Scope, unknown
from ksm_onboard.planning.plan import MemberPlan

LONGEST = timedelta(days=366)


def check_waivers(scope: Scope, today: date | None) -> list[Finding]:
    """Findings about rules and days. Without ``today`` nothing is said about whether a waiver has expired."""
    return [*_rules(scope), *_days(scope), *(_expired(scope, today) if today else ())]


def _rules(scope: Scope) -> Iterator[Finding]:
    if not scope.declared.waivers:
        return
    # Loaded only for who has waivers: the rules bring a catalogue of their own.
    from ksm_onboard.policies.rules import RULES  # noqa: PLC0415

    for key, waiver in scope.declared.waivers.items():
        if waiver.rule not in RULES:
            place = scope.file.place("waivers", key, "rule")
            yield unknown("waiver-rule-unknown", f"{key}: the policy rule", waiver.rule, dict(RULES), place)


def _days(scope: Scope) -> Iterator[Finding]:
    for key, waiver in scope.declared.waivers.items():
        place = scope.file.place("waivers", key, "expires")
        if waiver.expires < waiver.granted:
            yield Finding(
                rule="waiver-days",
                place=place,
                message=f"the waiver {key} expires on {waiver.expires}, before it was granted on {waiver.granted}",
                value=str(waiver.expires),
                allowed=f"{waiver.granted} or later",
            )
        elif waiver.expires - waiver.granted > LONGEST:
            yield Finding(
                rule="waiver-too-long",
                place=place,
                message=f"the waiver {key} holds for {(waiver.expires - waiver.granted).days} days",
                value=str(waiver.expires),
                allowed=f"{waiver.granted + LONGEST} or earlier: one year at most",
                hint="renew it when it is due, with the reason that then holds",
            )


def _expired(scope: Scope, today: date) -> Iterator[Finding]:
    for key, waiver in scope.declared.waivers.items():
        if waiver.granted <= waiver.expires < today:
            yield Finding(
                rule="waiver-expired",
                severity="warning",
                place=scope.file.place("waivers", key, "expires"),
                message=f"the waiver {key} of {waiver.rule} expired on {waiver.expires}: "
                "what it excused is a violation again",
                value=str(waiver.expires),
                hint="put right what it excused and remove it, or renew it with the reason that now holds",
            )


def check_waived_resources(scope: Scope, plan: MemberPlan) -> list[Finding]:
    """Waivers of things that the member does not have."""
    names = resource_names(plan)
    return [
        *_too_broad(scope, plan),
        *_of_nothing(scope, plan, names),
    ]


def _too_broad(scope: Scope, plan: MemberPlan) -> Iterator[Finding]:
    """A pattern that every server fits also excuses those that are declared tomorrow."""
    for key, waiver in scope.declared.waivers.items():
        if len(plan.servers) > 1 and all(fnmatchcase(server.name, waiver.resource) for server in plan.servers):
            yield Finding(
                rule="waiver-too-broad",
                place=scope.file.place("waivers", key, "resource"),
                message=f"the waiver {key} is of '{waiver.resource}': that is every server of {plan.key}, "
                "and every one that is still to come",
                value=waiver.resource,
                allowed="the name of what is excused, or a pattern that only its like fit",
            )


def _of_nothing(scope: Scope, plan: MemberPlan, names: frozenset[str]) -> list[Finding]:
    return [
        Finding(
            rule="waiver-resource-unknown",
            place=scope.file.place("waivers", key, "resource"),
            message=f"the waiver {key} is of '{waiver.resource}', and nothing of {plan.key} is called so",
            value=waiver.resource,
            allowed="the name of a server, data disk, network, rule or pool of the member, or a pattern of one",
        )
        for key, waiver in scope.declared.waivers.items()
        if not any(fnmatchcase(name, waiver.resource) for name in names)
    ]


def resource_names(plan: MemberPlan) -> frozenset[str]:
    """The names of everything in the member's stack that a policy can find fault with."""
    return frozenset(
        {
            plan.folder,
            plan.resource_pool.name,
            f"{plan.key}-permissions",
            *(zone.port_group for zone in plan.zones),
            *(server.name for server in plan.servers),
            *(f"{server.name}-{disk.name}" for server in plan.servers for disk in server.disks),
            *(name for placement in plan.placements for name in (placement.vm_group, placement.rule)),
            *(pair.rule for pair in plan.pairs),
            *(store.name for store in plan.datastores),
            *(cluster.name for cluster in plan.datastore_clusters),
            *(f"{server.name}-restart" for server in plan.servers if server.restart_priority is not None),
        }
    )
