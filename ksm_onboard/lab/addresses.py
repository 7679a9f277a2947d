"""From declared to reachable addresses: every lab host answers at a loopback address of its own.

``connection.GuestAccess.reachable_at`` says the same to the toolkit's other rooms. It stands here
once more because whatever starts with a VM must import in a few milliseconds; a test keeps both equal.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from ksm_onboard.errors import OnboardError


def loopback_address(declared: IPv4Address, shift: int) -> IPv4Address:
    """10.a.b.c → 127.(a+shift).b.c.

    ``shift`` keeps labs on one machine apart. Raises OnboardError for an address outside of what can be shown.
    """
    first, second, third, fourth = declared.packed
    if first != 10 or second + shift > 255:
        raise OnboardError(
            f"the lab cannot show a host at {declared}",
            hint="the lab maps 10.0.0.0/9 onto the loopback network; declare addresses in that range",
        )
    return IPv4Address(bytes((127, second + shift, third, fourth)))
