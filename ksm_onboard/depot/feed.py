"""A NuGet v3 feed as plain files, which Chocolatey (2.0 or later) installs from.

The protocol's v3 is made of documents that a web server can hand out as they are (learn.microsoft.com/nuget/api);
v2 wants a server that answers queries. Addresses in the documents have to be absolute: ``BASE`` stands for the
depot's own, and the depot that answers puts itself in its place.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ksm_onboard.depot.packages import Made

BASE = "https://depot.invalid"
_FEED = f"{BASE}/nuget/v3"


@dataclass(frozen=True)
class _Entry:
    package: str
    """In lower case, as the protocol wants it in addresses."""
    version: str
    title: str
    made: Made

    @property
    def content(self) -> str:
        return f"{_FEED}/flat/{self.package}/{self.version}/{self.package}.{self.version}.nupkg"

    @property
    def registration(self) -> str:
        return f"{_FEED}/registration/{self.package}/index.json"


def write_feed(root: Path, packages: Sequence[tuple[Made, str]]) -> None:
    """The feed of these packages and their titles, below ``root``/v3. Their files are moved there."""
    feed = root / "v3"
    entries = [
        _Entry(made.package.lower(), normalised(made.version), title, made)
        for made, title in sorted(packages, key=lambda pair: pair[0].package)
    ]
    for entry in entries:
        folder = feed / "flat" / entry.package / entry.version
        folder.mkdir(parents=True)
        _write(folder.parent / "index.json", {"versions": [entry.version]})
        (folder / f"{entry.package}.nuspec").write_bytes(_nuspec(entry.made.path))
        entry.made.path.rename(folder / f"{entry.package}.{entry.version}.nupkg")
        _write(feed / "registration" / entry.package / "index.json", _registration(entry))
    _write(feed / "search.json", {"totalHits": len(entries), "data": [_found(entry) for entry in entries]})
    _write(feed / "index.json", {"version": "3.0.0", "resources": list(_resources())})


def normalised(version: str) -> str:
    """The version as NuGet writes it in addresses: three numbers at least, no fourth that is 0, lower case."""
    numbers, dash, label = version.lower().partition("-")
    parts = [str(int(part)) for part in numbers.split(".")]
    parts += ["0"] * (3 - len(parts))
    if len(parts) == 4 and parts[3] == "0":
        parts.pop()
    return ".".join(parts) + dash + label


def _resources() -> list[dict[str, str]]:
    addresses = {
        "PackageBaseAddress/3.0.0": f"{_FEED}/flat/",
        "RegistrationsBaseUrl": f"{_FEED}/registration/",
        "RegistrationsBaseUrl/3.4.0": f"{_FEED}/registration/",
        "RegistrationsBaseUrl/3.6.0": f"{_FEED}/registration/",
        "SearchQueryService": f"{_FEED}/search.json",
        "SearchQueryService/3.0.0-rc": f"{_FEED}/search.json",
        "SearchQueryService/3.5.0": f"{_FEED}/search.json",
    }
    return [{"@id": address, "@type": kind} for kind, address in addresses.items()]


def _registration(entry: _Entry) -> dict[str, Any]:
    leaf = {
        "@id": f"{entry.registration}#{entry.version}",
        "@type": "Package",
        "catalogEntry": {
            "@id": f"{entry.registration}#{entry.version}/entry",
            "@type": "PackageDetails",
            "authors": "KSM",
            "description": entry.title,
            "id": entry.made.package,
            "listed": True,
            "packageContent": entry.content,
            "title": entry.title,
            "version": entry.version,
        },
        "packageContent": entry.content,
        "registration": entry.registration,
    }
    page = {
        "@id": f"{entry.registration}#page",
        "@type": "catalog:CatalogPage",
        "count": 1,
        "items": [leaf],
        "lower": entry.version,
        "upper": entry.version,
        "parent": entry.registration,
    }
    return {"@id": entry.registration, "@type": ["catalog:CatalogRoot"], "count": 1, "items": [page]}


def _found(entry: _Entry) -> dict[str, Any]:
    return {
        "@id": entry.registration,
        "@type": "Package",
        "registration": entry.registration,
        "id": entry.made.package,
        "version": entry.version,
        "title": entry.title,
        "description": entry.title,
        "versions": [{"@id": entry.registration, "version": entry.version, "downloads": 0}],
    }


def _nuspec(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if "/" not in name and name.endswith(".nuspec"))
        return archive.read(name)


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
