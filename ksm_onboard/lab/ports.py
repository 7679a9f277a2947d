"""Which port a service of the lab listens on."""

from __future__ import annotations

import socket

from ksm_onboard.errors import NotReadyError


def free_port(preferred: int) -> int:
    """``preferred`` if nobody listens there on 127.0.0.1, any free one otherwise.

    Raises NotReadyError if no port is free.
    """
    for wanted in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise NotReadyError("no port is free on 127.0.0.1")
