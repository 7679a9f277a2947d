"""Packages that the depot makes itself: stand-ins for media that nobody has, and wrappers of Windows installers.

The same input gives the same bytes, so that a package that did not change has the same checksum tomorrow.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from ksm_onboard.declaration.catalogue import WindowsMedia
from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.planning.depot import DepotItem

DEBIAN_STAND_IN_VERSION = "0~standin1"
"""Sorts before every version that a vendor may give."""
FEED_STAND_IN_VERSION = "0.0.1-standin1"
_EPOCH = "1767225600"
_ZIP_DAY = (2026, 1, 1, 0, 0, 0)
_MAINTAINER = "KSM Kommunalservice Mecklenburg AöR <softwaredepot@ksm.internal>"


@dataclass(frozen=True)
class Made:
    """A package: its file, name and version."""

    path: Path
    package: str
    version: str


def debian_stand_in(item: DepotItem, folder: Path) -> Made:
    """A Debian package that says it is not the product. Raises OnboardError if dpkg-deb fails."""
    target = folder / f"{item.stand_in}_{DEBIAN_STAND_IN_VERSION}_all.deb"
    with tempfile.TemporaryDirectory(prefix="ksm-depot-") as scratch:
        root = Path(scratch) / "root"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            f"Package: {item.stand_in}\n"
            f"Version: {DEBIAN_STAND_IN_VERSION}\n"
            "Architecture: all\n"
            f"Maintainer: {_MAINTAINER}\n"
            "Section: misc\n"
            "Priority: optional\n"
            f"Description: Platzhalter (stand-in) for {item.product}, NOT the product\n"
            f" {_explanation(item)}\n"
        )
        documents = root / "usr/share/doc" / item.stand_in
        documents.mkdir(parents=True)
        (documents / "PLATZHALTER.txt").write_text(_readme(item))
        for path in (root, *root.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        _dpkg_deb(root, target)
    return Made(target, item.stand_in, DEBIAN_STAND_IN_VERSION)


def windows_stand_in(item: DepotItem, folder: Path) -> Made:
    """A Chocolatey package that installs nothing, and says so."""
    install = (
        "# Platzhalter (stand-in): installs nothing.\n"
        "Write-Warning 'Platzhalter (stand-in): the product itself is not in the depot; nothing was installed.'\n"
    )
    title = f"Platzhalter (stand-in) for {item.product}, NOT the product"
    files = {"tools/chocolateyInstall.ps1": install.encode(), "tools/PLATZHALTER.txt": _readme(item).encode()}
    return _nupkg(
        folder,
        files,
        package=item.stand_in,
        version=FEED_STAND_IN_VERSION,
        title=title,
        description=_explanation(item),
    )


def windows_installer(item: DepotItem, media: WindowsMedia, installer: Path, folder: Path) -> Made:
    """A Chocolatey package around a vendor's installer; it checks the installer again before it runs it."""
    kind = installer.suffix.removeprefix(".")
    arguments = media.silent_install or "/qn /norestart"
    install = (
        "$ErrorActionPreference = 'Stop'\n"
        f"$installer = Join-Path $PSScriptRoot '{media.file}'\n"
        f"Get-ChecksumValid -File $installer -Checksum '{media.sha256}' -ChecksumType 'sha256'\n"
        f"Install-ChocolateyInstallPackage -PackageName '{item.package}' -FileType '{kind}' "
        f"-SilentArgs '{arguments}' -File $installer -ValidExitCodes @(0, 1641, 3010)\n"
    )
    files: dict[str, bytes | Path] = {
        "tools/chocolateyInstall.ps1": install.encode(),
        f"tools/{media.file}": installer,
    }
    return _nupkg(
        folder,
        files,
        package=item.package,
        version=media.version,
        title=item.product,
        description=f"{item.product}, {item.vendor}",
    )


def _explanation(item: DepotItem) -> str:
    return (
        f"The media of {item.product} ({item.vendor}) are not in the depot. This package is empty and marks its place."
    )


def _readme(item: DepotItem) -> str:
    return (
        f"PLATZHALTER / STAND-IN, not {item.product}\n\n{_explanation(item)}\n"
        f"Die Installationsmedien von {item.product} liegen nicht im Depot; dieses Paket ist leer.\n"
    )


def _dpkg_deb(root: Path, target: Path) -> None:
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(target)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError:
        raise NotReadyError("dpkg-deb is not installed", hint="the depot is built on Debian") from None
    if done.returncode:
        raise OnboardError(f"dpkg-deb could not build {target.name}: {done.stderr.strip()}")


def _nupkg(
    folder: Path, files: Mapping[str, bytes | Path], *, package: str, version: str, title: str, description: str
) -> Made:
    """A NuGet package by the Open Packaging Conventions, as Chocolatey reads it."""
    nuspec = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<package xmlns="http://schemas.microsoft.com/packaging/2015/06/nuspec.xsd">\n  <metadata>\n'
        f"    <id>{package}</id>\n    <version>{version}</version>\n    <title>{escape(title)}</title>\n"
        f"    <authors>KSM</authors>\n    <description>{escape(description)}</description>\n"
        "  </metadata>\n</package>\n"
    )
    relations = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Type="http://schemas.microsoft.com/packaging/2010/07/manifest" Target="/{package}.nuspec" '
        'Id="R1"/></Relationships>\n'
    )
    endings = sorted({"rels", "nuspec", *(name.rpartition(".")[2] for name in files)})
    types = "".join(f'<Default Extension="{ending}" ContentType="{_content_type(ending)}"/>' for ending in endings)
    content_types = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">{types}</Types>\n'
    )
    target = folder / f"{package}.{version}.nupkg"
    with zipfile.ZipFile(target, "w") as archive:
        head = {"[Content_Types].xml": content_types, "_rels/.rels": relations, f"{package}.nuspec": nuspec}
        for name, content in (*((n, text.encode()) for n, text in head.items()), *files.items()):
            _add(archive, name, content)
    return Made(target, package, version)


def _content_type(ending: str) -> str:
    if ending == "rels":
        return "application/vnd.openxmlformats-package.relationships+xml"
    return "application/octet"


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    entry = zipfile.ZipInfo(name, _ZIP_DAY)
    entry.compress_type = zipfile.ZIP_DEFLATED
    if isinstance(content, bytes):
        archive.writestr(entry, content)
        return
    # Installers are compressed already, and may be larger than memory.
    entry.compress_type = zipfile.ZIP_STORED
    entry.file_size = content.stat().st_size
    with content.open("rb") as source, archive.open(entry, "w") as target:
        while block := source.read(1 << 20):
            target.write(block)
