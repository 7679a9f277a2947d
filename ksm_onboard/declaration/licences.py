"""Who was given which licence: ``stacks/licences/<member>.yaml``, one line per seat. Read and written here only.

The toolkit writes it; people read and review it. See planning.licensing for how seats are given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from ksm_onboard.atomic import write_atomically
from ksm_onboard.declaration.load import Loaded, load_file
from ksm_onboard.declaration.models import Declared, HostName, Key

_HEADER = """\
# Licences that machines of {member} hold, by application. Written by `ksm-onboard licences --assign`.
"""


class LicenceRecord(Declared):
    """The seats that machines of one member hold."""

    seats: dict[Key, tuple[HostName, ...]] = Field(default_factory=dict, description="machines, by application")


def licences_folder(stacks: Path) -> Path:
    """Where the records lie."""
    return stacks / "licences"


def load_licences(stacks: Path) -> dict[str, Loaded[LicenceRecord]]:
    """The records of all members, by member."""
    return {file.stem: load_file(file, LicenceRecord) for file in sorted(licences_folder(stacks).glob("*.yaml"))}


def write_licences(stacks: Path, seats: Mapping[str, tuple[tuple[str, str], ...]]) -> list[Path]:
    """Write the records from ``seats`` (application → member and machine); the files that changed."""
    by_member: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for application in sorted(seats):
        for member, machine in sorted(seats[application]):
            by_member[member].setdefault(application, []).append(machine)
    folder, changed = licences_folder(stacks), []
    for file in sorted(folder.glob("*.yaml")):
        if file.stem not in by_member:
            file.unlink()
            changed.append(file)
    folder.mkdir(exist_ok=True)
    for member, applications in sorted(by_member.items()):
        file, text = folder / f"{member}.yaml", _rendered(member, applications)
        if not file.exists() or file.read_text("utf-8") != text:
            write_atomically(file, text)
            changed.append(file)
    return changed


def _rendered(member: str, applications: Mapping[str, list[str]]) -> str:
    lines = [_HEADER.format(member=member), "seats:\n"]
    for application, machines in applications.items():
        # One line per seat: two branches that give out different ones can be merged.
        lines += [f'  "{application}":\n', *(f"    - {machine}\n" for machine in machines)]
    return "".join(lines)
