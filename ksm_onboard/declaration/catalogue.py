"""The catalogue's format: what applications there are, for which platform, and how they are recognised.

``catalogue/`` holds one file per domain. What nobody has confirmed yet stays marked as such:
``uncertain`` for statements about the product, ``packages.unconfirmed`` for package names.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StringConstraints

from ksm_onboard.declaration.models import Day, Declared, Key, Need, Text, WebAddress

Platform = Literal["linux", "windows", "web"]
Component = Literal["client", "server", "web", "extension", "operating-system"]
Licence = Literal["open-source", "free", "commercial-named-user", "commercial-concurrent", "commercial-device"]
LicenceMetric = Literal["named-user", "concurrent", "device"]
Capability = Literal["browser", "office"]
Statement = Literal["vendor", "product-facts", "licence-metric", "dependencies", "package-id"]
PackageSource = Literal["debian", "chocolatey", "winget"]
Media = Literal["vendor", "vendor-repository", "project-release", "operating-system", "browser-extension"]
Operator = Literal["vendor", "state", "federal", "eu"]
ServerSide = Literal["none", "operator", "web-server", "application-server", "mssql", "postgresql", "file-share"]
Ring = Literal["first", "broad", "last"]
Updater = Literal["package-source", "operator", "itself", "vendor-media"]

DebianName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
ChocolateyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
WingetId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9+_-]*(\.[A-Za-z0-9+_-]+)+$")]
Alias = Annotated[str, StringConstraints(min_length=2, max_length=120)]

ProductCode = Annotated[
    str, StringConstraints(pattern=r"^\{[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}\}$")
]
WindowsPath = Annotated[str, StringConstraints(pattern=r"^([A-Za-z]:|%[A-Za-z()0-9]+%)(\\[^\\/:*?\"<>|]+)+$")]
RegistryKey = Annotated[str, StringConstraints(pattern=r"^HK(LM|CR):(\\[^\\]+)+$")]

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DebianVersion = Annotated[str, StringConstraints(pattern=r"^([0-9]+:)?[0-9][A-Za-z0-9.+~-]*$", max_length=60)]
FeedVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+){1,3}$")]

_METRICS: dict[str, LicenceMetric] = {
    "commercial-named-user": "named-user",
    "commercial-concurrent": "concurrent",
    "commercial-device": "device",
}


class Packages(Declared):
    """Where the application comes from, per platform. An empty table: not clarified yet."""

    debian: tuple[DebianName, ...] = Field(default=(), description="Debian packages that make up the application")
    chocolatey: ChocolateyId | None = Field(default=None, description="Chocolatey package id")
    winget: WingetId | None = Field(default=None, description="WinGet package id")
    media: Media | None = Field(default=None, description="where the installer comes from if not from a package source")
    saas: Operator | None = Field(default=None, description="who runs the service that it is, or belongs to")
    unconfirmed: tuple[PackageSource, ...] = Field(
        default=(), description="sources whose package name nobody has checked yet"
    )


class FileVersion(Declared):
    """A file that proves an installation, and its lowest version that counts."""

    path: WindowsPath = Field(description="the file, for example C:\\\\Program Files\\\\Product\\\\product.exe")
    at_least: str | None = Field(default=None, pattern=r"^[0-9]+(\.[0-9]+)*$", description="left out: any version")


class Detection(Declared):
    """How an installation on Windows is recognised, beyond its package; see planning.detecting for the precedence."""

    product_code: ProductCode | None = Field(default=None, description="the installer's product code (MSI)")
    file: FileVersion | None = Field(default=None, description="a file with a version")
    registry: RegistryKey | None = Field(default=None, description="a key that the installer writes")


class Silent(Declared):
    """Arguments with which the vendor's installer asks nothing."""

    install: tuple[str, ...] = Field(min_length=1, description="for example [/qn, /norestart]")
    uninstall: tuple[str, ...] = Field(min_length=1, description="of the uninstaller")


class ProtectionProposal(Declared):
    """How much protection data of this kind usually need; the member's own assessment decides."""

    need: Need = Field(description="normal, high or very-high")
    source: Text = Field(description="what says so, for example § 35 SGB I (Sozialgeheimnis)")


class LinuxMedia(Declared):
    """A Debian package that the vendor hands out, as it was checked and released for use."""

    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~-]*\.deb$", max_length=120)] = Field(
        description="name of the file in the depot's inbox"
    )
    sha256: Sha256 = Field(description="its SHA-256, from the vendor, in hexadecimal")
    package: DebianName = Field(description="name of the package in it")
    version: DebianVersion = Field(description="version of the package in it")


class WindowsMedia(Declared):
    """An installer, or a Chocolatey package, that the vendor hands out, as it was checked and released for use."""

    file: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~-]*\.(exe|msi|nupkg)$", max_length=120)
    ] = Field(description="name of the file in the depot's inbox")
    sha256: Sha256 = Field(description="its SHA-256, from the vendor, in hexadecimal")
    version: FeedVersion = Field(description="version of the product, two to four numbers")
    silent_install: Annotated[str, StringConstraints(pattern=r"^[^'\u0000-\u001f]+$", max_length=300)] | None = Field(
        default=None, description="arguments with which an exe or msi installs without asking; not known: none"
    )


class Depot(Declared):
    """The media that the depot holds, per platform. Left out: nobody has checked any yet."""

    linux: LinuxMedia | None = Field(default=None, description="for Debian")
    windows: WindowsMedia | None = Field(default=None, description="for Windows")


class Application(Declared):
    """One application that members use.

    ``uncertain`` names the statements that nobody has confirmed yet; they are shown as such
    wherever the entry is used.
    """

    product: str = Field(min_length=1, description="the product's name, as its vendor writes it")
    vendor: str = Field(min_length=1, description="who makes it")
    job: Key | None = Field(default=None, description="what it is for; two products with one job can be consolidated")
    platforms: tuple[Platform, ...] = Field(min_length=1, description="where it runs; web: in a browser")
    component: Component = Field(description="where it is installed")
    licence: Licence = Field(description="how it is licensed")
    packages: Packages = Field(default=Packages(), description="where it comes from, per platform")
    depot: Depot = Field(default=Depot(), description="the media in the software depot, per platform")
    url: WebAddress | None = Field(
        default=None, description="where everybody reaches it in the browser; left out: every member under its own"
    )
    offered: StrictBool = Field(default=True, description="false: only recognised at a take-over, given to nobody")
    aliases: tuple[Alias, ...] = Field(
        default=(), description="names in Windows' list of installed software; * stands for any text"
    )
    requires: tuple[Key, ...] = Field(default=(), description="applications that must be there first, on any platform")
    requires_on: dict[Platform, tuple[Key, ...]] = Field(
        default_factory=dict, description="applications that must be there first on one platform only"
    )
    needs: tuple[Capability, ...] = Field(default=(), description="what some application must provide")
    provides: tuple[Capability, ...] = Field(
        default=(), description="what other applications may need that this one is"
    )
    conflicts: tuple[Key, ...] = Field(default=(), description="applications that cannot be on the same machine")
    successor: Key | None = Field(default=None, description="the entry that takes this one's place")
    support_end: Day | None = Field(default=None, description="last day of the vendor's support, where it is public")
    detection: Detection = Field(default=Detection(), description="how an installation is recognised")
    silent: Silent | None = Field(
        default=None, description="how its installer runs without questions; left out: unknown"
    )
    updates_ring: Ring = Field(
        default="broad", description="who gets a new version first: first, broad, or last for what must not stop"
    )
    server_side: tuple[ServerSide, ...] | None = Field(
        default=None, description="what it needs on servers; left out: what can be told from the entry, else unknown"
    )
    protection: ProtectionProposal | None = Field(
        default=None, description="protection that its data usually need; left out: its domain's, else unknown"
    )
    uncertain: tuple[Statement, ...] = Field(default=(), description="statements that nobody has confirmed yet")
    note: str = Field(default="", description="anything else that a reader should know")

    @property
    def debian(self) -> tuple[str, ...]:
        """The Debian packages; empty where there is nothing to install on Linux."""
        return self.packages.debian

    @property
    def in_browser(self) -> bool:
        """Whether people use it in a browser, where nothing is installed for it."""
        return self.component == "web" or "web" in self.platforms or self.packages.saas is not None

    @property
    def licence_metric(self) -> LicenceMetric | None:
        """What a licence is counted by; None where none has to be bought."""
        return _METRICS.get(self.licence)

    def supported_on(self, day: date) -> bool | None:
        """Whether the vendor supports it on ``day``; None where no end is known."""
        return None if self.support_end is None else day <= self.support_end


class CatalogueFile(Declared):
    """The applications of one domain (finance, citizens' office, office, ...)."""

    domain: Key = Field(description="the subject; also the name of the file")
    protection: ProtectionProposal | None = Field(
        default=None, description="protection that data of this subject usually need; left out: unknown"
    )
    applications: dict[Key, Application] = Field(
        min_length=1, description="the applications, by the key that declarations use"
    )
