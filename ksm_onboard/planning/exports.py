"""What the array's administrator has to export for a member: the toolkit mounts exports, it makes none. Pure."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from typing import Any

from ksm_onboard.planning.plan import Plan


@dataclass(frozen=True)
class Export:
    """One NFS export: where, how large, mirrored into which fire sections, and to which hosts, read-write."""

    member: str
    datastore: str
    array: str
    address: str
    path: str
    size_gib: int
    sections: tuple[str, ...]
    hosts: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """A plain mapping for machines."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def exports_of(plan: Plan) -> tuple[Export, ...]:
    """Every export that the member's datastores need, in the order of the plan."""
    hosts = {section.key: section.hosts for section in plan.platform.sections}
    return tuple(
        Export(
            member=plan.member.key,
            datastore=store.name,
            array=store.array,
            address=str(store.remote_host),
            path=store.remote_path,
            size_gib=store.size_gib,
            sections=store.sections,
            hosts=tuple(host for section in store.sections for host in hosts[section]),
        )
        for store in plan.member.datastores
    )


def as_csv(exports: tuple[Export, ...]) -> str:
    """One line per export; several sections or hosts in one cell are separated by blanks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Export)])
    for export in exports:
        cells = asdict(export).values()
        writer.writerow([" ".join(cell) if isinstance(cell, tuple) else cell for cell in cells])
    return text.getvalue()
