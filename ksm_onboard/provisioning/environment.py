"""What the engine must find in its environment, for our driver and for a person's own shell alike.

Both use the same state, the same plugins and the same trust, so `pulumi up -s grabow` by
hand and `ksm-onboard up grabow` are one and the same thing. No value here is a secret.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import secrets
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ksm_onboard.connection import CONNECTION_VARIABLE, Connection
from ksm_onboard.errors import NotReadyError
from ksm_onboard.project import Project

POLICY_PACK_VARIABLE = "PULUMI_OPTION_POLICY_PACK"
"""The engine takes it for ``--policy-pack`` on every preview and up: a list of folders, as one line of CSV."""

_SYSTEM_TRUST = "/etc/ssl/certs"


class Engine(Protocol):
    """An installed or built engine: the folder of its programs, and what it needs in its environment itself."""

    @property
    def bin(self) -> Path: ...

    def environment(self) -> dict[str, str]: ...


def engine_environment(
    project: Project, connection: Connection, engine: Engine, inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables that the engine needs on top of ``inherited`` (default: this process's own).

    A backend or passphrase that the person has chosen is left alone. Creates the backend's
    folder and, once, the passphrase file. Raises NotReadyError if one of them is unusable.
    """
    given = os.environ if inherited is None else inherited
    variables = {
        **engine.environment(),
        "PATH": _with_first(engine.bin, given.get("PATH") or os.defpath),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    if not _is_foreign(given.get("PULUMI_BACKEND_URL"), f"file://{project.state}/"):
        variables["PULUMI_BACKEND_URL"] = f"file://{_backend_folder(project, connection)}"
    chosen = given.get("PULUMI_CONFIG_PASSPHRASE") or _is_foreign(
        given.get("PULUMI_CONFIG_PASSPHRASE_FILE"), str(project.state)
    )
    if not chosen:
        variables["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase_file(project))
    variables[POLICY_PACK_VARIABLE] = _with_our_policies(project, given.get(POLICY_PACK_VARIABLE))
    if given.get(CONNECTION_VARIABLE):
        variables[CONNECTION_VARIABLE] = str(Path(given[CONNECTION_VARIABLE]).expanduser().resolve())
    if connection.vcenter.ca_file is not None:
        trusted = _trust_folder(project, connection, connection.vcenter.ca_file)
        variables["SSL_CERT_DIR"] = _with_first(trusted, given.get("SSL_CERT_DIR") or _SYSTEM_TRUST)
    return variables


def require_policies(project: Project, environment: Mapping[str, str]) -> None:
    """Raises NotReadyError unless the engine, whose environment this is, runs the project's policy pack."""
    packs = next(csv.reader([environment.get(POLICY_PACK_VARIABLE, "")]), [])
    if not any(Path(pack).resolve() == project.policies.resolve() for pack in packs):
        raise NotReadyError(
            "the engine was started without the policy pack, and nothing runs without it",
            hint='start it in the environment that belongs to it: eval "$(ksm-onboard env)"',
        )


def shell_lines(environment: Mapping[str, str]) -> list[str]:
    """``environment`` as lines for a POSIX shell's eval."""
    return [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]


def _with_our_policies(project: Project, given: str | None) -> str:
    """The policy packs that a person has chosen, and ours."""
    ours = str(project.policies)
    chosen = next(csv.reader([given]), []) if given else []
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([*(pack for pack in chosen if pack != ours), ours])
    return line.getvalue()


def _is_foreign(value: str | None, ours: str) -> bool:
    """Whether a person chose ``value``; one that an earlier `ksm-onboard env` printed is ours."""
    return bool(value) and not str(value).startswith(ours)


def _with_first(folder: Path, path: str) -> str:
    rest = [entry for entry in path.split(os.pathsep) if entry and entry != str(folder)]
    return os.pathsep.join([str(folder), *rest])


def _backend_folder(project: Project, connection: Connection) -> Path:
    folder = connection.state_dir(project) / "pulumi"
    _private_folder(folder)
    return folder


def _private_folder(folder: Path) -> None:
    try:
        if not folder.parent.is_dir():
            _private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise NotReadyError(f"cannot create the folder {folder}: {error.strerror}") from None


def _passphrase_file(project: Project) -> Path:
    """The file with the passphrase that encrypts secrets in all states of this checkout; made once, at random."""
    file = project.state / "passphrase"
    if file.exists():
        return file
    if any(project.state.glob("*/pulumi/.pulumi/stacks/*/*.json")):
        raise NotReadyError(
            f"the passphrase of the existing stacks is missing: {file}",
            hint="restore that file from your backup; without it the stacks' secrets cannot be read",
        )
    _private_folder(project.state)
    # Written aside and linked into place: two runs that start together end up with one passphrase.
    try:
        with tempfile.NamedTemporaryFile("w", dir=project.state, prefix="passphrase.") as draft:
            draft.write(secrets.token_urlsafe(32) + "\n")
            draft.flush()
            with contextlib.suppress(FileExistsError):
                os.link(draft.name, file)
    except OSError as error:
        raise NotReadyError(f"cannot write the passphrase file {file}: {error.strerror}") from None
    return file


def _trust_folder(project: Project, connection: Connection, ca_file: Path) -> Path:
    """A folder that holds nothing but the connection's CA, as Go programs read their trusted certificates."""
    folder = connection.state_dir(project) / "trusted"
    _private_folder(folder)
    try:
        certificate = ca_file.read_bytes()
        copy = folder / "vcenter-ca.pem"
        if not copy.is_file() or copy.read_bytes() != certificate:
            copy.write_bytes(certificate)
    except OSError as error:
        raise NotReadyError(
            f"cannot read the CA certificate of vCenter: {ca_file}: {error.strerror}",
            hint="vcenter.ca_file in the connection file names the CA that signed vCenter's certificate",
        ) from None
    return folder
