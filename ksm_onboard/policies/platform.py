"""Rules about what all members share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ksm_onboard.policies.catalogue import requirements
from ksm_onboard.policies.model import Rule, Violation
from ksm_onboard.policies.resources import Hidden, Resource, Stack

# One of two fire sections must be able to carry everything.
_HALF = 50

# Whoever holds one of these can give himself all others, or reach beyond the members' own objects.
_FAR_REACHING = (
    "Authorization.",
    "Global.",
    "Cryptographer.",
    "Host.Config.",
    "Sessions.",
    "StorageProfile.Update",
    "VirtualMachine.GuestOperations.",
)


def _roles(stack: Stack) -> Sequence[Resource]:
    return stack.kind("Role")


def _narrow(_stack: Stack, roles: Sequence[Resource]) -> Iterator[Violation]:
    for role in roles:
        privileges = role.inputs.get("rolePrivileges")
        for privilege in privileges if isinstance(privileges, list) else ():
            if not isinstance(privilege, str):
                continue
            if "*" in privilege or privilege.endswith(".") or "." not in privilege:
                yield Violation(role, f"holds a whole family of privileges: '{privilege}'")
            elif privilege.startswith(_FAR_REACHING):
                yield Violation(role, f"holds '{privilege}', which reaches beyond a member's own machines")
        if str(role.inputs.get("name", role.name)).casefold() in ("admin", "administrator"):
            yield Violation(role, "takes the name of vCenter's own administrator role")


def _host_groups(stack: Stack) -> Sequence[Resource]:
    return stack.kind("ComputeClusterHostGroup")


def _two_sections(_stack: Stack, groups: Sequence[Resource]) -> Iterator[Violation]:
    if len(groups) < 2:
        yield Violation(groups[0], "is the only fire section")
    told = [(group, group.inputs.get("hostSystemIds")) for group in groups]
    known = [(group, hosts) for group, hosts in told if isinstance(hosts, list) and Hidden.UNKNOWN not in hosts]
    places = Counter(host for _, hosts in known for host in hosts)
    for group, hosts in known:
        for host in hosts:
            if places[host] > 1:
                yield Violation(group, f"the host {host} stands in several fire sections")
    if len(known) == len(groups) and len({len(hosts) for _, hosts in known}) > 1:
        sizes = ", ".join(f"{group.name}: {len(hosts)}" for group, hosts in known)
        yield Violation(groups[0], f"the fire sections differ in their number of hosts ({sizes})")


def _clusters(stack: Stack) -> Sequence[Resource]:
    return stack.kind("ComputeCluster")


def _highly_available(_stack: Stack, clusters: Sequence[Resource]) -> Iterator[Violation]:
    for cluster in clusters:
        given = cluster.inputs
        if given.get("haEnabled") is not True:
            yield Violation(cluster, "high availability is not switched on")
            continue
        if given.get("haAdmissionControlPolicy") != "resourcePercentage":
            yield Violation(cluster, "admission control does not reserve a share of the cluster")
        if given.get("haAdmissionControlResourcePercentageAutoCompute") is not False:
            yield Violation(cluster, "the reserved share is left to vCenter, which reserves one host, not one section")
        for key, word in (("Cpu", "processors"), ("Memory", "memory")):
            share = given.get(f"haAdmissionControlResourcePercentage{key}")
            if not isinstance(share, int | float) or share < _HALF:
                yield Violation(cluster, f"less than {_HALF} % of the {word} are reserved for losing a fire section")
        if given.get("haHostIsolationResponse") not in ("powerOff", "shutdown"):
            yield Violation(cluster, "an isolated host keeps its VMs running, so they cannot start elsewhere")
        if given.get("drsEnabled") is not True:
            yield Violation(cluster, "DRS is not switched on, so nothing acts on the rules of sections and pairs")


RULES = (
    Rule(
        id="roles-least",
        title="Roles hold single privileges, and none that reaches beyond a member's machines",
        requirements=requirements("ORP.4.A2", "ORP.4.A4"),
        goals=("confidentiality", "integrity"),
        stack="platform",
        subjects=_roles,
        judge=_narrow,
        absent="the stack has no roles",
        todo="name the privileges one by one, and only those that the role's work needs",
    ),
    Rule(
        id="sections-equal",
        title="There are two fire sections with hosts of their own, equally many in each",
        requirements=requirements("INF.2.A2", "SYS.1.5.A20"),
        goals=("availability",),
        stack="platform",
        subjects=_host_groups,
        judge=_two_sections,
        absent="the stack has no host groups",
        todo="declare each host in exactly one section (sections.<key>.hosts)",
    ),
    Rule(
        id="cluster-survives-section",
        title="The cluster restarts VMs, and keeps half of itself free for that",
        requirements=requirements("SYS.1.5.A20"),
        goals=("availability",),
        stack="platform",
        subjects=_clusters,
        judge=_highly_available,
        absent="the cluster's settings are not part of the stack",
        todo="switch HA and DRS on, with 50 % of processors and memory reserved and isolated hosts shutting VMs down",
    ),
)
