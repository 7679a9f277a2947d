"""How an installed application is recognised on a machine, and what else its catalogue entry tells. Pure.

One precedence holds everywhere (PRECEDENCE): the first kind of rule that an application has on a platform decides
whether it is there, and in which version; the others are not asked. What no entry says is unknown, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from ksm_onboard.declaration.catalogue import Application, ServerSide, Updater
from ksm_onboard.declaration.findings import Finding
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.declaration.models import DevicePlatform

Kind = Literal["package", "product-code", "file-version", "registry", "bookmark"]
PRECEDENCE: Final[tuple[Kind, ...]] = ("package", "product-code", "file-version", "registry", "bookmark")
"""Package databases and product codes name exactly one product; files and names may belong to several."""

_DATABASE_CLIENTS: Final[Mapping[str, ServerSide]] = {"mssql-odbc": "mssql"}


@dataclass(frozen=True)
class Rule:
    """One way to recognise it. ``values``: all package names, or the one code, file or key, or alternative names."""

    kind: Kind
    values: tuple[str, ...]
    at_least: str | None = None


def rules(application: Application, platform: DevicePlatform) -> tuple[Rule, ...]:
    """Every rule that recognises the application on the platform, in the order of PRECEDENCE; empty: unknown."""
    found: list[Rule] = []
    if platform == "linux" and application.debian:
        found.append(Rule("package", application.debian))
    elif platform == "linux" and application.depot.linux is not None:
        found.append(Rule("package", (application.depot.linux.package,)))
    if platform == "windows":
        found += _on_windows(application)
    if application.in_browser:
        found.append(Rule("bookmark", (application.url,) if application.url else ()))
    return tuple(sorted(found, key=lambda rule: PRECEDENCE.index(rule.kind)))


def _on_windows(application: Application) -> list[Rule]:
    found, detection = [], application.detection
    if application.packages.chocolatey is not None:
        found.append(Rule("package", (application.packages.chocolatey,)))
    if detection.product_code is not None:
        found.append(Rule("product-code", (detection.product_code,)))
    if detection.file is not None:
        found.append(Rule("file-version", (detection.file.path,), detection.file.at_least))
    if detection.registry is not None:
        found.append(Rule("registry", (detection.registry,)))
    elif "windows" in application.platforms and application.component in ("client", "server"):
        # Every installer leaves its name in Windows' list of installed software.
        found.append(Rule("registry", tuple(dict.fromkeys((application.product, *application.aliases)))))
    return found


def updated_by(application: Application, platform: DevicePlatform) -> Updater | None:
    """Where new versions come from on the platform; None: unknown."""
    packages = application.packages
    if (platform == "linux" and packages.debian) or (platform == "windows" and packages.chocolatey):
        return "package-source"
    if packages.saas is not None:
        return "operator"
    return "vendor-media" if packages.media == "vendor" else None


def server_side(application: Application) -> tuple[ServerSide, ...] | None:
    """What it needs on servers: as declared, else as far as the entry shows it; None: unknown."""
    if application.server_side is not None:
        return application.server_side
    if application.packages.saas is not None:
        return ("operator",)
    requirements = (*application.requires, *(key for keys in application.requires_on.values() for key in keys))
    needed = {_DATABASE_CLIENTS[key] for key in requirements if key in _DATABASE_CLIENTS}
    if application.component == "web":
        needed.add("web-server")
    return tuple(sorted(needed)) or None


def check_details(catalogue: Mapping[str, CatalogueEntry]) -> list[Finding]:
    """Entries whose details contradict each other."""
    found = []
    codes: dict[str, str] = {}
    for key, entry in catalogue.items():
        application = entry.application
        if not application.detection.model_fields_set.isdisjoint(("product_code", "file", "registry")) and (
            "windows" not in application.platforms
        ):
            found.append(
                Finding(
                    rule="application-detection",
                    place=entry.place,
                    message=f"'{key}' does not run on Windows, and nothing else has product codes, file versions or "
                    "registry keys",
                    allowed="detection only where platforms has windows",
                )
            )
        code = application.detection.product_code
        if code is not None and codes.setdefault(code, key) != key:
            found.append(
                Finding(
                    rule="application-detection",
                    place=entry.place,
                    message=f"'{key}' and '{codes[code]}' have one product code: one would be taken for the other",
                    value=code,
                )
            )
        if (
            application.server_side is not None
            and "none" in application.server_side
            and len(application.server_side) > 1
        ):
            found.append(
                Finding(
                    rule="application-detection",
                    place=entry.place,
                    message=f"'{key}' needs nothing on servers and something all the same",
                    value=", ".join(application.server_side),
                    allowed="none alone, or what it needs",
                )
            )
    return found


@dataclass(frozen=True)
class Outdated:
    """An application whose vendor's support ends; ``days`` are left (negative: it has ended)."""

    key: str
    support_end: date
    days: int
    successor: str | None


def outdated(catalogue: Iterable[CatalogueEntry], on: date, within: timedelta) -> list[Outdated]:
    """What is out of support ``on`` that day, or will be ``within`` that time; the longest overdue first."""
    found = [
        Outdated(entry.key, end, (end - on).days, entry.application.successor)
        for entry in catalogue
        if (end := entry.application.support_end) is not None and end - on <= within
    ]
    return sorted(found, key=lambda entry: (entry.support_end, entry.key))
