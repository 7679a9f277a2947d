"""Writing files so that a reader never sees half of one, and an interruption leaves the old one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def create_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Put ``text`` (UTF-8) at ``path``, which must not exist; its folder must.

    Raises FileExistsError, even where somebody else creates the file at the same moment,
    and OSError if it is not possible.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        path.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Put ``text`` (UTF-8) at ``path``, creating its folder. Raises OSError if that is not possible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
