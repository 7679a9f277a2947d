"""A publication: everything that depots serve, made as a whole, signed, and never changed afterwards.

It is built beside and moved into place at its end, so whoever looks finds a whole one or the one before. Depots
take it over the same way.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ksm_onboard.connection import Connection
from ksm_onboard.declaration.catalogue import WindowsMedia
from ksm_onboard.depot.apt_repository import write_repository
from ksm_onboard.depot.feed import write_feed
from ksm_onboard.depot.inbox import Inbox, look_through, sha256_of
from ksm_onboard.depot.packages import (
    DEBIAN_STAND_IN_VERSION,
    FEED_STAND_IN_VERSION,
    Made,
    debian_stand_in,
    windows_installer,
    windows_stand_in,
)
from ksm_onboard.depot.signing import KeyFiles, SigningKey, ensure_key, signing
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.depot import DepotItem, DepotPlatform
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project

VALID_FOR = timedelta(days=90)
"""Machines refuse an older one: nobody can hand them yesterday's packages for ever."""
SIGN_AGAIN_BEFORE = timedelta(days=45)
_KEPT = 2
_RECIPE = "1"
"""To be raised when the same input makes something else."""
CONTENTS = "contents.json"
SUMS = "SHA256SUMS"
SIGNATURE = f"{SUMS}.asc"


class Published(BaseModel):
    """One package of a publication. ``sha256`` is that of the vendor's media; None for a stand-in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    application: str
    platform: DepotPlatform
    package: str
    version: str
    stand_in: bool
    sha256: str | None


class Contents(BaseModel):
    """What a publication holds, as its ``contents.json`` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    made: datetime
    valid_until: datetime
    payload: str
    """Digest of everything that it was made from."""
    key: str
    """Fingerprint of the key that signed it."""
    packages: tuple[Published, ...]

    def package_of(self, application: str, platform: DepotPlatform) -> Published | None:
        """The package of an application on a platform, if there is one."""
        return next((p for p in self.packages if (p.application, p.platform) == (application, platform)), None)


class MediaRefusedError(OnboardError):
    """Media in the inbox are not what the catalogue says; nothing was published."""


@dataclass(frozen=True)
class Depot:
    """The depot's folder of one data centre, on the machine that builds: key, inbox, publications."""

    folder: Path
    owner: str
    simulated: bool
    """In a lab, stand-ins take the place of media that are missing; a real depot holds none."""

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def key_files(self) -> KeyFiles:
        return KeyFiles(self.folder / "key")

    @property
    def publications(self) -> Path:
        return self.folder / "publications"

    def latest(self) -> tuple[Path, Contents] | None:
        """The newest publication and what it holds; None where there is none yet."""
        for folder in sorted(self.publications.glob("[0-9]*"), reverse=True):
            try:
                return folder, read_contents(folder)
            except OnboardError:
                continue
        return None


def depot_of(project: Project, connection: Connection) -> Depot:
    """The depot of the data centre that ``connection`` names."""
    return Depot(connection.state_dir(project) / "depot", connection.name, connection.simulated)


def read_contents(folder: Path) -> Contents:
    """What a publication says it holds. Raises OnboardError if it does not say so readably."""
    try:
        return Contents.model_validate_json((folder / CONTENTS).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise OnboardError(f"{folder} is no whole publication: {error}") from None


def build(depot: Depot, items: Sequence[DepotItem], progress: Progress, now: datetime) -> tuple[Path, bool]:
    """The folder of a publication of what inbox and catalogue say now, and whether it had to be made.

    Raises MediaRefusedError for media that are not what the catalogue says, or missing in a real depot;
    SigningError for a key that nobody would accept any more.
    """
    depot.inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ensure_key(depot.key_files, depot.owner)
    key.require_valid(now)
    inbox = look_through(items, depot.inbox)
    _refuse(depot, inbox)
    payload = _payload(depot, items, inbox, key)
    latest = depot.latest()
    if latest and latest[1].payload == payload and now < latest[1].valid_until - SIGN_AGAIN_BEFORE:
        return latest[0], False
    progress.step("make a publication of the software depot")
    folder = _make(depot, items, inbox, payload, now)
    contents = read_contents(folder)
    stand_ins = sum(package.stand_in for package in contents.packages)
    progress.line(f"{contents.id}: {len(contents.packages)} packages, {stand_ins} of them stand-ins (Platzhalter)")
    _forget_old(depot)
    return folder, True


def _refuse(depot: Depot, inbox: Inbox) -> None:
    problems = [f"  {refused.item.application} ({refused.item.platform}): {refused.why}" for refused in inbox.refused]
    if not depot.simulated:
        problems += [
            f"  {item.application} ({item.platform}): missing media: {depot.inbox / item.media.file} is not there"
            for item in inbox.missing
            if item.media
        ]
    if problems:
        raise MediaRefusedError(
            "nothing was published: these media are not what the catalogue says:\n" + "\n".join(problems),
            hint="get the files from their vendors again, or correct the entries under depot in the catalogue",
        )


def _payload(depot: Depot, items: Sequence[DepotItem], inbox: Inbox, key: SigningKey) -> str:
    checked = {(item.application, item.platform) for item, _ in inbox.verified}
    described = [
        [item.model_dump(mode="json"), (item.application, item.platform) in checked or depot.simulated]
        for item in items
    ]
    versions = (_RECIPE, DEBIAN_STAND_IN_VERSION, FEED_STAND_IN_VERSION, key.fingerprint, key.expires.isoformat())
    everything = [*versions, sorted("/".join(pair) for pair in checked), described]
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


# --- making ---------------------------------------------------------------------------------


def _make(depot: Depot, items: Sequence[DepotItem], inbox: Inbox, payload: str, now: datetime) -> Path:
    depot.publications.mkdir(parents=True, exist_ok=True)
    for left in depot.publications.glob(".building-*"):
        shutil.rmtree(left)
    name = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{payload[:8]}"
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=depot.publications))
    valid_until = now + VALID_FOR
    try:
        with signing(depot.key_files) as signer:
            packages = tuple(_packages(depot, items, inbox, building))
            write_repository(building / "apt", signer, now=now, valid_until=min(valid_until, signer.key.expires))
            shutil.copyfile(depot.key_files.public, building / "apt" / "ksm-depot.gpg")
            contents = Contents(
                id=name,
                made=now,
                valid_until=min(valid_until, signer.key.expires),
                payload=payload,
                key=signer.key.fingerprint,
                packages=packages,
            )
            (building / CONTENTS).write_text(contents.model_dump_json(indent=1) + "\n", encoding="utf-8")
            (building / SUMS).write_text("".join(_sums(building)), encoding="utf-8")
            signer.detach(building / SUMS, building / SIGNATURE)
        for path in (building, *building.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        building.rename(depot.publications / name)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return depot.publications / name


def _packages(depot: Depot, items: Iterable[DepotItem], inbox: Inbox, root: Path) -> Iterator[Published]:
    """Put every package where it belongs, and tell what it is. The feed is written at the end."""
    pool, media, feed = root / "apt" / "pool", root / "media", root / "nuget"
    for folder in (pool, media, feed):
        folder.mkdir(parents=True)
    sources = {(item.application, item.platform): path for item, path in inbox.verified}
    for_feed: list[tuple[Made, str]] = []
    for item in items:
        source = sources.get((item.application, item.platform))
        if source is None and not depot.simulated:
            continue
        kept = source and _kept(source, media / item.application, item)
        made = _debian(item, kept, pool) if item.platform == "linux" else _windows(item, kept, feed)
        if item.platform == "windows":
            for_feed.append((made, item.product if source else f"Platzhalter (stand-in) for {item.product}"))
        yield Published(
            application=item.application,
            platform=item.platform,
            package=made.package,
            version=made.version,
            stand_in=source is None,
            sha256=item.media.sha256 if source and item.media else None,
        )
    write_feed(feed, for_feed)


def _kept(source: Path, folder: Path, item: DepotItem) -> Path:
    """A copy of the vendor's file, looked at once more: what was checked is what is published."""
    folder.mkdir(exist_ok=True)
    copy = folder / source.name
    shutil.copyfile(source, copy)
    if item.media is None or sha256_of(copy) != item.media.sha256:
        raise MediaRefusedError(
            f"{source} changed while it was published", hint="let nobody write there meanwhile, and publish again"
        )
    return copy


def _debian(item: DepotItem, media: Path | None, pool: Path) -> Made:
    if media is None:
        return debian_stand_in(item, pool)
    (pool / media.name).hardlink_to(media)
    return Made(pool / media.name, item.package, item.media.version if item.media else "")


def _windows(item: DepotItem, media: Path | None, folder: Path) -> Made:
    if media is None or not isinstance(item.media, WindowsMedia):
        return windows_stand_in(item, folder)
    if media.suffix == ".nupkg":
        target = folder / media.name
        shutil.copyfile(media, target)
        return Made(target, item.package, item.media.version)
    return windows_installer(item, item.media, media, folder)


def _sums(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        if path.is_file():
            yield f"{sha256_of(path)}  {path.relative_to(root)}\n"


def _forget_old(depot: Depot) -> None:
    for folder in sorted(depot.publications.glob("[0-9]*"))[:-_KEPT]:
        shutil.rmtree(folder)
