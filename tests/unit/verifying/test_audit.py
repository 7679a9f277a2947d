"""One thing is spoilt in a world that matches the plan: exactly that is found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project
from ksm_onboard.reporting import wording
from ksm_onboard.verifying.audit_report import Area, AuditReport, Reason, Tally
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.host_facts import (
    DatabaseServerSeen,
    HostSilent,
    PageSeen,
    QueueSeen,
    ScreenLockSeen,
    ShareSeen,
    UnitSeen,
)
from ksm_onboard.verifying.vcenter_facts import (
    DiskFacts,
    NicFacts,
    PermissionFacts,
    PortGroupFacts,
    RuleFacts,
    VmFacts,
)
from tests.unit.conftest import ROOT

from .conftest import NOW

World = Any  # the fixture's type lives in conftest
Spoil = Callable[[World], World]
Found = tuple[str, str, str, str]


def findings(report: AuditReport) -> list[Found]:
    return [(d.kind, d.area.value, d.object, d.attribute) for d in report.differences]


def test_a_world_that_matches_has_no_difference_and_says_how_much_was_compared(world: World) -> None:
    report = world.report
    assert findings(report) == []
    assert report.not_checked == ()
    tallies = {tally.area: tally.points for tally in report.tallies}
    assert tallies[Area.NETWORKS] == 7 * 8 + 1
    by_key = {application.key: application for application in world.plan.member.applications}
    assert tallies[Area.APPLICATIONS] == sum(
        len(by_key[key].packages) + (by_key[key].url is not None)
        for machine in (*world.plan.member.servers, *world.plan.member.workstations)
        for key in machine.applications
    )
    # Both name servers and both central resolvers are asked for all 31 names from both name servers; from everywhere
    # else the member's own are, for the machine's own name.
    assert tallies[Area.NAMES] == 2 * 4 * 31 + 2 * 28
    assert min(tallies.values()) > 0
    assert report.points == sum(tallies.values()) > 1400


def vm(world: World, name: str) -> VmFacts:
    found: VmFacts = next(vm for vm in world.vcenter.vms if vm.name == name)
    return found


def without_vm(world: World, name: str) -> World:
    world = world.with_vcenter(vms=tuple(vm for vm in world.vcenter.vms if vm.name != name))
    groups = {key: tuple(n for n in names if n != name) for key, names in world.vcenter.cluster.vm_groups.items()}
    return replace(
        world.with_cluster(vm_groups=groups),
        hosts={key: host for key, host in world.hosts.items() if key != name},
        absent={name: Reason.VM_MISSING},
    )


def stranger(world: World, **changes: Any) -> World:
    return world.with_vcenter(
        vms=(*world.vcenter.vms, vm(world, "gra-app01").model_copy(update={"name": "gra-old01", **changes}))
    )


def one_share(world: World, **changes: Any) -> World:
    shares = world.host("gra-file01").shares or {}
    return world.with_host("gra-file01", shares=shares | {"bauamt": shares["bauamt"].model_copy(update=changes)})


def one_queue(world: World, **changes: Any) -> World:
    queues = world.host("gra-print01").queues or {}
    return world.with_host("gra-print01", queues=queues | {"bauhof": queues["bauhof"].model_copy(update=changes)})


def database(world: World, host: str, **changes: Any) -> World:
    seen = world.host(host).database
    assert isinstance(seen, DatabaseServerSeen)
    return world.with_host(host, database=seen.model_copy(update=changes))


def unit(world: World, host: str, name: str, *, impossible: bool = False) -> World:
    units = dict(world.host(host).units) | {name: UnitSeen(state="inactive", impossible=impossible)}
    return world.with_host(host, units=units)


FILE01 = "gra-file01.grabow.internal"


def with_watchers(world: World, **changes: Any) -> World:
    return replace(world, watchers=world.watchers.model_copy(update=changes))


def unheard(world: World, name: str) -> frozenset[str]:
    heard: frozenset[str] = world.watchers.logs["sn-ops02"]
    assert name in heard
    return heard - {name}


def dropped(mapping: Any, key: str) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != key}


def permissions(world: World, *more: PermissionFacts, keep: int = 2, **changes: Any) -> World:
    kept = [p.model_copy(update=changes) for p in world.vcenter.permissions[:1]]
    return world.with_vcenter(permissions=(*kept, *world.vcenter.permissions[1:keep], *more))


LOCK = ScreenLockSeen(idle_seconds=600, enabled=True, delay_seconds=0, enforced=True)
PORTAL = "portal.grabow.internal"
OPERATORS = "vsphere.local\\ksm-grabow-operators"
INTRUDER = PermissionFacts(on="folder", principal="VSPHERE.LOCAL\\eve", role="Admin", is_group=False, propagate=True)

SPOILT: dict[str, tuple[Spoil, list[Found]]] = {
    "backup too old": (
        lambda w: replace(
            w,
            backups=w.backups.model_copy(
                update={"newest": {**w.backups.newest, ("gra-file01", "outside"): NOW - timedelta(hours=25)}}
            ),
        ),
        [("different", "backup", "gra-file01: data @ outside", "newest_backup")],
    ),
    # the member
    "folder missing": (
        lambda w: w.with_vcenter(folders=("",)),
        [("missing", "member", "grabow", "folder")],
    ),
    "folder without its tag": (
        lambda w: w.with_vcenter(folder_tags={}),
        [("different", "member", "grabow", "tag ksm-member")],
    ),
    "pool missing": (lambda w: w.with_vcenter(pool=None), [("missing", "member", "grabow", "resource_pool")]),
    "pool without limit": (
        lambda w: w.with_vcenter(pool=w.vcenter.pool.model_copy(update={"memory_limit_mib": -1})),
        [("different", "member", "grabow", "memory_limit_mib")],
    ),
    # networks
    "wrong VLAN": (
        lambda w: w.with_port_group("grabow-database", vlan=1999),
        [("different", "networks", "grabow-database", "vlan")],
    ),
    "trunk instead of a VLAN": (
        lambda w: w.with_port_group("grabow-database", vlan=None),
        [("different", "networks", "grabow-database", "vlan")],
    ),
    "promiscuous port group": (
        lambda w: w.with_port_group("grabow-clients", promiscuous=True),
        [("different", "networks", "grabow-clients", "promiscuous")],
    ),
    "forged transmits allowed": (
        lambda w: w.with_port_group("grabow-clients", forged_transmits=True),
        [("different", "networks", "grabow-clients", "forged_transmits")],
    ),
    "uplink left out": (
        lambda w: w.with_port_group("grabow-clients", active_uplinks=("uplink1",)),
        [("different", "networks", "grabow-clients", "active_uplinks")],
    ),
    "ports may leave their VLAN": (
        lambda w: w.with_port_group("grabow-clients", overridable=("vlan",)),
        [("different", "networks", "grabow-clients", "overridable")],
    ),
    "port group on another switch": (
        lambda w: w.with_port_group("grabow-clients", switch="sn-dvs02"),
        [("different", "networks", "grabow-clients", "switch")],
    ),
    "port group missing": (
        lambda w: w.with_vcenter(port_groups=w.vcenter.port_groups[1:]),
        [("missing", "networks", "grabow-clients", "port_group")],
    ),
    "a stranger carries a VLAN of the member": (
        lambda w: w.with_vcenter(
            port_groups=(
                *w.vcenter.port_groups,
                w.vcenter.port_groups[0].model_copy(update={"name": "temp-copy"}),
            )
        ),
        [("extra", "networks", "temp-copy", "port_group")],
    ),
    # servers
    "VM deleted": (lambda w: without_vm(w, "gra-file01"), [("missing", "servers", "gra-file01", "vm")]),
    "VM off": (
        lambda w: w.with_vm("gra-app01", powered_on=False),
        [("different", "servers", "gra-app01", "powered_on")],
    ),
    "memory changed": (
        lambda w: w.with_vm("gra-db01", memory_mib=8192),
        [("different", "servers", "gra-db01", "memory_mib")],
    ),
    "processors changed": (lambda w: w.with_vm("gra-db01", cpus=2), [("different", "servers", "gra-db01", "cpus")]),
    "other guest system": (
        lambda w: w.with_vm("gra-db01", guest_id="otherGuest"),
        [("different", "servers", "gra-db01", "guest_id")],
    ),
    "VM moved to another folder": (
        lambda w: w.with_vm("gra-db01", folder="attic"),
        [("different", "servers", "gra-db01", "folder")],
    ),
    "VM moved to another pool": (
        lambda w: w.with_vm("gra-db01", resource_pool="Resources"),
        [("different", "servers", "gra-db01", "resource_pool")],
    ),
    "VM in a zone that is not its own": (
        lambda w: w.with_vm("gra-db01", nics=(NicFacts(label="1", port_group="grabow-clients", connected=True),)),
        [("different", "servers", "gra-db01", "port_groups")],
    ),
    "a second leg in another zone": (
        lambda w: w.with_vm(
            "gra-db01",
            nics=(*vm(w, "gra-db01").nics, NicFacts(label="2", port_group="grabow-management", connected=True)),
        ),
        [("different", "servers", "gra-db01", "port_groups")],
    ),
    "network card disconnected": (
        lambda w: w.with_vm("gra-db01", nics=(NicFacts(label="1", port_group="grabow-database", connected=False),)),
        [("different", "servers", "gra-db01", "network_connected")],
    ),
    "another address": (
        lambda w: w.with_vm("gra-db01", addresses=("10.64.11.99",)),
        [("different", "servers", "gra-db01", "reported_address")],
    ),
    "tag gone": (
        lambda w: w.with_vm("gra-db01", tags=dropped(vm(w, "gra-db01").tags, "ksm-zone")),
        [("different", "servers", "gra-db01", "tag ksm-zone")],
    ),
    "told to be somebody else": (
        lambda w: w.with_vm(
            "gra-db01",
            customisation=vm(w, "gra-db01").customisation.model_copy(update={"host_name": "x"}),  # type: ignore[union-attr]
        ),
        [("different", "servers", "gra-db01", "customised_name")],
    ),
    "an undeclared VM in the folder": (stranger, [("extra", "servers", "gra-old01 (grabow)", "vm")]),
    "an undeclared VM elsewhere on the member's network": (
        lambda w: stranger(w, folder="attic", resource_pool="Resources"),
        [("extra", "servers", "gra-old01 (attic)", "vm")],
    ),
    "a second VM of the same name": (
        lambda w: stranger(w, name="gra-app01", folder="attic"),
        [("extra", "servers", "gra-app01 (attic)", "vm")],
    ),
    # storage
    "data disk missing": (
        lambda w: w.with_vm("gra-file01", disks=vm(w, "gra-file01").disks[:1]),
        [("missing", "storage", "gra-file01: data", "disk")],
    ),
    "data disk on another datastore": (
        lambda w: w.with_disk("gra-file01", 1, datastore="sn-local-a01"),
        [("different", "storage", "gra-file01: data", "datastore")],
    ),
    "another disk in its place": (
        lambda w: w.with_disk("gra-file01", 1, path="ksm-data/x.vmdk"),
        [("different", "storage", "gra-file01: data", "disk_path")],
    ),
    "data disk smaller": (
        lambda w: w.with_disk("gra-file01", 1, capacity_mib=1024),
        [("different", "storage", "gra-file01: data", "size_gib")],
    ),
    "data disk that forgets at power-off": (
        lambda w: w.with_disk("gra-file01", 1, mode="independent_nonpersistent"),
        [("different", "storage", "gra-file01: data", "disk_mode")],
    ),
    "system disk on another datastore": (
        lambda w: w.with_disk("gra-dns01", 0, datastore="sn-local-a01"),
        [("different", "storage", "gra-dns01: system", "datastore")],
    ),
    "undeclared disk": (
        lambda w: w.with_vm(
            "gra-dns01",
            disks=(
                *vm(w, "gra-dns01").disks,
                DiskFacts(
                    label="x",
                    datastore="ds",
                    path="x.vmdk",
                    capacity_mib=1,
                    mode="persistent",
                    unit_number=5,
                    policy=None,
                    compliance="",
                ),
            ),
        ),
        [("extra", "storage", "gra-dns01: [ds] x.vmdk", "disk")],
    ),
    "disk without its storage policy": (
        lambda w: w.with_disk("gra-file01", 1, policy=None, compliance=""),
        [("different", "storage", "gra-file01: data", "policy")],
    ),
    "disk where its storage policy does not want it": (
        lambda w: w.with_disk("gra-file01", 1, compliance="nonCompliant"),
        [("different", "storage", "gra-file01: data", "policy_compliance")],
    ),
    "disk whose compliance vCenter does not know": (
        lambda w: w.with_disk("gra-file01", 0, compliance="unknown"),
        [("different", "storage", "gra-file01: system", "policy_compliance")],
    ),
    "VM whose own files lie elsewhere": (
        lambda w: w.with_vm("gra-dns01", home=vm(w, "gra-dns01").home.model_copy(update={"datastore": "sn-library01"})),
        [("different", "storage", "gra-dns01", "home_datastore")],
    ),
    "VM whose own files have no policy": (
        lambda w: w.with_vm(
            "gra-dns01", home=vm(w, "gra-dns01").home.model_copy(update={"policy": None, "compliance": ""})
        ),
        [("different", "storage", "gra-dns01", "policy")],
    ),
    "VM whose own files lie where its policy does not want them": (
        lambda w: w.with_vm(
            "gra-dns01", home=vm(w, "gra-dns01").home.model_copy(update={"compliance": "nonCompliant"})
        ),
        [("different", "storage", "gra-dns01", "policy_compliance")],
    ),
    "datastore gone": (
        lambda w: w.with_vcenter(
            datastores=tuple(s for s in w.vcenter.datastores if s.name != "gra-gold-mirrored-a"),
        ),
        [("missing", "storage", "gra-gold-mirrored-a", "datastore")],
    ),
    "datastore from another export": (
        lambda w: w.with_datastore("gra-local-b", remote_path="/ksm/zoo/zoo-local-b"),
        [("different", "storage", "gra-local-b", "export")],
    ),
    "export that did not grow": (
        lambda w: w.with_datastore("gra-local-b", capacity_gib=50),
        [("different", "storage", "gra-local-b", "size_gib")],
    ),
    "unreplicated datastore among mirrored ones": (
        lambda w: w.with_datastore("gra-local-b", cluster="gra-mirrored-b").with_datastore_cluster(
            "gra-mirrored-b", datastores=("gra-local-b", "gra-silver-mirrored-b")
        ),
        [
            ("different", "storage", "gra-local-b", "datastore_cluster"),
            ("different", "storage", "gra-mirrored-b", "datastores"),
        ],
    ),
    "datastore not mounted on one host": (
        lambda w: w.with_datastore("gra-local-b", hosts=("sn-esx-b01", "sn-esx-b02", "sn-esx-b03")),
        [("different", "storage", "gra-local-b", "mounted_on")],
    ),
    "datastore mounted read-only": (
        lambda w: w.with_datastore("gra-local-b", writable=False),
        [("different", "storage", "gra-local-b", "writable")],
    ),
    "datastore with another tier's tag": (
        lambda w: w.with_datastore("gra-local-b", tags={"ksm-member": ("grabow",), "ksm-storage-tier": ("local-a",)}),
        [("different", "storage", "gra-local-b", "tag ksm-storage-tier")],
    ),
    "datastore that nobody declared": (
        lambda w: w.with_datastore("sn-library01", tags={"ksm-member": ("grabow",)}),
        [("extra", "storage", "sn-library01", "datastore")],
    ),
    "storage DRS that moves disks by itself": (
        lambda w: w.with_datastore_cluster("gra-mirrored-b", automation="automated"),
        [("different", "storage", "gra-mirrored-b", "automation")],
    ),
    "storage DRS that moves disks by itself for one reason": (
        lambda w: w.with_datastore_cluster("gra-mirrored-b", overrides=("spaceLoadBalance",)),
        [("different", "storage", "gra-mirrored-b", "automation_overrides")],
    ),
    "VM that DRS leaves where it is": (
        lambda w: w.with_cluster(own_settings={"gra-dns01": ("DRS: off",)}),
        [("different", "redundancy", "gra-dns01", "own_settings")],
    ),
    "storage DRS that may leave a policy": (
        lambda w: w.with_datastore_cluster("gra-mirrored-b", keeps_policies=False),
        [("different", "storage", "gra-mirrored-b", "keeps_policies")],
    ),
    "no storage DRS": (
        lambda w: w.with_datastore_cluster("gra-mirrored-b", storage_drs=False),
        [("different", "storage", "gra-mirrored-b", "storage_drs")],
    ),
    "datastore cluster gone": (
        lambda w: w.with_vcenter(datastore_clusters=w.vcenter.datastore_clusters[1:]),
        [("missing", "storage", "gra-mirrored-a", "datastore_cluster")],
    ),
    "data disk not mounted": (
        lambda w: w.with_host("gra-file01", mounts={"/": "ext4"}),
        [("missing", "storage", "gra-file01: data", "mounted")],
    ),
    # redundancy
    "both of a pair in one section": (
        lambda w: w.with_vm("gra-dns02", host="sn-esx-a04"),
        [
            ("different", "redundancy", "gra-dns02", "section"),
            ("different", "redundancy", "grabow-apart-dns", "sections_of_pair"),
        ],
    ),
    "VM on a host of no section": (
        lambda w: w.with_vm("gra-archiv01", host="sn-esx-x99"),
        [("different", "redundancy", "gra-archiv01", "section")],
    ),
    "placement rule disabled": (
        lambda w: w.with_rule("grabow-in-section-a", enabled=False),
        [("different", "redundancy", "grabow-in-section-a", "rule_enabled")],
    ),
    "placement rule mandatory": (
        lambda w: w.with_rule("grabow-in-section-a", mandatory=True),
        [("different", "redundancy", "grabow-in-section-a", "rule_mandatory")],
    ),
    "placement rule for the other section": (
        lambda w: w.with_rule("grabow-in-section-a", affine_host_group="ksm-section-b"),
        [("different", "redundancy", "grabow-in-section-a", "host_group")],
    ),
    "placement rule turned around": (
        lambda w: w.with_rule("grabow-in-section-a", affine_host_group=None, anti_affine_host_group="ksm-section-a"),
        [
            ("different", "redundancy", "grabow-in-section-a", "host_group"),
            ("different", "redundancy", "grabow-in-section-a", "avoided_host_group"),
        ],
    ),
    "anti-affinity disabled": (
        lambda w: w.with_rule("grabow-apart-database", enabled=False),
        [("different", "redundancy", "grabow-apart-database", "rule_enabled")],
    ),
    "anti-affinity missing": (
        lambda w: w.with_cluster(rules=tuple(r for r in w.vcenter.cluster.rules if r.name != "grabow-apart-database")),
        [("missing", "redundancy", "grabow-apart-database", "anti_affinity_rule")],
    ),
    "anti-affinity turned into affinity": (
        lambda w: w.with_rule("grabow-apart-dns", apart=(), together=("gra-dns01", "gra-dns02")),
        [("missing", "redundancy", "grabow-apart-dns", "anti_affinity_rule")],
    ),
    "VM left out of its group": (
        lambda w: w.with_cluster(
            vm_groups=w.vcenter.cluster.vm_groups | {"grabow-section-b": ("gra-dns02", "gra-print01", "gra-db02")}
        ),
        [("different", "redundancy", "grabow-section-b", "vms")],
    ),
    "host group without a host": (
        lambda w: w.with_cluster(
            host_groups=w.vcenter.cluster.host_groups | {"ksm-section-a": ("sn-esx-a01", "sn-esx-a02", "sn-esx-a03")}
        ),
        [("different", "redundancy", "ksm-section-a", "hosts")],
    ),
    "DRS off": (
        lambda w: w.with_cluster(drs_enabled=False),
        [("different", "redundancy", "sn-cluster01", "drs_enabled")],
    ),
    "HA off": (
        lambda w: w.with_cluster(ha_enabled=False),
        [("different", "redundancy", "sn-cluster01", "ha_enabled")],
    ),
    "an undeclared rule keeps the pair together": (
        lambda w: w.with_cluster(
            rules=(
                *w.vcenter.cluster.rules,
                RuleFacts(name="old", enabled=True, mandatory=True, together=("gra-dns01", "gra-dns02")),
            )
        ),
        [("extra", "redundancy", "old", "rule")],
    ),
    "an undeclared group holds a VM": (
        lambda w: w.with_cluster(vm_groups=w.vcenter.cluster.vm_groups | {"old": ("gra-dns01",)}),
        [("extra", "redundancy", "old", "vm_group")],
    ),
    # permissions
    "permission missing": (
        lambda w: permissions(w, keep=1),
        [("missing", "permissions", "vsphere.local\\ksm-grabow-auditors", "permission")],
    ),
    "permission with another role": (
        lambda w: permissions(w, role="Admin"),
        [("different", "permissions", OPERATORS, "role")],
    ),
    "permission that does not reach the VMs": (
        lambda w: permissions(w, propagate=False),
        [("different", "permissions", OPERATORS, "propagate")],
    ),
    "undeclared permission": (
        lambda w: permissions(w, INTRUDER),
        [("extra", "permissions", "grabow: vsphere.local\\eve", "permission")],
    ),
    "undeclared permission on the pool": (
        lambda w: permissions(w, INTRUDER.model_copy(update={"on": "pool"})),
        [("extra", "permissions", "grabow: vsphere.local\\eve (Admin)", "permission")],
    ),
    "role with one privilege more": (
        lambda w: w.with_vcenter(
            roles=dict(w.vcenter.roles) | {"ksm-auditor": ("System.View", "VirtualMachine.Inventory.Delete")}
        ),
        [("different", "permissions", "ksm-auditor", "privileges")],
    ),
    # machines
    "another host name": (
        lambda w: w.with_host("gra-ws0001", host_name="desktop-7"),
        [("different", "machines", "gra-ws0001", "host_name")],
    ),
    "no domain": (
        lambda w: w.with_host("gra-ws0001", fqdn="gra-ws0001"),
        [("different", "machines", "gra-ws0001", "fqdn")],
    ),
    "another time zone": (
        lambda w: w.with_host("gra-ws0001", time_zone="Etc/UTC"),
        [("different", "machines", "gra-ws0001", "time_zone")],
    ),
    "other time servers": (
        lambda w: w.with_host("gra-ws0001", time_servers=("2.debian.pool.ntp.org",)),
        [("different", "machines", "gra-ws0001", "time_servers")],
    ),
    "updates off": (
        lambda w: w.with_host("gra-ws0001", security_updates=False),
        [("different", "machines", "gra-ws0001", "security_updates")],
    ),
    "no banner": (
        lambda w: w.with_host("gra-ws0001", banner=""),
        [("different", "machines", "gra-ws0001", "login_banner")],
    ),
    "root certificate not trusted": (
        lambda w: w.with_host("gra-ws0001", trusted_roots=frozenset({"0" * 64})),
        [("different", "machines", "gra-ws0001", "root_ca")],
    ),
    "login by password": (
        lambda w: w.with_host("gra-ws0001", sshd=w.host("gra-ws0001").sshd | {"passwordauthentication": "yes"}),
        [("different", "machines", "gra-ws0001", "sshd passwordauthentication")],
    ),
    "root may log in": (
        lambda w: w.with_host("gra-ws0001", sshd=w.host("gra-ws0001").sshd | {"permitrootlogin": "yes"}),
        [("different", "machines", "gra-ws0001", "sshd permitrootlogin")],
    ),
    "log lost at reboot": (
        lambda w: w.with_host("gra-ws0001", log_kept=False),
        [("different", "machines", "gra-ws0001", "log_kept")],
    ),
    "log sent to somebody": (
        lambda w: w.with_host("gra-ws0001", log_servers=("evil.example",)),
        [("different", "machines", "gra-ws0001", "log_servers")],
    ),
    "log sent to one collector of two": (
        lambda w: w.with_host("gra-ws0001", log_servers=w.host("gra-ws0001").log_servers[:1]),
        [("different", "machines", "gra-ws0001", "log_servers")],
    ),
    "a log that one collector does not get": (
        lambda w: with_watchers(w, logs={**w.watchers.logs, "sn-ops02": unheard(w, FILE01)}),
        [("different", "machines", "gra-file01", "log_received sn-ops02")],
    ),
    "a server that one monitoring machine cannot ask": (
        lambda w: with_watchers(
            w, targets={**w.watchers.targets, "sn-ops01": w.watchers.targets["sn-ops01"] | {FILE01: "down"}}
        ),
        [("different", "machines", "gra-file01", "monitored sn-ops01")],
    ),
    "a server that one monitoring machine was never told of": (
        lambda w: with_watchers(
            w, targets={**w.watchers.targets, "sn-ops01": dropped(w.watchers.targets["sn-ops01"], FILE01)}
        ),
        [("different", "machines", "gra-file01", "monitored sn-ops01")],
    ),
    "the exporter does not run": (
        lambda w: unit(w, "gra-file01", "prometheus-node-exporter.service"),
        [("different", "machines", "gra-file01", "unit prometheus-node-exporter.service")],
    ),
    "support account without rights": (
        lambda w: w.with_host("gra-ws0001", sudo_rights={}),
        [("different", "machines", "gra-ws0001", "sudo ksm-support")],
    ),
    "a key nobody declared": (
        lambda w: w.with_host("gra-ws0001", admin_keys={"ksm-support": ("ssh-ed25519 AAAA eve",)}),
        [("different", "machines", "gra-ws0001", "ssh_keys ksm-support")],
    ),
    "an administrator nobody declared": (
        lambda w: w.with_host("gra-ws0001", sudo_members=("eve", "ksm-support")),
        [("extra", "machines", "gra-ws0001: eve", "administrator")],
    ),
    "screen lock later": (
        lambda w: w.with_host("gra-ws0001", screen_lock=LOCK.model_copy(update={"idle_seconds": 3600})),
        [("different", "machines", "gra-ws0001", "screen_lock_seconds")],
    ),
    "screen lock that people can switch off": (
        lambda w: w.with_host("gra-ws0001", screen_lock=LOCK.model_copy(update={"enforced": False})),
        [("different", "machines", "gra-ws0001", "screen_lock_enforced")],
    ),
    "service stopped": (
        lambda w: unit(w, "gra-file01", "smbd.service"),
        [("different", "machines", "gra-file01", "unit smbd.service")],
    ),
    "machine silent": (
        lambda w: replace(w, hosts=w.hosts | {"gra-app01": HostSilent(name="gra-app01", reason="timed out")}),
        [("different", "machines", "gra-app01", "answers")],
    ),
    # applications
    "package missing": (
        lambda w: w.with_host("gra-ws0001", packages=dropped(w.host("gra-ws0001").packages, "libccid")),
        [("missing", "applications", "gra-ws0001: kartenleser-treiber-linux", "package")],
    ),
    # services
    "share missing": (
        lambda w: w.with_host("gra-file01", shares=dropped(w.host("gra-file01").shares, "bauamt")),
        [("missing", "shares", "bauamt", "share")],
    ),
    "share for another group": (
        lambda w: one_share(w, groups=("everybody",)),
        [("different", "shares", "bauamt", "groups")],
    ),
    "share elsewhere": (lambda w: one_share(w, path="/tmp"), [("different", "shares", "bauamt", "path")]),
    "share open to guests": (lambda w: one_share(w, guests=True), [("different", "shares", "bauamt", "guests")]),
    "undeclared share": (
        lambda w: w.with_host(
            "gra-file01",
            shares=w.host("gra-file01").shares
            | {"tausch": ShareSeen(path="/tmp", groups=(), comment="", writable=True, guests=True)},
        ),
        [("extra", "shares", "gra-file01: tausch", "share")],
    ),
    "queue missing": (
        lambda w: w.with_host("gra-print01", queues=dropped(w.host("gra-print01").queues, "bauhof")),
        [("missing", "printing", "bauhof", "queue")],
    ),
    "queue to another printer": (
        lambda w: one_queue(w, device_uri="socket://10.64.13.99:9100"),
        [("different", "printing", "bauhof", "device_uri")],
    ),
    "queue takes no jobs": (
        lambda w: one_queue(w, accepting=False),
        [("different", "printing", "bauhof", "accepting")],
    ),
    "undeclared queue": (
        lambda w: w.with_host(
            "gra-print01",
            queues=w.host("gra-print01").queues | {"pdf": QueueSeen(device_uri="cups-pdf:/", accepting=True)},
        ),
        [("extra", "printing", "gra-print01: pdf", "queue")],
    ),
    "database missing on the primary": (
        lambda w: database(w, "gra-db01", databases={}),
        [("missing", "databases", "fachdaten @ gra-db01", "database")],
    ),
    "database of another owner": (
        lambda w: database(w, "gra-db01", databases={"fachdaten": "postgres"}),
        [("different", "databases", "fachdaten @ gra-db01", "owner")],
    ),
    "nobody follows the primary": (
        lambda w: database(w, "gra-db01", followers=()),
        [("different", "databases", "fachdaten @ gra-db01", "followers")],
    ),
    "standby has stopped receiving": (
        lambda w: database(w, "gra-db02", receiving=None),
        [("different", "databases", "fachdaten @ gra-db02", "receiving")],
    ),
    "standby accepts writes": (
        lambda w: database(w, "gra-db02", in_recovery=False),
        [("different", "databases", "fachdaten @ gra-db02", "follows")],
    ),
    "database server gives no answer": (
        lambda w: w.with_host("gra-db02", database=None),
        [("missing", "databases", "fachdaten @ gra-db02", "database_server")],
    ),
    "a name server without a workstation's name": (
        lambda w: w.with_host(
            "gra-dns01",
            dns={
                server: (names | {"gra-ws0045.grabow.internal": ()} if server.endswith(".12.11") else names)
                for server, names in w.host("gra-dns01").dns.items()
            },
        ),
        [("different", "names", "gra-ws0045.grabow.internal @ 10.64.12.11", "dns_answer")],
    ),
    "a published name that leads to one reverse proxy only": (
        lambda w: w.with_host(
            "gra-dns01",
            dns={
                server: (names | {PORTAL: ("10.96.1.11",)} if server.endswith(".12.12") else names)
                for server, names in w.host("gra-dns01").dns.items()
            },
        ),
        [("different", "names", f"{PORTAL} @ 10.64.12.12", "dns_answer")],
    ),
    "a reverse proxy with a certificate that nobody trusts": (
        lambda w: w.with_host(
            "gra-dns01",
            pages=(
                w.host("gra-dns01").pages[0],
                PageSeen(status=None, problem="certificate verify failed", plain=f"https://{PORTAL}/"),
            ),
        ),
        [("different", "publishing", f"{PORTAL} @ 10.96.1.12", "published")],
    ),
    "a published application without a healthy server": (
        lambda w: w.with_host(
            "gra-dns01",
            pages=(
                PageSeen(status=503, problem="", plain=f"https://{PORTAL}/"),
                w.host("gra-dns01").pages[1],
            ),
        ),
        [("different", "publishing", f"{PORTAL} @ 10.96.1.11", "published")],
    ),
    "a reverse proxy that answers without TLS": (
        lambda w: w.with_host(
            "gra-dns01",
            pages=(
                w.host("gra-dns01").pages[0],
                PageSeen(status=200, problem="", plain="HTTP/1.1 200 OK"),
            ),
        ),
        [("different", "publishing", f"{PORTAL} @ 10.96.1.12", "redirected")],
    ),
    "a workstation that cannot reach the second name server": (
        lambda w: w.with_host(
            "gra-ws0001", dns=w.host("gra-ws0001").dns | {"127.64.12.12": {"gra-ws0001.grabow.internal": None}}
        ),
        [("different", "names", "gra-ws0001.grabow.internal @ 10.64.12.12", "dns_answer")],
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_one_change_is_found_and_nothing_else(world: World, name: str) -> None:
    spoil, expected = SPOILT[name]
    spoilt = spoil(world)
    assert spoilt != world
    assert findings(spoilt.report) == expected


def test_every_area_is_proven_to_find_something() -> None:
    assert {found[1] for _, expected in SPOILT.values() for found in expected} == {area.value for area in Area}


def test_a_difference_says_what_was_expected_and_what_is_there(world: World) -> None:
    [difference] = world.with_vm("gra-db01", memory_mib=8192).report.differences
    assert (difference.expected, difference.found, difference.how_seen) == ("16384", "8192", "vCenter")


def test_a_missing_vm_leaves_gaps_not_follow_up_differences(world: World) -> None:
    report = without_vm(world, "gra-db01").report
    assert findings(report) == [("missing", "servers", "gra-db01", "vm")]
    assert {(gap.area, gap.object) for gap in report.not_checked} == {
        (Area.STORAGE, "gra-db01"),
        (Area.REDUNDANCY, "grabow-apart-database"),
        (Area.MACHINES, "gra-db01"),
        (Area.NAMES, "gra-db01"),
        (Area.DATABASES, "gra-db01"),
    }


def test_workstations_that_were_not_started_are_listed_as_not_checked(world: World) -> None:
    missing = {w.name: Reason.NOT_STARTED for w in world.plan.member.workstations[6:]}
    hosts = {name: host for name, host in world.hosts.items() if name not in missing}
    report = replace(world, hosts=hosts, absent=missing).report
    assert report.differences == ()
    assert {gap.object for gap in report.not_checked if gap.area is Area.APPLICATIONS} == set(missing)
    assert {gap.reason for gap in report.not_checked} == {Reason.NOT_STARTED}
    assert report.points < world.report.points


def test_a_unit_that_cannot_run_in_the_lab_is_a_gap_there_and_a_difference_elsewhere(world: World) -> None:
    spoilt = unit(world, "gra-ws0001", "chrony.service", impossible=True)
    assert spoilt.report.differences == ()
    assert [(gap.object, gap.what) for gap in spoilt.report.not_checked] == [("gra-ws0001", "unit chrony.service")]
    real = replace(spoilt, connection=world.connection.model_copy(update={"simulated": False}))
    assert findings(real.report) == [("different", "machines", "gra-ws0001", "unit chrony.service")]


def test_every_version_is_reported_as_the_machine_told_it(world: World) -> None:
    spoilt = world.with_host("gra-ws0001", packages=world.host("gra-ws0001").packages | {"7zip": "22.01+dfsg-8"})
    [machine] = [m for m in spoilt.report.machines if m.name == "gra-ws0001"]
    assert machine.applications["7zip"] == {"7zip": "22.01+dfsg-8"}
    missing = world.with_host("gra-ws0001", packages={})
    [machine] = [m for m in missing.report.machines if m.name == "gra-ws0001"]
    assert machine.applications["7zip"] == {"7zip": None}


def test_an_audit_that_compared_nothing_is_refused(world: World) -> None:
    report = world.report.model_dump()
    report["tallies"] = [Tally(area=Area.SHARES, points=0, differences=0, applicable=True)]
    with pytest.raises(ValidationError, match="compared nothing in: shares"):
        AuditReport.model_validate(report)
    report["tallies"] = []
    with pytest.raises(ValidationError, match="any area"):
        AuditReport.model_validate(report)


def test_it_survives_being_kept(world: World) -> None:
    report = without_vm(world, "gra-db01").report
    assert AuditReport.model_validate_json(report.model_dump_json()) == report


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_sum_of_changes_is_found_as_the_sum_of_their_differences(world: World, data: st.DataObject) -> None:
    """Changes to different parts of the world do not hide each other."""
    names = data.draw(
        st.lists(
            st.sampled_from(
                [
                    "folder missing",
                    "pool without limit",
                    "wrong VLAN",
                    "memory changed",
                    "data disk smaller",
                    "undeclared disk",
                    "placement rule disabled",
                    "DRS off",
                    "permission missing",
                    "another host name",
                    "service stopped",
                    "share missing",
                    "queue takes no jobs",
                    "nobody follows the primary",
                    "undeclared permission on the pool",
                ]
            ),
            unique=True,
            max_size=6,
        ).filter(lambda chosen: not {"permission missing", "undeclared permission on the pool"} <= set(chosen))
    )
    spoilt, expected = world, []
    for name in names:
        spoilt = SPOILT[name][0](spoilt)
        expected += SPOILT[name][1]
    assert sorted(findings(spoilt.report)) == sorted(expected)


def test_every_compared_attribute_has_words_in_the_protocol(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: set[str] = set()

    def recording(original: Callable[..., Any]) -> Callable[..., Any]:
        def record(self: Comparison, area: Area, object_: str, attribute: str, *values: object, **more: Any) -> Any:
            compared.add(attribute)
            return original(self, area, object_, attribute, *values, **more)

        return record

    for method in ("same", "present", "nothing_else"):
        monkeypatch.setattr(Comparison, method, recording(getattr(Comparison, method)))
    assert world.report.differences == ()
    assert {attribute: wording.attribute(attribute) for attribute in compared}
    single = {attribute for attribute in compared if " " not in attribute}
    # Only Windows is asked where it takes packages from; the others name what was not compared, and why.
    assert single == set(wording.ATTRIBUTES) - {"everything", "package_sources", "log_received", "monitored"}


def test_vlan_strangers_need_no_name(world: World) -> None:
    group = PortGroupFacts(
        name="x", switch="s", vlan=1210, promiscuous=False, mac_changes=False, forged_transmits=False
    )
    spoilt = world.with_vcenter(port_groups=(*world.vcenter.port_groups, group))
    assert findings(spoilt.report) == [("extra", "networks", "x", "port_group")]


def test_windows_is_planned_and_listed_as_not_configured_yet(world: World) -> None:
    whole = Declarations(Project(ROOT)).plan("grabow")
    windows = {w.name for w in whole.member.workstations if w.platform == "windows"}
    report = replace(world, plan=whole).report
    gaps = {gap.object for gap in report.not_checked if gap.area is Area.MACHINES}
    assert len(windows) == 37
    assert gaps == windows
    assert {gap.reason for gap in report.not_checked} == {Reason.NOT_LINUX}


def test_a_bookmark_that_is_missing_is_found(world: World) -> None:
    spoilt = world.with_host("gra-ws0001", bookmarks=("https://www.elster.de/eportal",))
    assert findings(spoilt.report) == [("missing", "applications", "gra-ws0001: mv-serviceportal", "bookmark")]


def test_a_collector_that_cannot_be_asked_is_one_difference_and_what_it_would_have_told_is_a_gap(world: World) -> None:
    told = world.watchers
    silent = with_watchers(
        world,
        logs=dropped(told.logs, "sn-ops02"),
        targets=dropped(told.targets, "sn-ops02"),
        silent={"sn-ops02": "Connection refused"},
    ).report
    assert set(findings(silent)) == {("different", "machines", "sn-ops02", "answers")}
    gaps = [(gap.object, gap.what) for gap in silent.not_checked]
    assert ("gra-file01", "log_received sn-ops02") in gaps and ("gra-file01", "monitored sn-ops02") in gaps
    assert {gap.reason for gap in silent.not_checked} == {Reason.SILENT}
