"""Modules for files, folders and certificates."""

from __future__ import annotations

import base64
import ntpath
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ksm_onboard.lab.windows.machine import File, Machine
from ksm_onboard.lab.windows.modules.answering import Answer, FailedError, Situation
from ksm_onboard.lab.windows.modules.questions import path_key


def put(machine: Machine, path: str, content: bytes, sha1: str) -> None:
    """Lay a file down, with the folders above it."""
    add_folders(machine, ntpath.dirname(path_key(path)))
    machine.files[path_key(path)] = File(path=path, content=base64.b64encode(content).decode(), sha1=sha1)


def add_folders(machine: Machine, key: str) -> None:
    """Let a folder exist, with those above it."""
    while key and key not in machine.folders:
        machine.folders.append(key)
        key = ntpath.dirname(key) if ntpath.dirname(key) != key else ""


def _copy(situation: Situation, arguments: dict[str, Any]) -> Answer:
    mode = arguments["_copy_mode"] or "single"
    if mode == "query":
        return _query(situation, arguments)
    if mode != "single":
        raise FailedError(f"copying in the mode {mode} is not simulated, only single files that are sent")
    situation.require_disk()
    machine = situation.machine
    source = machine.files.get(path_key(arguments["src"]))
    if source is None:
        raise FailedError(f"Cannot copy src file: '{arguments['src']}' as it does not exist")
    target = arguments["dest"]
    if target.endswith(("\\", "/")) or path_key(target) in machine.folders:
        target = ntpath.join(target, arguments["_original_basename"])
    parent = ntpath.dirname(path_key(target))
    if parent not in machine.folders:
        raise FailedError(f"Destination directory '{ntpath.dirname(target)}' does not exist")
    put(machine, target, base64.b64decode(source.content), source.sha1)
    return {"changed": True}


def _query(situation: Situation, arguments: dict[str, Any]) -> Answer:
    if arguments["directories"]:
        raise FailedError("copying folders is not simulated")
    machine, needed = situation.machine, []
    for file in arguments["files"] or []:
        key = path_key(ntpath.join(arguments["dest"], file["dest"]))
        if key in machine.folders:
            key = path_key(ntpath.join(key, ntpath.basename(file["src"])))
        there = machine.files.get(key)
        if there is None or (arguments["force"] and there.sha1 != file["checksum"]):
            needed.append(file)
    return {"changed": False, "files": needed, "directories": [], "symlinks": []}


def _file(situation: Situation, arguments: dict[str, Any]) -> Answer:
    machine, key, state = situation.machine, path_key(arguments["path"]), arguments["state"]
    if state == "directory":
        if key in machine.files:
            raise FailedError(f"path {arguments['path']} is not a directory")
        before = len(machine.folders)
        add_folders(machine, key)
        return {"changed": len(machine.folders) != before}
    if state == "absent":
        gone = [path for path in machine.files if path == key or path.startswith(f"{key}\\")]
        folders = [path for path in machine.folders if path == key or path.startswith(f"{key}\\")]
        for path in gone:
            del machine.files[path]
        machine.folders = [path for path in machine.folders if path not in folders]
        return {"changed": bool(gone or folders)}
    raise FailedError(f"state {state} is not simulated")


def _certificate_store(situation: Situation, arguments: dict[str, Any]) -> Answer:
    if arguments["state"] == "exported" or arguments["store_type"] == "service":
        raise FailedError("exporting certificates and stores of services are not simulated")
    machine, path = situation.machine, arguments["path"]
    store = machine.certificates.setdefault(f"{arguments['store_location']}\\{arguments['store_name']}", {})
    if path is None:
        found = {arguments["thumbprint"].upper(): ""}
    else:
        file = machine.files.get(path_key(path))
        if file is None:
            raise FailedError(f"File at '{path}' either does not exist or is not a file")
        found = _thumbprints(path, base64.b64decode(file.content))
    changed = False
    for thumbprint, subject in found.items():
        if arguments["state"] == "present":
            changed |= thumbprint not in store
            store[thumbprint] = subject
        else:
            changed |= store.pop(thumbprint, None) is not None
    return {"changed": changed, "thumbprints": list(found)}


def _thumbprints(path: str, content: bytes) -> dict[str, str]:
    try:
        certificate = (
            x509.load_pem_x509_certificate(content)
            if content.lstrip().startswith(b"-----BEGIN")
            else x509.load_der_x509_certificate(content)
        )
    except ValueError as error:
        raise FailedError(f"Failed to load cert from file at '{path}': {error}") from None
    # Windows names certificates by SHA-1; it is a name here, no proof.
    return {certificate.fingerprint(hashes.SHA1()).hex().upper(): certificate.subject.rfc4514_string()}  # noqa: S303


MODULES: Final = {
    "ansible.windows.win_copy": _copy,
    "ansible.windows.win_file": _file,
    "ansible.windows.win_certificate_store": _certificate_store,
}
