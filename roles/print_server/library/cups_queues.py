#!/usr/bin/python
"""Ansible module: the print queues of a CUPS server, exactly those that are declared."""

from __future__ import annotations

import re

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: cups_queues
short_description: Sets up the queues of a CUPS server
description:
  - Adds, changes and removes queues with lpadmin until they are exactly those given.
  - Never asks a printer anything.
  - Supports check mode and diff mode.
options:
  queues:
    description: The queues, each with name, device_uri, description, location and driver.
    type: list
    elements: dict
    required: true
author: KSM Kommunalservice Mecklenburg AöR
"""

EXAMPLES = r"""
- name: Set up the queues
  cups_queues:
    queues:
      - {name: rathaus-eg, device_uri: "socket://10.64.13.11:9100", location: Rathaus}
"""

RETURN = r"""
added: {description: Names of queues that were added., returned: always, type: list, elements: str}
changed_queues: {description: Names of queues that were changed., returned: always, type: list, elements: str}
removed: {description: Names of queues that were removed., returned: always, type: list, elements: str}
"""

# lpstat's words depend on the language; "C.UTF-8" keeps them English and descriptions intact.
LANGUAGE = {"LC_ALL": "C.UTF-8"}
COMPARED = ("device_uri", "description", "location", "ready")


def parse_queues(devices: str, details: str, accepting: str) -> dict[str, dict[str, str | bool]]:
    """What stands on the server, from the output of ``lpstat -v``, ``lpstat -l -p`` and ``lpstat -a``."""
    queues: dict[str, dict[str, str | bool]] = {}
    for name, uri in re.findall(r"^device for ([^:]+): (.*)$", devices, re.MULTILINE):
        queues[name] = {"device_uri": uri, "description": "", "location": "", "ready": False}
    current = ""
    enabled = set()
    for line in details.splitlines():
        printer = re.match(r"printer (\S+) (.*)", line)
        if printer:
            current = printer.group(1)
            if not printer.group(2).startswith("disabled"):
                enabled.add(current)
        field = re.match(r"\s+(Description|Location): ?(.*)", line)
        if field and current in queues:
            queues[current][field.group(1).lower()] = field.group(2)
    takes_jobs = {
        line.split(" ", 1)[0]
        for line in accepting.splitlines()
        if " accepting requests" in line and " not accepting" not in line
    }
    for name, queue in queues.items():
        queue["ready"] = name in enabled and name in takes_jobs
    return queues


def wanted_queue(declared: dict[str, str]) -> dict[str, str | bool]:
    """A declared queue in the words of ``parse_queues``."""
    return {
        "device_uri": declared["device_uri"],
        "description": declared["description"] or declared["name"],
        "location": declared["location"],
        "ready": True,
    }


def read_queues(module: AnsibleModule) -> dict[str, dict[str, str | bool]]:
    """Ask the local CUPS. Having no queues is an error to lpstat, but not to us."""
    outputs = []
    for arguments in (["-v"], ["-l", "-p"], ["-a"]):
        code, out, err = module.run_command(["lpstat", *arguments], environ_update=LANGUAGE)
        if code != 0 and "No destinations added" not in err:
            module.fail_json(msg=f"cannot ask CUPS for its queues: {err.strip() or out.strip()}")
        outputs.append(out)
    return parse_queues(*outputs)


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "queues": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "device_uri": {"type": "str", "required": True},
                    "description": {"type": "str", "default": ""},
                    "location": {"type": "str", "default": ""},
                    "driver": {"type": "str", "default": "drv:///sample.drv/generic.ppd"},
                },
            }
        },
        supports_check_mode=True,
    )
    declared = {queue["name"]: queue for queue in module.params["queues"]}
    before = read_queues(module)
    after = {name: wanted_queue(queue) for name, queue in declared.items()}
    added = sorted(after.keys() - before.keys())
    removed = sorted(before.keys() - after.keys())
    changed = sorted(
        n for n in after.keys() & before.keys() if any(after[n][key] != before[n][key] for key in COMPARED)
    )
    if not module.check_mode:
        for name in added + changed:
            queue = declared[name]
            texts = ["-D", str(after[name]["description"]), "-L", queue["location"]]
            # A driver is chosen once: choosing it again would throw away the options people set.
            driver = ["-m", queue["driver"]] if name in added else []
            command = ["lpadmin", "-p", name, "-v", queue["device_uri"], *texts, *driver, "-E"]
            module.run_command(command, check_rc=True, environ_update=LANGUAGE)
        for name in removed:
            module.run_command(["lpadmin", "-x", name], check_rc=True, environ_update=LANGUAGE)
    module.exit_json(
        changed=bool(added or changed or removed),
        added=added,
        changed_queues=changed,
        removed=removed,
        diff={"before": before, "after": after},
    )


if __name__ == "__main__":
    main()
