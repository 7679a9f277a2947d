"""Runs on a log collector or a monitoring machine, by its own python3: sent over ssh on standard input.

It looks for what arrived there and waits for it as long as it is told to: what a machine has just sent may still be on
its way. Standard library only, nothing of the project, and nothing newer than Python 3.9.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

LOOK_AGAIN_SECONDS = 1.0
TAIL_BYTES = 4_000_000


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What was asked for: whose lines have ``arrived``, and how each target is."""
    deadline = time.monotonic() + request["within_seconds"]
    found: dict[str, Any] = {}
    if "logs" in request:
        found["arrived"] = arrived(request["logs"], deadline)
    if "targets" in request:
        found["targets"] = targets(request["targets"], deadline)
    return found


def arrived(asked: dict[str, Any], deadline: float) -> list[str]:
    """The machines in whose newest files the line with the mark stands."""
    missing, found = list(asked["machines"]), []
    while True:
        new = [name for name in missing if marked(Path(asked["folder"]) / name, asked["mark"].encode())]
        found += new
        missing = [name for name in missing if name not in new]
        if not missing or time.monotonic() > deadline:
            return sorted(found)
        time.sleep(LOOK_AGAIN_SECONDS)


def marked(folder: Path, mark: bytes) -> bool:
    """Whether one of the folder's two newest files ends with the mark: a day may just have passed."""
    for file in sorted(folder.glob("*.log"))[-2:]:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
            if mark in stream.read():
                return True
    return False


def targets(asked: dict[str, Any], deadline: float) -> dict[str, str]:
    """Target → what Prometheus says of it (up, down, unknown); those it does not know are left out."""
    while True:
        found = {name: health for name, health in health_of_all(asked).items() if name in asked["machines"]}
        healthy = all(found.get(name) == "up" for name in asked["machines"])
        if healthy or time.monotonic() > deadline:
            return found
        time.sleep(LOOK_AGAIN_SECONDS)


def health_of_all(asked: dict[str, Any]) -> dict[str, str]:
    """All that this Prometheus watches as machines; nothing while it does not answer."""
    context = ssl.create_default_context(cafile=asked["ca_file"])
    context.load_cert_chain(asked["certificate_file"], asked["key_file"])
    try:
        with urllib.request.urlopen(asked["url"], timeout=10, context=context) as reply:  # noqa: S310
            told = json.load(reply)["data"]["activeTargets"]
    except (OSError, ValueError, KeyError):
        return {}
    return {t["labels"]["instance"]: t["health"] for t in told if t["labels"]["job"] == "machines"}


def main(request: str) -> None:
    """Answers the JSON request on standard output."""
    sys.stdout.write(json.dumps(answer(json.loads(request))))
