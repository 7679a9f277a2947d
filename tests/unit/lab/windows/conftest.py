"""A simulated host, and calls to it in exactly the form in which the installed ansible-core sends them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.executor.powershell.module_manifest import _bootstrap_powershell_script, _create_powershell_wrapper
from ansible.plugins.loader import init_plugin_loader, module_loader, shell_loader

from ksm_onboard.lab.windows.host import exchange
from ksm_onboard.lab.windows.machine import Hosts, Installer, Offers

OWN_MODULES = Path(__file__).parents[4] / "roles" / "windows_workstation" / "library"
HOST = "gra-ws-0001"
FEED = "https://depot.ksm.internal/choco/"
MSI = "https://depot.ksm.internal/media/cisco-jabber.msi"
PRODUCT = "{11111111-2222-3333-4444-555555555555}"
SHA256 = "ab" * 32

Answer = dict[str, Any]
Call = Callable[..., Answer]


@pytest.fixture(scope="session", autouse=True)
def loaders() -> None:
    init_plugin_loader()
    module_loader.add_directory(str(OWN_MODULES))


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    hosts = Hosts(tmp_path / "windows")
    hosts.create([HOST])
    hosts.set_offers(
        Offers(
            chocolatey={"chocolatey": "2.4.3", "7zip": "24.9.0", "firefoxesr": "140.4.0"},
            installers={MSI: Installer(product_id=PRODUCT, name="Cisco Jabber", version="15.0", sha256=SHA256)},
        )
    )
    return hosts


def wrapped(module: str, arguments: Answer, *, check: bool = False, **more: Any) -> tuple[str, bytes]:
    """Command line and input for a module, as ansible-core's own code makes them."""
    context = module_loader.find_plugin_with_context(module, mod_type=".ps1")
    path = Path(context.plugin_resolved_path or "")
    payload = _create_powershell_wrapper(
        name=_sent_name(context.resolved_fqcn),
        module_data=path.read_bytes(),
        module_path=str(path),
        module_args={**arguments, "_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": "%TEMP%"},
        environment=more.get("environment", {}),
        async_timeout=0,
        become_plugin=None,
        substyle="powershell",
        task_vars={},
        profile="legacy",
    )
    command: str = shell_loader.get("powershell").build_module_command("", "", "")
    return command, payload


def _sent_name(name: str) -> str:
    parts = name.split(".")
    own = len(parts) < 3 or parts[1] == "legacy"
    return name if own else f"ansible_collections.{parts[0]}.{parts[1]}.plugins.modules.{parts[2]}"


def helper_script(name: str, parameters: Answer) -> tuple[str, bytes]:
    """Command line and input for one of Ansible's helper scripts, such as the one that makes temporary folders."""
    script, data = _bootstrap_powershell_script(name, parameters)
    return shell_loader.get("powershell")._encode_script(script), data


@pytest.fixture
def call(hosts: Hosts) -> Call:
    """Runs a module on the simulated host and returns its answer."""

    def call(module: str, *, check: bool = False, **arguments: Any) -> Answer:
        code, output, _ = exchange(hosts, HOST, *wrapped(module, arguments, check=check))
        answer: Answer = json.loads(output)
        assert (code != 0) == bool(answer.get("failed"))
        assert answer["simulated"] is True
        return answer

    return call
