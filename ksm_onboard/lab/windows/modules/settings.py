"""Modules for the system: registry, time zone, services, firewall, audit policy, features, scheduled tasks."""

from __future__ import annotations

import re
from typing import Any, Final

from ksm_onboard.lab.windows.machine import RegistryValue
from ksm_onboard.lab.windows.modules.answering import Answer, FailedError, Situation

_REGISTRY_PATH: Final = re.compile(r"^HK(CC|CR|CU|LM|U):\\", re.IGNORECASE)
_MAX_DWORD: Final = 0xFFFFFFFF
_MAX_QWORD: Final = 0xFFFFFFFFFFFFFFFF

# Names that tzutil lists, of the zones that declarations may use.
_TIME_ZONES: Final = frozenset(
    {"W. Europe Standard Time", "UTC", "GMT Standard Time", "Central Europe Standard Time", "Pacific Standard Time"}
)
_AUDIT_SUBCATEGORIES: Final = frozenset(
    {"Logon", "Logoff", "Account Lockout", "Special Logon", "Process Creation", "User Account Management"}
)


def registry_key(path: str) -> str:
    """How a key is looked up. Raises FailedError if the path is not one of the registry."""
    if not _REGISTRY_PATH.match(path):
        raise FailedError(f"path: {path} is not a valid powershell path, see module documentation for examples.")
    return path.rstrip("\\").lower()


def _regedit(situation: Situation, arguments: dict[str, Any]) -> Answer:
    if arguments["hive"]:
        raise FailedError("hive: loading a hive from a file is not simulated")
    path, name = arguments["path"], arguments["name"] or ""
    key, registry = registry_key(path), situation.machine.registry
    answer: Answer = {"changed": False, "data_changed": False, "data_type_changed": False}
    old = registry.get(key, {}).get(name.lower())
    if arguments["state"] == "absent":
        return answer | _registry_absent(situation, arguments, key, old)
    kind, data = arguments["type"], _registry_data(arguments)
    new_key = key not in registry
    values = registry.setdefault(key, {})
    if data is None:
        return answer | {"changed": new_key}
    new = RegistryValue(name=name, type=kind, data=data)
    if old is not None:
        answer["data_type_changed"] = old.type != kind
        answer["data_changed"] = old.data != data
    values[name.lower()] = new
    answer["changed"] = old is None or answer["data_type_changed"] or answer["data_changed"]
    before = {} if new_key else {path: {} if old is None else _registry_diff(old)}
    return answer | situation.shown(before, {path: _registry_diff(new)})


def _registry_absent(situation: Situation, arguments: dict[str, Any], key: str, old: RegistryValue | None) -> Answer:
    path, registry = arguments["path"], situation.machine.registry
    if key not in registry:
        return {"changed": False}
    if arguments["delete_key"] and not arguments["name"]:
        for below in [found for found in registry if found == key or found.startswith(f"{key}\\")]:
            del registry[below]
        return {"changed": True, **situation.shown({path: {}}, {})}
    if old is None:
        return {"changed": False}
    del registry[key][old.name.lower()]
    return {"changed": True, **situation.shown({path: _registry_diff(old)}, {path: {}})}


def _registry_diff(value: RegistryValue) -> dict[str, Any]:
    shown = f"0x{value.data:08x}" if value.type == "dword" else value.data
    return {value.name: {"type": value.type.capitalize(), "value": shown}}


def _registry_data(arguments: dict[str, Any]) -> Any:
    kind, data = arguments["type"], arguments["data"]
    if kind in ("dword", "qword"):
        return _number(kind, 0 if data is None else data)
    if kind == "multistring":
        return [str(entry) for entry in data] if isinstance(data, list) else [] if data is None else [str(data)]
    if kind in ("binary", "none"):
        raise FailedError(f"type {kind} is not simulated")
    if data is None:
        return "" if arguments["name"] else None
    return _text(data)


def _text(data: Any) -> str:
    # .NET writes True and False.
    return str(data)


def _number(kind: str, data: Any) -> int:
    try:
        number = int(data)
    except (TypeError, ValueError):
        raise FailedError(f'Cannot convert value "{data}" to type "System.UInt64".') from None
    limit = _MAX_DWORD if kind == "dword" else _MAX_QWORD
    if not 0 <= number <= limit:
        raise FailedError(f"data cannot be larger than {limit:#x} when type is {kind}")
    return number


def _timezone(situation: Situation, arguments: dict[str, Any]) -> Answer:
    machine, wanted = situation.machine, arguments["timezone"]
    before = machine.time_zone
    if before != wanted and wanted.removesuffix("_dstoff") not in _TIME_ZONES:
        raise FailedError(f"The specified timezone: {wanted} isn't supported on the machine.")
    machine.time_zone = wanted
    return {
        "changed": before != wanted,
        "previous_timezone": before,
        "timezone": wanted,
        **situation.shown(f"{before}\n", f"{wanted}\n"),
    }


_SERVICE_ARGUMENTS: Final = frozenset({"name", "state", "start_mode"})


def _service(situation: Situation, arguments: dict[str, Any]) -> Answer:
    _only(arguments, _SERVICE_ARGUMENTS, {"dependency_action", "desktop_interact", "force_dependent_services"})
    name, state, start_mode = arguments["name"], arguments["state"], arguments["start_mode"]
    service = situation.machine.services.get(name.lower())
    if service is None:
        raise FailedError(f"Service '{name}' is not installed, need to set 'path' to create a new service")
    if state not in (None, "started", "stopped", "restarted"):
        raise FailedError(f"state {state} is not simulated")
    before = {"state": service.state, "start_mode": service.start_mode}
    if start_mode:
        service.start_mode = start_mode
    if state in ("started", "restarted") and service.start_mode == "disabled":
        raise FailedError(f"Cannot start service '{name}': it is disabled")
    if state:
        service.state = "stopped" if state == "stopped" else "started"
    after = {"state": service.state, "start_mode": service.start_mode}
    return {
        "changed": state == "restarted" or before != after,
        "exists": True,
        "name": name,
        "display_name": service.display_name,
        **after,
        **situation.shown(before, after),
    }


def _only(arguments: dict[str, Any], simulated: frozenset[str], with_defaults: set[str]) -> None:
    """Refuse arguments that the module knows and the simulation does not act on."""
    unknown = sorted(
        name
        for name, value in arguments.items()
        if value is not None and name not in simulated and name not in with_defaults
    )
    if unknown:
        raise FailedError(f"not simulated: {', '.join(unknown)}")


def _firewall(situation: Situation, arguments: dict[str, Any]) -> Answer:
    changed = False
    answer: Answer = {"profiles": arguments["profiles"], "state": arguments["state"]}
    for name in arguments["profiles"]:
        profile = situation.machine.firewall_profiles[name]
        wanted = {"enabled": arguments["state"] == "enabled"}
        if wanted["enabled"]:
            wanted |= {k: arguments[k] for k in ("inbound_action", "outbound_action") if arguments[k] is not None}
        changed |= any(getattr(profile, key) != value for key, value in wanted.items())
        for key, value in wanted.items():
            setattr(profile, key, value)
        answer[name] = {"enabled": profile.enabled, "considered": True}
    return answer | {"changed": changed}


_RULE_DEFAULTS: Final = {"enabled": True, "protocol": "any", "localport": "any", "remoteip": "any", "profiles": ["all"]}


def _firewall_rule(situation: Situation, arguments: dict[str, Any]) -> Answer:
    rules, name = situation.machine.firewall_rules, arguments["name"]
    if not name:
        raise FailedError(
            "Either name or group must be specified" if not arguments["group"] else "group alone is not simulated"
        )
    if arguments["state"] == "absent":
        if rules.pop(name, None) is None:
            return {"changed": False, "msg": f"Firewall rule '{name}' does not exist."}
        return {"changed": True, "msg": f"Firewall rule(s) '{name}' removed."}
    wanted = {key: value for key, value in arguments.items() if value is not None and key not in ("name", "state")}
    old = rules.get(name)
    rules[name] = {**(_RULE_DEFAULTS if old is None else old), **wanted}
    if old is None:
        return {"changed": True, "msg": f"Firewall rule '{name}' created."}
    changed = rules[name] != old
    return {"changed": changed, "msg": f"Firewall rule(s) {'changed' if changed else 'unchanged'} '{name}'"}


def _audit_policy(situation: Situation, arguments: dict[str, Any]) -> Answer:
    if arguments["category"]:
        raise FailedError("category is not simulated, name a subcategory")
    name, kinds = arguments["subcategory"], set(arguments["audit_type"])
    if name not in _AUDIT_SUBCATEGORIES:
        raise FailedError("Invalid sub category provided")
    wanted = " and ".join(kind for kind in ("success", "failure") if kind in kinds) or "no auditing"
    policy = situation.machine.audit_policy
    before = policy.get(name, "no auditing")
    policy[name] = wanted
    return {"changed": before != wanted, "current_audit_policy": {name.lower(): wanted}}


def _optional_feature(situation: Situation, arguments: dict[str, Any]) -> Answer:
    features, wanted = situation.machine.features, arguments["state"] == "present"
    for name in arguments["name"]:
        if name not in features:
            raise FailedError(f"Failed to find feature '{name}'")
    changed = [name for name in arguments["name"] if features[name] != wanted]
    for name in changed:
        features[name] = wanted
    situation.machine.pending_reboot |= bool(changed)
    return {"changed": bool(changed), "reboot_required": bool(changed) and not situation.check_mode}


_TASK_ARGUMENTS: Final = frozenset(
    {"name", "path", "state", "description", "actions", "triggers", "enabled", "group", "username", "run_level"}
)


def _scheduled_task(situation: Situation, arguments: dict[str, Any]) -> Answer:
    _only(arguments, _TASK_ARGUMENTS, {"update_password"})
    tasks = situation.machine.scheduled_tasks
    full_name = f"{arguments['path'].rstrip(chr(92))}\\{arguments['name']}"
    if arguments["state"] == "absent":
        return {"changed": tasks.pop(full_name, None) is not None}
    if arguments["group"] and arguments["username"]:
        raise FailedError("username and group can not be set at the same time")
    old = tasks.get(full_name)
    if not arguments["actions"] and old is None:
        raise FailedError("cannot create a task with no actions, set at least one action with a path to an executable")
    wanted = {
        k: v for k, v in arguments.items() if k not in ("name", "path", "state", "update_password") and v is not None
    }
    tasks[full_name] = {**(old or {}), **wanted}
    return {"changed": tasks[full_name] != old}


MODULES: Final = {
    "ansible.windows.win_regedit": _regedit,
    "ansible.windows.win_timezone": _timezone,
    "ansible.windows.win_service": _service,
    "ansible.windows.win_firewall": _firewall,
    "ansible.windows.win_audit_policy_system": _audit_policy,
    "ansible.windows.win_optional_feature": _optional_feature,
    "community.windows.win_firewall_rule": _firewall_rule,
    "community.windows.win_scheduled_task": _scheduled_task,
}
