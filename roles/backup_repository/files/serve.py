#!/usr/bin/python3 -I
"""The login shell of every account that backs up here: it serves the account's own repository, and nothing else.

Whatever the other side asks for is not looked at. The repository's protocol goes over standard input and output.
Once the account's room is used up, it is served for reading only.
"""

import json
import os
import pwd
import resource
import sys
from pathlib import Path
from typing import Any

ACCOUNTS = Path("/etc/ksm-backup/accounts")
GIB = 1024**3


def used_bytes(folder: Path) -> int:
    """What the files below ``folder`` take up."""
    return sum(
        (Path(place) / name).lstat().st_blocks * 512 for place, _folders, names in os.walk(folder) for name in names
    )


def command(account: dict[str, Any]) -> list[str]:
    """The program that serves the account's repository."""
    limits = ["--append-only"] if account["append_only"] else []
    return ["/usr/bin/rclone", "serve", "restic", "--stdio", "--config", "", *limits, str(account["repository"])]


def main() -> None:
    """Serves until the other side closes the connection."""
    os.umask(0o077)
    account = json.loads((ACCOUNTS / f"{pwd.getpwuid(os.getuid()).pw_name}.json").read_text(encoding="utf-8"))
    used, room = used_bytes(Path(account["repository"])), account["quota_gib"] * GIB
    if used >= room:
        sys.stderr.write(f"room used up ({used // GIB} of {account['quota_gib']} GiB): for reading only\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    words = command(account)
    os.execve(words[0], words, {"HOME": str(account["repository"]), "LC_ALL": "C.UTF-8"})  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
