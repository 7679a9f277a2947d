"""Writing files so that a reader never sees half of one, and an interruption leaves the old one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def create_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Put ``text`` (UTF-8) at ``path``, which must not exist; its folder must.

    Raises FileExistsError, even where somebody else creates the file at the same moment,
    and OSError if it is not possible.
    """
    with _beside(path, text, mode) as fresh:
        path.hardlink_to(fresh)


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Put ``text`` (UTF-8) at ``path``, creating its folder. Raises OSError if that is not possible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path, text, mode) as fresh:
        fresh.replace(path)


@contextmanager
def _beside(path: Path, text: str, mode: int) -> Iterator[Path]:
    """A whole file with ``text`` in the folder of ``path``, gone afterwards unless it was moved."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
