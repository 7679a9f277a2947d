"""The proof with packets: every flow is tried, and everything else, too.

Two questions, asked independently of each other:

- Does what must pass pass? A real connection is opened and has to be answered by the right host.
- Did anything arrive that must not? Every host notes every packet that reaches its card; each has to
  be explained by an expected flow. That finds one-way leaks as well, and needs no waiting for silence.

Nothing is judged by the clock. All namespaces are worked on one processor, where packets are handled in
the order in which they are sent; echo requests to the gateway, one after the other, tell when all that
went before has come to its end.

The namespaces simulate port groups; the rule set is the one that is rendered.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address
from typing import Final

from pydantic import BaseModel, ConfigDict

from ksm_onboard.firewall import packets
from ksm_onboard.firewall.expectations import Expectations, Probe, expectations
from ksm_onboard.firewall.testbed import GATEWAY_OUTSIDE, Testbed, lay_out
from ksm_onboard.planning.plan import Plan

# Longer than any answer takes; only waited for by what fails.
_PATIENCE_SECONDS: Final = 6.0
# Where much is blocked, nobody wants to wait for each of it.
_PATIENCE_IN_ALL_SECONDS: Final = 15.0
_NO_PATIENCE_SECONDS: Final = 0.3
# Each round trip to the gateway crosses four cards, the longest way of a connection attempt ten.
_ROUNDS: Final = 6
_AT_ONCE: Final = 150
_SURPRISES_KEPT: Final = 2000
_ROUND, _PROBE = 0x4B53, 0x4B50
"""Numbers of our echo requests: those that only set a mark in time, and those that are tried."""

_BIG: Final = b"ksm" * 1000
"""More than one frame holds, so it travels in fragments."""

# linux/if_packet.h, linux/if_ether.h
_SOL_PACKET, _STATISTICS, _IGNORE_OUTGOING, _ETH_P_ALL = 263, 6, 23, 0x0003
_RECEIVE_BUFFER_FORCE = 33  # asm-generic/socket.h, SO_RCVBUFFORCE
_NEIGHBOURS = range(130, 144)  # ICMPv6: neighbour discovery and multicast listeners (RFC 4861, 2710, 3810)


class Surprise(BaseModel):
    """Something that passed and must not, or did not and must."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    source: str
    target: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.source} → {self.target}: {self.what}"


class ProofResult(BaseModel):
    """What a proof tried and found.

    ``tricks`` are packets that no rule could permit. Of many surprises only the first are kept;
    ``surprising`` counts all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    member: str
    hosts: int
    tried: int
    allowed: int
    refused: int
    tricks: int
    surprising: int
    surprises: tuple[Surprise, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        return self.surprising == 0


def prove(plan: Plan, rules: str, said: Callable[[str], None] = lambda _: None) -> ProofResult:
    """Load ``rules`` (nftables) on a gateway between the member's zones and try everything.

    Raises NotReadyError where this machine cannot have namespaces, OnboardError where nft refuses the rules.
    """
    began = time.monotonic()
    expected = expectations(plan)
    with on_one_processor(), many_files(), lay_out(plan.member, expected.hosts) as bed:
        bed.load(rules)
        said(f"{len(expected.hosts)} hosts in {len(plan.member.zones)} zones and outside")
        with ExitStack() as stack:
            trial = _Trial(expected, bed, stack)
            trial.warm_up()
            tried = trial.connections(said)
            tricks = trial.tricks(said)
    surprises = tuple(dict.fromkeys(trial.surprises))
    return ProofResult(
        member=plan.member.key,
        hosts=len(expected.hosts),
        tried=tried,
        allowed=len(expected.allowed),
        refused=tried - len(expected.allowed),
        tricks=tricks,
        surprising=len(surprises),
        surprises=surprises[:_SURPRISES_KEPT],
        seconds=round(time.monotonic() - began, 1),
    )


@contextmanager
def on_one_processor() -> Iterator[None]:
    """All of this process's work on one processor meanwhile, the kernel's for its packets included."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def many_files() -> Iterator[None]:
    """Room for the sockets of all hosts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class _Trial:
    """Sockets of all hosts, and what came of the probes."""

    expected: Expectations
    bed: Testbed
    stack: ExitStack
    surprises: list[Surprise] = field(default_factory=list)
    _echoes: set[tuple[int, str, int, int]] = field(default_factory=set)
    _sequence: int = 0
    _patience: float = _PATIENCE_IN_ALL_SECONDS

    def __post_init__(self) -> None:
        self._by_address = {host.address: index for index, host in enumerate(self.expected.hosts)}
        self._poll = select.epoll()
        self.stack.callback(self._poll.close)
        self._served: dict[int, tuple[socket.socket, int]] = {}
        self._cards: list[socket.socket] = []
        self._pings: list[socket.socket] = []
        self._raws: list[socket.socket] = []
        for index in range(len(self.expected.hosts)):
            self._open(index)

    # --- sockets --------------------------------------------------------------------------

    def _socket(self, host: int, *kind: int) -> socket.socket:
        """A socket in the namespace of a host, closed at the end of the trial."""
        with self.bed.hosts[host].inside():
            made = self.stack.enter_context(socket.socket(*kind))
        made.setblocking(False)
        return made

    def _open(self, host: int) -> None:
        card = self._socket(host, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        card.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        card.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, 8 << 20)
        self._cards.append(card)
        self._pings.append(self._socket(host, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        self._raws.append(self._socket(host, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        address = str(self.expected.hosts[host].address)
        for port in self.expected.ports["tcp"]:
            listener = self._socket(host, socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((address, port))
            listener.listen(256)
            self._serve(listener, host)
        for port in self.expected.ports["udp"]:
            served = self._socket(host, socket.AF_INET, socket.SOCK_DGRAM)
            served.bind((address, port))
            self._serve(served, host)

    def _serve(self, served: socket.socket, host: int) -> None:
        self._served[served.fileno()] = served, host
        self._poll.register(served, select.EPOLLIN)

    def _answer(self) -> None:
        """Let every server that was asked say its host's name."""
        for handle, _ in self._poll.poll(0):
            served, host = self._served[handle]
            name = self.expected.hosts[host].name.encode()
            with suppress(BlockingIOError, OSError):
                if served.type == socket.SOCK_STREAM:
                    while True:
                        asked, _ = served.accept()
                        with asked:
                            asked.send(name)
                else:
                    while True:
                        data, asking = served.recvfrom(65535)
                        served.sendto(name + data[len(name) :], asking)

    # --- in order -------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Each host gets to know its gateway; later nothing waits for address resolution on its first hop."""
        for host in range(len(self.expected.hosts)):
            self._settle(host)
        self._drain()

    def _settle(self, host: int) -> None:
        """Until all that the host sent before has come to its end."""
        way_out = self.bed.way_out[host]
        for _ in range(_ROUNDS):
            self._sequence = (self._sequence + 1) % 65536
            self._pings[host].sendto(packets.echo(_ROUND, self._sequence), (str(way_out), 0))
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not self._echoed(host, way_out, _ROUND, self._sequence):
                self._answer()
                _ready(self._pings[host], select.POLLIN, 20)
                if time.monotonic() > deadline:
                    self._surprise("blocked", host, "gateway", f"ping of {way_out}, which has to be answered")
                    return
            self._answer()

    def _echoed(self, host: int, address: IPv4Address, number: int, sequence: int) -> bool:
        """Whether an echo request of ``host`` was answered."""
        with suppress(BlockingIOError):
            while True:
                data, (answering, _) = self._pings[host].recvfrom(2048)
                if len(data) >= 28 and data[20] == packets.ECHO_REPLY:
                    self._echoes.add((host, answering, *struct.unpack("!HH", data[24:28])))
        return (host, str(address), number, sequence) in self._echoes

    # --- connections ----------------------------------------------------------------------

    def connections(self, said: Callable[[str], None]) -> int:
        """Try every probe as an honest program would; returns how many."""
        by_source: dict[int, list[Probe]] = defaultdict(list)
        for probe in self.expected.probes():
            by_source[probe.source].append(probe)
        for source, probes in by_source.items():
            for start in range(0, len(probes), _AT_ONCE):
                self._try(source, probes[start : start + _AT_ONCE])
            self._gateways(source)
        tried = sum(len(probes) for probes in by_source.values())
        said(f"{tried} connections tried, {len(self.expected.allowed)} of them have to pass")
        return tried

    def _try(self, source: int, probes: Sequence[Probe]) -> None:
        with ExitStack() as stack:
            with self.bed.hosts[source].inside():
                attempts = [_Attempt(probe, stack.enter_context(_client(probe))) for probe in probes]
            for attempt in attempts:
                attempt.begin(self)
            self._settle(source)
            self._finish([attempt for attempt in attempts if attempt.probe in self.expected.allowed])
            for attempt in attempts:
                attempt.look(self)
            self._judge(attempts)
        self._drain()

    def ping(self, probe: Probe) -> None:
        """Send an echo request."""
        target = str(self.expected.hosts[probe.target].address)
        self._pings[probe.source].sendto(packets.echo(_PROBE, probe.target), (target, 0))

    def pinged(self, probe: Probe) -> bool:
        """Whether it was answered."""
        return self._echoed(probe.source, self.expected.hosts[probe.target].address, _PROBE, probe.target)

    def _finish(self, expected: Sequence[_Attempt]) -> None:
        """Wait for what has to pass; what passes is quick, so only failures wait long."""
        began = time.monotonic()
        deadline = began + (_PATIENCE_SECONDS if self._patience > 0 else _NO_PATIENCE_SECONDS)
        again = began + 0.5
        while any(not attempt.look(self) for attempt in expected) and time.monotonic() < deadline:
            self._answer()
            time.sleep(0.002)
            if time.monotonic() > again:  # as every client of such protocols does
                again += 1.0
                for attempt in expected:
                    if not attempt.passed and attempt.probe.protocol != "tcp":
                        attempt.begin(self)
        self._patience -= time.monotonic() - began

    def _judge(self, attempts: Sequence[_Attempt]) -> None:
        for attempt in attempts:
            probe, must = attempt.probe, attempt.probe in self.expected.allowed
            what = f"{probe.protocol}/{probe.port}" if probe.port else "ping"
            if must and not attempt.passed:
                self._surprise("blocked", probe.source, probe.target, f"{what} has to pass{attempt.why}")
            elif not must and (attempt.passed or attempt.why):
                self._surprise("leak", probe.source, probe.target, f"{what} passes{attempt.why}")

    def _gateways(self, source: int) -> None:
        """The gateway itself serves nothing, at none of its addresses."""
        with ExitStack() as stack:
            tried = []
            for gateway in self.bed.gateways:
                for port in (22, 53, 443):
                    with self.bed.hosts[source].inside():
                        made = stack.enter_context(socket.socket())
                    made.setblocking(False)
                    with suppress(BlockingIOError):
                        made.connect((str(gateway), port))
                    tried.append((made, gateway, port))
            self._settle(source)
            for made, gateway, port in tried:
                if _ready(made, select.POLLOUT, 0):
                    error = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    answer = os.strerror(error) if error else "connected"
                    self._surprise("leak", source, "gateway", f"tcp/{port} of {gateway}: {answer}")
        self._drain()

    # --- what arrives ---------------------------------------------------------------------

    def _drain(self) -> None:
        """Explain every packet that arrived anywhere."""
        for host, card in enumerate(self._cards):
            with suppress(BlockingIOError):
                while True:
                    packet, (_, protocol, *_) = card.recvfrom(65535)
                    self._explain(host, protocol, packet)
            _, lost = struct.unpack("II", card.getsockopt(_SOL_PACKET, _STATISTICS, 8))
            if lost:
                self._surprise("unseen", "?", host, f"{lost} packets arrived that could not be looked at")

    def _explain(self, host: int, protocol: int, packet: bytes) -> None:
        if protocol == 0x86DD:
            if len(packet) < 41 or packet[6] not in (0, 58) or (packet[6] == 58 and packet[40] not in _NEIGHBOURS):
                self._surprise("leak", "?", host, "an IPv6 packet arrived")
            return
        if protocol != 0x0800 or (seen := packets.read(packet)) is None:
            return  # address resolution
        if seen.trick:
            self._surprise("leak", self._name(seen.source), host, f"a forged packet arrived ({_words(seen)})")
        elif seen.fragment & 0x1FFF == 0 and not self._explained(host, seen):
            self._surprise("leak", self._name(seen.source), host, f"{_words(seen)} arrived")

    def _explained(self, host: int, seen: packets.Seen) -> bool:
        source = self._by_address.get(seen.source)
        gateway = seen.source in self.bed.gateways or seen.source == GATEWAY_OUTSIDE
        if seen.protocol == packets.ICMP:
            if gateway:
                return seen.kind == packets.ECHO_REPLY
            if source is None:
                return False
            there, back = Probe(source, host, "icmp", 0), Probe(host, source, "icmp", 0)
            return (seen.kind == packets.ECHO_REQUEST and there in self.expected.allowed) or (
                seen.kind == packets.ECHO_REPLY and back in self.expected.allowed
            )
        if source is None or seen.protocol not in (packets.TCP, packets.UDP):
            return False
        name = "tcp" if seen.protocol == packets.TCP else "udp"
        there = Probe(source, host, name, seen.target_port)  # type: ignore[arg-type]
        back = Probe(host, source, name, seen.source_port)  # type: ignore[arg-type]
        opening = seen.protocol == packets.TCP and seen.kind & (packets.SYN | packets.ACK) == packets.SYN
        return there in self.expected.allowed or (back in self.expected.allowed and not opening)

    # --- tricks ---------------------------------------------------------------------------

    def tricks(self, said: Callable[[str], None]) -> int:
        """Packets that use what is allowed to get what is not; returns how many."""
        number = 0
        for source in range(len(self.expected.hosts)):
            for number_here, (packet, target) in enumerate(self._tricks_of(source), start=1):
                with suppress(PermissionError):
                    self._raws[source].sendto(packet, (str(self.expected.hosts[target].address), 0))
                number += 1
                if number_here % _AT_ONCE == 0:
                    self._settle(source)
                    self._drain()
            number += self._redirects(source)
            number += self._six(source)
            number += self._backwards(source)
            self._settle(source)
            self._drain()
        said(f"{number} tricks tried: forged sources, answers without question, fragments, redirects, IPv6")
        return number

    def _tricks_of(self, source: int) -> Iterator[tuple[bytes, int]]:
        """Packets made by hand. Their own ports are none that a client is given (32768 to 60999)."""
        hosts = self.expected.hosts
        here = hosts[source]
        forward, backward = self._pairs
        for target, host in enumerate(hosts):
            if target == source or host.zone == here.zone:
                continue
            a, b = here.address, host.address

            def made(
                protocol: int, body: bytes, fragment: int = 0, origin: IPv4Address = a, to: IPv4Address = b
            ) -> bytes:
                return packets.ipv4(origin, to, protocol, body, fragment)

            # Answers that nobody asked for, and connections that nobody began.
            for _, port in {("tcp", 443), *(p for p in backward[source, target] if p[0] == "tcp")}:
                for flags in (packets.ACK, packets.SYN | packets.ACK, packets.RST, packets.FIN, 0):
                    yield made(packets.TCP, packets.tcp(a, b, (port, 20000), flags)), target
            for name, port in forward[source, target]:
                if name == "tcp":
                    for flags in (packets.ACK, packets.SYN | packets.ACK, packets.SYN | packets.FIN, 0):
                        yield made(packets.TCP, packets.tcp(a, b, (20001, port), flags)), target
            for name, port in backward[source, target]:
                if name == "udp":
                    yield made(packets.UDP, packets.udp(a, b, (port, 20002), b"answer")), target
            # Fragments that never become whole.
            yield made(packets.TCP, b"\0" * 24, fragment=185), target
            yield made(packets.UDP, b"\0" * 24, fragment=packets.MORE_FRAGMENTS | 3), target
            for name, port in forward[source, target][:2]:
                if name == "tcp":
                    segment = packets.tcp(a, b, (20003, port), packets.SYN)
                    yield made(packets.TCP, segment[:16], fragment=packets.MORE_FRAGMENTS), target
            # Messages that belong to nothing.
            quoted = packets.ipv4(b, a, packets.TCP, packets.tcp(b, a, (20004, 443), packets.ACK))[:28]
            yield made(packets.ICMP, packets.icmp(packets.UNREACHABLE, b"\0" * 4 + quoted, code=3)), target
            yield made(packets.ICMP, packets.icmp(packets.TIMESTAMP_REQUEST, b"\0" * 16)), target
            # Protocols that no service has: GRE, ESP, SCTP, IP in IP.
            for protocol in (47, 50, 132, 4):
                yield made(protocol, b"\0" * 20), target
            yield from self._forged(source, target)

    @cached_property
    def _pairs(self) -> tuple[_Pairs, _Pairs]:
        """What may be opened between two hosts, forward and backward."""
        return _by_pair(self.expected.allowed, outgoing=True), _by_pair(self.expected.allowed, outgoing=False)

    def _forged(self, source: int, target: int) -> Iterator[tuple[bytes, int]]:
        """What another host might open, sent under its name."""
        hosts = self.expected.hosts
        told: set[tuple[str | None, str, int]] = set()
        for probe in self._into[target]:
            other = hosts[probe.source]
            mark = (other.zone, probe.protocol, probe.port)
            if other.zone == hosts[source].zone or mark in told or len(told) >= 6:
                continue
            told.add(mark)
            to, ports = hosts[target].address, (20005, probe.port)
            if probe.protocol == "tcp":
                body = packets.tcp(other.address, to, ports, packets.SYN)
                yield packets.ipv4(other.address, to, packets.TCP, body), target
            elif probe.protocol == "udp":
                body = packets.udp(other.address, to, ports, b"forged")
                yield packets.ipv4(other.address, to, packets.UDP, body), target
            else:
                yield packets.ipv4(other.address, to, packets.ICMP, packets.echo(7, 7)), target

    @cached_property
    def _into(self) -> dict[int, list[Probe]]:
        found: dict[int, list[Probe]] = defaultdict(list)
        for probe in sorted(self.expected.allowed):
            found[probe.target].append(probe)
        return found

    def _redirects(self, source: int) -> int:
        """Whom the host talks to tells it to send its packets elsewhere, quoting one of them as a router would."""
        mine = [p for p in sorted(self.expected.allowed) if p.source == source and p.protocol == "tcp"]
        with ExitStack() as stack:
            for probe in mine[:_AT_ONCE]:
                here, there = self.expected.hosts[source].address, self.expected.hosts[probe.target].address
                with self.bed.hosts[source].inside():
                    made = stack.enter_context(_client(probe))
                with suppress(BlockingIOError):
                    made.connect((str(there), probe.port))
                self._settle(source)
                ports = made.getsockname()[1], probe.port
                quoted = packets.ipv4(here, there, packets.TCP, packets.tcp(here, there, ports, packets.ACK))[:28]
                told = packets.icmp(packets.REDIRECT, there.packed + quoted, code=1)
                packet = packets.ipv4(there, here, packets.ICMP, told)
                self._raws[probe.target].sendto(packet, (str(here), 0))
                self._settle(probe.target)
        return len(mine[:_AT_ONCE])

    def _six(self, source: int) -> int:
        """IPv6 to every host, with ports that IPv4 may use and with echo requests."""
        tried = 0
        with ExitStack() as stack:
            with self.bed.hosts[source].inside():
                ping = stack.enter_context(
                    socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.getprotobyname("ipv6-icmp"))
                )
            for target, host in enumerate(self.expected.hosts):
                if target == source or host.zone == self.expected.hosts[source].zone:
                    continue
                address = str(self.bed.six[target])
                with suppress(OSError):
                    ping.sendto(struct.pack("!BBHHH", 128, 0, 0, 1, target), (address, 0, 0, 0))
                ports = sorted({p.port for p in self._into[target] if p.source == source and p.protocol == "tcp"})
                for port in (ports or [443])[:2]:
                    with self.bed.hosts[source].inside():
                        made = stack.enter_context(socket.socket(socket.AF_INET6))
                    made.setblocking(False)
                    with suppress(OSError):
                        made.connect((address, port))
                    tried += 1
                tried += 1
            self._settle(source)
        return tried

    def _backwards(self, source: int) -> int:
        """New connections that begin at the port of a service, as its answers do."""
        here = str(self.expected.hosts[source].address)
        tried = 0
        with ExitStack() as stack:
            for probe in [probe for probe in self._into[source] if probe.protocol == "tcp"][:_AT_ONCE]:
                there = str(self.expected.hosts[probe.source].address)
                for port in (probe.port, 20006):
                    with self.bed.hosts[source].inside():
                        made = stack.enter_context(socket.socket())
                    made.setblocking(False)
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    made.bind((here, probe.port))
                    with suppress(BlockingIOError):
                        made.connect((there, port))
                    tried += 1
            self._settle(source)
        return tried

    # --- in words -------------------------------------------------------------------------

    def _name(self, address: IPv4Address) -> str:
        index = self._by_address.get(address)
        return self._shown(index) if index is not None else str(address)

    def _shown(self, host: int | str) -> str:
        if isinstance(host, str):
            return host
        shown = self.expected.hosts[host]
        return f"{shown.name} ({shown.zone})" if shown.zone else shown.name

    def _surprise(self, kind: str, source: int | str, target: int | str, what: str) -> None:
        self.surprises.append(Surprise(kind=kind, source=self._shown(source), target=self._shown(target), what=what))


@dataclass
class _Attempt:
    """A connection that is tried, and what came of it; ``why``: an error instead of an answer or silence."""

    probe: Probe
    client: socket.socket
    passed: bool = False
    why: str = ""

    def begin(self, trial: _Trial) -> None:
        """Send the first packet, or for want of an answer another one."""
        target = str(trial.expected.hosts[self.probe.target].address), self.probe.port
        with suppress(BlockingIOError):
            if self.probe.protocol == "icmp":
                trial.ping(self.probe)
            elif self.probe.protocol == "tcp":
                self.client.connect(target)
            else:
                self.client.sendto(_BIG if self.probe.port % 2 else b"ksm" * 20, target)

    def look(self, trial: _Trial) -> bool:
        """Whether it passed: the right host answered."""
        if self.passed or self.why:
            return self.passed
        if self.probe.protocol == "icmp":
            self.passed = trial.pinged(self.probe)
        elif _ready(self.client, select.POLLIN, 0):
            right = trial.expected.hosts[self.probe.target].name
            try:
                answer = self.client.recv(65535)
            except OSError as error:
                self.why = f" ({error.strerror})"
            else:
                self.passed = answer.startswith(right.encode())
                self.why = "" if self.passed else " (another host answered)"
        elif self.probe.protocol == "tcp" and _ready(self.client, select.POLLOUT, 0):
            error_number = self.client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.why = f" ({os.strerror(error_number)})" if error_number else ""
        return self.passed


def _client(probe: Probe) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if probe.protocol == "tcp" else socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def _ready(ready: socket.socket, events: int, milliseconds: int) -> bool:
    poll = select.poll()
    poll.register(ready, events)
    return bool(poll.poll(milliseconds))


_Pairs = dict[tuple[int, int], list[tuple[str, int]]]


def _by_pair(allowed: frozenset[Probe], *, outgoing: bool) -> _Pairs:
    """What may be opened between two hosts: from the first to the second, or the other way round."""
    found: dict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
    for probe in sorted(allowed):
        pair = (probe.source, probe.target) if outgoing else (probe.target, probe.source)
        found[pair].append((probe.protocol, probe.port))
    return found


def _words(seen: packets.Seen) -> str:
    names = {packets.TCP: "tcp", packets.UDP: "udp", packets.ICMP: "icmp"}
    name = names.get(seen.protocol, f"protocol {seen.protocol}")
    if seen.protocol == packets.ICMP:
        return f"icmp type {seen.kind}"
    return f"{name}/{seen.target_port} from port {seen.source_port}" if seen.target_port else name
