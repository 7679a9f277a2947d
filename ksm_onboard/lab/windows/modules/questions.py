"""Modules that only ask."""

from __future__ import annotations

import base64
import json
import ntpath
from collections.abc import Mapping
from typing import Any, Final

from ksm_onboard.lab.windows.machine import Machine, RegistryValue
from ksm_onboard.lab.windows.modules.answering import Answer, FailedError, Situation
from ksm_onboard.lab.windows.modules.settings import registry_key

_REGISTRY_TYPES: Final[Mapping[str, str]] = {
    "binary": "REG_BINARY",
    "string": "REG_SZ",
    "dword": "REG_DWORD",
    "qword": "REG_QWORD",
    "multistring": "REG_MULTI_SZ",
    "expandstring": "REG_EXPAND_SZ",
    "none": "REG_NONE",
}


def path_key(path: str) -> str:
    """How a path is looked up: Windows does not tell upper from lower case."""
    return ntpath.normpath(path.strip().strip('"')).rstrip("\\").lower()


def _ping(_situation: Situation, arguments: dict[str, Any]) -> Answer:
    return {"ping": arguments["data"]}


def _setup(situation: Situation, arguments: dict[str, Any]) -> Answer:
    machine = situation.machine
    facts: dict[str, Any] = {
        "ansible_os_family": "Windows",
        "ansible_distribution": machine.operating_system,
        "ansible_distribution_version": machine.version,
        "ansible_distribution_major_version": machine.version.split(".", 1)[0],
        "ansible_hostname": machine.name.upper(),
        "ansible_system": "Win32NT",
        "ansible_reboot_pending": machine.pending_reboot,
    }
    answer: Answer = {"ansible_facts": facts}
    folder = arguments["fact_path"]
    if folder:
        if path_key(folder) not in machine.folders:
            answer["warnings"] = [f"Non existing path was set for local facts - {folder}"]
        facts |= _local_facts(machine, path_key(folder))
    return answer


def _local_facts(machine: Machine, folder: str) -> dict[str, Any]:
    found = {}
    for path, file in machine.files.items():
        name, extension = ntpath.splitext(ntpath.basename(path))
        if ntpath.dirname(path) == folder and extension == ".json":
            found[f"ansible_{name}"] = json.loads(base64.b64decode(file.content))
        elif ntpath.dirname(path) == folder and extension == ".ps1":
            raise FailedError(f"{file.path}: facts that are scripts are not simulated")
    return found


def _reg_stat(situation: Situation, arguments: dict[str, Any]) -> Answer:
    key = registry_key(arguments["path"])
    registry = situation.machine.registry
    values = registry.get(key)
    if values is None:
        return {"exists": False}
    if arguments["name"] is not None:
        value = values.get(arguments["name"].lower())
        return {"exists": False} if value is None else {"exists": True, **_shown(value)}
    below = {path[len(key) + 1 :].split("\\", 1)[0] for path in registry if path.startswith(f"{key}\\")}
    return {
        "exists": True,
        "properties": {value.name: _shown(value) for value in values.values()},
        "sub_keys": sorted(below),
    }


def _shown(value: RegistryValue) -> dict[str, Any]:
    return {"type": _REGISTRY_TYPES[value.type], "value": value.data, "raw_value": value.data}


def _service_info(situation: Situation, arguments: dict[str, Any]) -> Answer:
    wanted = (arguments["name"] or "").lower()
    found = [
        {
            "name": name,
            "display_name": service.display_name,
            "state": service.state,
            "start_mode": service.start_mode,
        }
        for name, service in situation.machine.services.items()
        if wanted in ("", name, service.display_name.lower())
    ]
    return {"exists": bool(found), "services": found}


def _stat(situation: Situation, arguments: dict[str, Any]) -> Answer:
    if arguments["get_checksum"] and arguments["checksum_algorithm"] != "sha1":
        raise FailedError(f"checksum_algorithm {arguments['checksum_algorithm']} is not simulated, only sha1")
    machine, key = situation.machine, path_key(arguments["path"])
    if key in machine.folders:
        return {"stat": {"exists": True, "isdir": True, "isreg": False, "path": arguments["path"]}}
    file = machine.files.get(key)
    if file is None:
        return {"stat": {"exists": False}}
    stat = {"exists": True, "isdir": False, "isreg": True, "path": file.path, "filename": ntpath.basename(file.path)}
    if arguments["get_checksum"]:
        stat["checksum"] = file.sha1
    if arguments["get_size"]:
        stat["size"] = len(base64.b64decode(file.content))
    return {"stat": stat}


def _slurp(situation: Situation, arguments: dict[str, Any]) -> Answer:
    file = situation.machine.files.get(path_key(arguments["src"]))
    if file is None:
        raise FailedError(f"Path {arguments['src']} is not found")
    return {"encoding": "base64", "content": file.content}


def _certificate_info(situation: Situation, arguments: dict[str, Any]) -> Answer:
    store = f"{arguments['store_location']}\\{arguments['store_name']}"
    found = situation.machine.certificates.get(store, {})
    wanted = arguments["thumbprint"]
    certificates = [
        {"thumbprint": thumbprint, "subject": subject}
        for thumbprint, subject in sorted(found.items())
        if wanted is None or wanted.upper() == thumbprint
    ]
    return {"exists": bool(certificates), "certificates": certificates}


def _group_facts(situation: Situation, arguments: dict[str, Any]) -> Answer:
    return {"ansible_facts": {"ansible_chocolatey": _chocolatey(situation, arguments["filter"] or ["all"])}}


def _chocolatey(situation: Situation, kinds: list[str]) -> dict[str, Any]:
    chocolatey = situation.machine.chocolatey
    if not chocolatey.version:
        raise FailedError("Failed to find Chocolatey installation, make sure choco.exe is in the PATH env value")
    unknown = set(kinds) & {"config", "feature", "outdated"}
    if unknown or "all" in kinds:
        raise FailedError("of Chocolatey's facts only packages and sources are simulated, ask with filter")
    found: dict[str, Any] = {"filter": kinds}
    if "packages" in kinds:
        found["packages"] = [{"package": name, "version": number} for name, number in chocolatey.packages.items()]
    if "sources" in kinds:
        found["sources"] = [{"name": name, **source} for name, source in chocolatey.sources.items()]
    return found


MODULES: Final = {
    "ansible.windows.win_ping": _ping,
    "ansible.windows.setup": _setup,
    "ansible.windows.win_reg_stat": _reg_stat,
    "ansible.windows.win_service_info": _service_info,
    "ansible.windows.win_stat": _stat,
    "ansible.windows.slurp": _slurp,
    "ansible.windows.win_certificate_info": _certificate_info,
    "chocolatey.chocolatey.win_chocolatey_facts": _group_facts,
}
