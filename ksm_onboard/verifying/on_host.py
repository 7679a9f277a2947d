"""Runs on the host that is looked at, by its own python3: sent over ssh on standard input, never installed.

It only runs the commands and reads the files that the request names, and hands back what
they say. What that means is decided by whoever asked. Standard library only, nothing of
the project, and nothing newer than Python 3.9: the other machine has no more than that.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COMMAND_TIMEOUT_SECONDS = 30
DNS_TIMEOUT_SECONDS = 3
PAGE_TIMEOUT_SECONDS = 10
MAX_TEXT = 2_000_000


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Everything that ``request`` asks for, as plain JSON data."""
    return {
        "commands": {key: run(argv) for key, argv in request["commands"].items()},
        "files": read(request["files"]),
        "trusted_roots": trusted_roots(),
        "expired_accounts": expired_accounts(),
        "dns": {
            server: {name: lookup(server, name) for name in request["names"]} for server in request["name_servers"]
        },
        "pages": [page(**wanted) for wanted in request["pages"]],
    }


def run(argv: list[str]) -> dict[str, Any]:
    """A command's exit code and output; 127 where there is no such program, 124 where it never ended."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            env=environment,
            cwd="/",
            check=False,
        )
    except FileNotFoundError:
        return {"code": 127, "out": "", "err": "no such program"}
    except subprocess.TimeoutExpired:
        return {"code": 124, "out": "", "err": f"no end after {COMMAND_TIMEOUT_SECONDS} s"}
    return {
        "code": done.returncode,
        "out": done.stdout.decode("utf-8", "replace")[:MAX_TEXT],
        "err": done.stderr.decode("utf-8", "replace")[-2000:],
    }


def read(patterns: list[str]) -> dict[str, str]:
    """Path → text of every readable file that matches one of the patterns."""
    found = {}
    for pattern in patterns:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            if path.is_file():
                found[str(path)] = path.read_text(encoding="utf-8", errors="replace")[:MAX_TEXT]
    return found


def trusted_roots() -> list[str]:
    """SHA-256 fingerprints of the certificates that programs on this host trust."""
    context = ssl.create_default_context()
    return sorted(hashlib.sha256(der).hexdigest() for der in context.get_ca_certs(binary_form=True))


def expired_accounts() -> list[str]:
    """Accounts that can no longer log in because they have expired (shadow(5)); nothing else leaves that file."""
    today = int(time.time() // 86400)
    fields = (line.split(":") for line in Path("/etc/shadow").read_text(encoding="utf-8").splitlines())
    return sorted(entry[0] for entry in fields if len(entry) > 7 and entry[7].isdigit() and int(entry[7]) <= today)


def lookup(server: str, name: str) -> list[str] | None:
    """The IPv4 addresses that one DNS server gives for ``name``; None if it gives no usable answer.

    The host's own resolver asks whichever server answers first and hides a broken one;
    a pair is only a pair if each of the two answers.
    """
    number = secrets.randbelow(65536)
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    query = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.settimeout(DNS_TIMEOUT_SECONDS)
            link.connect((server, 53))
            link.send(query)
            return addresses(link.recv(4096), number)
    except (OSError, struct.error, IndexError):
        return None


def addresses(message: bytes, number: int) -> list[str] | None:
    """The A records of a DNS answer (RFC 1035, section 4); None if it refuses or answers another question."""
    ident, flags, questions, answers = struct.unpack(">HHHH", message[:8])
    code = flags & 0xF
    if ident != number or not flags & 0x8000 or code not in (0, 3):
        return None
    at = 12
    for _ in range(questions):
        at = after_name(message, at) + 4
    found = []
    for _ in range(answers):
        at = after_name(message, at)
        kind, _class, _ttl, length = struct.unpack(">HHIH", message[at : at + 10])
        at += 10
        if kind == 1 and length == 4:
            found.append(socket.inet_ntoa(message[at : at + 4]))
        at += length
    return sorted(found)


def page(name: str, address: str, path: str) -> dict[str, Any]:
    """What the machine at ``address`` answers to whoever asks it for ``name``, trusting what this host trusts.

    The name is not looked up: a pair is only a pair if each of the two answers.
    """
    found: dict[str, Any] = {"status": None, "problem": "", "plain": ""}
    request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode("ascii")
    try:
        link = socket.create_connection((address, 443), PAGE_TIMEOUT_SECONDS)
        with link, ssl.create_default_context().wrap_socket(link, server_hostname=name) as secured:
            found["status"] = int(head(secured, request)[0].split()[1])
        with socket.create_connection((address, 80), PAGE_TIMEOUT_SECONDS) as link:
            lines = head(link, request)
        leads = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("location:")]
        found["plain"] = leads[0] if leads else lines[0]
    except (OSError, ValueError, IndexError) as error:
        found["problem"] = str(error) or type(error).__name__
    return found


def head(link: socket.socket, request: bytes) -> list[str]:
    """The lines of the answer's head."""
    link.sendall(request)
    text = b""
    while b"\r\n\r\n" not in text and len(text) < MAX_TEXT and (more := link.recv(4096)):
        text += more
    return text.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")


def after_name(message: bytes, at: int) -> int:
    """The position behind the name that starts at ``at``."""
    while message[at]:
        if message[at] & 0xC0 == 0xC0:
            return at + 2
        at += message[at] + 1
    return at + 1


def main(request: str) -> None:
    """Answers the JSON request on standard output."""
    sys.stdout.write(json.dumps(answer(json.loads(request))))
