"""Addresses: gateways, reserved ones, and those of the workstations."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network

# Below this host number a client zone is kept free for the gateway pair, relays and the like.
FIRST_WORKSTATION = 21


def gateway_of(network: IPv4Network) -> IPv4Address:
    """The zone's gateway: its first host address."""
    return network.network_address + 1


def is_host_address(address: IPv4Address, network: IPv4Network) -> bool:
    """Whether a host may have ``address``: inside, and not network, gateway or broadcast."""
    return address in network and address not in (
        network.network_address,
        gateway_of(network),
        network.broadcast_address,
    )


def workstation_addresses(network: IPv4Network, taken: Collection[IPv4Address]) -> Iterator[IPv4Address]:
    """Addresses for workstations in ``network``, lowest first, without those already ``taken``."""
    start, end = int(network.network_address) + FIRST_WORKSTATION, int(network.broadcast_address)
    return (IPv4Address(number) for number in range(start, end) if IPv4Address(number) not in taken)


def workstation_capacity(network: IPv4Network, taken: Collection[IPv4Address]) -> int:
    """How many workstations fit into ``network``."""
    usable = max(0, network.num_addresses - 1 - FIRST_WORKSTATION)
    first = network.network_address + min(FIRST_WORKSTATION, network.num_addresses - 1)
    return usable - sum(1 for address in set(taken) if address in network and first <= address)
