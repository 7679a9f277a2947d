"""What the installed ansible-core sends is taken apart; anything else is refused, not guessed."""

import base64

import pytest

from ksm_onboard.lab.windows.host import exchange
from ksm_onboard.lab.windows.machine import Hosts
from ksm_onboard.lab.windows.payload import ModuleCall, NotUnderstoodError, PlainScript, ScriptCall, decode
from tests.unit.lab.windows.conftest import HOST, helper_script, wrapped


def test_a_module_with_its_arguments() -> None:
    command, data = wrapped("ansible.windows.win_regedit", {"path": "HKLM:\\X", "name": "Größe", "data": 5}, check=True)
    call = decode(command, data)
    assert isinstance(call, ModuleCall)
    assert call.name == "ansible.windows.win_regedit"
    assert call.arguments == {"path": "HKLM:\\X", "name": "Größe", "data": 5}
    assert call.check_mode and call.diff
    assert call.source.startswith(b"#!powershell")


def test_a_helper_script_with_its_parameters() -> None:
    call = decode(*helper_script("powershell_mkdtemp.ps1", {"Directory": "%TEMP%", "Name": "ansible-tmp-1"}))
    assert call == ScriptCall("powershell_mkdtemp.ps1", {"Directory": "%TEMP%", "Name": "ansible-tmp-1"})


def test_what_raw_sends_is_a_plain_script() -> None:
    assert decode("Get-Date", None) == PlainScript("Get-Date")
    encoded = base64.b64encode("Get-Date".encode("utf-16-le")).decode()
    assert decode(f"PowerShell -NoProfile -EncodedCommand {encoded}", None) == PlainScript("Get-Date")


def test_environment_variables_are_refused() -> None:
    with pytest.raises(NotUnderstoodError, match="environment variables"):
        decode(*wrapped("ansible.windows.win_ping", {}, environment={"A": "b"}))


@pytest.mark.parametrize(
    "data",
    [b"nonsense", b"{}\n\0\0\0\0\n{}", b'{"name":"exec_wrapper"}\n\0\0\0\0\n{"actions":[],"scripts":{}}'],
)
def test_another_form_is_refused(data: bytes) -> None:
    command, _ = wrapped("ansible.windows.win_ping", {})
    with pytest.raises(NotUnderstoodError):
        decode(command, data)


def test_powershell_is_not_executed(hosts: Hosts) -> None:
    code, output, error = exchange(hosts, HOST, "Restart-Computer -Force", None)
    assert (code, output) == (1, b"")
    assert b"simulated Windows: refused: PowerShell is not executed here: Restart-Computer" in error


def test_temporary_folders_come_and_go(hosts: Hosts) -> None:
    code, output, _ = exchange(
        hosts, HOST, *helper_script("powershell_mkdtemp.ps1", {"Directory": "%TEMP%", "Name": "ansible-tmp-1"})
    )
    assert (code, output) == (0, b"C:\\Windows\\Temp\\ansible-tmp-1\r\n")
    assert "c:\\windows\\temp\\ansible-tmp-1" in hosts.read(HOST).folders
    code, _, _ = exchange(hosts, HOST, "Remove-Item 'C:\\Windows\\Temp\\ansible-tmp-1' -Force -Recurse;", None)
    assert code == 0
    assert "c:\\windows\\temp\\ansible-tmp-1" not in hosts.read(HOST).folders
