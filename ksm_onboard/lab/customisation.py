"""What a guest is told about itself at its first boot: cloud-init's metadata and user data.

The lab applies a small part of cloud-init itself and refuses everything else, instead of running
cloud-init in the guests. Measured on two cores with eight hosts starting at once, until all of them
let the user in: 4 s as it is, 13 s with cloud-init stripped to one of its four stages, 19 s with all
of them. And cloud-init only logs a key that it does not know, where this names it and stops.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import PurePosixPath
from typing import Any

import yaml

from ksm_onboard.errors import OnboardError

_SHELLS = ("/bin/bash", "/bin/sh")
_BY_PATH = re.compile(r"/dev/disk/by-path/.*-scsi-0:0:(\d+):0")
_SD = re.compile(r"/dev/sd([a-z])")
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_FIRST_DATA_UNIT = 1
"""Unit 0 is the system disk."""


class CustomisationError(OnboardError):
    """The guest cannot be customised as asked; names every reason at once."""


@dataclass(frozen=True)
class User:
    """An account that exists from the first boot on."""

    name: str
    authorized_keys: tuple[str, ...]
    sudo: tuple[str, ...] = ()
    shell: str = "/bin/bash"


@dataclass(frozen=True)
class Mount:
    """A data disk, by its unit number on the first SCSI controller, and where it is mounted."""

    unit_number: int
    path: PurePosixPath


@dataclass(frozen=True)
class Customisation:
    """What the lab applies to a host."""

    hostname: str
    fqdn: str
    address: IPv4Address
    users: tuple[User, ...]
    mounts: tuple[Mount, ...] = ()
    password_login: bool = False
    root_login: bool = False


def parse_customisation(metadata: str, userdata: str) -> Customisation:
    """Read both documents of a VM. Raises CustomisationError with everything that is wrong."""
    report = _Report()
    meta = report.mapping("metadata", _load(report, "metadata", metadata))
    user = _userdata(report, userdata)

    report.only("metadata", meta, {"instance-id", "local-hostname", "network"})
    report.text("metadata", meta, "instance-id")
    hostname = report.text("metadata", meta, "local-hostname")
    address = _address(report, meta.get("network"))
    if user.get("hostname", hostname) != hostname:
        report.add("userdata.hostname", f"is {user['hostname']!r}, but metadata calls the host {hostname!r}")
    found = Customisation(
        hostname=hostname,
        fqdn=str(user.get("fqdn", hostname)),
        address=address,
        users=_users(report, user),
        mounts=_mounts(report, user),
        password_login=_flag(report, user, "ssh_pwauth", default=False),
        root_login=not _flag(report, user, "disable_root", default=True),
    )
    report.raise_if_any()
    return found


def customise_without_metadata(hostname: str, address: IPv4Address, userdata: str) -> Customisation:
    """The same for a machine that is not a VM: name and address come from its declaration."""
    metadata = {
        "instance-id": hostname,
        "local-hostname": hostname,
        "network": {"version": 2, "ethernets": {"primary": {"addresses": [f"{address}/32"]}}},
    }
    return parse_customisation(yaml.safe_dump(metadata), userdata)


class _Report:
    """Collects what is wrong, so that it is all said at once."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def add(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    def mapping(self, where: str, value: object) -> Mapping[str, Any]:
        if isinstance(value, Mapping):
            return value
        self.add(where, "must be a mapping")
        return {}

    def entries(self, where: str, value: object) -> list[Any]:
        if value is None:
            return []
        if isinstance(value, list):
            return value
        self.add(where, "must be a list")
        return []

    def only(self, where: str, value: Mapping[str, Any], known: set[str]) -> None:
        for key in sorted(set(map(str, value)) - known):
            self.add(f"{where}.{key}", f"the lab does not apply this key; it knows {', '.join(sorted(known))}")

    def text(self, where: str, value: Mapping[str, Any], key: str) -> str:
        found = value.get(key)
        if isinstance(found, str) and found:
            return found
        self.add(f"{where}.{key}", "must be a text")
        return ""

    def raise_if_any(self) -> None:
        if self.problems:
            raise CustomisationError(
                "the guest's customisation cannot be applied:\n" + "\n".join(f"  {p}" for p in self.problems),
                hint="correct templates/cloud-init, or what it is filled with",
            )


def _load(report: _Report, where: str, text: str) -> object:
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError as error:
        report.add(where, f"is not YAML: {error}")
        return {}


def _userdata(report: _Report, text: str) -> Mapping[str, Any]:
    if not text.startswith("#cloud-config"):
        report.add("userdata", "must start with the line #cloud-config")
        return {}
    user = report.mapping("userdata", _load(report, "userdata", text) or {})
    known = {"hostname", "fqdn", "users", "ssh_pwauth", "disable_root", "fs_setup", "mounts"}
    report.only("userdata", user, known)
    return user


def _flag(report: _Report, user: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = user.get(key, default)
    if not isinstance(value, bool):
        report.add(f"userdata.{key}", "must be true or false")
        return default
    return value


def _address(report: _Report, network: object) -> IPv4Address:
    """The first address of the only interface; the rest is for a network of its own, which lab hosts don't have."""
    config = report.mapping("metadata.network", network)
    ethernets = report.mapping("metadata.network.ethernets", config.get("ethernets"))
    for name, ethernet in ethernets.items():
        where = f"metadata.network.ethernets.{name}"
        for text in report.entries(f"{where}.addresses", report.mapping(where, ethernet).get("addresses")):
            try:
                return IPv4Interface(text).ip
            except ValueError as error:
                report.add(f"{where}.addresses", str(error))
                return IPv4Address(0)
    report.add("metadata.network.ethernets", "must give an interface an address, for example 10.64.12.11/24")
    return IPv4Address(0)


def _users(report: _Report, user: Mapping[str, Any]) -> tuple[User, ...]:
    found = []
    for index, entry in enumerate(report.entries("userdata.users", user.get("users"))):
        where = f"userdata.users[{index}]"
        account = report.mapping(where, entry)
        report.only(where, account, {"name", "shell", "sudo", "lock_passwd", "ssh_authorized_keys"})
        name = report.text(where, account, "name")
        shell = account.get("shell", "/bin/bash")
        sudo = account.get("sudo") or []
        keys = report.entries(f"{where}.ssh_authorized_keys", account.get("ssh_authorized_keys"))
        if name and not _USER_NAME.fullmatch(name):
            report.add(f"{where}.name", f"{name!r} cannot name an account")
        if shell not in _SHELLS:
            report.add(f"{where}.shell", f"must be one of {', '.join(_SHELLS)}")
        if account.get("lock_passwd", True) is not True:
            report.add(f"{where}.lock_passwd", "must be true: accounts have keys, no passwords")
        rules = (sudo,) if isinstance(sudo, str) else tuple(map(str, sudo))
        for line in (*map(str, keys), *rules):
            if "\n" in line.strip():
                report.add(where, "keys and sudo rules are one line each")
        found.append(User(name, tuple(str(key).strip() for key in keys), rules, str(shell)))
    return tuple(found)


def _mounts(report: _Report, user: Mapping[str, Any]) -> tuple[Mount, ...]:
    labels = _labels(report, user)
    found: dict[int, Mount] = {}
    for index, entry in enumerate(report.entries("userdata.mounts", user.get("mounts"))):
        where = f"userdata.mounts[{index}]"
        fields = report.entries(where, entry)
        if len(fields) < 2:
            report.add(where, "must name a file system and a mount point")
            continue
        source, path = str(fields[0]), PurePosixPath(str(fields[1]))
        unit = labels.get(source.removeprefix("LABEL=")) if source.startswith("LABEL=") else _unit_number(source)
        if unit is None:
            report.add(where, f"{source!r} is neither a label that fs_setup gives nor a data disk's device")
        elif unit in found:
            report.add(where, f"mounts {source!r} a second time")
        elif not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
            report.add(where, f"{path} cannot be a mount point")
        else:
            found[unit] = Mount(unit, path)
    return tuple(found.values())


def _labels(report: _Report, user: Mapping[str, Any]) -> dict[str, int]:
    """Unit number of the disk behind each file system label."""
    found: dict[str, int] = {}
    for index, entry in enumerate(report.entries("userdata.fs_setup", user.get("fs_setup"))):
        where = f"userdata.fs_setup[{index}]"
        setup = report.mapping(where, entry)
        report.only(where, setup, {"label", "filesystem", "device", "partition", "overwrite"})
        label, device = report.text(where, setup, "label"), report.text(where, setup, "device")
        unit = _unit_number(device)
        if setup.get("overwrite", False) is not False:
            report.add(f"{where}.overwrite", "must be false: a data disk may come with data")
        if unit is None:
            report.add(f"{where}.device", f"{device!r} is not a data disk on the first SCSI controller")
        elif label in found or unit in found.values():
            report.add(where, "gives a label or a disk a second time")
        else:
            found[label] = unit
    return found


def _unit_number(device: str) -> int | None:
    """Unit number of a data disk's device: by path, or /dev/sdb for the first one."""
    if match := _BY_PATH.fullmatch(device):
        unit = int(match[1])
    elif match := _SD.fullmatch(device):
        unit = ord(match[1]) - ord("a")
    else:
        return None
    return unit if unit >= _FIRST_DATA_UNIT else None
