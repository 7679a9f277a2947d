"""How each workplace of a member came out, written down the moment that it is known, beside the member's runs.

One line of JSON each, appended and flushed, so that whoever kills us takes nothing back that was known. The last line
about a workplace holds. A torn last line is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ksm_onboard.planning.waves import Standing, State

FILE: Final = "journal.jsonl"

Installed = dict[str, dict[str, str | None]]
"""Versions of packages (None: not installed) by application."""


class Entry(BaseModel):
    """How one workplace came out. ``checked``: it was asked again, by other means than those that installed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["host"] = "host"
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    host: str
    state: State
    reason: str = ""
    confirmed: bool = False
    checked: bool = False
    installed: Installed = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """The declared applications of which a part is not installed."""
        return tuple(sorted(key for key, parts in self.installed.items() if None in parts.values()))

    @property
    def versions(self) -> dict[str, str | None]:
        """The applications that are installed whole, with the versions of their parts."""
        return {
            key: ", ".join(version for version in parts.values() if version) or None
            for key, parts in self.installed.items()
            if None not in parts.values()
        }


class WaveEntry(BaseModel):
    """That a wave was begun or ended."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["wave"] = "wave"
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    wave: str
    event: Literal["begun", "ended"]


class Withheld(BaseModel):
    """That an application was taken back from workplaces, or is given to them again."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["withheld"] = "withheld"
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    application: str
    hosts: tuple[str, ...]
    withheld: bool


class Journal:
    """The journal of one member's workplaces, in the folder of its runs."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self.hosts: dict[str, Entry] = {}
        self.begun: dict[str, datetime] = {}
        self.withheld: dict[str, set[str]] = {}
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            for model in (Entry, WaveEntry, Withheld):
                try:
                    self._take(model.model_validate_json(line))
                    break
                except ValidationError:
                    continue

    def add(self, entry: Entry | WaveEntry | Withheld) -> None:
        """Write it down, for good. Raises OSError if that is not possible."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            # A line that was torn off before must not take this one with it.
            torn = file.tell() > 0 and self._last_byte() != b"\n"
            file.write((b"\n" if torn else b"") + entry.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(entry)

    def standings(self) -> Mapping[str, Standing]:
        """How every workplace stands that anything is known of."""
        return {name: Standing(entry.state, entry.reason, entry.missing) for name, entry in self.hosts.items()}

    def withheld_from(self, host: str) -> frozenset[str]:
        """The applications that were taken back from this workplace."""
        return frozenset(application for application, hosts in self.withheld.items() if host in hosts)

    def _last_byte(self) -> bytes:
        with self._file.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1)

    def _take(self, entry: Entry | WaveEntry | Withheld) -> None:
        if isinstance(entry, Entry):
            self.hosts[entry.host] = entry
        elif isinstance(entry, WaveEntry):
            if entry.event == "begun":
                self.begun.setdefault(entry.wave, entry.at)
        else:
            hosts = self.withheld.setdefault(entry.application, set())
            hosts.update(entry.hosts) if entry.withheld else hosts.difference_update(entry.hosts)
