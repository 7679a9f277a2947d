"""What a simulated Windows workstation has become, and how it was told to misbehave: one file of JSON per host.

The folder of the lab's Windows hosts (``.state/<lab>/windows``) also holds ``offers.json``: the packages that the
simulated Chocolatey feed and depot offer.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from ksm_onboard.atomic import write_atomically
from ksm_onboard.errors import OnboardError

FOLDER: Final = "windows"
"""Name of the folder of simulated workstations in the data centre's state."""
OFFERS_FILE: Final = "offers.json"
CONTRACTS_DIR: Final = "contracts"

Misbehaviour = Literal["offline", "access-denied", "installer-busy", "reboot-required", "disk-full", "hang"]
MISBEHAVIOURS: Final[tuple[str, ...]] = get_args(Misbehaviour)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class RegistryValue(_Part):
    """One value of a registry key; ``data`` as JSON has it (a list of bytes for ``binary``)."""

    name: str
    type: str
    data: Any


class Service(_Part):
    """A service by its short name."""

    display_name: str
    state: Literal["started", "stopped"] = "stopped"
    start_mode: str = "manual"


class User(_Part):
    """A local account. Of its password only a digest is kept."""

    sid: str
    fullname: str = ""
    description: str = ""
    disabled: bool = False
    password_never_expires: bool = False
    user_cannot_change_password: bool = False
    password_sha256: str = ""


class File(_Part):
    """A file with its whole content (Base64)."""

    path: str
    content: str
    sha1: str


class Product(_Part):
    """What an installer registered under its product code, and the checksum of the file it came from."""

    name: str
    version: str
    sha256: str


class Chocolatey(_Part):
    """The package manager: its version (empty: not installed), its sources, and what it installed."""

    version: str = ""
    sources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    packages: dict[str, str] = Field(default_factory=dict)


class FirewallProfile(_Part):
    """One of the three profiles. Windows' own defaults count as not configured."""

    enabled: bool = True
    inbound_action: str = "not_configured"
    outbound_action: str = "not_configured"


class Volume(_Part):
    """A drive, as BitLocker sees it."""

    protection: Literal["off", "encrypting", "on"] = "off"
    method: str = ""
    protectors: list[str] = Field(default_factory=list)


def _services() -> dict[str, Service]:
    return {
        "eventlog": Service(display_name="Windows Event Log", state="started", start_mode="auto"),
        "mpssvc": Service(display_name="Windows Defender Firewall", state="started", start_mode="auto"),
        "spooler": Service(display_name="Print Spooler", state="started", start_mode="auto"),
        "w32time": Service(display_name="Windows Time"),
        "windefend": Service(display_name="Microsoft Defender Antivirus Service", state="started", start_mode="auto"),
        "winrm": Service(display_name="Windows Remote Management", state="started", start_mode="auto"),
        "wuauserv": Service(display_name="Windows Update"),
    }


def _accounts() -> dict[str, User]:
    return {
        "Administrator": User(sid="S-1-5-21-1-2-3-500"),
        "Guest": User(sid="S-1-5-21-1-2-3-501", disabled=True),
        # The account that the toolkit logs in with comes with the image.
        "ops": User(sid="S-1-5-21-1-2-3-1000"),
    }


class Machine(_Part):
    """One simulated workstation, as it comes from the factory until something changes it."""

    name: str
    misbehaviour: Misbehaviour | None = None
    pending_reboot: bool = False
    operating_system: str = "Microsoft Windows 11 Enterprise"
    version: str = "10.0.26100.0"
    time_zone: str = "Pacific Standard Time"
    registry: dict[str, dict[str, RegistryValue]] = Field(default_factory=dict)
    services: dict[str, Service] = Field(default_factory=_services)
    users: dict[str, User] = Field(default_factory=_accounts)
    groups: dict[str, list[str]] = Field(
        default_factory=lambda: {"Administrators": ["Administrator", "ops"], "Users": []}
    )
    folders: list[str] = Field(default_factory=lambda: ["c:", "c:\\programdata", "c:\\windows", "c:\\windows\\temp"])
    files: dict[str, File] = Field(default_factory=dict)
    features: dict[str, bool] = Field(default_factory=lambda: {"SMB1Protocol": True, "TelnetClient": False})
    chocolatey: Chocolatey = Field(default_factory=Chocolatey)
    products: dict[str, Product] = Field(default_factory=dict)
    scheduled_tasks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    printers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    certificates: dict[str, dict[str, str]] = Field(default_factory=dict)
    firewall_profiles: dict[str, FirewallProfile] = Field(
        default_factory=lambda: {name: FirewallProfile() for name in ("Domain", "Private", "Public")}
    )
    firewall_rules: dict[str, dict[str, Any]] = Field(default_factory=dict)
    audit_policy: dict[str, str] = Field(default_factory=dict)
    defender: dict[str, Any] = Field(default_factory=dict)
    volumes: dict[str, Volume] = Field(default_factory=lambda: {"C:": Volume()})


class Installer(_Part):
    """A file that the simulated depot offers at an address."""

    product_id: str
    name: str
    version: str
    sha256: str


class Offers(_Part):
    """What can be installed: Chocolatey package → version, and address → installer; and feeds that do not answer."""

    chocolatey: dict[str, str] = Field(default_factory=dict)
    lost_feeds: tuple[str, ...] = ()
    installers: dict[str, Installer] = Field(default_factory=dict)


class Hosts:
    """The simulated workstations whose state lies in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def contracts(self) -> Path:
        """Where contracts of modules are kept, which all hosts share."""
        return self.folder / CONTRACTS_DIR

    def names(self) -> list[str]:
        """Every host that exists, switched on or not."""
        return sorted(path.name.removesuffix(".host.json") for path in self.folder.glob("*.host.json"))

    def create(self, names: list[str]) -> None:
        """Let these exist; what one has become stays."""
        for name in names:
            with self.opened(name, create=True):
                pass

    def remove(self, name: str) -> None:
        """Forget a host with everything on it."""
        for suffix in ("host.json", "lock"):
            (self.folder / f"{name}.{suffix}").unlink(missing_ok=True)

    def read(self, name: str) -> Machine:
        """What a host has become. Raises OnboardError if there is no such host."""
        try:
            return Machine.model_validate_json(self._file(name).read_text())
        except FileNotFoundError:
            raise self._unknown(name) from None

    @contextmanager
    def opened(self, name: str, *, create: bool = False) -> Iterator[Machine]:
        """A host to change; what was changed is kept when the block ends well. One at a time changes a host.

        Raises OnboardError if there is no such host and it shall not be created.
        """
        if not create and not self._file(name).exists():
            raise self._unknown(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / f"{name}.lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            there = self._file(name).exists()
            machine = self.read(name) if there else Machine(name=name)
            before = machine.model_dump_json() if there else ""
            yield machine
            after = machine.model_dump_json()
            if after != before:
                write_atomically(self._file(name), after, mode=0o600)
        finally:
            os.close(handle)

    def misbehave(self, name: str, how: Misbehaviour | None) -> None:
        """From now on the host misbehaves like this; None: no more. Raises OnboardError for an unknown host."""
        with self.opened(name) as machine:
            machine.misbehaviour = how

    def offers(self) -> Offers:
        """What can be installed; nothing as long as nobody said so."""
        try:
            return Offers.model_validate_json((self.folder / OFFERS_FILE).read_text())
        except FileNotFoundError:
            return Offers()

    def set_offers(self, offers: Offers) -> None:
        """Say what can be installed, instead of what was said before."""
        write_atomically(self.folder / OFFERS_FILE, offers.model_dump_json(indent=2))

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.host.json"

    def _unknown(self, name: str) -> OnboardError:
        return OnboardError(
            f"there is no simulated Windows host {name}",
            hint=f"hosts in {self.folder}: {', '.join(self.names()) or 'none'}",
        )
