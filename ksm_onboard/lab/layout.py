"""Where the lab keeps what, and what its parts are called on this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ksm_onboard.errors import OnboardError

RUN_ROOT = Path("/run/ksm-onboard")
"""State of what is running, machine-wide: a killed lab is found from any checkout."""

DATA_ROOT = Path("/var/lib/ksm-onboard")
"""Virtual disks. Not below /run, which is often a small memory file system."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class LabPlaces:
    """The machine-wide folders of the lab called ``name``."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise OnboardError(
                f"{self.name!r} cannot name a lab",
                hint="use up to 32 small letters, digits and hyphens, with a letter first, for example: lab",
            )

    @property
    def run(self) -> Path:
        return RUN_ROOT / self.name

    @property
    def hosts(self) -> Path:
        return self.run / "hosts"

    @property
    def data(self) -> Path:
        return DATA_ROOT / self.name

    @property
    def disks(self) -> Path:
        return self.data / "disks"

    @property
    def cgroup(self) -> str:
        """Cgroup of everything this lab runs, relative to a hierarchy's mount point."""
        return f"ksm-onboard/{self.name}"


def check_host_name(name: str) -> str:
    """``name`` itself, if it can name a host (RFC 1123, one label). Raises OnboardError otherwise."""
    if not _HOST.fullmatch(name):
        raise OnboardError(
            f"the lab cannot start a host called {name!r}",
            hint="host names hold small letters, digits and inner hyphens, at most 63 characters (RFC 1123)",
        )
    return name
