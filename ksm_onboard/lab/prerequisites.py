"""The Debian packages that the lab and the reports need, and their installation by ``make setup``."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab import commands
from ksm_onboard.progress import Progress


@dataclass(frozen=True)
class Prerequisite:
    """A Debian package, the command by which one sees that it is there, and what it is for."""

    package: str
    command: str | None
    purpose: str


PREREQUISITES = (
    Prerequisite("mmdebstrap", "mmdebstrap", "makes the base image of the lab's hosts"),
    Prerequisite("debian-archive-keyring", None, "verifies the packages in it"),
    Prerequisite("systemd-container", "systemd-nspawn", "runs the lab's hosts"),
    Prerequisite("apt-cacher-ng", "apt-cacher-ng", "downloads each package once for all of them"),
    Prerequisite("openssh-client", "ssh-keyscan", "reaches hosts"),
    Prerequisite("iproute2", "ip", "makes the networks in which flows between zones are proven"),
    Prerequisite("nftables", "nft", "loads the firewall rules that are proven there"),
    Prerequisite("graphviz", "dot", "draws the network plan of the reports"),
    Prerequisite("apt-utils", "apt-ftparchive", "indexes the packages of the software depot"),
    Prerequisite("gpg", "gpg", "signs them"),
    Prerequisite("gpg-agent", "gpgconf", "keeps the key while it signs"),
    Prerequisite("rsync", "rsync", "brings them to the depots"),
    Prerequisite("fonts-dejavu-core", None, "letters in that drawing"),
)

_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_SERVICES = (
    "#!/bin/sh\n# Written by ksm-onboard while it installs packages, whose services shall not start.\nexit 101\n"
)
_CACHER_UNIT = Path("/etc/systemd/system/apt-cacher-ng.service")


def missing_prerequisites() -> list[Prerequisite]:
    """Those whose package is not installed, by dpkg's account."""
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *(item.package for item in PREREQUISITES)],
        capture_output=True,
        text=True,
        check=False,  # fails where one is unknown, but lists the others
    )
    installed = {line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" installed")}
    return [item for item in PREREQUISITES if item.package not in installed]


def install_line(missing: list[Prerequisite]) -> str:
    """The command that installs what is missing."""
    return f"apt-get install --no-install-recommends {' '.join(item.package for item in missing)}"


def install_prerequisites(progress: Progress) -> list[str]:
    """Install what is missing, starting no service. Returns the names of the installed packages.

    Raises OnboardError if apt-get fails.
    """
    missing = missing_prerequisites()
    if not missing:
        return []
    packages = [item.package for item in missing]
    progress.step(f"install Debian packages: {', '.join(packages)}")
    environment = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    apt_get = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")
    with _no_service_starts():
        if "apt-cacher-ng" in packages and not _CACHER_UNIT.exists():
            # The lab runs it on its own terms; as a service it would listen on every network.
            _CACHER_UNIT.parent.mkdir(parents=True, exist_ok=True)
            _CACHER_UNIT.symlink_to("/dev/null")
        commands.run([*apt_get, "update"], environment=environment)
        commands.run(
            [*apt_get, "install", "-y", "--no-install-recommends", *packages],
            environment=environment,
            progress=progress,
            worth_showing=lambda line: line if line.startswith("Setting up") else None,
        )
    return packages


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian's own switch for it (invoke-rc.d(8)); a machine's existing policy is left as it is."""
    if _POLICY.exists() and _POLICY.read_text() != _NO_SERVICES:
        yield
        return
    try:
        _POLICY.write_text(_NO_SERVICES)
        _POLICY.chmod(0o755)
    except PermissionError:
        raise NotReadyError("installing packages needs root", hint="run the command as root, or with sudo") from None
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
