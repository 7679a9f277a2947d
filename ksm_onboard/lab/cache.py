"""Things that take minutes to build are built once, into the cache, under a key made of their inputs."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ksm_onboard.errors import OnboardError
from ksm_onboard.lab.mounts import remove_tree
from ksm_onboard.progress import Progress

_KEY_LENGTH = 16


def key_of(*inputs: str | bytes) -> str:
    """A short key that changes when any of ``inputs`` does."""
    digest = hashlib.sha256()
    for part in inputs:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:_KEY_LENGTH]


@contextmanager
def locked(file: Path, progress: Progress, waiting_for: str) -> Iterator[None]:
    """Hold the lock ``file``; says so if it has to wait because another run is at the same work."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.line(f"waiting: another run is busy with {waiting_for}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def built_once(folder: Path, build: Callable[[Path], None], progress: Progress, title: str) -> Path:
    """``folder``, built by ``build`` if it does not exist yet.

    ``build`` works in a temporary folder beside it, which becomes ``folder`` when it is complete:
    an interrupted build leaves nothing that looks finished, and the next one removes the rest.
    """
    if folder.is_dir():
        return folder
    with locked(folder.with_name(f".{folder.name}.lock"), progress, title):
        if folder.is_dir():
            return folder
        progress.step(title)
        for left_over in folder.parent.glob(f".{folder.name}.building-*"):
            remove_tree(left_over)
        unfinished = folder.with_name(f".{folder.name}.building-{os.getpid()}")
        try:
            unfinished.mkdir()
            build(unfinished)
            unfinished.rename(folder)
        except OSError as error:
            raise OnboardError(f"cannot build {folder}: {error}", hint="is there enough space? df -h") from error
    return folder
