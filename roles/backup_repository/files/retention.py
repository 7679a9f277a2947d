#!/usr/bin/python3 -I
"""Thins out the backups of every account as its classes say, and proves that what is left hangs together.

Those who back up cannot delete, so it is done here. Every single backup of the last days is kept whatever
the counts say: whoever takes over a server could otherwise push good backups out by flooding the repository
with false ones. For the same reason nothing is deleted while a backup is dated in the future.
"""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/ksm-backup")
CLOCKS_DIFFER = timedelta(minutes=10)


def say(priority: int, text: str) -> None:
    """A line for the journal (sd-daemon(3): 3 error, 6 information)."""
    sys.stdout.write(f"<{priority}>{text}\n")
    sys.stdout.flush()


class RetentionError(Exception):
    """Nothing was deleted, or what is left is damaged; says why."""


def restic(account: dict[str, Any], *words: str) -> str:
    """Run restic in the account's repository, as that account; the passphrase goes over standard input."""
    name = str(account["name"])
    passphrase = (SETTINGS / "passphrases" / name).read_text(encoding="utf-8")
    done = subprocess.run(
        ["/usr/bin/restic", "--repo", str(account["repository"]), "--no-cache", "--quiet", *words],
        input=passphrase.strip() + "\n",
        capture_output=True,
        text=True,
        user=name,
        group=name,
        extra_groups=[],
        cwd="/",
        env={"HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise RetentionError(f"restic {words[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout


def moment(text: str) -> datetime:
    """A snapshot's time; restic writes nanoseconds, which Python's parser does not know."""
    head, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    return datetime.fromisoformat((head + zone).replace("Z", "+00:00"))


def refuse_the_future(snapshots: list[dict[str, Any]], now: datetime) -> None:
    """Raises RetentionError if a snapshot is later than ``now``."""
    later = [snapshot for snapshot in snapshots if moment(str(snapshot["time"])) > now + CLOCKS_DIFFER]
    if later:
        raise RetentionError(
            f"{len(later)} backups are dated in the future, for example {later[0]['id']} ({later[0]['time']}): "
            "nothing is deleted until somebody has looked at it"
        )


def policy(keep: dict[str, int]) -> list[str]:
    """restic's options for a class."""
    words = ["--keep-within", f"{keep['all_days']}d"]
    for period in ("hourly", "daily", "weekly", "monthly"):
        if keep[period]:
            words += [f"--keep-{period}", str(keep[period])]
    return words


def thin_out(account: dict[str, Any]) -> str:
    """Apply the account's classes; returns what is left, in words."""
    if not (Path(str(account["repository"])) / "config").exists():
        return "no repository yet"
    restic(account, "unlock")
    refuse_the_future(json.loads(restic(account, "snapshots", "--json")), datetime.now(UTC))
    for source, keep in account["sources"].items():
        restic(account, "forget", "--tag", f"source:{source}", *policy(keep))
    restic(account, "prune")
    restic(account, "check")
    return f"{len(json.loads(restic(account, 'snapshots', '--json')))} snapshots are left, and hang together"


def main() -> int:
    """Go through all accounts; one that fails does not keep the others from being done."""
    failed = 0
    for file in sorted((SETTINGS / "accounts").glob("*.json")):
        account = json.loads(file.read_text(encoding="utf-8"))
        begun = time.monotonic()
        try:
            say(6, f"{account['name']}: {thin_out(account)} ({time.monotonic() - begun:.0f} s)")
        except (RetentionError, OSError) as error:
            failed += 1
            say(3, f"{account['name']}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
