#!/usr/bin/python
"""Ansible module: lays out the files of a role together, in one task instead of one for each."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: ksm_files
short_description: Lays out several files, folders and links at once
description:
  - Every task costs a connection and a start of Python on every machine; a role's settings cost one of each here.
  - All new contents are validated before the first of them is put in its place.
  - What is changed is put in its place whole, by renaming.
  - Supports check mode and diff.
options:
  files:
    description: What shall be there, in the order in which it is laid out.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Where., type: path, required: true}
      state:
        description: A file has content, a link a target; of what shall be absent only a file or link is removed.
        type: str
        choices: [file, directory, link, absent]
        default: file
      content: {description: The whole content of a file., type: str}
      target: {description: What a link points at., type: str}
      mode: {description: Permissions as an octal number in quotes; links have none., type: str}
      owner: {description: Name of the owner., type: str, default: root}
      group: {description: Name of the group., type: str, default: root}
      validate:
        description: A program that ends with 0 if the content is right; it gets the name of a file instead of C(%s).
        type: list
        elements: str
author: KSM Kommunalservice Mecklenburg AöR
"""

EXAMPLES = r"""
- name: Lay out the settings
  ksm_files:
    files:
      - {path: /etc/example, state: directory, mode: "0755"}
      - path: /etc/example/example.conf
        content: "{{ lookup('ansible.builtin.template', 'example.conf.j2') }}"
        mode: "0644"
        validate: [/usr/sbin/example, --test, "%s"]
  register: __example_files
  notify: Reload example  # which asks: '/etc/example/example.conf' in __example_files.changed_paths
"""

RETURN = r"""
changed_paths: {description: What was not as it shall be., returned: success, type: list, elements: str}
"""


@dataclass(frozen=True)
class Entry:
    """What shall be at a path; ``uid`` and ``gid`` are None for a name that does not exist yet in check mode."""

    path: Path
    state: str
    content: bytes
    target: str
    mode: int | None
    uid: int | None
    gid: int | None
    validate: tuple[str, ...]


class Refused(Exception):  # noqa: N818 - it is a judgement about the arguments, told as the module's failure
    """The arguments cannot be carried out, for the reason given."""


def entries(given: list[dict[str, Any]], *, check: bool) -> list[Entry]:
    """The arguments, checked. Raises Refused for what does not go together."""
    seen: set[str] = set()
    found = []
    for one in given:
        path, state = one["path"], one["state"]
        if not path.startswith("/") or path in seen:
            raise Refused(f"{path}: a path must be absolute, and listed once")
        seen.add(path)
        if (state == "file") != (one["content"] is not None):
            raise Refused(f"{path}: a file, and nothing else, needs content")
        if (state == "link") != (one["target"] is not None):
            raise Refused(f"{path}: a link, and nothing else, needs a target")
        if (state in ("file", "directory")) != (one["mode"] is not None):
            raise Refused(f"{path}: a file or directory, and nothing else, needs a mode")
        found.append(
            Entry(
                path=Path(path),
                state=state,
                content=(one["content"] or "").encode(),
                target=one["target"] or "",
                mode=None if one["mode"] is None else octal(path, one["mode"]),
                uid=number(path, one["owner"], check=check, ask=lambda name: pwd.getpwnam(name).pw_uid),
                gid=number(path, one["group"], check=check, ask=lambda name: grp.getgrnam(name).gr_gid),
                validate=tuple(one["validate"] or ()),
            )
        )
    return found


def octal(path: str, text: str) -> int:
    """A mode as a number. Raises Refused for anything but an octal number of three or four digits."""
    try:
        if len(text) not in (3, 4):
            raise ValueError
        return int(text, 8)
    except ValueError:
        raise Refused(f"{path}: {text!r} is no mode; write it like '0644'") from None


def number(path: str, name: str, *, check: bool, ask: Any) -> int | None:
    """The number of a user or group; in check mode None for one that an earlier task would have created."""
    try:
        return int(ask(name))
    except KeyError:
        if check:
            return None
        raise Refused(f"{path}: there is no user or group {name}") from None


def kind(path: Path) -> str:
    """What is at a path now, in the words of the option ``state``."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return "absent"
    for name, is_it in (("link", stat.S_ISLNK), ("directory", stat.S_ISDIR), ("file", stat.S_ISREG)):
        if is_it(mode):
            return name
    return "other"


def describe(path: Path) -> str:
    """What is at a path now, as the first part of a diff."""
    now = kind(path)
    if now == "absent":
        return ""
    seen = path.lstat()
    rights = "" if now == "link" else f" {stat.S_IMODE(seen.st_mode):04o} {seen.st_uid}:{seen.st_gid}"
    content = path.read_bytes().decode("utf-8", "replace") if now == "file" else ""
    where = f" -> {path.readlink()}" if now == "link" else ""
    return f"{now}{rights}{where}\n{content}"


def wanted(entry: Entry) -> str:
    """The same of what shall be there."""
    if entry.state == "absent":
        return ""
    mode = 0 if entry.mode is None else entry.mode
    rights = "" if entry.state == "link" else f" {mode:04o} {entry.uid}:{entry.gid}"
    where = f" -> {entry.target}" if entry.state == "link" else ""
    return f"{entry.state}{rights}{where}\n{entry.content.decode('utf-8', 'replace')}"


def is_right(entry: Entry) -> bool:
    """Whether the path is as it shall be, byte for byte. Raises Refused if what is there must not be replaced."""
    now = kind(entry.path)
    if now == "other" or (now != "absent" and (now == "directory") != (entry.state == "directory")):
        raise Refused(f"{entry.path} is there already, and no {entry.state}; it is left alone")
    if now != entry.state:
        return False
    if now == "absent":
        return True
    if now == "link":
        return str(entry.path.readlink()) == entry.target
    seen = entry.path.lstat()
    same_rights = (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) == (entry.mode, entry.uid, entry.gid)
    return same_rights and (now == "directory" or entry.path.read_bytes() == entry.content)


def complaint(module: AnsibleModule, entry: Entry) -> str | None:
    """What the validating program says against the content; None if it has nothing against it."""
    if not entry.validate:
        return None
    handle, name = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as stream:
        stream.write(entry.content)
    code, out, err = module.run_command([part.replace("%s", name) for part in entry.validate])
    Path(name).unlink()
    return None if code == 0 else f"{entry.path}: {' '.join(entry.validate)}: {(err or out).strip()}"


def lay_out(entry: Entry) -> None:
    """Put one entry in its place. Files and links are made beside it and renamed, so that they are never half there."""
    if entry.state == "absent":
        entry.path.unlink()
        return
    if entry.state == "directory":
        entry.path.mkdir(exist_ok=True)
        set_rights(entry.path, entry)
        return
    with tempfile.TemporaryDirectory(prefix=".ksm-", dir=entry.path.parent) as beside:
        made = Path(beside) / "new"
        if entry.state == "link":
            made.symlink_to(entry.target)
        else:
            made.write_bytes(entry.content)
            set_rights(made, entry)
        made.replace(entry.path)


def set_rights(path: Path, entry: Entry) -> None:
    """Owner first: changing it takes the set-group bit away."""
    assert entry.mode is not None and entry.uid is not None and entry.gid is not None  # noqa: S101 - entries() saw to it
    os.chown(path, entry.uid, entry.gid)
    path.chmod(entry.mode)


SUBOPTIONS = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
    "content": {"type": "str"},
    "target": {"type": "str"},
    "mode": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "validate": {"type": "list", "elements": "str"},
}


def main() -> None:
    """The module."""
    module = AnsibleModule(
        {"files": {"type": "list", "elements": "dict", "required": True, "options": SUBOPTIONS}},
        supports_check_mode=True,
    )
    try:
        all_of_them = entries(module.params["files"], check=module.check_mode)
        changes = [entry for entry in all_of_them if not is_right(entry)]
    except Refused as reason:
        module.fail_json(msg=str(reason))
    complaints = [said for said in (complaint(module, entry) for entry in changes) if said]
    if complaints:
        module.fail_json(msg="nothing was laid out: " + "; ".join(complaints))
    diff = [
        {"before_header": str(e.path), "after_header": str(e.path), "before": describe(e.path), "after": wanted(e)}
        for e in changes
        if module._diff
    ]
    done: list[str] = []
    for entry in changes if not module.check_mode else ():
        try:
            lay_out(entry)
        except OSError as error:
            module.fail_json(msg=f"{entry.path}: {error.strerror}", changed=bool(done), changed_paths=done)
        done.append(str(entry.path))
    module.exit_json(changed=bool(changes), changed_paths=[str(entry.path) for entry in changes], diff=diff)


if __name__ == "__main__":
    main()
