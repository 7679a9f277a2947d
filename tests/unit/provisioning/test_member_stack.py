"""Grabow's stack: which resources it asks for, with which values, and how many."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

import pulumi
import yaml

from ksm_onboard.connection import Connection
from ksm_onboard.planning.plan import DataDiskPlan, Plan
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.provisioning.data_centre import vcenter_provider
from ksm_onboard.provisioning.growth import DiskGrowth
from ksm_onboard.provisioning.member import MemberStack
from ksm_onboard.provisioning.platform import PlatformIds
from tests.unit.provisioning.conftest import PUBLIC_KEY, ROOT, Recorder, built

Member = tuple[Recorder, dict[str, Any]]

HOSTS = {section: [f"sn-esx-{section.lower()}0{number}" for number in range(1, 5)] for section in ("A", "B")}
PAIRS = (("gra-dns01", "gra-dns02"), ("gra-db01", "gra-db02"), ("gra-app01", "gra-app02"))


def test_how_many_of_each_type(member: Member) -> None:
    recorder, _ = member
    assert Counter(made.type.rsplit(":", 1)[-1] for made in recorder.made) == {
        "vsphere": 1,
        "Member": 1,
        "Server": 12,
        "Tag": 1,
        "Folder": 1,
        "ResourcePool": 1,
        "DistributedPortGroup": 7,
        "DatastoreCluster": 2,
        "NasDatastore": 4,
        "VirtualDisk": 3,
        "VirtualMachine": 12,
        "ComputeClusterVmGroup": 2,
        "ComputeClusterVmHostRule": 2,
        "ComputeClusterVmAntiAffinityRule": 5,
        "EntityPermissions": 1,
        "HaVmOverride": 5,
    }


def test_names_and_databases_are_restarted_first_and_the_archive_last(member: Member) -> None:
    overrides = member[0].of("HaVmOverride")
    assert {name: made.inputs["haVmRestartPriority"] for name, made in overrides.items()} == {
        "gra-dns01-restart": "highest",
        "gra-dns02-restart": "highest",
        "gra-db01-restart": "high",
        "gra-db02-restart": "high",
        "gra-archiv01-restart": "low",
    }
    assert overrides["gra-db01-restart"].inputs["virtualMachineId"] == "gra-db01.id"
    assert all(made.retain_on_delete for made in overrides.values()), "one whose VM is gone cannot be deleted"


def test_look_ups_are_made_once_per_stack(member: Member) -> None:
    recorder, _ = member
    looked_up = [(token.rsplit("/", 1)[-1], arguments["name"]) for token, arguments in recorder.called]
    assert len(looked_up) == len(set(looked_up))
    assert {name for _, name in looked_up} == {
        "Schwerin",
        "sn-cluster01",
        "sn-dvs01",
        "tpl-debian-12",
        *HOSTS["A"],
        *HOSTS["B"],
    }


def test_everything_goes_through_the_one_provider(member: Member) -> None:
    recorder, _ = member
    providers = {made.provider for made in recorder.made if made.type.startswith("vsphere:")}
    assert len(providers) == 1
    (provider,) = providers
    assert provider
    assert "::vcenter::" in provider


def test_the_provider_verifies_tls_and_hides_the_password(member: Member) -> None:
    recorder, _ = member
    inputs = recorder.of("vsphere")["vcenter"].inputs
    assert inputs["allowUnverifiedSsl"] in (False, "false")
    assert inputs["vsphereServer"] == "vcenter.invalid"
    assert inputs["user"] == "svc@vsphere.local"


def test_a_port_group_per_zone_with_its_vlan_and_a_closed_security_policy(member: Member) -> None:
    groups = member[0].of("DistributedPortGroup")
    assert {name: made.inputs["vlanId"] for name, made in groups.items()} == {
        "grabow-clients": 1210,
        "grabow-infrastructure": 1222,
        "grabow-application": 1220,
        "grabow-database": 1221,
        "grabow-printers": 1230,
        "grabow-dmz": 1260,
        "grabow-management": 1280,
    }
    for made in groups.values():
        assert made.inputs["distributedVirtualSwitchUuid"] == "sn-dvs01.id"
        assert made.inputs["allowPromiscuous"] is False
        assert made.inputs["allowForgedTransmits"] is False
        assert made.inputs["allowMacChanges"] is False


def test_the_pool_limits_the_member(member: Member) -> None:
    (pool,) = member[0].of("ResourcePool").values()
    assert pool.inputs["parentResourcePoolId"] == "sn-cluster01.root-pool"
    assert (pool.inputs["cpuLimit"], pool.inputs["memoryLimit"]) == (60_000, 96 * 1024)


def test_vms_stand_where_the_plan_puts_them(member: Member, plan: Plan) -> None:
    vms = member[0].of("VirtualMachine")
    assert set(vms) == {server.name for server in plan.member.servers}
    for server in plan.member.servers:
        inputs = vms[server.name].inputs
        assert inputs["folder"] == "grabow"
        assert inputs["resourcePoolId"] == "grabow.id"
        assert inputs["datastoreId"] == f"{server.datastore}.id"
        assert inputs["storagePolicyId"] == f"ksm-{server.tier}.id"
        assert (inputs["numCpus"], inputs["memory"]) == (server.cpus, server.memory_mib)
        assert [nic["networkId"] for nic in inputs["networkInterfaces"]] == [f"{server.port_group}.id"]


def test_only_vms_with_section_local_storage_are_created_on_a_given_host(member: Member) -> None:
    hosts = {name: made.inputs.get("hostSystemId") for name, made in member[0].of("VirtualMachine").items()}
    assert {name: host for name, host in hosts.items() if host} == {
        "gra-db02": "sn-esx-b03.id",
    }


def test_vms_are_like_their_template(member: Member) -> None:
    for made in member[0].of("VirtualMachine").values():
        assert made.inputs["clone"]["templateUuid"] == "tpl-debian-12.uuid"
        assert made.inputs["clone"]["timeout"] == 30
        assert made.inputs["guestId"] == "debian12_64Guest"
        assert (made.inputs["firmware"], made.inputs["scsiType"]) == ("efi", "pvscsi")


def test_known_traps_of_the_provider_are_avoided(member: Member) -> None:
    for made in member[0].of("VirtualMachine").values():
        assert made.ignore_changes == ("clone", 'extraConfig["guestinfo.userdata"]', "hostSystemId")
        assert made.delete_before_replace
        assert (made.inputs["eptRviMode"], made.inputs["hvMode"]) == ("automatic", "hvAuto")
        assert made.inputs["waitForGuestNetTimeout"] == 5
        assert made.inputs["waitForGuestIpTimeout"] == 0


def test_data_disks_are_protected_and_outlive_their_vm(member: Member) -> None:
    recorder, _ = member
    disks = {made.name: made for made in recorder.made if made.type.endswith(":VirtualDisk")}
    assert {name: (made.inputs["datastore"], made.inputs["size"]) for name, made in disks.items()} == {
        "gra-file01-data": ("gra-gold-mirrored-a", 500),
        "gra-db01-pgdata": ("gra-gold-mirrored-a", 100),
        "gra-db02-pgdata": ("gra-local-b", 100),
    }
    assert all(made.protect for made in disks.values())
    protected = {made.type.rsplit(":", 1)[-1] for made in recorder.made if made.protect}
    assert protected == {"VirtualDisk", "NasDatastore"}
    # The provider would replace a disk to make it larger.
    assert all(made.ignore_changes == ("size",) for made in disks.values())
    assert {made.inputs["datacenter"] for made in disks.values()} == {"Schwerin"}


def test_datastores_are_exports_that_all_hosts_of_their_sections_mount(member: Member) -> None:
    stores = member[0].of("NasDatastore")
    assert {name: (made.inputs["remoteHosts"], made.inputs["remotePath"]) for name, made in stores.items()} == {
        "gra-gold-mirrored-a": (["10.255.16.11"], "/ksm/gra/gra-gold-mirrored-a"),
        "gra-local-b": (["10.255.18.11"], "/ksm/gra/gra-local-b"),
        "gra-silver-mirrored-a": (["10.255.16.12"], "/ksm/gra/gra-silver-mirrored-a"),
        "gra-silver-mirrored-b": (["10.255.16.12"], "/ksm/gra/gra-silver-mirrored-b"),
    }
    everywhere = [f"{host}.id" for host in (*HOSTS["A"], *HOSTS["B"])]
    for name, made in stores.items():
        local = name in ("gra-local-a", "gra-local-b")
        section = name[-1].upper()
        assert made.inputs["hostSystemIds"] == ([f"{host}.id" for host in HOSTS[section]] if local else everywhere)
        # Storage DRS could else move a replicated disk to where it is not replicated.
        cluster = None if local else f"gra-mirrored-{name[-1]}.id"
        assert made.inputs.get("datastoreClusterId") == cluster
        assert made.inputs["type"] == "NFS"


def test_datastores_carry_member_and_tier_so_that_policies_match(member: Member) -> None:
    tags = {name: made.inputs["tags"] for name, made in member[0].of("NasDatastore").items()}
    assert tags["gra-gold-mirrored-a"] == ["ksm-member-grabow.id", "ksm-storage-tier-gold-mirrored.id"]
    assert tags["gra-local-b"] == ["ksm-member-grabow.id", "ksm-storage-tier-local-b.id"]
    for made in member[0].of("DatastoreCluster").values():
        assert made.inputs["tags"] == ["ksm-member-grabow.id"]


def test_storage_drs_recommends_and_never_leaves_a_policy(member: Member) -> None:
    clusters = member[0].of("DatastoreCluster")
    assert set(clusters) == {"gra-mirrored-a", "gra-mirrored-b"}
    for made in clusters.values():
        assert made.inputs["sdrsEnabled"] is True
        assert made.inputs["sdrsAutomationLevel"] == "manual"
        assert made.inputs["sdrsAdvancedOptions"] == {"EnforceStorageProfiles": "2"}
        assert made.inputs["datacenterId"] == "Schwerin.id"


def test_a_disk_that_is_smaller_than_planned_grows_and_no_other(
    plan: Plan, connection: Connection, platform: tuple[Recorder, dict[str, Any]]
) -> None:
    grown: list[tuple[str, str, str, int]] = []

    class Growing(DiskGrowth):
        def grow(self, server: str, moid: str, disk: DataDiskPlan) -> int:
            grown.append((server, moid, disk.name, disk.size_gib))
            return disk.size_gib

    class Smaller(Recorder):
        """An engine that keeps the size with which a disk was made, as it does for changes to be ignored."""

        def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
            made, outputs = super().new_resource(args)
            return made, outputs | ({"size": 400} if args.name == "gra-file01-data" else {})

    recorder = Smaller(platform_outputs=platform[1])

    def make() -> MemberStack:
        return MemberStack(
            plan,
            PlatformIds.of(pulumi.StackReference("organization/ksm-onboard/schwerin")),
            Customisation(ROOT / "templates", "ops", PUBLIC_KEY),
            Growing(connection),
            pulumi.ResourceOptions(providers=[vcenter_provider(connection)]),
        )

    outputs = built(recorder, make)
    assert grown == [("gra-file01", "gra-file01.moid", "data", 500)]
    assert outputs["disks"]["gra-file01-data"]["size_gib"] == 500
    assert outputs["disks"]["gra-db01-pgdata"]["size_gib"] == 100


def test_disks_of_a_vm(member: Member) -> None:
    vms = member[0].of("VirtualMachine")
    assert [len(vms[name].inputs["disks"]) for name in sorted(vms)] == [1, 1, 1, 2, 2, 1, 1, 2, 1, 1, 1, 1]
    system, data = vms["gra-db02"].inputs["disks"]
    assert (system["label"], system["unitNumber"], system["size"]) == ("disk0", 0, 20)
    assert (system["datastoreId"], system["storagePolicyId"]) == ("gra-silver-mirrored-b.id", "ksm-silver-mirrored.id")
    assert "attach" not in system
    assert (data["label"], data["unitNumber"], data["attach"]) == ("disk1", 1, True)
    assert data["path"] == "ksm-data/grabow/gra-db02-pgdata.vmdk"
    assert (data["datastoreId"], data["storagePolicyId"]) == ("gra-local-b.id", "ksm-local-b.id")
    assert "size" not in data


def test_pairs_are_kept_apart_by_section_and_by_host(member: Member) -> None:
    recorder, _ = member
    groups = {
        name: set(made.inputs["virtualMachineIds"]) for name, made in recorder.of("ComputeClusterVmGroup").items()
    }
    rules = recorder.of("ComputeClusterVmHostRule")
    section_of = {
        vm: made.inputs["affinityHostGroupName"] for made in rules.values() for vm in groups[made.inputs["vmGroupName"]]
    }
    apart = [set(made.inputs["virtualMachineIds"]) for made in recorder.of("ComputeClusterVmAntiAffinityRule").values()]
    assert len(section_of) == 12
    assert set(section_of.values()) == {"ksm-section-a", "ksm-section-b"}
    for first, second in PAIRS:
        assert section_of[f"{first}.id"] != section_of[f"{second}.id"]
        assert {f"{first}.id", f"{second}.id"} in apart


def test_placement_rules_are_preferences_so_that_ha_can_restart_elsewhere(member: Member) -> None:
    recorder, _ = member
    rules = [*recorder.of("ComputeClusterVmHostRule").values()]
    rules += recorder.of("ComputeClusterVmAntiAffinityRule").values()
    assert len(rules) == 7
    for made in rules:
        assert made.inputs["mandatory"] is False
        assert made.inputs["enabled"] is True
        assert made.inputs["computeClusterId"] == "sn-cluster01.id"


def test_the_member_makes_only_its_own_tag(member: Member) -> None:
    recorder, _ = member
    (tag,) = recorder.of("Tag").values()
    assert tag.inputs["name"] == "grabow"
    assert tag.inputs["categoryId"] == "ksm-member.id"


def test_vms_carry_member_zone_and_section(member: Member, plan: Plan) -> None:
    vms = member[0].of("VirtualMachine")
    for server in plan.member.servers:
        assert vms[server.name].inputs["tags"] == [
            "ksm-member-grabow.id",
            f"ksm-zone-{server.zone}.id",
            f"ksm-section-{server.section}.id",
            f"ksm-service-level-{server.service_level}.id",
        ]
    for kind in ("Folder", "ResourcePool"):
        (made,) = member[0].of(kind).values()
        assert made.inputs["tags"] == ["ksm-member-grabow.id"]


def test_permissions_of_the_members_groups(member: Member) -> None:
    (made,) = member[0].of("EntityPermissions").values()
    assert (made.inputs["entityId"], made.inputs["entityType"]) == ("grabow.id", "Folder")
    assert made.inputs["permissions"] == [
        {
            "userOrGroup": "vsphere.local\\ksm-grabow-auditors",
            "isGroup": True,
            "propagate": True,
            "roleId": "ksm-auditor.id",
        },
        {
            "userOrGroup": "vsphere.local\\ksm-grabow-operators",
            "isGroup": True,
            "propagate": True,
            "roleId": "ksm-operator.id",
        },
    ]


def test_customisation_reaches_the_right_vm(member: Member, plan: Plan) -> None:
    vms = member[0].of("VirtualMachine")
    for server in plan.member.servers:
        extra = vms[server.name].inputs["extraConfig"]
        assert extra["guestinfo.metadata.encoding"] == extra["guestinfo.userdata.encoding"] == "base64"
        metadata = yaml.safe_load(base64.b64decode(extra["guestinfo.metadata"]))
        userdata = yaml.safe_load(base64.b64decode(extra["guestinfo.userdata"]))
        assert metadata["local-hostname"] == server.name
        assert userdata["fqdn"] == server.fqdn


def test_outputs_name_everything_that_later_stages_look_for(member: Member, plan: Plan) -> None:
    _, outputs = member
    assert set(outputs) == {"folder", "resource_pool", "port_groups", "datastores", "servers", "disks"}
    assert outputs["folder"] == "grabow"
    assert set(outputs["port_groups"]) == {zone.key for zone in plan.member.zones}
    assert outputs["port_groups"]["clients"] == {"id": "grabow-clients.id", "name": "grabow-clients"}
    assert outputs["servers"]["gra-dns01"] == {
        "id": "gra-dns01.id",
        "uuid": "gra-dns01.uuid",
        "moid": "gra-dns01.moid",
        "address": "192.0.2.1",
    }
    assert len(outputs["servers"]) == 12
    assert set(outputs["disks"]) == {"gra-file01-data", "gra-db01-pgdata", "gra-db02-pgdata"}
