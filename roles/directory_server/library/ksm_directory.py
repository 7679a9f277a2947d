#!/usr/bin/python
"""Ansible module: organisational units, groups, accounts and rules of a Samba directory, at one of its controllers."""

from __future__ import annotations

from typing import Any

import ldb
from ansible.module_utils.basic import AnsibleModule

# Samba's own; a domain controller has them.
from samba.auth import system_session
from samba.credentials import Credentials
from samba.param import LoadParm
from samba.samdb import SamDB
from samba.sd_utils import SDUtils

DOCUMENTATION = r"""
module: ksm_directory
short_description: Keeps units, groups, accounts and rules of the directory that a controller holds
description:
  - Works on the controller's own database, all in one transaction; what was changed then replicates.
  - Adds and changes, and never removes. Units, groups and members that nobody asks for are left alone, because people
    may be in them; groups of the given units that nobody asks for are told.
  - Supports check mode.
options:
  administrator_password:
    description: The password that the domain's Administrator has.
    type: str
  password_policy:
    description:
      - The domain's rules, with minimum_length, history, maximum_age_days (0 means for ever), lockout_after and
        lockout_minutes.
      - Also forbids that users join computers.
    type: dict
  units:
    description: >-
      Organisational units, each with name and, below another one, parent (as path, outermost first, with slashes).
    type: list
    elements: dict
    default: []
  groups:
    description: >-
      Security groups, each with name, unit (path of a unit), optionally description and member_of (a group that its
      members belong to as well).
    type: list
    elements: dict
    default: []
  join_account:
    description: >-
      An account that may create, delete and re-join computers below one unit and nothing else. Has name, unit,
      computers (path of that unit) and password.
    type: dict
  admins:
    description: >-
      A group that administers accounts below one unit and the membership of groups below another, and nothing else. Has
      name, unit (of the group itself), users and groups (paths of those units).
    type: dict
author: KSM Kommunalservice Mecklenburg AöR
"""

EXAMPLES = r"""
- name: Make a unit with a group
  ksm_directory:
    units: [{name: Members}, {name: grabow, parent: Members}]
    groups: [{name: gra-users, unit: Members/grabow}]
"""

RETURN = r"""
changes: {description: What was changed., returned: always, type: list, elements: str}
unknown_groups: {description: Groups that nobody asked for., returned: always, type: list, elements: str}
"""

NORMAL_ACCOUNT_WITHOUT_EXPIRY = 0x10200
GLOBAL_SECURITY_GROUP = -2147483646
COMPLEX_PASSWORDS = 1
TICKS_PER_MINUTE = 60 * 10_000_000
"""The directory counts time in steps of 100 ns, spans as negative numbers."""
FOR_EVER = -(2**63)

COMPUTER = "bf967a86-0de6-11d0-a285-00aa003049e2"
# What a computer account needs to be joined, and joined again: nothing by which rights of others could be had, such as
# delegation.
JOIN_RIGHTS = (
    f"(OA;;CCDC;{COMPUTER};;{{sid}})",
    f"(OA;CIIO;CR;00299570-246d-11d0-a768-00aa006e0529;{COMPUTER};{{sid}})",  # reset password
    f"(OA;CIIO;WP;4c164200-20c0-11d0-a768-00aa006e0529;{COMPUTER};{{sid}})",  # account restrictions
    f"(OA;CIIO;SW;72e39547-7b18-11d1-adef-00c04fd8d5cd;{COMPUTER};{{sid}})",  # validated DNS host name
    f"(OA;CIIO;SW;f3a64788-5306-11d1-a9c5-0000f80367c1;{COMPUTER};{{sid}})",  # validated service principal names
    f"(OA;CIIO;WP;20119867-1d04-4ab7-9371-cfc3d5df0afd;{COMPUTER};{{sid}})",  # supported encryption types
    f"(OA;CIIO;WP;3e978925-8c01-11d0-afda-00c04fd930c9;{COMPUTER};{{sid}})",  # operating system
    f"(OA;CIIO;WP;3e978926-8c01-11d0-afda-00c04fd930c9;{COMPUTER};{{sid}})",  # its version
)


USER = "bf967aba-0de6-11d0-a285-00aa003049e2"
GROUP = "bf967a9c-0de6-11d0-a285-00aa003049e2"
# Accounts: no right by which one could pass for somebody else, such as service principal names or mapped certificates.
ACCOUNT_RIGHTS = (
    f"(OA;;CCDC;{USER};;{{sid}})",
    f"(OA;CIIO;CR;00299570-246d-11d0-a768-00aa006e0529;{USER};{{sid}})",  # reset password
    f"(OA;CIIO;RPWP;4c164200-20c0-11d0-a768-00aa006e0529;{USER};{{sid}})",  # account restrictions
    f"(OA;CIIO;RPWP;28630ebf-41d5-11d1-a9c1-0000f80367c1;{USER};{{sid}})",  # lock-out
    f"(OA;CIIO;RPWP;59ba2f42-79a2-11d0-9020-00c04fc2d3cf;{USER};{{sid}})",  # general information
    f"(OA;CIIO;RPWP;77b5b886-944a-11d1-aebd-0000f80367c1;{USER};{{sid}})",  # personal information
)
MEMBERSHIP_RIGHTS = (f"(OA;CIIO;RPWP;bf9679c0-0de6-11d0-a285-00aa003049e2;{GROUP};{{sid}})",)


class Directory:
    """The controller's database, and what was changed in it."""

    def __init__(self) -> None:
        settings = LoadParm()
        settings.load_default()
        self.database = SamDB(session_info=system_session(), lp=settings)
        self.rights = SDUtils(self.database)
        self.domain = self.database.domain_dn()
        self.changes: list[str] = []

    def unit(self, path: str) -> str:
        """DN of an organisational unit."""
        return ",".join([*(f"OU={name}" for name in reversed(path.split("/"))), self.domain])

    def found(self, dn: str, attributes: list[str]) -> Any:
        """The object, or None."""
        try:
            return self.database.search(dn, ldb.SCOPE_BASE, attrs=attributes)[0]
        except ldb.LdbError as error:
            if error.args[0] == ldb.ERR_NO_SUCH_OBJECT:
                return None
            raise

    def add(self, dn: str, told: str, **attributes: str) -> None:
        self.database.add({"dn": dn, **attributes})
        self.changes.append(f"{told} added")

    def set(self, dn: str, told: str, **wanted: str) -> None:
        """Give attributes of an object the wanted values."""
        entry = self.found(dn, list(wanted))
        different = {name: value for name, value in wanted.items() if str(entry.get(name, "")) != value}
        if different:
            self.modify(dn, different, ldb.FLAG_MOD_REPLACE)
            self.changes.append(f"{told}: {', '.join(sorted(different))} set")

    def modify(self, dn: str, values: dict[str, str], how: int) -> None:
        message = ldb.Message(ldb.Dn(self.database, dn))
        for name, value in values.items():
            message[name] = ldb.MessageElement(value, how, name)
        self.database.modify(message)

    # --- what there is ----------------------------------------------------------------------

    def has_unit(self, name: str, parent: str = "") -> None:
        dn = self.unit(f"{parent}/{name}" if parent else name)
        if self.found(dn, ["ou"]) is None:
            self.add(dn, f"unit {name}", objectClass="organizationalUnit")

    def has_group(self, name: str, unit: str, description: str = "", member_of: str = "") -> None:
        dn = self.named(name) or f"CN={name},{self.unit(unit)}"
        if self.found(dn, ["cn"]) is None:
            self.add(
                dn, f"group {name}", objectClass="group", sAMAccountName=name, groupType=str(GLOBAL_SECURITY_GROUP)
            )
        if description:
            self.set(dn, f"group {name}", description=description)
        if member_of:
            self.is_member(dn, name, member_of)

    def is_member(self, dn: str, name: str, group: str) -> None:
        above = self.named(group)
        if above is None:
            raise ValueError(f"there is no group {group} that {name} could be a member of")
        members = {str(member).lower() for member in self.found(above, ["member"]).get("member", [])}
        if dn.lower() not in members:
            self.modify(above, {"member": dn}, ldb.FLAG_MOD_ADD)
            self.changes.append(f"group {name} is a member of {group}")

    def named(self, account: str) -> str | None:
        """DN of the account or group of that name, wherever somebody has put it."""
        expression = f"(sAMAccountName={ldb.binary_encode(account)})"
        entries = self.database.search(self.domain, ldb.SCOPE_SUBTREE, expression, attrs=["cn"])
        return str(entries[0].dn) if len(entries) else None

    def has_password(self, dn: str, name: str, password: str) -> None:
        """Nothing happens if it is the password already."""
        credentials = Credentials()
        credentials.set_password(password)
        entry = self.found(dn, ["unicodePwd"])
        if "unicodePwd" in entry and bytes(entry["unicodePwd"][0]) == bytes(credentials.get_nt_hash()):
            return
        self.database.setpassword(f"(distinguishedName={ldb.binary_encode(dn)})", password)
        self.changes.append(f"password of {name} set")

    def has_policy(self, policy: dict[str, int]) -> None:
        minutes = -int(policy["lockout_minutes"]) * TICKS_PER_MINUTE
        age = -int(policy["maximum_age_days"]) * 24 * 60 * TICKS_PER_MINUTE or FOR_EVER
        self.set(
            self.domain,
            "password policy",
            minPwdLength=str(policy["minimum_length"]),
            pwdHistoryLength=str(policy["history"]),
            pwdProperties=str(COMPLEX_PASSWORDS),
            maxPwdAge=str(age),
            lockoutThreshold=str(policy["lockout_after"]),
            lockoutDuration=str(minutes),
            lockOutObservationWindow=str(minutes),
            **{"ms-DS-MachineAccountQuota": "0"},
        )

    def has_join_account(self, name: str, unit: str, computers: str, password: str) -> None:
        dn = self.named(name)
        if dn is None:
            dn = f"CN={name},{self.unit(unit)}"
            # An account with neither password nor policy in its way; enabled when it has its password.
            self.add(
                dn,
                f"account {name}",
                objectClass="user",
                sAMAccountName=name,
                description="Joins computers, nothing else",
            )
        self.has_password(dn, name, password)
        self.set(dn, f"account {name}", userAccountControl=str(NORMAL_ACCOUNT_WITHOUT_EXPIRY))
        self.has_rights(self.unit(computers), dn, name, JOIN_RIGHTS)

    def has_admins(self, name: str, unit: str, users: str, groups: str) -> None:
        self.has_group(name, unit, f"Administer accounts in {users} and who is in groups of {groups}")
        dn = self.named(name) or ""
        self.has_rights(self.unit(users), dn, name, ACCOUNT_RIGHTS)
        self.has_rights(self.unit(groups), dn, name, MEMBERSHIP_RIGHTS)

    def has_rights(self, dn: str, account: str, name: str, rights: tuple[str, ...]) -> None:
        """Give rights at ``dn`` to the account or group of that DN and name."""
        entry = self.found(account, ["objectSid"])
        sid = self.database.schema_format_value("objectSid", entry["objectSid"][0]).decode()
        wanted = [right.format(sid=sid) for right in rights]
        present = self.rights.get_sd_as_sddl(dn)
        missing = [right for right in wanted if right not in present]
        for right in missing:
            self.rights.dacl_add_ace(dn, right)
        if missing:
            self.changes.append(f"rights of {name} at {dn} added")

    def unknown_groups(self, groups: list[dict[str, str]]) -> list[str]:
        wanted = {group["name"].lower() for group in groups}
        units = sorted({group["unit"] for group in groups})
        return sorted(
            str(entry["sAMAccountName"])
            for unit in units
            for entry in self.database.search(
                self.unit(unit), ldb.SCOPE_ONELEVEL, "(objectClass=group)", attrs=["sAMAccountName"]
            )
            if str(entry["sAMAccountName"]).lower() not in wanted
        )


def keep(directory: Directory, parameters: dict[str, Any]) -> list[str]:
    """Make everything as asked for. Returns the groups that nobody asked for."""
    if parameters["administrator_password"]:
        name = "Administrator"
        directory.has_password(directory.named(name) or "", name, parameters["administrator_password"])
    if parameters["password_policy"]:
        directory.has_policy(parameters["password_policy"])
    for unit in parameters["units"]:
        directory.has_unit(**unit)
    for group in parameters["groups"]:
        directory.has_group(**group)
    if parameters["admins"]:
        directory.has_admins(**parameters["admins"])
    if parameters["join_account"]:
        directory.has_join_account(**parameters["join_account"])
    return directory.unknown_groups(parameters["groups"])


def main() -> None:
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "administrator_password": {"type": "str", "no_log": True},
            "password_policy": {"type": "dict", "no_log": False},
            "units": {"type": "list", "elements": "dict", "default": []},
            "groups": {"type": "list", "elements": "dict", "default": []},
            "admins": {
                "type": "dict",
                "options": {key: {"type": "str", "required": True} for key in ("name", "unit", "users", "groups")},
            },
            "join_account": {
                "type": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "unit": {"type": "str", "required": True},
                    "computers": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                },
            },
        },
        supports_check_mode=True,
    )
    directory = Directory()
    directory.database.transaction_start()
    try:
        unknown = keep(directory, module.params)
    except Exception as error:
        directory.database.transaction_cancel()
        module.fail_json(msg=f"the directory was not changed: {error}")
    if module.check_mode or not directory.changes:
        directory.database.transaction_cancel()
    else:
        directory.database.transaction_commit()
    module.exit_json(changed=bool(directory.changes), changes=directory.changes, unknown_groups=unknown)


if __name__ == "__main__":
    main()
