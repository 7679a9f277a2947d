#!/usr/bin/python
"""Ansible module: looks whether a machine is as the last run left it, or records how it is left."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: desired_state_host
short_description: Compares a Debian machine with what its last run recorded, or records it
description:
  - Recorded are every package with its version, every file below the watched folders, and enabled services that run.
  - Nothing is recorded while a package of a declared application is missing; that is a failure, which names it.
  - Supports check mode; then nothing is recorded.
options:
  mode: {description: Whether to look or to record., type: str, choices: [look, record], required: true}
  record: {description: The file that holds the record., type: str, required: true}
  watched: {description: Folders and files of which every file counts., type: list, elements: str, required: true}
  ignored: {description: Files in them that programs write by themselves., type: list, elements: str, required: true}
  fingerprints: {description: What the machine shall be; kept in the record., type: dict, required: true}
  applications:
    description: Declared applications, each with key and packages.
    type: list
    elements: dict
    required: true
author: KSM Kommunalservice Mecklenburg AöR
"""

EXAMPLES = r"""
- name: See whether the machine is as it was left
  desired_state_host:
    mode: look
    record: /var/lib/ksm-onboard/desired-state.json
    watched: [/etc]
    ignored: [/etc/mtab]
    fingerprints: {}
    applications: []
"""

RETURN = r"""
recorded: {description: The fingerprints of the record; empty without one., returned: look, type: dict}
differences: {description: What is not as it was left., returned: look, type: list, elements: str}
installed: {description: Versions of packages by application., returned: always, type: dict}
"""

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def said(argv):
    """What a command prints; RuntimeError if it fails."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout.decode("utf-8", "replace")


def packages():
    """Every package that is installed, with its version."""
    lines = said(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${binary:Package}\t${Version}\n"])
    fields = (line.split("\t") for line in lines.splitlines())
    return {name.split(":")[0]: version for state, name, version in fields if state.startswith("ii ")}


def services():
    """The enabled services and timers that run."""
    enabled = {
        line.split()[0]
        for line in said(
            ["systemctl", "list-unit-files", "--type=service,timer", "--state=enabled", "--no-legend", "--plain"]
        ).splitlines()
        if line.strip()
    }
    running = said(["systemctl", "list-units", "--state=running,waiting", "--no-legend", "--plain"])
    return sorted(enabled & {line.split()[0] for line in running.splitlines() if line.strip()})


def digest(path):
    """What a file or link is: rights, owner, and content or target."""
    seen = os.lstat(path)
    if stat.S_ISLNK(seen.st_mode):
        what = f"link {Path(path).readlink()}"
    elif stat.S_ISREG(seen.st_mode):
        what = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    else:
        return None
    return f"{stat.S_IMODE(seen.st_mode):o} {seen.st_uid}:{seen.st_gid} {what}"


def below(top):
    """Every path at and below ``top``; os.walk names links to folders among the folders."""
    if not Path(top).is_dir():
        return [top]
    return (f"{folder}/{name}" for folder, folders, names in os.walk(top) for name in (*folders, *names))


def files(watched, ignored):
    """Every file at and below the watched paths; one that vanishes meanwhile is not there."""
    found = {}
    for path in (path for top in watched for path in below(top)):
        # Names that end in - are the copies that useradd and its like keep of /etc/passwd.
        if path in ignored or path.endswith("-"):
            continue
        try:
            told = digest(path)
        except FileNotFoundError:
            continue
        if told is not None:
            found[path] = told
    return found


def machine():
    """Which machine it is: a copy of its disk under another name, or on another machine, is not it."""
    return f"{socket.gethostname()} {Path('/etc/machine-id').read_text(encoding='ascii').strip()}"


def state(watched, ignored):
    """Everything that counts, as plain data."""
    return {
        "machine": machine(),
        "packages": packages(),
        "files": files(watched, set(ignored)),
        "services": services(),
    }


def differences(was, now):
    """What is not as it was, in words."""
    if was["machine"] != now["machine"]:
        return ["it is another machine than the recorded one"]
    found = []
    for name in sorted({*was["packages"], *now["packages"]}):
        before, after = was["packages"].get(name), now["packages"].get(name)
        if before != after:
            found.append(f"package {name} ({before or 'not installed'} before, {after or 'not installed'} now)")
    for path in sorted({*was["files"], *now["files"]}):
        if was["files"].get(path) != now["files"].get(path):
            gone = "is gone" if path not in now["files"] else "is new" if path not in was["files"] else "has changed"
            found.append(f"{path} {gone}")
    found += [f"{unit} does not run" for unit in was["services"] if unit not in now["services"]]
    return found


def read(path):
    """The record; None without a usable one."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        return record if record["format"] == 1 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(path, record):
    """As a whole or not at all; for root only."""
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = Path(path + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def main():
    """Looks or records, as asked."""
    module = AnsibleModule(
        argument_spec={
            "mode": {"type": "str", "choices": ["look", "record"], "required": True},
            "record": {"type": "str", "required": True},
            "watched": {"type": "list", "elements": "str", "required": True},
            "ignored": {"type": "list", "elements": "str", "required": True},
            "fingerprints": {"type": "dict", "required": True},
            "applications": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    try:
        now = state(asked["watched"], asked["ignored"])
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    installed = {
        application["key"]: {package: now["packages"].get(package) for package in application["packages"]}
        for application in asked["applications"]
    }
    missing = [
        f"{key}: {package} is not installed"
        for key, parts in sorted(installed.items())
        for package, version in parts.items()
        if version is None
    ]
    if asked["mode"] == "look":
        was = read(asked["record"])
        # What shall be there and is not is a difference, whatever the record says.
        found = (differences(was["state"], now) + missing) if was else []
        module.exit_json(
            changed=False, recorded=was["fingerprints"] if was else {}, differences=found, installed=installed
        )
    if missing:
        module.fail_json(msg="Ansible finished, but the machine lacks " + "; ".join(missing), installed=installed)
    if not module.check_mode:
        write(asked["record"], {"format": 1, "fingerprints": asked["fingerprints"], "state": now})
    module.exit_json(changed=False, installed=installed, recorded=asked["fingerprints"])


if __name__ == "__main__":
    main()
