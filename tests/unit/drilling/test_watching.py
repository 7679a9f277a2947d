"""Probes against small real servers on this machine, and what a watch remembers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.rcode
import pytest

from ksm_onboard.drilling import watching as watching_module
from ksm_onboard.drilling.watching import Change, Watch, answers, watching
from ksm_onboard.planning.plan import ItServicePlan, ProbeKind

HOST = "127.0.0.1"


@contextmanager
def serving(
    monkeypatch: pytest.MonkeyPatch, kind: ProbeKind, reply: bytes | None, *, first: bool = False
) -> Iterator[None]:
    """A server that sends ``reply`` once it was asked (or at once, if it speaks ``first``); None: it only listens."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        monkeypatch.setitem(watching_module.PORTS, kind, listener.getsockname()[1])

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                if not first:
                    connection.recv(1000)
                if reply is not None:
                    connection.sendall(reply)
                else:
                    time.sleep(watching_module.TIMEOUT_SECONDS + 0.2)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(5)


@pytest.mark.parametrize(
    ("kind", "reply", "first", "expected"),
    [
        ("postgresql", b"S", False, True),
        ("postgresql", b"X", False, False),
        ("postgresql", None, False, False),
        ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n", True, True),
        ("ssh", b"220 mail ready\r\n", True, False),
        ("http", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", False, True),
        ("http", b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", False, False),
        ("ipp", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False, True),
        ("ipp", b"nonsense", False, False),
    ],
)
def test_only_the_services_own_words_are_an_answer(
    monkeypatch: pytest.MonkeyPatch, kind: ProbeKind, reply: bytes | None, first: bool, expected: bool
) -> None:
    with serving(monkeypatch, kind, reply, first=first):
        assert answers(kind, HOST, "grabow.internal") is expected


def test_a_name_servers_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, 0))
        monkeypatch.setitem(watching_module.PORTS, "dns", server.getsockname()[1])

        def refuse() -> None:
            asked, client = server.recvfrom(1000)
            reply = dns.message.make_response(dns.message.from_wire(asked))
            reply.set_rcode(dns.rcode.REFUSED)
            server.sendto(reply.to_wire(), client)

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        assert answers("dns", HOST, "grabow.internal") is True
        thread.join(5)


@pytest.mark.parametrize("kind", list(watching_module.PORTS))
def test_a_closed_port_is_no_answer(monkeypatch: pytest.MonkeyPatch, kind: ProbeKind) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))  # bound, not listening: nobody else can take the port meanwhile
        monkeypatch.setitem(watching_module.PORTS, kind, taken.getsockname()[1])
        assert answers(kind, HOST, "grabow.internal") is False


def test_a_watch_keeps_changes_only() -> None:
    watch = Watch()
    for at, answered in ((0.0, True), (0.5, True), (1.0, False), (1.5, False), (2.0, True)):
        watch.saw("dns", "dns01", at, answered)
    assert watch.since(1.0)["dns", "dns01"] == [Change(-1.0, True), Change(0.0, False), Change(1.0, True)]
    assert watch.now("dns", "dns01") is True
    assert watch.now("dns", "dns02") is None


def test_every_server_is_asked_until_the_block_ends() -> None:
    service = ItServicePlan(
        key="dns", title="Namensauflösung", probe="dns", servers=("a", "b"), service_level=1, rto_hours=4
    )
    dead, asked = threading.Event(), threading.Event()

    def ask(kind: ProbeKind, address: str, name: str) -> bool:
        if dead.is_set() and address == "127.0.0.3":
            asked.set()
            return False
        return True

    with watching([service], {"a": "127.0.0.2", "b": "127.0.0.3"}, "grabow.internal", ask) as watch:
        while watch.now("dns", "b") is None or watch.now("dns", "a") is None:
            time.sleep(0.01)
        dead.set()
        asked.wait(10)
        while watch.now("dns", "b"):
            time.sleep(0.01)
    assert watch.now("dns", "a") is True
    first, second = watch.since(0)["dns", "b"]
    assert first.answers and not second.answers
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("watch-dns")]
