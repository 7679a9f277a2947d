"""What the software depot has to hold: for which application, on which platform, under which package name. Pure.

An application comes from the depot where its installer comes from its vendor or project, and from no package
source. As long as the catalogue does not name the media that were checked, a stand-in takes their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

from ksm_onboard.declaration.catalogue import Application, LinuxMedia, WindowsMedia
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.planning.plan import CentralServerPlan, Planned, ServerPlan, WorkstationPlan

DepotPlatform = Literal["linux", "windows"]
Media = LinuxMedia | WindowsMedia

_HANDED_OUT = frozenset(("vendor", "vendor-repository", "project-release"))
_INSTALLED = frozenset(("client", "server"))
# Names that no product has: whoever sees one in a list of packages knows what it is.
STAND_IN = "ksm-standin-"
_OWN_PACKAGE = "ksm-"


class DepotItem(Planned):
    """One application for one platform. ``media``: what was checked; None where nobody has yet."""

    application: str
    product: str
    vendor: str
    entry: str
    """The catalogue's file."""
    platform: DepotPlatform
    media: Media | None
    chocolatey: str | None = None
    """The id of a Chocolatey package that is taken into the feed as it is."""

    @property
    def stand_in(self) -> str:
        """Name of the package that stands in for it."""
        return f"{STAND_IN}{self.application}"

    @property
    def package(self) -> str:
        """The package that machines ask for: the real one as soon as the catalogue names its media."""
        if isinstance(self.media, LinuxMedia):
            return self.media.package
        if self.media is None:
            return self.stand_in
        return self.chocolatey or f"{_OWN_PACKAGE}{self.application}"


def from_depot(application: Application, platform: DepotPlatform) -> bool:
    """Whether machines of the platform get the application's package from the depot."""
    packages = application.packages
    if application.component not in _INSTALLED or platform not in application.platforms:
        return False
    if platform == "linux" and packages.debian:
        return False
    if media_of(application, platform) is not None:
        return True
    return packages.media in _HANDED_OUT and not (platform == "windows" and packages.chocolatey)


def media_of(application: Application, platform: DepotPlatform) -> Media | None:
    """The media that were checked for the platform, if any."""
    return application.depot.linux if platform == "linux" else application.depot.windows


def in_order(
    depots: Sequence[CentralServerPlan], machine: ServerPlan | WorkstationPlan
) -> tuple[CentralServerPlan, ...]:
    """The depots as the machine asks them: a server the one of its own fire section first, workplaces take turns."""
    if isinstance(machine, ServerPlan):
        return tuple(sorted(depots, key=lambda depot: depot.section != machine.section))
    first = (int(machine.address) - 1) % max(len(depots), 1)
    return (*depots[first:], *depots[:first])


def depot_items(catalogue: Mapping[str, CatalogueEntry]) -> Iterator[DepotItem]:
    """Everything that the depot has to hold, by application, then platform."""
    for key, entry in sorted(catalogue.items()):
        application = entry.application
        for platform in get_args(DepotPlatform):
            if application.offered and from_depot(application, platform):
                yield depot_item(key, entry, platform)


def depot_item(key: str, entry: CatalogueEntry, platform: DepotPlatform) -> DepotItem:
    """What the depot holds of an application that comes from there on that platform."""
    application = entry.application
    media = media_of(application, platform)
    return DepotItem(
        application=key,
        product=application.product,
        vendor=application.vendor,
        entry=f"catalogue/{entry.domain}.yaml",
        platform=platform,
        media=media,
        chocolatey=application.packages.chocolatey if media and media.file.endswith(".nupkg") else None,
    )
