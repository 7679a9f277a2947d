"""A signed apt repository of a folder of packages, by apt's own apt-ftparchive.

It is made anew from its packages every time: there is no database that could be half written. Indexes are also
found by their checksums (by-hash), so a machine that began before a publication changed can finish.
"""

from __future__ import annotations

import gzip
import os
import subprocess
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path

from ksm_onboard.depot.inbox import sha256_of
from ksm_onboard.depot.signing import Signer
from ksm_onboard.errors import NotReadyError, OnboardError

SUITE = "ksm"
COMPONENT = "main"
ORIGIN = "KSM Softwaredepot"
_ARCHITECTURE = "amd64"


def write_repository(root: Path, signer: Signer, *, now: datetime, valid_until: datetime) -> None:
    """Index and sign what lies in ``root``/pool. Raises OnboardError if apt-ftparchive or gpg fail."""
    suite = root / "dists" / SUITE
    index = suite / COMPONENT / f"binary-{_ARCHITECTURE}"
    index.mkdir(parents=True)
    packages = index / "Packages"
    packages.write_bytes(_ftparchive(root, "packages", "pool"))
    (index / "Packages.gz").write_bytes(gzip.compress(packages.read_bytes(), mtime=0))
    by_hash = index / "by-hash" / "SHA256"
    by_hash.mkdir(parents=True)
    for file in (packages, index / "Packages.gz"):
        (by_hash / sha256_of(file)).hardlink_to(file)
    fields = {
        "Origin": ORIGIN,
        "Label": ORIGIN,
        "Suite": SUITE,
        "Codename": SUITE,
        "Architectures": _ARCHITECTURE,
        "Components": COMPONENT,
        "Acquire-By-Hash": "true",
        "Date": format_datetime(now, usegmt=True),
    }
    options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
    release = root / "Release"
    text = _ftparchive(root, *options, "release", f"dists/{SUITE}")
    # apt-ftparchive counts this from its own clock only.
    until = f"Valid-Until: {format_datetime(valid_until, usegmt=True)}\n"
    release.write_bytes(text.replace(b"SHA256:", until.encode() + b"SHA256:", 1))
    release.rename(suite / "Release")
    signer.clearsign(suite / "Release", suite / "InRelease")
    signer.detach(suite / "Release", suite / "Release.gpg")


def _ftparchive(root: Path, *words: str) -> bytes:
    command = ["apt-ftparchive", "-q", *_SHA256_ONLY, *words]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    try:
        done = subprocess.run(command, capture_output=True, check=False, cwd=root, env=environment)
    except FileNotFoundError:
        raise NotReadyError("apt-ftparchive is not installed", hint="run: make setup") from None
    if done.returncode:
        raise OnboardError(f"apt-ftparchive failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


_SHA256_ONLY = ("-oAPT::FTPArchive::MD5=false", "-oAPT::FTPArchive::SHA1=false", "-oAPT::FTPArchive::SHA512=false")
