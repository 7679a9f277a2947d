"""What the simulated vCenter calls when a VM starts, stops, loses its host or is deleted.

``guest_driver <settings> start|stop|kill|discard``

Reads one JSON document from standard input, writes one to standard output, and ends with 0 on success.
It runs once per VM and all of them at the same time, so it imports only what it needs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ksm_onboard.errors import OnboardError
from ksm_onboard.lab.customisation import parse_customisation
from ksm_onboard.lab.hosts import Disk, HostKind, HostSettings, HostSpec, discard_host, kill_host, start_host, stop_host

_WRAPPER = """\
#!/bin/sh
# Generated. Starts and stops the hosts of this lab for the simulated vCenter.
exec "{python}" -m ksm_onboard.lab.guest_driver "{settings}" "$1"
"""


def write_guest_driver(file: Path, settings: HostSettings) -> Path:
    """Write the executable for ``settings`` (and these beside it)."""
    beside = file.with_name(f"{file.name}.json")
    settings.write(beside)
    file.write_text(_WRAPPER.format(python=sys.executable, settings=beside))
    file.chmod(0o700)
    return file


def start(settings: HostSettings, request: dict[str, Any]) -> dict[str, str]:
    """Start the host of a VM. Raises OnboardError if that fails."""
    guestinfo = request["guestinfo"]
    spec = HostSpec(
        name=request["name"],
        kind=HostKind.VM,
        uuid=request["uuid"],
        customisation=parse_customisation(guestinfo.get("metadata", ""), guestinfo.get("userdata", "")),
        disks=tuple(Disk(disk["unit_number"], disk["path"]) for disk in request.get("disks") or ()),
    )
    record = start_host(spec, settings)
    return {"address": record.address, "host_key": record.host_key}


def stop(settings: HostSettings, request: dict[str, Any]) -> dict[str, bool]:
    """Stop the host of a VM; it is no error if there is none."""
    return {"stopped": stop_host(settings.lab, request["name"], uuid=request["uuid"])}


def kill(settings: HostSettings, request: dict[str, Any]) -> dict[str, bool]:
    """End the host of a VM without shutting it down; it is no error if there is none."""
    return {"killed": kill_host(settings.lab, request["name"], uuid=request["uuid"])}


def discard(settings: HostSettings, request: dict[str, Any]) -> dict[str, bool]:
    """Remove what a deleted VM leaves: its system disk; it is no error if there is none."""
    return {"discarded": discard_host(settings.lab, request["name"], uuid=request["uuid"])}


def main(arguments: list[str]) -> int:
    """The program. Errors go to standard error, in one message."""
    try:
        file, action = arguments
        work = {"start": start, "stop": stop, "kill": kill, "discard": discard}[action]
    except (ValueError, KeyError):
        print("usage: guest_driver <settings file> start|stop|kill|discard  < request.json", file=sys.stderr)  # noqa: T201
        return 2
    try:
        answer = work(HostSettings.read(Path(file)), json.load(sys.stdin))
    except OnboardError as error:
        print(error if error.hint is None else f"{error}\n{error.hint}", file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    except (KeyError, TypeError, ValueError, OSError) as error:
        print(f"guest driver: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
