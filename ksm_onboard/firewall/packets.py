"""Packets as bytes: made for tricks that no honest program would try, and read where they arrive."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

TCP: Final = 6
UDP: Final = 17
ICMP: Final = 1
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
ECHO_REPLY, UNREACHABLE, REDIRECT, ECHO_REQUEST, TIMESTAMP_REQUEST = 0, 3, 5, 8, 13
MORE_FRAGMENTS: Final = 0x2000

TRICK, _TRICK_SERVICE = 0xBEEF, 0x5C
"""Identification and type of service of every packet that must not arrive, whatever else is allowed."""


@dataclass(frozen=True)
class Seen:
    """A packet as it arrived: ports are 0 where it has none, ``kind`` is TCP's flags or ICMP's type."""

    source: IPv4Address
    target: IPv4Address
    protocol: int
    source_port: int
    target_port: int
    kind: int
    trick: bool
    fragment: int


def read(packet: bytes) -> Seen | None:
    """An IPv4 packet; None if it is too short to be one."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    head = (packet[0] & 0x0F) * 4
    identification, fragment = struct.unpack("!HH", packet[4:8])
    source, target = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    protocol, body = packet[9], packet[head:]
    source_port = target_port = kind = 0
    if fragment & 0x1FFF == 0:
        if protocol in (TCP, UDP) and len(body) >= 4:
            source_port, target_port = struct.unpack("!HH", body[:4])
        if protocol == TCP and len(body) >= 14:
            kind = body[13]
        elif protocol == ICMP and body:
            kind = body[0]
    trick = (identification, packet[1]) == (TRICK, _TRICK_SERVICE)
    return Seen(source, target, protocol, source_port, target_port, kind, trick, fragment & 0x3FFF)


def ipv4(source: IPv4Address, target: IPv4Address, protocol: int, body: bytes, fragment: int = 0) -> bytes:
    """A packet with the mark of tricks; ``fragment`` is the field of flags and offset."""
    length, none = 20 + len(body), 0  # the checksum is counted with itself as 0
    addresses = source.packed + target.packed
    head = struct.pack("!BBHHHBBH", 0x45, _TRICK_SERVICE, length, TRICK, fragment, 64, protocol, none) + addresses
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + body


def tcp(source: IPv4Address, target: IPv4Address, ports: tuple[int, int], flags: int) -> bytes:
    """A TCP segment without data."""
    body = struct.pack("!HHIIBBHHH", *ports, 1000, 2000 if flags & ACK else 0, 0x50, flags, 1024, 0, 0)
    sum_ = _checksum(_pseudo(source, target, TCP, len(body)) + body)
    return body[:16] + struct.pack("!H", sum_) + body[18:]


def udp(source: IPv4Address, target: IPv4Address, ports: tuple[int, int], data: bytes) -> bytes:
    """A UDP datagram."""
    body = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    sum_ = _checksum(_pseudo(source, target, UDP, len(body)) + body) or 0xFFFF
    return body[:6] + struct.pack("!H", sum_) + body[8:]


def icmp(kind: int, data: bytes, code: int = 0) -> bytes:
    """An ICMP message; ``data`` begins with the four bytes after the checksum."""
    head = struct.pack("!BBH", kind, code, 0)
    return struct.pack("!BBH", kind, code, _checksum(head + data)) + data


def echo(number: int, sequence: int) -> bytes:
    """An echo request."""
    return icmp(ECHO_REQUEST, struct.pack("!HH", number, sequence) + b"ksm")


def _pseudo(source: IPv4Address, target: IPv4Address, protocol: int, length: int) -> bytes:
    return source.packed + target.packed + struct.pack("!BBH", 0, protocol, length)


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
