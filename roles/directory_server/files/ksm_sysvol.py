#!/usr/bin/python3
"""Makes this domain controller's SYSVOL the same as that of the controller that group policies are edited at.

Samba replicates the database but not this folder. One way only, so nothing can be in conflict: whoever holds the
role of the PDC emulator, at which Windows' tools edit policies, is copied; on that one there is nothing to do.
Logs in with this controller's own machine account. Nothing is touched unless everything was fetched.
"""

from __future__ import annotations

import filecmp
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

STATE = Path("/var/lib/samba")
SYSVOL = STATE / "sysvol"


def source(database: SamDB) -> str | None:
    """DNS name of the controller to copy from; None if it is this one."""
    domain = database.search(database.domain_dn(), ldb.SCOPE_BASE, attrs=["fSMORoleOwner"])[0]
    settings = ldb.Dn(database, str(domain["fSMORoleOwner"][0]))
    if str(settings) == str(database.get_dsServiceName()):
        return None
    server = database.search(settings.parent(), ldb.SCOPE_BASE, attrs=["dNSHostName"])[0]
    return str(server["dNSHostName"][0])


def fetch(host: str, into: Path) -> None:
    """Everything below //host/sysvol."""
    archive = into / "sysvol.tar"
    subprocess.run(
        ["smbclient", f"//{host}/sysvol", "--machine-pass", "--client-protection=encrypt", "-Tc", str(archive)],
        check=True, stdout=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    with tarfile.open(archive) as content:
        plain = [member for member in content if is_plain(member)]
        content.extractall(into / "content", plain)  # noqa: S202 - only what lands below that folder


def is_plain(member: tarfile.TarInfo) -> bool:
    """A file or folder that lands below where the archive is unpacked."""
    path = PurePosixPath(member.name)
    return (member.isfile() or member.isdir()) and not path.is_absolute() and ".." not in path.parts


def differ(one: Path, other: Path) -> bool:
    """Whether names or contents differ anywhere below."""
    compared = filecmp.dircmp(one, other)
    if compared.left_only or compared.right_only or compared.common_funny:
        return True
    _, wrong, unread = filecmp.cmpfiles(one, other, compared.common_files, shallow=False)
    return bool(wrong or unread) or any(differ(one / name, other / name) for name in compared.common_dirs)


def main() -> int:
    """0 if SYSVOL is as it should be."""
    configuration = LoadParm()
    configuration.load_default()
    database = SamDB(session_info=system_session(), lp=configuration)
    host = source(database)
    if host is None:
        return 0
    with tempfile.TemporaryDirectory(dir=STATE, prefix=".sysvol-") as folder:
        new = Path(folder) / "content"
        fetch(host, Path(folder))
        if not any(new.iterdir()):
            sys.stderr.write(f"{host} shows an empty SYSVOL; nothing was changed\n")
            return 1
        if not differ(new, SYSVOL):
            return 0
        SYSVOL.rename(Path(folder) / "old")
        new.rename(SYSVOL)
    # Rights are not fetched but follow from the directory, which both controllers have.
    subprocess.run(["samba-tool", "ntacl", "sysvolreset"], check=True, stdout=subprocess.DEVNULL)
    sys.stdout.write(f"SYSVOL fetched from {host}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
