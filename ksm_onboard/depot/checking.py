"""What is wrong with the depot: key, inbox, publication."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from ksm_onboard.depot.inbox import look_through, sha256_of
from ksm_onboard.depot.publication import SIGNATURE, SUMS, Depot
from ksm_onboard.depot.signing import read_key
from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.depot import DepotItem

_SOON = timedelta(days=30)


def problems_of(depot: Depot, items: Sequence[DepotItem], now: datetime) -> Iterator[str]:
    """What is wrong with key, inbox and newest publication, in words; nothing if they are as they should be."""
    if not depot.key_files.public.exists():
        yield "nothing was built yet: there is no signing key (ksm-onboard depot build)"
        return
    key = read_key(depot.key_files)
    yield from _ends("the signing key", key.expires, now, "ksm-onboard depot renew-key, then depot build")
    inbox = look_through(items, depot.inbox)
    yield from (f"{refused.item.application} ({refused.item.platform}): {refused.why}" for refused in inbox.refused)
    for item in inbox.missing:
        if item.media:
            yield f"{item.application} ({item.platform}): missing media: {depot.inbox / item.media.file} is not there"
    yield from (f"{depot.inbox / name}: no entry of the catalogue names this file" for name in inbox.strangers)
    latest = depot.latest()
    if latest is None:
        yield "there is no publication yet (ksm-onboard depot build)"
        return
    folder, contents = latest
    yield from _ends(f"the publication {contents.id}", contents.valid_until, now, "ksm-onboard depot build")
    yield from altered(folder, depot.key_files.public)


def altered(publication: Path, public_key: Path) -> Iterator[str]:
    """Files of a publication that are not what was signed. Raises NotReadyError without gpgv."""
    command = ["gpgv", "--quiet", "--keyring", str(public_key), str(publication / SIGNATURE), str(publication / SUMS)]
    try:
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NotReadyError("gpgv is not installed", hint="run: make setup") from None
    if checked.returncode:
        yield f"{publication.name}: its signature is not valid: {checked.stderr.strip()}"
        return
    lines = (line.partition("  ") for line in (publication / SUMS).read_text().splitlines())
    listed = {name: digest for digest, _, name in lines}
    found = {str(path.relative_to(publication)) for path in publication.rglob("*") if path.is_file()}
    yield from (f"{publication.name}: {name} is missing" for name in sorted(listed.keys() - found))
    yield from (
        f"{publication.name}: {name} was signed by nobody" for name in sorted(found - listed.keys() - {SUMS, SIGNATURE})
    )
    for name in sorted(found & listed.keys()):
        if sha256_of(publication / name) != listed[name]:
            yield f"{publication.name}: {name} is not what was signed"


def _ends(what: str, end: datetime, now: datetime, then: str) -> Iterable[str]:
    if now >= end:
        yield f"{what} is valid no longer since {end:%Y-%m-%d}: machines refuse it ({then})"
    elif now >= end - _SOON:
        yield f"{what} is valid until {end:%Y-%m-%d} only ({then})"
