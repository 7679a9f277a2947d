"""Which machines need no run: those that are wanted as they were at their last finished run, and still the same ones.

A host's fingerprint covers everything that a run over it would use: its variables and those of its groups, the roles
and the playbook, its certificate, and its ssh host key, which a machine that was built anew does not have any more.
What a person changed by hand on the machine is not in it; a full run and the audit find that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from ksm_onboard.atomic import write_atomically
from ksm_onboard.configuring.results import RunResult
from ksm_onboard.project import Project

FILE: Final = "configured.json"

Fingerprints = dict[str, str]
"""Host name → fingerprint."""


def fingerprints(
    files: Mapping[str, str], host_keys: Mapping[str, str], roles: str, certificates: Mapping[str, str]
) -> Fingerprints:
    """Those of all hosts of an inventory. Pure; ``roles`` stands for the text of all roles (``text_of_roles``).

    ``certificates``: host name → the certificate that a run would give it.
    """
    children = yaml.safe_load(files["hosts.yml"])["all"]["children"]
    groups: dict[str, set[str]] = {}
    where: dict[str, Any] = {}
    for name, group in children.items():
        _walk(name, group, (), groups, where)
    return {
        host: _digest(
            roles,
            host_keys.get(host, ""),
            certificates.get(host, ""),
            json.dumps(where[host], sort_keys=True),
            files.get("group_vars/all.yml", ""),
            *(f"{group}\n{files.get(f'group_vars/{group}.yml', '')}" for group in sorted(groups[host])),
            files.get(f"host_vars/{host}.yml", ""),
        )
        for host in sorted(groups)
    }


def _walk(
    name: str,
    group: Mapping[str, Any],
    above: tuple[str, ...],
    groups: dict[str, set[str]],
    where: dict[str, Any],
) -> None:
    path = (*above, name)
    for host, variables in (group.get("hosts") or {}).items():
        groups.setdefault(host, set()).update(path)
        where[host] = {**where.get(host, {}), **(variables or {})}
    for child, below in (group.get("children") or {}).items():
        _walk(child, below, path, groups, where)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def text_of_roles(project: Project) -> str:
    """One digest of the playbook and every file of every role."""
    files = sorted(file for file in project.roles.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return _digest(
        *(f"{file.relative_to(project.roles)}\n{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files)
    )


def due(wanted: Fingerprints, runs: Path) -> tuple[str, ...]:
    """The hosts that a run is needed for, sorted."""
    before = _read(runs)
    return tuple(host for host in sorted(wanted) if before.get(host) != wanted[host])


def record(wanted: Fingerprints, result: RunResult, runs: Path) -> None:
    """Keep the fingerprints of the hosts that ``result`` brought to what is wanted; of those that failed, none."""
    if result.check or result.tags:
        return
    before = _read(runs)
    failed = _failed(result, wanted)
    ran = {host: wanted[host] for host in wanted if host in result.hosts and host not in failed}
    kept = {host: mark for host, mark in before.items() if host in wanted and host not in failed}
    write_atomically(runs / FILE, json.dumps({**kept, **ran}, indent=2, sort_keys=True) + "\n")


def _failed(result: RunResult, hosts: Collection[str]) -> set[str]:
    """Where a run did not come to its end, nobody knows how far each host came."""
    if result.status == "interrupted" or result.problem:
        return set(hosts)
    return {name for name, host in result.hosts.items() if host.failed or host.unreachable}


def _read(runs: Path) -> Fingerprints:
    try:
        found = json.loads((runs / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return {str(host): str(mark) for host, mark in found.items()} if isinstance(found, dict) else {}
