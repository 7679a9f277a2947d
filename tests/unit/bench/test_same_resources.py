"""The same resources for others: references, names and lists as they expect them. On a state with one server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.same_resources import Reference, Resource, as_replay, as_terraform, resources_of


def entry(kind: str, name: str, inputs: dict[str, Any], needs: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    """One resource as ``pulumi stack export`` writes it."""
    token = f"vsphere:index/{kind[0].lower()}{kind[1:]}:{kind}"
    return {
        "urn": f"urn:pulumi:grabow::ksm-onboard::ksm:member:Member${token}::{name}",
        "custom": True,
        "type": token,
        "inputs": {"__defaults": [], **inputs},
        "propertyDependencies": {
            key: [f"urn:pulumi:grabow::ksm-onboard::ksm:member:Member${other}" for other in others]
            for key, others in needs.items()
        },
        **more,
    }


FOLDER = "vsphere:index/folder:Folder::grabow"
NETWORK = "vsphere:index/distributedPortGroup:DistributedPortGroup::grabow-infrastructure"
DISK = "vsphere:index/virtualDisk:VirtualDisk::gra-file01-data"
STORE = "vsphere:index/nasDatastore:NasDatastore::gra-gold"
STATE = [
    {"urn": "urn:pulumi:grabow::ksm-onboard::pulumi:pulumi:Stack::x", "custom": False, "type": "pulumi:pulumi:Stack"},
    {"urn": "urn:pulumi:p::vcenter", "custom": True, "type": "pulumi:providers:vsphere", "inputs": {"password": "p"}},
    entry("Folder", "grabow", {"path": "grabow", "type": "vm"}, {}, id="group-v1", outputs={"path": "grabow"}),
    entry("ResourcePool", "grabow", {"name": "grabow"}, {}, id="resgroup-1", outputs={"name": "grabow"}),
    entry(
        "DistributedPortGroup",
        "grabow-infrastructure",
        {"name": "grabow-infrastructure", "vlanId": 1210},
        {},
        id="dvportgroup-7",
        outputs={"name": "grabow-infrastructure"},
    ),
    entry(
        "NasDatastore",
        "gra-gold",
        {"name": "gra-gold", "remoteHosts": ["10.255.16.11"]},
        {},
        id="datastore-9",
        outputs={"name": "gra-gold", "maintenanceMode": "normal"},
    ),
    entry(
        "VirtualDisk",
        "gra-file01-data",
        {"vmdkPath": "ksm-data/gra-file01-data.vmdk", "datastore": "gra-gold", "size": 10},
        {"datastore": [STORE]},
        id="/vmfs/ksm-data/gra-file01-data.vmdk",
        outputs={"vmdkPath": "ksm-data/gra-file01-data.vmdk"},
        ignoreChanges=["size"],
    ),
    entry(
        "VirtualMachine",
        "gra-file01",
        {
            "folder": "grabow",
            "networkInterfaces": [{"__defaults": [], "networkId": "dvportgroup-7", "adapterType": "vmxnet3"}],
            "disks": [
                {
                    "__defaults": ["keepOnRemove"],
                    "label": "disk0",
                    "size": 20,
                    "ioShareLevel": "normal",
                    "datastoreId": "datastore-9",
                },
                {"label": "disk1", "attach": True, "path": "ksm-data/gra-file01-data.vmdk"},
            ],
            "clone": {"templateUuid": "4200-a", "linkedClone": False},
            "extraConfig": {"guestinfo.metadata": "bmFtZQ==", "guestinfo.userdata.encoding": "base64"},
            "waitForGuestNetTimeout": 5,
        },
        {"folder": [FOLDER], "networkInterfaces": [NETWORK], "disks": [DISK, STORE]},
        id="4200-b",
        outputs={"moid": "vm-42"},
        ignoreChanges=["clone", 'extraConfig["guestinfo.userdata"]', "hostSystemId"],
    ),
    entry(
        "ComputeClusterVmGroup",
        "gra-a",
        {"name": "gra-a", "virtualMachineIds": ["4200-b", "4200-of-another-stack"]},
        {"virtualMachineIds": ["vsphere:index/virtualMachine:VirtualMachine::gra-file01"]},
        id="group",
        outputs={},
    ),
]


@pytest.fixture(scope="module")
def resources() -> tuple[Resource, ...]:
    return resources_of(STATE)


@pytest.fixture(scope="module")
def terraform(resources: tuple[Resource, ...]) -> dict[str, Any]:
    return as_terraform(resources, "vcenter.example", "svc")


def test_what_another_resource_gave_is_a_reference_and_nothing_else(resources: tuple[Resource, ...]) -> None:
    assert [resource.key for resource in resources] == [
        "Folder grabow",
        "ResourcePool grabow",
        "DistributedPortGroup grabow-infrastructure",
        "NasDatastore gra-gold",
        "VirtualDisk gra-file01-data",
        "VirtualMachine gra-file01",
        "ComputeClusterVmGroup gra-a",
    ]
    inputs = {resource.name: resource.inputs for resource in resources if resource.kind != "ResourcePool"}
    assert inputs["grabow"] == {"path": "grabow", "type": "vm"}
    assert inputs["gra-file01-data"]["datastore"] == Reference("NasDatastore gra-gold", "name")
    machine = inputs["gra-file01"]
    assert machine["folder"] == Reference("Folder grabow", "path")
    assert machine["networkInterfaces"] == [
        {"networkId": Reference("DistributedPortGroup grabow-infrastructure", "id"), "adapterType": "vmxnet3"}
    ]
    assert machine["disks"][0]["datastoreId"] == Reference("NasDatastore gra-gold", "id")
    assert machine["disks"][0]["ioShareLevel"] == "normal", "equal to an output of the datastore by chance"
    assert machine["disks"][1]["path"] == Reference("VirtualDisk gra-file01-data", "vmdkPath")
    assert machine["clone"]["templateUuid"] == "4200-a", "the template was there before"
    assert inputs["gra-a"]["virtualMachineIds"] == [
        Reference("VirtualMachine gra-file01", "id"),
        "4200-of-another-stack",
    ]


def test_terraform_gets_the_providers_own_names(terraform: dict[str, Any]) -> None:
    machine = terraform["resource"]["vsphere_virtual_machine"]["gra-file01"]
    assert machine == {
        "folder": "${vsphere_folder.grabow.path}",
        "network_interface": [
            {"network_id": "${vsphere_distributed_port_group.grabow-infrastructure.id}", "adapter_type": "vmxnet3"}
        ],
        "disk": [
            {
                "label": "disk0",
                "size": 20,
                "io_share_level": "normal",
                "datastore_id": "${vsphere_nas_datastore.gra-gold.id}",
            },
            {"label": "disk1", "attach": True, "path": "${vsphere_virtual_disk.gra-file01-data.vmdk_path}"},
        ],
        "clone": {"template_uuid": "4200-a", "linked_clone": False},
        "extra_config": {"guestinfo.metadata": "bmFtZQ==", "guestinfo.userdata.encoding": "base64"},
        "wait_for_guest_net_timeout": 5,
        "lifecycle": {"ignore_changes": ["clone", 'extra_config["guestinfo.userdata"]', "host_system_id"]},
    }
    assert terraform["provider"]["vsphere"]["vsphere_server"] == "vcenter.example"


def test_all_get_the_same_resources_and_nobody_a_password(
    resources: tuple[Resource, ...], terraform: dict[str, Any]
) -> None:
    replay = as_replay(resources)
    assert sum(len(of_type) for of_type in terraform["resource"].values()) == len(resources) == len(replay) == 7
    machine = replay[5]
    assert machine["inputs"]["folder"] == "grabow"
    assert machine["inputs"]["disks"][0]["datastoreId"] == {"id_of": "NasDatastore gra-gold"}
    assert machine["after"] == ["Folder grabow", "VirtualDisk gra-file01-data"]
    assert machine["ignored"] == ["clone", 'extraConfig["guestinfo.userdata"]', "hostSystemId"]
    assert "password" not in json.dumps(terraform) + json.dumps(replay)
