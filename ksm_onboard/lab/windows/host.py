"""One exchange with a simulated Windows host: what Ansible sends goes in, what the host answers comes out."""

from __future__ import annotations

import base64
import hashlib
import json
import ntpath
import re
from typing import Any, Final

from ksm_onboard.lab.windows.contract import RefusedError, contract
from ksm_onboard.lab.windows.machine import Hosts, Machine
from ksm_onboard.lab.windows.modules import KNOWN
from ksm_onboard.lab.windows.modules.answering import Answer, FailedError, Situation
from ksm_onboard.lab.windows.modules.files import add_folders, put
from ksm_onboard.lab.windows.modules.questions import path_key
from ksm_onboard.lab.windows.payload import ModuleCall, NotUnderstoodError, PlainScript, ScriptCall, decode

LABEL: Final = "simulated Windows"

_HOME: Final = r"C:\Users\ops"
_VARIABLES: Final = {"%TEMP%": r"C:\Windows\Temp", "%USERPROFILE%": _HOME, "%ProgramData%": r"C:\ProgramData"}
_REMOVE: Final = re.compile(r"Remove-Item '((?:[^']|'')+)' -Force( -Recurse)?;")


def exchange(hosts: Hosts, name: str, command: str, data: bytes | None) -> tuple[int, bytes, bytes]:
    """Exit code, output and error output of what Ansible sends to the host ``name``, as PowerShell would give them.

    What the simulation does not know is refused: the module fails and says what it was. Raises OnboardError if there is
    no such host.
    """
    try:
        call = decode(command, data)
    except NotUnderstoodError as error:
        return _json(_failed(f"refused: Ansible sent {error}"))
    if isinstance(call, ModuleCall):
        return _json(_module(hosts, name, call))
    with hosts.opened(name) as machine:
        return _script(machine, call) if isinstance(call, ScriptCall) else _plain(machine, call)


def put_file(hosts: Hosts, name: str, path: str, content: bytes) -> None:
    """Lay a file down on the host. Raises FailedError where the disk is full, OnboardError if there is no such host."""
    with hosts.opened(name) as machine:
        Situation(machine).require_disk()
        put(machine, path, content, hashlib.sha1(content, usedforsecurity=False).hexdigest())


def fetch_file(hosts: Hosts, name: str, path: str) -> bytes:
    """The content of a file on the host. Raises FailedError if it is not there."""
    file = hosts.read(name).files.get(path_key(path))
    if file is None:
        raise FailedError(f"the file {path} does not exist")
    return base64.b64decode(file.content)


def _module(hosts: Hosts, name: str, call: ModuleCall) -> Answer:
    behaviour = KNOWN.get(call.name)
    if behaviour is None:
        return _failed(f"refused: the module {call.name} is not simulated")
    try:
        known = contract(call.name, call.source, hosts.contracts)
        arguments = known.validated(call.arguments)
    except RefusedError as error:
        return _failed(f"refused: {error}")
    if call.check_mode and not known.supports_check_mode:
        return {"skipped": True, "msg": f"remote module ({call.name}) does not support check mode", **_label()}
    with hosts.opened(name) as machine:
        draft = machine.model_copy(deep=True)
        situation = Situation(draft, hosts.offers(), call.check_mode, call.diff)
        try:
            answer = behaviour(situation, arguments)
        except FailedError as error:
            return _failed(str(error)) | error.more
        if not call.check_mode:
            for part in Machine.model_fields:
                setattr(machine, part, getattr(draft, part))
    # Said outright: Ansible takes an exit code other than 0 for a failure, and 3010 is none.
    return {"changed": False, "failed": False, **answer, **_label()}


def _script(machine: Machine, call: ScriptCall) -> tuple[int, bytes, bytes]:
    if call.name == "powershell_mkdtemp.ps1":
        path = ntpath.join(_expanded(call.parameters["Directory"]), call.parameters["Name"])
        add_folders(machine, path_key(path))
        return 0, f"{path}\r\n".encode(), b""
    if call.name == "powershell_expand_user.ps1":
        path = call.parameters["Path"]
        home = _HOME + path[1:] if path == "~" or path.startswith("~\\") else path
        return 0, f"{home}\r\n".encode(), b""
    return 1, b"", f"{LABEL}: refused: the script {call.name} is not simulated".encode()


def _plain(machine: Machine, call: PlainScript) -> tuple[int, bytes, bytes]:
    removal = _REMOVE.search(call.source)
    if removal is None:
        shown = " ".join(call.source.split())[:200]
        return 1, b"", f"{LABEL}: refused: PowerShell is not executed here: {shown}".encode()
    key = path_key(removal.group(1).replace("''", "'"))
    machine.files = {path: file for path, file in machine.files.items() if not (path + "\\").startswith(key + "\\")}
    machine.folders = [path for path in machine.folders if not (path + "\\").startswith(key + "\\")]
    return 0, b"", b""


def _expanded(path: str) -> str:
    for variable, value in _VARIABLES.items():
        path = path.replace(variable, value)
    return path


def _label() -> Answer:
    return {"simulated": True}


def _failed(message: str) -> Answer:
    return {"failed": True, "changed": False, "msg": f"{LABEL}: {message}", **_label()}


def _json(answer: dict[str, Any]) -> tuple[int, bytes, bytes]:
    return (1 if answer.get("failed") else 0), json.dumps(answer).encode(), b""
