"""Controller's half of desired_state: what a machine shall be, as one fingerprint per role, and how it compares.

A role's fingerprint covers the role's files and every variable that begins with its name. A variable that ends in
``_file`` stands for a file here, so its content is covered, too. ``rest`` covers the playbook and this role.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

REST = "rest"
SHOWN = 3


def content(*paths: Path) -> str:
    """A digest over all files at and below ``paths``; documentation does not count."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.suffix != ".pyc" and file.name not in ("README.md", "argument_specs.yml"):
                digest.update(f"{file.relative_to(path.parent)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """``value`` without Ansible's own types, in one order."""
    if isinstance(value, Mapping):
        return {str(key): plain(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def variables(role: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of ``role``, and the digest of every file that one of them names."""
    own: dict[str, Any] = {name: plain(known[name]) for name in sorted(known) if name.startswith(f"{role}_")}
    named = {name: Path(str(value)) for name, value in own.items() if name.endswith("_file") and value}
    return own | {f"{name} content": content(file) for name, file in named.items() if file.is_file()}


def fingerprint(*parts: Any) -> str:
    """One digest of everything given."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def due(wanted: Mapping[str, str], recorded: Mapping[str, str], differences: Iterable[str], *, full: bool) -> list[str]:
    """The roles that have to run, in order."""
    roles = [role for role in wanted if role != REST]
    if full or list(differences) or recorded.get(REST) != wanted[REST] or recorded.keys() != wanted.keys():
        return roles
    return [role for role in roles if recorded.get(role) != wanted[role]]


class ActionModule(ActionBase):
    """Looks whether the machine is as it was left (``mode: look``), or records how it is left (``mode: record``)."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Runs once per machine and look, in a process of its own."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        known = task_vars or {}
        arguments = self._task.args
        roles = [str(role) for role in arguments["roles"]]
        wanted = self._wanted(roles, known)
        answer = self._execute_module(
            module_name="desired_state_host",
            module_args={
                "mode": arguments["mode"],
                "record": arguments["record"],
                "watched": arguments["watched"],
                "ignored": arguments["ignored"],
                "fingerprints": wanted,
                "applications": plain(arguments["applications"]),
            },
            task_vars=known,
        )
        result.update(answer)
        if answer.get("failed") or arguments["mode"] == "record":
            return result
        differences = answer["differences"]
        result["due"] = due(wanted, answer["recorded"], differences, full=bool(arguments.get("full", False)))
        result["confirmed"] = not result["due"]
        result["why"] = self._why(result, answer, full=bool(arguments.get("full", False)))
        return result

    def _wanted(self, roles: list[str], known: Mapping[str, Any]) -> dict[str, str]:
        folder = Path(self._task._role._role_path).parent
        resolved = {
            name: self._templar.template(value)
            for name, value in known.items()
            if any(name.startswith(f"{role}_") for role in roles)
        }
        name = str(known["inventory_hostname"])
        wanted = {role: fingerprint(name, content(folder / role), variables(role, resolved)) for role in roles}
        playbooks = sorted(folder.glob("*.yml"))
        return wanted | {REST: fingerprint(content(*playbooks, folder / "desired_state"))}

    def _why(self, result: Mapping[str, Any], answer: Mapping[str, Any], *, full: bool) -> str:
        if result["confirmed"]:
            return "as it was left, and as it shall be"
        if full:
            return "checked in full, as asked for"
        if not answer["recorded"]:
            return "no finished run is recorded on it"
        if differences := answer["differences"]:
            more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
            return f"changed since the last run: {', '.join(differences[:SHOWN])}{more}"
        return f"declared otherwise since: {', '.join(result['due'])}"
