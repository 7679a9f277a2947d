"""Modules for local accounts and groups."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from ksm_onboard.lab.windows.machine import User
from ksm_onboard.lab.windows.modules.answering import Answer, FailedError, Situation

_SETTINGS: Final = {
    "fullname": "fullname",
    "description": "description",
    "account_disabled": "disabled",
    "password_never_expires": "password_never_expires",
    "user_cannot_change_password": "user_cannot_change_password",
}
_NOT_SIMULATED: Final = (
    "account_expires", "account_locked", "home_directory", "login_script", "password_expired", "profile",
)  # fmt: skip


def _user(situation: Situation, arguments: dict[str, Any]) -> Answer:
    if unknown := [name for name in _NOT_SIMULATED if arguments[name] is not None]:
        raise FailedError(f"not simulated: {', '.join(unknown)}")
    machine, name = situation.machine, arguments["name"]
    old = machine.users.get(name)
    if arguments["state"] == "query":
        return {"changed": False, "name": name, "state": "absent" if old is None else "present"}
    if arguments["state"] == "absent":
        return _without_user(situation, name)
    user = User(sid=f"S-1-5-21-1-2-3-{1001 + len(machine.users)}") if old is None else old.model_copy()
    for argument, attribute in _SETTINGS.items():
        if arguments[argument] is not None:
            setattr(user, attribute, arguments[argument])
    if arguments["password"] is not None and (old is None or arguments["update_password"] != "on_create"):  # noqa: S105
        user.password_sha256 = hashlib.sha256(arguments["password"].encode()).hexdigest()
    before = sorted(group for group, members in machine.groups.items() if name in members)
    machine.users[name] = user
    after = _set_groups(situation, name, before, arguments)
    return {
        "changed": old != user or before != after,
        "name": name,
        "state": "present",
        "sid": user.sid,
        "fullname": user.fullname,
        "description": user.description,
        "account_disabled": user.disabled,
        "password_never_expires": user.password_never_expires,
        "groups": [{"name": group} for group in after],
    }


def _without_user(situation: Situation, name: str) -> Answer:
    machine = situation.machine
    if machine.users.pop(name, None) is None:
        return {"changed": False, "name": name, "state": "absent", "msg": f"User '{name}' was not found"}
    for members in machine.groups.values():
        if name in members:
            members.remove(name)
    return {"changed": True, "name": name, "state": "absent", "msg": f"User '{name}' deleted successfully"}


def _set_groups(situation: Situation, name: str, before: list[str], arguments: dict[str, Any]) -> list[str]:
    groups, wanted, how = situation.machine.groups, arguments["groups"], arguments["groups_action"]
    if wanted is None:
        return before
    if unknown := [group for group in wanted if group not in groups]:
        raise FailedError(f"group '{unknown[0]}' not found")
    after = (
        set(wanted) if how == "replace" else set(before) | set(wanted) if how == "add" else set(before) - set(wanted)
    )
    for group, members in groups.items():
        if group in after and name not in members:
            members.append(name)
        elif group not in after and name in members:
            members.remove(name)
    return sorted(after)


def _group_membership(situation: Situation, arguments: dict[str, Any]) -> Answer:
    machine, name, state = situation.machine, arguments["name"], arguments["state"]
    members = machine.groups.get(name)
    if members is None:
        raise FailedError(f"Could not find local group {name}")
    wanted = arguments["members"]
    # Names with a domain are looked up there, of which nothing is simulated but that it answers.
    for member in wanted:
        if "\\" not in member and "@" not in member and member not in machine.users and state != "absent":
            raise FailedError(f"Could not resolve group member {member}")
    before = list(members)
    if state == "absent":
        after = [member for member in before if member not in wanted]
    elif state == "pure":
        after = [member for member in before if member in wanted] + [m for m in wanted if m not in before]
    else:
        after = before + [member for member in wanted if member not in before]
    machine.groups[name] = after
    return {
        "changed": before != after,
        "name": name,
        "added": [member for member in after if member not in before],
        "removed": [member for member in before if member not in after],
        "members": after,
    }


MODULES: Final = {
    "ansible.windows.win_user": _user,
    "ansible.windows.win_group_membership": _group_membership,
}
