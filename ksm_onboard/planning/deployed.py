"""What stands of a member: plain facts, wherever they were read. Only what a declaration can contradict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network


@dataclass(frozen=True)
class DeployedDisk:
    """A data disk. ``mount`` is where the guest was told to mount it at its first boot; None: not known."""

    size_gib: int
    datacenter: str
    datastore: str
    vmdk: str
    unit_number: int | None = None
    mount: str | None = None


@dataclass(frozen=True)
class DeployedServer:
    """A VM. Whatever could not be read is None and is not compared."""

    address: IPv4Interface | None = None
    dns_domain: str | None = None
    port_group: str | None = None
    guest_id: str | None = None
    system_disk_gib: int | None = None
    disks: Mapping[str, DeployedDisk] = field(default_factory=dict)


@dataclass(frozen=True)
class DeployedZone:
    """A port group; ``cidr`` as its description gives it."""

    vlan: int | None = None
    cidr: IPv4Network | None = None


@dataclass(frozen=True)
class Deployed:
    """One member as it stands: port groups and servers by name. ``source`` says where that was read."""

    source: str
    zones: Mapping[str, DeployedZone]
    servers: Mapping[str, DeployedServer]
