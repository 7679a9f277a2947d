"""What a run that stopped leaves of pairs, told from the state alone."""

from __future__ import annotations

from typing import Any

import pytest

from ksm_onboard.provisioning.half_made import half_made

URN = "urn:pulumi:grabow::ksm-onboard::"


def server(name: str, pair: str | None, section: str, vm: str = "", *, begun: bool = False) -> list[dict[str, Any]]:
    component = URN + f"ksm:member:Server::{name}"
    inputs = {"role": "dns", "section": section} | ({"pair": pair} if pair else {})
    entries: list[dict[str, Any]] = [{"urn": component, "type": "ksm:member:Server", "inputs": inputs}]
    if vm:
        kind = "vsphere:index/virtualMachine:VirtualMachine"
        made = {"urn": URN + f"x${kind}::{name}", "type": kind, "parent": component, "id": vm}
        entries.append(made | ({"initErrors": ["error powering on"]} if begun else {}))
    return entries


def bond(kind: str, **inputs: Any) -> dict[str, Any]:
    type_ = f"vsphere:index/{kind[0].lower()}{kind[1:]}:{kind}"
    return {"urn": URN + f"{type_}::x", "type": type_, "id": "domain-c1:x", "inputs": inputs}


def apart(*vms: str) -> dict[str, Any]:
    return bond("ComputeClusterVmAntiAffinityRule", virtualMachineIds=list(vms))


def in_section(name: str, *vms: str) -> list[dict[str, Any]]:
    group = bond("ComputeClusterVmGroup", name=name, virtualMachineIds=list(vms))
    return [group, bond("ComputeClusterVmHostRule", vmGroupName=name)]


def state(*entries: dict[str, Any] | list[dict[str, Any]]) -> dict[str, Any]:
    flat = [one for entry in entries for one in (entry if isinstance(entry, list) else [entry])]
    return {"deployment": {"resources": flat}}


PAIR = (server("gra-dns01", "dns", "A", "v1"), server("gra-dns02", "dns", "B", "v2"))
BOTH_TIED = (in_section("a", "v1"), in_section("b", "v2"))


@pytest.mark.parametrize(
    ("exported", "told"),
    [
        ({}, ()),
        (state(*PAIR, apart("v1", "v2"), *BOTH_TIED), ()),
        (state(server("gra-dns01", "dns", "A"), server("gra-dns02", "dns", "B")), ()),  # nothing of it is there
        (state(server("gra-file01", None, "A", "v1")), ()),
        (
            state(server("gra-dns01", "dns", "A", "v1"), server("gra-dns02", "dns", "B")),
            ("of the pair dns only gra-dns01 stands, in section A; gra-dns02 (section B) is missing",),
        ),
        (
            state(server("gra-dns01", "dns", "A", "v1"), server("gra-dns02", "dns", "B", "v2", begun=True)),
            (
                "of the pair dns only gra-dns01 stands, in section A; gra-dns02 (section B) is there, "
                "but its start was not finished",
            ),
        ),
        (
            state(server("gra-dns01", "dns", "A", "v1", begun=True), server("gra-dns02", "dns", "B")),
            (
                "of the pair dns nothing works yet; gra-dns01 (section A) is there, but its start was not finished; "
                "gra-dns02 (section B) is missing",
            ),
        ),
        (
            state(server("w1", "web", "A", "v1"), server("w2", "web", "B", "v2"), server("w3", "web", "A")),
            ("of the pair web only w1 (section A), w2 (section B) stand; w3 (section A) is missing",),
        ),
        (
            state(*PAIR, *BOTH_TIED),
            (
                "the servers of the pair dns stand: gra-dns01 (section A), gra-dns02 (section B); "
                "but no rule keeps them on different hosts yet",
            ),
        ),
        (
            state(*PAIR, apart("v1", "v2"), in_section("a", "v1")),
            (
                "the servers of the pair dns stand: gra-dns01 (section A), gra-dns02 (section B); "
                "but no rule ties gra-dns02 (section B) to its section yet",
            ),
        ),
        # A group that no rule refers to ties nobody.
        (
            state(*PAIR, apart("v1", "v2"), in_section("a", "v1"), in_section("b", "v2")[:1]),
            (
                "the servers of the pair dns stand: gra-dns01 (section A), gra-dns02 (section B); "
                "but no rule ties gra-dns02 (section B) to its section yet",
            ),
        ),
    ],
)
def test_what_is_half_made_is_told_by_pair(exported: dict[str, Any], told: tuple[str, ...]) -> None:
    assert half_made(exported) == told
