"""The platform's own VMs: how they are planned, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[3]
CORE02 = (
    "{roles: [resolver, time, radius], pair: core, section: B, zone: core, address: 10.96.0.12, "
    "cpus: 2, memory_gib: 2, "
)
CORE03 = CORE02.replace("0.12", "0.13") + "tier: silver-mirrored}"


@pytest.fixture(scope="module")
def own() -> Plan:
    plan = Declarations(Project(ROOT)).own_plan()
    assert plan is not None
    return plan


def test_every_central_service_has_a_vm_in_each_section(own: Plan) -> None:
    assert own.platform.central_services
    for service in own.platform.central_services:
        assert {server.section for server in service.servers} == {"A", "B"}, service.role


def test_its_vms_are_planned_like_a_members(own: Plan) -> None:
    member = own.member
    names = {server.name for server in member.servers}
    assert {name for placement in member.placements for name in placement.servers} == names
    assert {name for pair in member.pairs for name in pair.servers} == names
    stores = {store.name: store for store in member.datastores}
    for server in member.servers:
        assert server.port_group == f"schwerin-{server.zone}"
        assert stores[server.datastore].section == server.section
        assert server.tags["ksm-member"] == "schwerin"
        assert server.address in member.block
        assert server.dns_servers == own.platform.baseline.dns_forwarders


def test_members_are_told_names_and_addresses_of_the_services(own: Plan) -> None:
    baseline = own.platform.baseline
    assert baseline.ntp_servers == tuple(server.fqdn for server in own.platform.central_servers("time"))
    assert baseline.dns_forwarders == tuple(server.address for server in own.platform.central_servers("resolver"))
    networks = {shared.key: shared.networks for shared in own.platform.shared_networks}
    reachable = {address for network in networks["dns"] for address in network}
    assert reachable == {server.address for server in own.platform.central_servers("resolver")}


@pytest.mark.parametrize(
    ("old", "new", "rule", "line"),
    [
        ("pair: core, section: B", "pair: core, section: A", "pair-in-one-section", "core02:"),
        ("pair: core, section: B", "pair: kern, section: B", "pair-of-one", None),
        (CORE02, CORE02.replace(", time, radius]", ", radius]"), "pair-of-different-roles", "core02:"),
        ("zone: core, address: 10.96.0.12", "zone: backup, address: 10.96.81.20", "pair-in-different-zones", "core02:"),
        (CORE02, CORE02.replace("resolver, time", "resolver, tiem"), "value-not-allowed", "core02:"),
        (CORE02, CORE02.replace("10.96.0.12", "10.96.0.11"), "shared-network", "core02:"),
        (CORE02, CORE02.replace("10.96.0.12", "10.96.0.1"), "shared-network", "core02:"),
        (CORE02, CORE02.replace("10.96.0.12", "10.96.9.12"), "shared-network", "core02:"),
        ("zone: edge, address: 10.96.1.12", "zone: core, address: 10.96.0.19", "pair-in-different-zones", "edge02:"),
        (CORE02, CORE02 + "template: debian-99, ", "template-unknown", "core02:"),
        ("cpu_ghz: 40, memory_gib: 64", "cpu_ghz: 40, memory_gib: 3", "pool-too-small", "compute: {cpu_ghz: 40, m"),
        ("10.96.0.0/24, vlan: 100", "10.96.0.0/24, vlan: 200", "shared-network", "core: {"),
        ("10.96.0.0/24, vlan: 100", "10.96.0.0/24, vlan: 181", "shared-network", "backup: {c"),
        ("block: 10.96.0.0/16", "block: 10.95.0.0/16", "shared-network", "block: 10.95"),
        ("    core02:", f"    core03: {CORE03}\n    core02:", "not-allocated", "core03:"),
    ],
)  # fmt: skip
def test_one_defect_is_one_finding(checkout: Project, old: str, new: str, rule: str, line: str | None) -> None:
    file = checkout.stacks / "schwerin.yaml"
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    findings = [f for f in Declarations(checkout).findings([]) if f.severity == "error"]
    if rule == "pair-of-one":  # one pair became two, of one VM each
        assert [f.rule for f in findings] == [rule, rule]
        return
    if rule == "shared-network" and "block: 10.95" in new:  # its zones then lie outside of it, too, which is told
        findings = [f for f in findings if "lies outside" not in f.message]
    assert [f.rule for f in findings] == [rule]
    assert line is not None
    assert line in file.read_text("utf-8").splitlines()[findings[0].place.line - 1]


def test_its_vms_count_where_the_clusters_capacity_is_summed_up(checkout: Project) -> None:
    file = checkout.stacks / "schwerin.yaml"
    text = (
        file.read_text("utf-8")
        .replace("memory_gib: 2,", "memory_gib: 900,")
        .replace("memory_gib: 64}", "memory_gib: 9000}")
    )
    file.write_text(text.replace("cpu_mhz: 2800, memory_gib: 1024", "cpu_mhz: 2800, memory_gib: 950"), encoding="utf-8")
    found = {f.rule: f for f in Declarations(checkout).findings() if f.severity == "error"}
    assert "schwerin" in (found["storage-quota"].hint or "")
    file.write_text(text.replace("cpu_mhz: 2800, memory_gib: 1024", "cpu_mhz: 2800, memory_gib: 400"), encoding="utf-8")
    found = {f.rule: f for f in Declarations(checkout).findings() if f.severity == "error"}
    together = 900 * text.count("memory_gib: 900,") + 2 * 4
    assert f"schwerin {together} GiB" in (found["capacity-memory"].hint or "")
