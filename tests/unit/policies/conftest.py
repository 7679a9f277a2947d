"""A small member that violates nothing, resource by resource, to be spoilt in one place at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ksm_onboard.policies.judge import Verdict, judge
from ksm_onboard.policies.resources import Resource, Stack

TODAY = date(2026, 11, 22)

PLATFORM: dict[str, Any] = {
    "category_ids": {"ksm-member": "category-member"},
    "tag_ids": {
        "ksm-member": {},
        "ksm-zone": {"infrastructure": "zone-infrastructure", "management": "zone-management"},
        "ksm-section": {"A": "section-a", "B": "section-b"},
        "ksm-service-level": {"1": "level-1", "3": "level-3"},
    },
    "policy_ids": {"gold": "policy-gold", "local-a": "policy-a", "local-b": "policy-b", "open": "policy-open"},
    "tiers": {
        "gold": {"mirrored": True, "encrypted": True},
        "local-a": {"mirrored": False, "encrypted": True},
        "local-b": {"mirrored": False, "encrypted": True},
        "open": {"mirrored": True, "encrypted": False},
    },
    "host_groups": {"A": "ksm-section-a", "B": "ksm-section-b"},
    "role_ids": {"ksm-operator": "7"},
}


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:t::p::{kind}::{name}"


def made(kind: str, name: str, type_: str = "", **given: Any) -> Resource:
    return Resource(urn(kind, name), type_ or f"vsphere:index/x:{kind}", name, **given)


def vm(number: int, policies: Iterable[str] = ("policy-gold",), **inputs: Any) -> Resource:
    name = f"t-dns0{number}"
    attached = [
        {"label": f"disk{unit}", "storagePolicyId": policy, **({"attach": True} if unit else {})}
        for unit, policy in enumerate(policies)
    ]
    return made(
        "VirtualMachine",
        name,
        parent=urn("Server", name),
        inputs={
            "name": name,
            "memory": 4096,
            "folder": "t",
            "networkInterfaces": [{"networkId": "net-1"}],
            "disks": attached,
            "tags": ["member-t", "zone-infrastructure", f"section-{'ab'[number - 1]}", "level-1"],
            **inputs,
        },
        refers={
            "folder": frozenset({urn("Folder", "t")}),
            "resourcePoolId": frozenset({urn("ResourcePool", "t")}),
            "networkInterfaces": frozenset({urn("DistributedPortGroup", "t-infrastructure")}),
            "tags": frozenset({urn("Tag", "member")}),
        },
    )


def port_group(name: str, vlan: int, id_: str) -> Resource:
    closed = dict.fromkeys(("allowPromiscuous", "allowForgedTransmits", "allowMacChanges"), False)
    return made("DistributedPortGroup", name, inputs={"vlanId": vlan, **closed}, id=id_)


def in_section(letter: str, number: int) -> list[Resource]:
    return [
        made(
            "ComputeClusterVmGroup",
            f"t-{letter}",
            refers={"virtualMachineIds": frozenset({urn("VirtualMachine", f"t-dns0{number}")})},
        ),
        made(
            "ComputeClusterVmHostRule",
            f"t-in-{letter}",
            inputs={"enabled": True, "mandatory": False, "affinityHostGroupName": f"ksm-section-{letter}"},
            refers={"vmGroupName": frozenset({urn("ComputeClusterVmGroup", f"t-{letter}")})},
        ),
    ]


def member() -> dict[str, Resource]:
    """By name; nothing in it is violated, and every rule for members but two has something to judge."""
    told = {
        "member": "t",
        "protection": {"confidentiality": "very-high", "integrity": "very-high", "availability": "very-high"},
        "platform": PLATFORM,
    }
    tagged = {"tags": frozenset({urn("Tag", "member")})}
    resources = [
        Resource("urn:pulumi:t::p::pulumi:pulumi:Stack::p-t", "pulumi:pulumi:Stack", "p-t", outputs={"folder": "t"}),
        made("Member", "t", "ksm:member:Member", inputs=told),
        made("Server", "t-dns01", "ksm:member:Server", inputs={"role": "dns"}),
        made("Server", "t-dns02", "ksm:member:Server", inputs={"role": "dns"}),
        made("Tag", "member", inputs={"categoryId": "category-member"}, id="member-t"),
        made("Folder", "t", refers=tagged),
        made("ResourcePool", "t", inputs={"cpuLimit": 20000, "memoryLimit": 8192}, refers=tagged),
        port_group("t-infrastructure", 100, "net-1"),
        port_group("t-management", 101, "net-2"),
        vm(1, ["policy-gold", "policy-a"]),
        vm(2, ["policy-gold", "policy-b"]),
        made("VirtualDisk", "t-dns01-data", protect=True),
        made("VirtualDisk", "t-dns02-data", protect=True),
        *in_section("a", 1),
        *in_section("b", 2),
        made(
            "ComputeClusterVmAntiAffinityRule",
            "t-apart",
            inputs={"enabled": True},
            refers={"virtualMachineIds": frozenset(urn("VirtualMachine", f"t-dns0{n}") for n in (1, 2))},
        ),
        made(
            "EntityPermissions",
            "t-permissions",
            inputs={"permissions": [{"userOrGroup": "t-operators", "isGroup": True, "roleId": "7"}]},
            refers={"entityId": frozenset({urn("Folder", "t")})},
        ),
    ]
    shared = {"Server": "-server", "Folder": "-folder", "ResourcePool": "-pool"}
    return {resource.name + shared.get(resource.kind, ""): resource for resource in resources}


def platform() -> dict[str, Resource]:
    """A platform that violates nothing."""
    cluster = {
        "haEnabled": True,
        "haAdmissionControlPolicy": "resourcePercentage",
        "haAdmissionControlResourcePercentageAutoCompute": False,
        "haAdmissionControlResourcePercentageCpu": 50,
        "haAdmissionControlResourcePercentageMemory": 50,
        "haHostIsolationResponse": "shutdown",
        "drsEnabled": True,
    }
    resources = [
        made("Platform", "schwerin", "ksm:platform:Platform"),
        made("Role", "ksm-operator", inputs={"rolePrivileges": ["VirtualMachine.Interact.PowerOn"]}),
        made("ComputeClusterHostGroup", "a", inputs={"hostSystemIds": ["host-1", "host-2"]}),
        made("ComputeClusterHostGroup", "b", inputs={"hostSystemIds": ["host-3", "host-4"]}),
        made("ComputeCluster", "cluster", inputs=cluster),
    ]
    return {resource.name: resource for resource in resources}


Spoil = Callable[[dict[str, Resource]], None]


def change(name: str, /, **inputs: Any) -> Spoil:
    """Gives the resource other inputs; None takes one away."""

    def spoil(resources: dict[str, Resource]) -> None:
        kept = {k: v for k, v in {**resources[name].inputs, **inputs}.items() if v is not None}
        resources[name] = replace(resources[name], inputs=kept)

    return spoil


def point(name: str, /, **refers: str) -> Spoil:
    """Lets properties of the resource come from others, given as ``Kind:name Kind:name``."""

    def spoil(resources: dict[str, Resource]) -> None:
        named = {
            key: frozenset(urn(*target.split(":")) for target in targets.split()) for key, targets in refers.items()
        }
        resources[name] = replace(resources[name], refers={**resources[name].refers, **named})

    return spoil


def verdicts(resources: dict[str, Resource]) -> dict[str, Verdict]:
    return {verdict.rule.id: verdict for verdict in judge(Stack.of(resources.values()), TODAY)}


@pytest.fixture
def good() -> dict[str, Resource]:
    return member()
