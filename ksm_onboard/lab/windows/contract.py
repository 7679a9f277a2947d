"""What a Windows module accepts: by its documentation, and by the argument spec in its own source.

Documentation (as ``ansible-doc`` shows it) names the options. What the source says about them in its argument spec
(``[Ansible.Basic.AnsibleModule]::Create``) comes on top: types, choices, and rules between options, which no
documentation has. Older modules have no such spec; then the documentation stands alone. Arguments are judged by
ansible-core's own validator, which is stricter than PowerShell in one thing: it tells upper from lower case.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ansible import __version__ as ansible_version
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.loader import fragment_loader, module_loader
from ansible.utils.plugin_docs import find_plugin_docfile, get_plugin_docs

from ksm_onboard.atomic import write_atomically
from ksm_onboard.lab.windows.powershell import UNKNOWN, hash_with, named_arguments

Spec = dict[str, Any]

RULES: Final = ("mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by")
_KEPT: Final = ("type", "elements", "choices", "default", "required", "aliases", "no_log")

PASSED_BY_ACTION_PLUGINS: Final[dict[str, frozenset[str]]] = {
    # win_copy's action plugin hands it over, though the module does not read it.
    "ansible.windows.win_copy": frozenset({"symlinks"}),
}


class RefusedError(Exception):
    """A module or an argument that the simulation does not know, or that the module would not accept."""


@dataclass(frozen=True)
class Contract:
    """The options of one module, in the form of ansible-core's validator, and the rules between them."""

    module: str
    options: Spec
    rules: dict[str, Any]
    supports_check_mode: bool

    def validated(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with types converted, aliases resolved and defaults filled in.

        Raises RefusedError, which names everything that is wrong.
        """
        result = ArgumentSpecValidator(self.options, **self.rules).validate(arguments)
        if result.errors.errors:
            raise RefusedError(f"{self.module}: {'; '.join(_wrong(error) for error in result.errors.errors)}")
        found: dict[str, Any] = result.validated_parameters
        return {name: found.get(name) for name in self.options}


def contract(module: str, source: bytes, cache: Path | None = None) -> Contract:
    """The contract of a module with this PowerShell ``source``; ``cache`` is a folder that keeps what was worked out.

    Raises RefusedError if the module has no documentation.
    """
    try:
        file, _ = find_plugin_docfile(module, "module", module_loader)
    except AnsibleError as error:
        raise RefusedError(f"{module} has no documentation to judge its arguments by: {error}") from None
    if cache is None:
        return _read(module, source)
    documented = Path(file).read_bytes()
    kept = cache / f"{hashlib.sha256(b'|'.join((ansible_version.encode(), documented, source))).hexdigest()}.json"
    try:
        return Contract(**json.loads(kept.read_text()))
    except FileNotFoundError:
        found = _read(module, source)
    cache.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, json.dumps(asdict(found)))
    return found


def _wrong(error: Exception) -> str:
    return f"unknown parameters: {error}" if isinstance(error, UnsupportedError) else str(error)


def _read(module: str, source: bytes) -> Contract:
    try:
        documentation = get_plugin_docs(module, "module", module_loader, fragment_loader, verbose=False)[0]
    except AnsibleError as error:
        raise RefusedError(f"{module} has no documentation to judge its arguments by: {error}") from None
    options = _documented(documentation.get("options") or {})
    own = hash_with(source, "options")
    if own is None:
        internal = {name for name in named_arguments(source, "Get-AnsibleParam", "name") if name not in options}
        rules: dict[str, Any] = {}
        checks = b"-supports_check_mode $true" in source.lower()
    else:
        internal = {name for name in own["options"] if name.startswith("_")}
        options = _with_source(options, own["options"])
        rules = {rule: own[rule] for rule in RULES if rule in own and not _unreadable(own[rule])}
        checks = own.get("supports_check_mode") is True
    internal |= PASSED_BY_ACTION_PLUGINS.get(module, frozenset())
    for name in internal:
        if not name.startswith("_ansible_"):
            options[name] = {"type": "raw"}
    return Contract(module, options, rules, checks)


def _documented(options: Spec) -> Spec:
    found = {}
    for name, option in options.items():
        found[name] = {key: option[key] for key in _KEPT if key in option}
        if "suboptions" in option:
            found[name]["options"] = _documented(option["suboptions"])
        _unify(found[name])
    return found


def _with_source(documented: Spec, own: Spec) -> Spec:
    """The documented options, each with what the source says about it. Options nobody documented stay unknown."""
    merged = {}
    for name, option in documented.items():
        said = own.get(name)
        said = said if isinstance(said, dict) else {}
        merged[name] = option | {key: said[key] for key in _KEPT if key in said and not _unreadable(said[key])}
        if isinstance(said.get("options"), dict) and "options" in option:
            merged[name]["options"] = _with_source(option["options"], said["options"])
        _unify(merged[name])
    return merged


def _unify(option: Spec) -> None:
    option.setdefault("type", "str")
    # Paths are Windows paths: Python must not expand them as its own.
    if option["type"] == "path":
        option["type"] = "str"
    if option.get("elements") == "path":
        option["elements"] = "str"
    if isinstance(option.get("aliases"), str):
        option["aliases"] = [option["aliases"]]
    if isinstance(option.get("choices"), dict):
        option["choices"] = list(option["choices"])
    if option.get("required"):
        option.pop("default", None)


def _unreadable(value: Any) -> bool:
    if isinstance(value, list):
        return any(_unreadable(item) for item in value)
    if isinstance(value, dict):
        return any(_unreadable(item) for item in value.values())
    return value is UNKNOWN
