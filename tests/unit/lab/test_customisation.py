"""What a guest is told about itself: the lab applies all of it, or refuses it."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Any

import pytest

from ksm_onboard.lab.customisation import (
    Customisation,
    CustomisationError,
    Mount,
    User,
    customise_without_metadata,
    parse_customisation,
)

METADATA: dict[str, Any] = {
    "instance-id": "gra-file01-10.64.12.11",
    "local-hostname": "gra-file01",
    "network": {"version": 2, "ethernets": {"primary": {"dhcp4": False, "addresses": ["10.64.12.11/24"]}}},
}
USERDATA: dict[str, Any] = {
    "hostname": "gra-file01",
    "fqdn": "gra-file01.grabow.example",
    "disable_root": True,
    "ssh_pwauth": False,
    "users": [
        {
            "name": "ops",
            "shell": "/bin/bash",
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": True,
            "ssh_authorized_keys": ["ssh-ed25519 AAAA ops"],
        }
    ],
    "fs_setup": [
        {
            "label": "data",
            "filesystem": "ext4",
            "device": "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:1:0",
            "partition": "auto",
            "overwrite": False,
        }
    ],
    "mounts": [["LABEL=data", "/srv/data", "ext4", "defaults,nofail", "0", "2"]],
}


def parse(metadata: dict[str, Any], userdata: dict[str, Any]) -> Customisation:
    return parse_customisation(json.dumps(metadata), "#cloud-config\n" + json.dumps(userdata))


def test_a_whole_customisation() -> None:
    assert parse(METADATA, USERDATA) == Customisation(
        hostname="gra-file01",
        fqdn="gra-file01.grabow.example",
        address=IPv4Address("10.64.12.11"),
        users=(User("ops", ("ssh-ed25519 AAAA ops",), ("ALL=(ALL) NOPASSWD:ALL",)),),
        mounts=(Mount(1, PurePosixPath("/srv/data")),),
        password_login=False,
        root_login=False,
    )


@pytest.mark.parametrize(
    ("device", "unit"),
    [("/dev/sdb", 1), ("/dev/sdd", 3), ("/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:12:0", 12)],
)
def test_disks_are_found_by_their_unit(device: str, unit: int) -> None:
    userdata = USERDATA | {"fs_setup": [USERDATA["fs_setup"][0] | {"device": device}]}
    assert parse(METADATA, userdata).mounts[0].unit_number == unit


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"packages": ["nginx"]}, r"userdata\.packages"),
        ({"runcmd": ["true"]}, r"userdata\.runcmd"),
        ({"hostname": "other"}, r"userdata\.hostname.*other.*gra-file01"),
        ({"ssh_pwauth": "no"}, r"userdata\.ssh_pwauth.*true or false"),
        ({"users": [{"name": "ops", "passwd": "secret"}]}, r"userdata\.users\[0\]\.passwd"),
        ({"users": [{"name": "ops", "lock_passwd": False}]}, r"users\[0\]\.lock_passwd"),
        ({"users": [{"name": "a b"}]}, r"users\[0\]\.name"),
        ({"users": [{"name": "ops", "sudo": "ALL\nx ALL=(ALL) ALL"}]}, r"users\[0\].*one line"),
        ({"users": "ops"}, r"userdata\.users: must be a list"),
        ({"mounts": [["LABEL=other", "/srv"]]}, r"mounts\[0\].*LABEL=other"),
        ({"mounts": [["/dev/sda", "/srv"]]}, r"mounts\[0\]"),
        ({"mounts": [["LABEL=data", "srv"]]}, r"srv cannot be a mount point"),
        ({"mounts": [["LABEL=data", "/srv/../etc"]]}, r"cannot be a mount point"),
        ({"mounts": [["LABEL=data", "/a"], ["LABEL=data", "/b"]]}, r"mounts\[1\].*second time"),
        ({"fs_setup": [USERDATA["fs_setup"][0] | {"overwrite": True}]}, r"overwrite"),
        ({"fs_setup": [USERDATA["fs_setup"][0] | {"device": "/dev/vdb"}]}, r"/dev/vdb"),
    ],
)
def test_what_the_lab_would_not_apply_is_refused(change: dict[str, Any], where: str) -> None:
    with pytest.raises(CustomisationError, match=where):
        parse(METADATA, USERDATA | change)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(CustomisationError) as caught:
        parse({"instance-id": "x", "vendor": 1}, {"users": [{"nam": "ops"}], "bootcmd": []})
    for where in ("metadata.vendor", "metadata.local-hostname", "metadata.network", "users[0].nam", "userdata.bootcmd"):
        assert where in str(caught.value)


@pytest.mark.parametrize("address", ["10.64.12.300/24", "fe80::1/64", 7.5])
def test_a_wrong_address_is_named(address: object) -> None:
    network = {"version": 2, "ethernets": {"primary": {"addresses": [address]}}}
    with pytest.raises(CustomisationError, match=r"metadata\.network\.ethernets"):
        parse(METADATA | {"network": network}, USERDATA)


@pytest.mark.parametrize(
    "text", ["", "users: []", "#!/bin/sh\necho hello\n", "#cloud-config\n- 1\n", "#cloud-config\n{"]
)
def test_other_kinds_of_user_data_are_refused(text: str) -> None:
    with pytest.raises(CustomisationError, match="userdata"):
        parse_customisation(json.dumps(METADATA), text)


def test_yaml_that_makes_objects_is_not_obeyed() -> None:
    with pytest.raises(CustomisationError):
        parse_customisation("!!python/object/apply:os.getcwd []", "#cloud-config\n{}")


def test_a_workstation_gets_name_and_address_from_its_declaration() -> None:
    found = customise_without_metadata("gra-ws0001", IPv4Address("10.64.20.1"), "#cloud-config\n{}")
    assert (found.hostname, found.address) == ("gra-ws0001", IPv4Address("10.64.20.1"))
