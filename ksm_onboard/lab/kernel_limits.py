"""Limits of the kernel that a handful of machines never meets and a lab does."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ksm_onboard.errors import NotReadyError

INOTIFY_INSTANCES: Final = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH: Final = 4096
"""A booted host holds 7 inotify instances (measured); Debian's default of 128 for root is full with 17 hosts, and the
next one's systemd then ends without a word."""


def allow_many_hosts(limit: Path = INOTIFY_INSTANCES) -> bool:
    """Raise the limit of inotify instances, until the machine is started anew; whether it had to be raised.

    Raises NotReadyError if the machine does not let us.
    """
    now = int(limit.read_text())
    if now >= _ENOUGH:
        return False
    try:
        limit.write_text(f"{_ENOUGH}\n")
    except OSError as error:
        raise NotReadyError(
            f"this machine allows {now} inotify instances, too few for a lab, and does not let us raise that: "
            f"{error.strerror}",
            hint=f"run as root: sysctl fs.inotify.max_user_instances={_ENOUGH}",
        ) from None
    return True
