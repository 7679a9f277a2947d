#!/usr/bin/python3 -I
"""Takes a publication over that was brought into ``publications/.incoming``: verified as a whole, then in one step.

usage: take-over FOLDER ID. Prints ``changed`` or ``unchanged``. Ends with 1 and says why if anything is wrong;
what was served before is served on then.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SIGNING_KEY = Path(__file__).resolve().parent / "signing-key.gpg"
SUMS = "SHA256SUMS"
UNLISTED = {SUMS, f"{SUMS}.asc"}


class RefusedError(Exception):
    """The publication is not what was signed; says why."""


def verify(publication: Path, wanted: str) -> None:
    """Raises RefusedError unless every file is what the signed list says, and no other is there."""
    sums = publication / SUMS
    # The options' order is gpgv's: first the signature, then what it signs.
    command = ["/usr/bin/gpgv", "--keyring", str(SIGNING_KEY), str(publication / f"{SUMS}.asc"), str(sums)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    if checked.returncode:
        raise RefusedError(f"its signature is not valid: {checked.stderr.strip()}")
    listed = {}
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    found = {str(path.relative_to(publication)): path for path in publication.rglob("*") if not path.is_dir()}
    if strangers := sorted(found.keys() - listed.keys() - UNLISTED):
        raise RefusedError(f"files that nobody signed: {', '.join(strangers)}")
    for name, digest in listed.items():
        path = found.get(name)
        if path is None or path.is_symlink():
            raise RefusedError(f"{name} is missing")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise RefusedError(f"{name} is not what was signed")
    said = json.loads((publication / "contents.json").read_text(encoding="utf-8")).get("id")
    if said != wanted:
        raise RefusedError(f"it is the publication {said}, not {wanted}")


def point(link: Path, target: str) -> None:
    """Let a link point elsewhere, in one step."""
    fresh = link.with_name(f".{link.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def take_over(folder: Path, wanted: str) -> bool:
    """Serve the publication ``wanted``; whether anything had to be done for it."""
    publications = folder / "publications"
    incoming, target = publications / ".incoming", publications / wanted
    if not target.exists():
        verify(incoming, wanted)
        os.sync()
        incoming.rename(target)
    current, previous = folder / "current", folder / "previous"
    served = current.readlink().name if current.is_symlink() else ""
    if served != wanted:
        if (publications / served).is_dir() and served:
            point(previous, f"publications/{served}")
        point(current, f"publications/{wanted}")
    kept = {link.readlink().name for link in (current, previous) if link.is_symlink()}
    for old in publications.iterdir():
        if old.name not in kept and not old.name.startswith("."):
            shutil.rmtree(old)
    return served != wanted


def main() -> int:
    """The command."""
    folder, wanted = Path(sys.argv[1]), sys.argv[2]
    try:
        changed = take_over(folder, wanted)
    except (RefusedError, OSError, ValueError) as error:
        sys.stderr.write(f"the publication {wanted} was refused, nothing changed: {error}\n")
        return 1
    sys.stdout.write("changed\n" if changed else "unchanged\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
