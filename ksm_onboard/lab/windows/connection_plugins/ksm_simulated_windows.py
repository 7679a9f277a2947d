"""Ansible's connection to a simulated Windows workstation: no PowerShell, no network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

from ksm_onboard.errors import OnboardError
from ksm_onboard.lab.windows import host
from ksm_onboard.lab.windows.machine import Hosts
from ksm_onboard.lab.windows.modules.answering import FailedError

DOCUMENTATION = """
name: ksm_simulated_windows
short_description: A SIMULATED Windows workstation of the lab
description:
  - Takes exactly what Ansible would send to PowerShell on a Windows host, judges it, and answers from a state file.
  - Modules and arguments that it does not know are refused. Every result says that it is simulated.
author: KSM Kommunalservice Mecklenburg AöR
version_added: historical
options:
  remote_addr:
    description: Name of the simulated host.
    vars:
      - name: inventory_hostname
  state_folder:
    description: Folder of the lab's simulated Windows hosts.
    required: true
    vars:
      - name: ksm_simulated_windows_folder
"""


class Connection(ConnectionBase):  # type: ignore[misc]
    """The connection of one host; what it is told to do wrong is looked up each time."""

    transport = "ksm_simulated_windows"
    module_implementation_preferences = (".ps1", ".exe", "")
    allow_executable = False
    has_pipelining = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.always_pipeline_modules = True
        self.has_native_async = True
        self._shell_type = "powershell"
        super().__init__(*args, **kwargs)

    @property
    def _hosts(self) -> Hosts:
        return Hosts(Path(self.get_option("state_folder")))

    @property
    def _name(self) -> str:
        return str(self.get_option("remote_addr"))

    def _connect(self) -> Connection:
        try:
            how = self._hosts.read(self._name).misbehaviour
        except OnboardError as error:
            raise AnsibleConnectionFailure(f"{host.LABEL}: {error}") from None
        if how == "offline":
            raise AnsibleConnectionFailure(f"{host.LABEL}: {self._name} is switched off: connection timed out")
        if how == "access-denied":
            raise AnsibleConnectionFailure(f"{host.LABEL}: failed to authenticate with the server: access is denied")
        self._connected = True
        return self

    def reset(self) -> None:
        """Connect anew, as wait_for_connection asks for."""
        self._connected = False
        self._connect()

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Have one thing done. A host that hangs never answers; Ansible's own time limit ends that."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        self._connect()
        while self._hosts.read(self._name).misbehaviour == "hang":
            time.sleep(0.2)
        return host.exchange(self._hosts, self._name, cmd, in_data)

    def put_file(self, in_path: str, out_path: str) -> None:
        """Send a file. Raises AnsibleError where the disk is full."""
        super().put_file(in_path, out_path)
        source = Path(in_path)
        if not source.is_file():
            raise AnsibleFileNotFound(f"file or module does not exist: {in_path}")
        try:
            host.put_file(self._hosts, self._name, self._shell._unquote(out_path), source.read_bytes())
        except FailedError as error:
            raise AnsibleError(f"{host.LABEL}: {error}") from None

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Get a file. Raises AnsibleError if it is not there."""
        super().fetch_file(in_path, out_path)
        try:
            Path(out_path).write_bytes(host.fetch_file(self._hosts, self._name, self._shell._unquote(in_path)))
        except FailedError as error:
            raise AnsibleError(f"{host.LABEL}: {error}") from None

    def close(self) -> None:
        self._connected = False
