"""From declared to reachable addresses: every lab host answers at a loopback address of its own.

It imports next to nothing, because whatever starts with a VM must start in a few milliseconds.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from ksm_onboard.errors import NotReadyError


def loopback_address(declared: IPv4Address, shift: int) -> IPv4Address:
    """10.a.b.c → 127.(a+shift).b.c.

    ``shift`` keeps labs on one machine apart. Raises NotReadyError for an address outside of what can be shown.
    """
    first, second, third, fourth = declared.packed
    if first != 10 or second + shift > 255:
        raise NotReadyError(
            f"the lab cannot show a host at {declared}",
            hint="the lab maps 10.0.0.0/9 onto the loopback network; declare addresses in that range",
        )
    return IPv4Address(bytes((127, second + shift, third, fourth)))
