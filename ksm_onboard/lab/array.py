"""The lab's storage arrays: a file of exports that the simulated hosts may mount.

In the data centre the array's administrators make exports; in the lab this file is their work. The simulator reads it
again whenever it has changed, so an export that is made or grown here is there at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ksm_onboard.atomic import write_atomically
from ksm_onboard.project import Project


@dataclass(frozen=True)
class ArrayExport:
    """One NFS export. It can be read while one of its ``sections`` stands."""

    host: str
    """Name or address by which hosts mount it, exactly as their datastore declares it."""
    path: str
    capacity_gib: int
    sections: tuple[str, ...]
    """Fire sections that hold a copy: two for a mirrored export."""


def array_file(project: Project, lab: str) -> Path:
    """Where the lab's vCenter reads the exports from."""
    return project.state / lab / "array.json"


def ensure_array(project: Project, lab: str) -> Path:
    """The file, without any export if there is none yet."""
    file = array_file(project, lab)
    if not file.exists():
        _write(file, {})
    return file


def set_exports(project: Project, lab: str, exports: Iterable[ArrayExport]) -> bool:
    """Make these exports, or change them to be like this; others stay. False if that is what there was already.

    An export is known by its host and path. Nothing is ever removed: datastores may be mounted from it.
    """
    present = _read(ensure_array(project, lab))
    wanted = present | {(export.host, export.path): export for export in exports}
    if wanted == present:
        return False
    _write(array_file(project, lab), wanted)
    return True


def _read(file: Path) -> dict[tuple[str, str], ArrayExport]:
    entries = json.loads(file.read_text())["exports"]
    exports = (ArrayExport(**{**entry, "sections": tuple(entry["sections"])}) for entry in entries)
    return {(export.host, export.path): export for export in exports}


def _write(file: Path, exports: dict[tuple[str, str], ArrayExport]) -> None:
    document = {"exports": [asdict(export) for _, export in sorted(exports.items())]}
    write_atomically(file, json.dumps(document, indent=2) + "\n")
