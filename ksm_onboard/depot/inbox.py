"""The inbox: media that an operator put there, checked against the catalogue. Nothing that differs goes any further."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ksm_onboard.declaration.catalogue import LinuxMedia, WindowsMedia
from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.depot import DepotItem, Media

_MACHINES = ("amd64", "all")
"""What the data centre's Debian machines run."""


@dataclass(frozen=True)
class Refused:
    """Media that are not what the catalogue says, and why."""

    item: DepotItem
    why: str


@dataclass(frozen=True)
class Inbox:
    """What an inbox holds of what is wanted."""

    verified: tuple[tuple[DepotItem, Path], ...]
    missing: tuple[DepotItem, ...]
    """The catalogue names their media, and the inbox does not have them."""
    refused: tuple[Refused, ...]
    strangers: tuple[str, ...]
    """Files that the catalogue names nowhere. They are left alone."""


def look_through(items: Iterable[DepotItem], folder: Path) -> Inbox:
    """Check every file that the catalogue names. Raises NotReadyError where dpkg is missing."""
    verified: list[tuple[DepotItem, Path]] = []
    missing: list[DepotItem] = []
    refused: list[Refused] = []
    named: set[str] = set()
    for item in items:
        if item.media is None:
            continue
        named.add(item.media.file)
        path = folder / item.media.file
        if not path.is_file():
            missing.append(item)
        elif why := _wrong(item, item.media, path):
            refused.append(Refused(item, why))
        else:
            verified.append((item, path))
    present = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return Inbox(tuple(verified), tuple(missing), tuple(refused), tuple(n for n in present if n not in named))


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong(item: DepotItem, media: Media, path: Path) -> str:
    """What is wrong with the file; empty if nothing is."""
    if (found := sha256_of(path)) != media.sha256:
        return f"wrong checksum: {path} has SHA-256 {found}, {item.entry} says {media.sha256}"
    if isinstance(media, LinuxMedia):
        return _wrong_debian(item, media, path)
    return _wrong_windows(item, media, path)


def _wrong_debian(item: DepotItem, media: LinuxMedia, path: Path) -> str:
    try:
        asked = ["dpkg-deb", "--showformat", "${Package}\n${Version}\n${Architecture}\n", "--show", str(path)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NotReadyError("dpkg-deb is not installed", hint="the depot is built on Debian") from None
    if done.returncode:
        return f"{path} is no Debian package: {done.stderr.strip()}"
    package, version, architecture = done.stdout.splitlines()
    if (package, version) != (media.package, media.version):
        return f"{path} is {package} {version}, {item.entry} says {media.package} {media.version}"
    if architecture not in _MACHINES:
        return f"{path} is for {architecture}, machines here run {' and '.join(_MACHINES)}"
    return ""


def _wrong_windows(item: DepotItem, media: WindowsMedia, path: Path) -> str:
    if path.suffix == ".nupkg":
        found = nuspec_of(path)
        if found is None:
            return f"{path} is no Chocolatey package: it has no readable .nuspec"
        if found != (item.package, media.version):
            return f"{path} is {found[0]} {found[1]}, {item.entry} says {item.package} {media.version}"
    elif path.suffix == ".exe" and not media.silent_install:
        return f"how {path.name} installs without asking is not known: {item.entry} states no silent_install"
    return ""


def nuspec_of(path: Path) -> tuple[str, str] | None:
    """Id and version of a NuGet package; None where it says none."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if "/" not in name and name.endswith(".nuspec"))
            root = fromstring(archive.read(name))
    except (OSError, zipfile.BadZipFile, StopIteration, ParseError, DefusedXmlException):
        return None
    texts = {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}
    return (texts["id"], texts["version"]) if texts.get("id") and texts.get("version") else None
