"""Addresses: gateways, reserved ones, and where in a zone hosts begin."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network

# Below these host numbers a zone is kept free for the gateway pair, relays and the like;
# smaller zones keep a quarter of their addresses free instead.
FIRST_SERVER = 11
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


def free_addresses(network: IPv4Network, first: int, taken: Collection[int]) -> Iterator[int]:
    """Host addresses of ``network`` as numbers, lowest first, from host number ``first`` on, without ``taken``."""
    return (number for number in _range(network, first) if number not in taken)


def capacity(network: IPv4Network, first: int, taken: Collection[int]) -> int:
    """How many addresses ``free_addresses`` yields."""
    usable = _range(network, first)
    return len(usable) - sum(1 for number in set(taken) if number in usable)


def _range(network: IPv4Network, first: int) -> range:
    start, size = int(network.network_address), network.num_addresses
    return range(start + min(first, max(2, size // 4)), start + size - 1)
