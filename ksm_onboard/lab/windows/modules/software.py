"""Modules that install: Chocolatey and installers (MSI, EXE)."""

from __future__ import annotations

from typing import Any, Final

from ksm_onboard.lab.windows.machine import Product
from ksm_onboard.lab.windows.modules.answering import Answer, FailedError, Situation

BUSY: Final = 1618
"""ERROR_INSTALL_ALREADY_RUNNING"""
REBOOT: Final = 3010
"""ERROR_SUCCESS_REBOOT_REQUIRED"""

_COMMUNITY: Final = {"source": "https://community.chocolatey.org/api/v2/", "disabled": False}


def _exit_code(situation: Situation) -> int:
    """What an installer ends with on this host just now. Raises FailedError for a full disk."""
    situation.require_disk()
    if situation.machine.misbehaviour == "installer-busy":
        return BUSY
    if situation.machine.misbehaviour == "reboot-required":
        situation.machine.pending_reboot = True
        return REBOOT
    return 0


def _chocolatey(situation: Situation, arguments: dict[str, Any]) -> Answer:
    unknown = [
        name
        for name in (
            "checksum",
            "checksum64",
            "choco_args",
            "install_args",
            "package_params",
            "pinned",
            "proxy_url",
            "source_username",
            "source_password",
        )
        if arguments[name] is not None
    ]
    if unknown:
        raise FailedError(f"not simulated: {', '.join(unknown)}")
    names, state, version = arguments["name"], arguments["state"], arguments["version"]
    if "all" in names:
        raise FailedError("the name 'all' is not simulated")
    chocolatey = situation.machine.chocolatey
    bootstrapped = not chocolatey.version
    if bootstrapped:
        chocolatey.version = _bootstrapped(situation, arguments)
        chocolatey.packages["chocolatey"] = chocolatey.version
        chocolatey.sources["chocolatey"] = dict(_COMMUNITY)
    before = dict(chocolatey.packages)
    for name in names:
        _one_package(situation, arguments, name, state, version)
    changed = bootstrapped or before != chocolatey.packages
    code = _exit_code(situation) if before != chocolatey.packages and not situation.check_mode else 0
    if code == BUSY:
        raise FailedError(f"Error installing {', '.join(names)}", rc=BUSY, stderr="another installation is in progress")
    answer: Answer = {"changed": changed, "rc": code, "choco_cli_version": chocolatey.version}
    if bootstrapped:
        answer["warnings"] = ["Chocolatey was missing from this system, so it was installed during this task run."]
    if changed:
        done = sum(before.get(name) != chocolatey.packages.get(name) for name in names)
        answer["stdout"] = f"Chocolatey changed {done}/{len(names)} packages."
    return answer | situation.shown(before, dict(chocolatey.packages))


def _bootstrapped(situation: Situation, arguments: dict[str, Any]) -> str:
    """The version of Chocolatey that the named source offers; from the public one nothing comes, as in the lab."""
    source = arguments["source"] or ""
    known = "://" in source and source not in situation.offers.lost_feeds
    offered = situation.offers.chocolatey.get("chocolatey") if known else None
    if offered is None:
        raise FailedError(f"Chocolatey cannot be installed from {arguments['source'] or 'the public source'}")
    return offered


def _one_package(situation: Situation, arguments: dict[str, Any], name: str, state: str, version: str | None) -> None:
    packages = situation.machine.chocolatey.packages
    there = packages.get(name)
    if state == "absent":
        if there is not None and version in (None, there):
            del packages[name]
        return
    if state not in ("present", "latest", "upgrade"):
        raise FailedError(f"state {state} is not simulated")
    if state == "present" and there is not None:
        if version is not None and version != there:
            raise FailedError(
                f"Chocolatey package '{name}' is already installed with version(s) '{there}' but was expecting "
                f"'{version}'. Either change the expected version, set state=latest or state=upgrade, "
                "set allow_multiple=yes, or set force=yes to continue"
            )
        return
    offered = situation.offers.chocolatey.get(name) if _asks_offers(situation, arguments) else None
    if offered is None or version not in (None, offered):
        wanted = f"{name} {version}" if version else name
        raise FailedError(
            f"Error installing {name}",
            rc=1,
            stderr=f"{wanted} not installed. The package was not found with the source(s) listed.",
        )
    packages[name] = offered


def _asks_offers(situation: Situation, arguments: dict[str, Any]) -> bool:
    """Whether any source that is asked is a depot's feed that answers: the simulated community feed offers nothing."""
    sources, lost = situation.machine.chocolatey.sources, situation.offers.lost_feeds
    asked = arguments["source"]
    if asked is None:
        enabled = [source for name, source in sources.items() if name != "chocolatey" and not source["disabled"]]
        return any(source["source"] not in lost for source in enabled)
    address = sources[asked]["source"] if asked in sources else asked
    return "://" in address and address not in lost


def _chocolatey_source(situation: Situation, arguments: dict[str, Any]) -> Answer:
    chocolatey, name, state = situation.machine.chocolatey, arguments["name"], arguments["state"]
    if not chocolatey.version:
        raise FailedError("Failed to find Chocolatey installation, make sure choco.exe is in the PATH env value")
    if any(arguments[secret] is not None for secret in ("source_username", "certificate", "certificate_password")):
        raise FailedError("sources with credentials are not simulated")
    sources = chocolatey.sources
    old = sources.get(name)
    if state == "absent":
        sources.pop(name, None)
        return {"changed": old is not None, **situation.shown(old or {}, {})}
    if old is None and arguments["source"] is None:
        raise FailedError("The source option must be set when creating a new source")
    new = dict(old or {})
    for key in ("source", "priority", "bypass_proxy", "allow_self_service", "admin_only"):
        if arguments[key] is not None:
            new[key] = arguments[key]
    new["disabled"] = state == "disabled"
    sources[name] = new
    return {"changed": old != new, **situation.shown(old or {}, new)}


def _package(situation: Situation, arguments: dict[str, Any]) -> Answer:
    unknown = [n for n in ("creates_path", "creates_version", "creates_service", "chdir", "log_path") if arguments[n]]
    if unknown or arguments["provider"] not in ("auto", "msi", "registry"):
        raise FailedError(f"not simulated: {', '.join(unknown) or arguments['provider']}")
    product_id, path = arguments["product_id"], arguments["path"]
    products = situation.machine.products
    if product_id is None:
        if path is None or path not in situation.offers.installers:
            raise FailedError(f"Failed to download '{path}': the remote server returned an error: (404) Not Found.")
        product_id = situation.offers.installers[path].product_id
    installed = product_id in products
    wanted = arguments["state"] == "present"
    answer: Answer = {"changed": installed != wanted, "rc": 0, "reboot_required": False}
    if installed == wanted:
        return answer
    if wanted:
        products[product_id] = _downloaded(situation, arguments, product_id)
    else:
        del products[product_id]
    if situation.check_mode:
        return answer
    code = _exit_code(situation)
    if code not in arguments["expected_return_code"]:
        raise FailedError(
            f"unexpected rc from 'msiexec.exe {path or product_id}': see rc, stdout, and stderr for more details",
            rc=code,
        )
    return answer | {"rc": code, "reboot_required": code == REBOOT}


def _downloaded(situation: Situation, arguments: dict[str, Any], product_id: str) -> Product:
    path = arguments["path"]
    offered = situation.offers.installers.get(path)
    if offered is None:
        raise FailedError(f"Failed to download '{path}': the remote server returned an error: (404) Not Found.")
    checksum = arguments["checksum"]
    if checksum is not None:
        if arguments["checksum_algorithm"] != "sha256":
            raise FailedError(f"checksum_algorithm {arguments['checksum_algorithm']} is not simulated, only sha256")
        if checksum.lower() != offered.sha256:
            raise FailedError(f"The checksum for {path} did not match '{checksum}', it was '{offered.sha256}'")
    if offered.product_id != product_id:
        # The installer registers what it is; asked for by the wrong code, it would be installed again each time.
        product_id_found = offered.product_id
        raise FailedError(f"'{path}' installs the product {product_id_found}, not {product_id}")
    return Product(name=offered.name, version=offered.version, sha256=offered.sha256)


MODULES: Final = {
    "chocolatey.chocolatey.win_chocolatey": _chocolatey,
    "chocolatey.chocolatey.win_chocolatey_source": _chocolatey_source,
    "ansible.windows.win_package": _package,
}
