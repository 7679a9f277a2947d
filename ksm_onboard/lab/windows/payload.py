"""Takes apart what Ansible sends to a Windows host instead of running it. Pure.

ansible-core sends one PowerShell script, its bootstrap wrapper, and on its input two JSON documents: how to start the
exec wrapper, and a manifest of scripts (Base64) and of actions that are run one inside the other; the innermost is
the module with its arguments (``ansible/executor/powershell/module_manifest.py``, read for 2.19). Whatever else a
plugin of Ansible sends is a plain script, encoded in the command line.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

SEPARATOR: Final = "\n\0\0\0\0\n"
"""Between the documents on the input: a line of four zero bytes."""

_ENCODED: Final = re.compile(r"^PowerShell .*-EncodedCommand (\S+)$", re.DOTALL)
_IN_COLLECTION: Final = re.compile(r"^ansible_collections\.(\w+)\.(\w+)\.plugins\.modules\.(\w+)$")
_MODULE_WRAPPER: Final = "module_wrapper.ps1"


class NotUnderstoodError(Exception):
    """What was sent is not what this version of Ansible is known to send; says what it is."""


@dataclass(frozen=True)
class ModuleCall:
    """A module with its source and the arguments that Ansible gives it, its own settings (``_ansible_…``) set apart."""

    name: str
    source: bytes
    arguments: dict[str, Any]
    check_mode: bool
    diff: bool


@dataclass(frozen=True)
class ScriptCall:
    """One of Ansible's own helper scripts, such as the one that creates a temporary folder."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlainScript:
    """PowerShell source without a manifest; what ``raw`` sends is of this kind too."""

    source: str


def decode(command: str, data: bytes | None) -> ModuleCall | ScriptCall | PlainScript:
    """What Ansible wants done. Raises NotUnderstoodError if it is not in the form that its version uses."""
    encoded = _ENCODED.match(command)
    if encoded is None:
        return PlainScript(command)
    script = _unbase64(encoded.group(1)).decode("utf-16-le", "replace")
    if not data:
        return PlainScript(script)
    return _from_manifest(data)


def _from_manifest(data: bytes) -> ModuleCall | ScriptCall:
    parts = data.decode("utf-8").split(SEPARATOR)
    if len(parts) < 2:
        raise NotUnderstoodError("input for a script that is not Ansible's bootstrap wrapper")
    try:
        bootstrap, manifest = json.loads(parts[0]), json.loads(parts[1])
        wrapper, actions, scripts = bootstrap["name"], manifest["actions"], manifest["scripts"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotUnderstoodError(f"a manifest that cannot be read: {error!r}") from None
    if wrapper != "exec_wrapper" or not actions:
        raise NotUnderstoodError(f"a manifest for {wrapper!r} with {len(actions)} actions")
    *around, innermost = actions
    if around:
        raise NotUnderstoodError(
            f"{', '.join(action['name'] for action in around)} around a module (become, async and coverage): "
            "none of it is simulated"
        )
    if innermost["name"] != _MODULE_WRAPPER:
        return ScriptCall(innermost["name"], dict(innermost["params"]))
    return _module(innermost["params"], scripts)


def _module(params: dict[str, Any], scripts: dict[str, Any]) -> ModuleCall:
    if not params.get("ForModule"):
        raise NotUnderstoodError(f"the script {params.get('Script')!r} instead of a module")
    given = {variable["Name"]: variable["Value"] for variable in params.get("Variables", ())}
    file = params["Script"]
    if "complex_args" not in given or file not in scripts:
        raise NotUnderstoodError(f"the module {file!r} without its source or its arguments")
    if params.get("Environment"):
        raise NotUnderstoodError(f"environment variables for {file!r}: none are simulated")
    arguments = given["complex_args"]
    return ModuleCall(
        name=_module_name(file.removesuffix(".ps1")),
        source=_unbase64(scripts[file]["script"]),
        arguments={name: value for name, value in arguments.items() if not name.startswith("_ansible_")},
        check_mode=bool(arguments.get("_ansible_check_mode", False)),
        diff=bool(arguments.get("_ansible_diff", False)),
    )


def _module_name(name: str) -> str:
    """The name that people write: Ansible sends that of the Python package for modules of collections."""
    found = _IN_COLLECTION.match(name)
    return ".".join(found.groups()) if found else name.removeprefix("ansible.legacy.").rsplit(".", 1)[-1]


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise NotUnderstoodError(f"a script that is not Base64: {error}") from None
