"""Watching services from outside: does each server answer, asked again and again, in the service's own words?

"Answers" means a reply of the protocol, not a login: a name server's refusal is an answer, a closed port is none.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import dns.exception
import dns.message
import dns.query
import requests

from ksm_onboard.planning.plan import ItServicePlan, ProbeKind

TIMEOUT_SECONDS: Final = 1.0
INTERVAL_SECONDS: Final = 0.5
PORTS: Final[dict[ProbeKind, int]] = {"dns": 53, "smb": 445, "ipp": 631, "postgresql": 5432, "http": 80, "ssh": 22}
_SSL_REQUEST: Final = bytes((0, 0, 0, 8, 4, 210, 22, 47))
"""PostgreSQL's SSLRequest; the server says S or N before it asks who we are (protocol 3.0, message formats)."""


def answers(kind: ProbeKind, address: str, name: str) -> bool:
    """Whether ``address`` replies within a second; ``name`` is what a name server is asked for."""
    try:
        if kind == "dns":
            dns.query.udp(dns.message.make_query(name, "SOA"), address, timeout=TIMEOUT_SECONDS, port=PORTS[kind])
            return True
        if kind in ("http", "ipp"):
            reply = requests.get(
                f"http://{address}:{PORTS[kind]}/", timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
            )
            with contextlib.closing(reply):
                return reply.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        with socket.create_connection((address, PORTS[kind]), timeout=TIMEOUT_SECONDS) as connection:
            if kind == "postgresql":
                connection.sendall(_SSL_REQUEST)
                return connection.recv(1) in (b"S", b"N")
            # A file server speaks only when it is spoken to; its open port has to do.
            return kind == "smb" or connection.recv(4) == b"SSH-"
    except (OSError, requests.RequestException, dns.exception.DNSException):
        return False


@dataclass(frozen=True)
class Change:
    """From ``at`` on (seconds since the loss, negative before it) the server answers or does not."""

    at: float
    answers: bool


@dataclass
class Watch:
    """What was seen of each service's servers: their changes, the first one being the state when watching began.

    Moments are those of ``time.monotonic``.
    """

    _seen: dict[tuple[str, str], list[Change]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, service: str, server: str, at: float, answered: bool) -> None:
        with self._lock:
            seen = self._seen.setdefault((service, server), [])
            if not seen or seen[-1].answers is not answered:
                seen.append(Change(at, answered))

    def now(self, service: str, server: str) -> bool | None:
        """Whether the server answers; None before it was asked."""
        with self._lock:
            seen = self._seen.get((service, server))
            return seen[-1].answers if seen else None

    def since(self, zero: float) -> dict[tuple[str, str], list[Change]]:
        """All changes so far, by service and server, in seconds since the moment ``zero``."""
        with self._lock:
            return {
                key: [Change(change.at - zero, change.answers) for change in told] for key, told in self._seen.items()
            }


@contextlib.contextmanager
def watching(
    services: Sequence[ItServicePlan],
    reachable_at: Mapping[str, str],
    domain: str,
    ask: Callable[[ProbeKind, str, str], bool] = answers,
) -> Iterator[Watch]:
    """Ask every server of every service until the block ends. ``reachable_at``: server → address to connect to."""
    watch, over = Watch(), threading.Event()

    def keep_asking(service: ItServicePlan, server: str) -> None:
        while not over.is_set():
            asked = time.monotonic()
            answered = ask(service.probe, reachable_at[server], domain)
            # An answer was true when it came, silence since it was asked.
            watch.saw(service.key, server, time.monotonic() if answered else asked, answered)
            over.wait(INTERVAL_SECONDS)

    threads = [
        threading.Thread(target=keep_asking, args=(service, server), name=f"watch-{service.key}-{server}", daemon=True)
        for service in services
        for server in service.servers
    ]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        over.set()
        for thread in threads:
            thread.join()
