"""Asks Windows workstations themselves, through Ansible's connection: not what a run reported, but what is there.

One playbook that only reads (``ask_windows.yml``), by modules that configure nothing. In the lab the workstations are
simulated, and what they say is marked as such.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ksm_onboard.errors import NotReadyError
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project
from ksm_onboard.verifying.host_facts import HostSilent, Seen

PLAYBOOK: Final = Path(__file__).with_name("ask_windows.yml")
PATIENCE_SECONDS: Final = 900
SYSTEM: Final = "HKLM:\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Policies\\System"
UPDATES: Final = "HKLM:\\SOFTWARE\\Policies\\Microsoft\\Windows\\WindowsUpdate\\AU"
TIME: Final = "HKLM:\\SYSTEM\\CurrentControlSet\\Services\\W32Time\\Parameters"
BROWSER: Final = "HKLM:\\SOFTWARE\\Policies\\Microsoft\\Edge"

_KEPT: Final = ("HOME", "USER", "LOGNAME", "TZ", "SSH_AUTH_SOCK", "KRB5CCNAME")


class WindowsFacts(Seen):
    """One Windows workstation that answered. ``thumbprints`` are SHA-1, as Windows names root certificates."""

    name: str
    simulated: bool
    operating_system: str
    host_name: str
    packages: Mapping[str, str]
    sources: tuple[str, ...]
    registry: Mapping[str, Mapping[str, Any]]
    thumbprints: frozenset[str]


def ask_windows(
    project: Project, inventory: Path, names: Sequence[str], progress: Progress
) -> list[WindowsFacts | HostSilent]:
    """What each workstation of the inventory says about itself.

    Raises NotReadyError if Ansible cannot begin, for example without an inventory.
    """
    if not names:
        return []
    if not (inventory / "hosts.yml").is_file():
        raise NotReadyError(
            f"cannot ask the Windows workstations: {inventory} is no inventory", hint="run ksm-onboard configure first"
        )
    variables = json.dumps({"registry_keys": [SYSTEM, UPDATES, TIME, BROWSER]})
    command = [str(project.venv_bin / "ansible-playbook"), "-i", str(inventory), "--extra-vars", variables]
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "PATH": f"{project.venv_bin}:/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(project.root / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
    }
    try:
        done = subprocess.run(
            [*command, str(PLAYBOOK)],
            capture_output=True,
            text=True,
            check=False,
            cwd=project.root,
            env=environment,
            timeout=PATIENCE_SECONDS,
        )
        told = results_by_host(done.stdout)
    except subprocess.TimeoutExpired:
        return [HostSilent(name=name, reason=f"no answer within {PATIENCE_SECONDS} s") for name in names]
    except ValueError:
        raise NotReadyError(
            f"Ansible could not ask the Windows workstations: {(done.stderr or done.stdout).strip()[-500:]}"
        ) from None
    answers = [understand(name, told.get(name, {})) for name in names]
    for answer in answers:
        progress.line(f"{answer.name}: {answer.reason if isinstance(answer, HostSilent) else _answered(answer)}")
    return answers


def results_by_host(output: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Host → task → result, from the JSON that Ansible prints. Raises ValueError if it is none."""
    plays = json.loads(output[output.index("{") :])["plays"]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for play in plays:
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                found.setdefault(host, {})[task["task"]["name"]] = result
    return found


def understand(name: str, told: Mapping[str, Mapping[str, Any]]) -> WindowsFacts | HostSilent:
    """The facts in a host's answers; what it could not say comes out empty. A host that cannot be reached is silent."""
    system = told.get("system", {})
    if system.get("unreachable") or "ansible_facts" not in system:
        return HostSilent(name=name, reason=" ".join(str(system.get("msg", "no answer")).split()))
    facts = system["ansible_facts"]
    chocolatey = told.get("packages", {}).get("ansible_facts", {}).get("ansible_chocolatey", {})
    keys = {item["item"]: item.get("properties", {}) for item in told.get("registry", {}).get("results", ())}
    return WindowsFacts(
        name=name,
        simulated=system.get("simulated") is True,
        operating_system=facts["ansible_distribution"],
        host_name=facts["ansible_hostname"].lower(),
        packages={entry["package"]: entry["version"] for entry in chocolatey.get("packages", ())},
        sources=tuple(sorted(entry["name"] for entry in chocolatey.get("sources", ()))),
        registry={key: {name: value["value"] for name, value in found.items()} for key, found in keys.items()},
        thumbprints=frozenset(entry["thumbprint"] for entry in told.get("certificates", {}).get("certificates", ())),
    )


def _answered(facts: WindowsFacts) -> str:
    return "answered (simulated)" if facts.simulated else "answered"
