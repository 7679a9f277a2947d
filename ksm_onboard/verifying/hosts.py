"""Asks servers and workstations themselves, over plain OpenSSH: not what Ansible reported, but what is there.

One ssh command per host, host keys checked against ``known_hosts``, a cap on how many
are asked at once. A host that cannot be asked is a finding for the audit, not a crash.
"""

from __future__ import annotations

import inspect
import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ksm_onboard.connection import GuestAccess
from ksm_onboard.errors import NotReadyError
from ksm_onboard.progress import Progress
from ksm_onboard.verifying import on_host
from ksm_onboard.verifying.host_facts import HostFacts, HostSilent, HostToAsk, question, understand

ASKED_AT_ONCE = 16
CONNECT_TIMEOUT_SECONDS = 10
ANSWER_TIMEOUT_SECONDS = 120


def ask_hosts(
    hosts: Sequence[HostToAsk], access: GuestAccess, known_hosts: Path, progress: Progress
) -> list[HostFacts | HostSilent]:
    """What every host says about itself, in the order of ``hosts``.

    Raises NotReadyError if the ssh key or ``known_hosts`` is missing: then not one host could be asked.
    """
    for file, hint in (
        (access.private_key_file, "guests.private_key_file in the connection file names the ops account's key"),
        (known_hosts, "it is written when the inventory is generated: run ksm-onboard configure first"),
    ):
        if not file.is_file():
            raise NotReadyError(f"cannot ask the hosts: {file} does not exist", hint=hint)

    def ask(host: HostToAsk) -> HostFacts | HostSilent:
        seen = _ask(host, access, known_hosts)
        progress.line(f"{host.name}: {seen.reason if isinstance(seen, HostSilent) else 'answered'}")
        return seen

    with ThreadPoolExecutor(max_workers=ASKED_AT_ONCE, thread_name_prefix="ask") as pool:
        try:
            return list(pool.map(ask, hosts))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def ssh_command(host: HostToAsk, access: GuestAccess, known_hosts: Path) -> list[str]:
    """The ssh command line. A jump host may come from the user's ssh configuration; weaker checks may not."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "PreferredAuthentications": "publickey",
        "ForwardAgent": "no",
        "ConnectTimeout": str(CONNECT_TIMEOUT_SECONDS),
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "2",
        "LogLevel": "ERROR",
    }
    return [
        "ssh",
        *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
        "-i",
        str(access.private_key_file),
        "-p",
        str(access.port),
        "-l",
        access.user,
        str(host.address),
        "sudo -n python3 -",
    ]


def program(host: HostToAsk) -> str:
    """What the host's python3 runs: ``on_host`` and the request, as one text on standard input."""
    request = json.dumps(question(host))
    return f"{inspect.getsource(on_host)}\n\nmain({request!r})\n"


def _ask(host: HostToAsk, access: GuestAccess, known_hosts: Path) -> HostFacts | HostSilent:
    try:
        done = subprocess.run(
            ssh_command(host, access, known_hosts),
            input=program(host),
            capture_output=True,
            text=True,
            timeout=ANSWER_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return HostSilent(name=host.name, reason=f"no answer within {ANSWER_TIMEOUT_SECONDS} s")
    except FileNotFoundError:
        raise NotReadyError(
            "the program ssh is not installed", hint="install OpenSSH's client (Debian: openssh-client)"
        ) from None
    if done.returncode != 0:
        return HostSilent(name=host.name, reason=last_line(done.stderr) or f"ssh ended with {done.returncode}")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
        return understand(host, answer)
    except (ValueError, KeyError, TypeError) as error:
        return HostSilent(name=host.name, reason=f"its answer cannot be understood: {last_line(str(error))}")


def last_line(text: str) -> str:
    """The last line that says something; empty if there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
