"""A depot of three applications: a Debian package, an installer for Windows, and one that nobody has the media of."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from ksm_onboard.declaration.catalogue import LinuxMedia, WindowsMedia
from ksm_onboard.depot.publication import Depot
from ksm_onboard.planning.depot import DepotItem, Media


@dataclass(frozen=True)
class Vendor:
    """A vendor that hands out media, and what the catalogue says about them."""

    inbox: Path

    def hand_out(self, name: str, content: bytes) -> str:
        self.inbox.mkdir(parents=True, exist_ok=True)
        (self.inbox / name).write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def hand_out_debian(self, package: str, version: str, architecture: str = "all") -> str:
        root = self.inbox.parent / f"{package}-{version}-{architecture}"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            f"Package: {package}\nVersion: {version}\nArchitecture: {architecture}\n"
            "Maintainer: Vendor <vendor@example.org>\nDescription: product\n"
        )
        self.inbox.mkdir(parents=True, exist_ok=True)
        target = self.inbox / f"{package}_{version}_{architecture}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root, target], check=True, capture_output=True)
        return hashlib.sha256(target.read_bytes()).hexdigest()

    def linux(self, package: str = "bricscad", version: str = "24.1", architecture: str = "all") -> LinuxMedia:
        digest = self.hand_out_debian(package, version, architecture)
        return LinuxMedia(
            file=f"{package}_{version}_{architecture}.deb", sha256=digest, package=package, version=version
        )

    def windows(self, name: str = "archikart.exe", silent: str | None = "/S") -> WindowsMedia:
        digest = self.hand_out(name, b"MZ installer")
        return WindowsMedia(file=name, sha256=digest, version="5.2", silent_install=silent)


def item(application: str, media: Media | None, platform: str | None = None) -> DepotItem:
    found = platform or ("windows" if isinstance(media, WindowsMedia) else "linux")
    return DepotItem(
        application=application,
        product=application.title(),
        vendor="Vendor & Söhne <GmbH>",
        entry="catalogue/bau.yaml",
        platform=found,
        media=media,
    )


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot", "test", simulated=True)


@pytest.fixture
def vendor(depot: Depot) -> Vendor:
    return Vendor(depot.inbox)
