"""A member's exports as records: devices, installed software, shares, printers, users, licences.

Values are checked and brought into one form here; what cannot be used is set aside and reported.
Names of people are read only to find a device's department; no later stage sees them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Literal

from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.takeover.columns import ColumnMapping, Columns, Export, find_columns, read_mapping
from ksm_onboard.takeover.tables import Row, read_table

# What firmware says when nobody wrote a serial number into it.
_NO_SERIAL: Final = frozenset(
    (
        "0", "00000000", "0123456789", "123456789", "1234567890", "defaultstring", "none", "na", "notapplicable",
        "notavailable", "notspecified", "systemserialnumber", "tobefilledbyoem", "unbekannt", "unknown", "xxxxxxx",
    )
)  # fmt: skip
_HOSTNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]{1,39}")
_ADDRESS = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_UNITS: Final = {"": 1.0, "b": 1.0, "kb": 2.0**10, "mb": 2.0**20, "gb": 2.0**30, "tb": 2.0**40}
_SIZE = re.compile(r"(?P<number>\d[\d.,' ]*)\s*(?P<unit>[kmgt]?i?b(?:ytes?)?|bytes?)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}[.,]\d{3}")

Platform = Literal["linux", "windows", "tablet"]


@dataclass(frozen=True)
class OldDevice:
    """A computer of the member as it is today. What the export does not say is empty."""

    place: Place
    hostname: str
    serial: str = ""
    mac: str = ""
    site: str = ""
    location: str = ""
    department: str = ""
    profile: str = ""
    platform: str = ""
    os: str = ""
    wave: str = ""
    model: str = ""
    ou: str = ""
    user: str = ""


@dataclass(frozen=True)
class Installed:
    """One title on one device."""

    place: Place
    hostname: str
    title: str
    version: str = ""
    publisher: str = ""


@dataclass(frozen=True)
class OldShare:
    """A network drive; ``gib`` is None where the export does not say how large it is."""

    place: Place
    name: str
    path: str = ""
    server: str = ""
    gib: float | None = None
    department: str = ""
    comment: str = ""


@dataclass(frozen=True)
class OldPrinter:
    """A printer or print queue."""

    place: Place
    name: str
    address: IPv4Address | None = None
    model: str = ""
    serial: str = ""
    mac: str = ""
    site: str = ""
    location: str = ""
    department: str = ""


@dataclass(frozen=True)
class User:
    """An account, reduced to what places its device."""

    place: Place
    login: str
    department: str = ""
    ou: str = ""
    site: str = ""
    enabled: bool = True


@dataclass(frozen=True)
class OwnedLicences:
    """Seats that the member has bought of something."""

    place: Place
    title: str
    seats: int


@dataclass(frozen=True)
class Sources:
    """The files of one take-over. ``licences`` and ``mapping`` are needed least often."""

    devices: Path
    software: Path
    shares: Path | None = None
    printers: Path | None = None
    users: Path | None = None
    licences: Path | None = None
    mapping: Path | None = None


@dataclass(frozen=True)
class Exports:
    """Everything that was read, and every problem met on the way."""

    devices: tuple[OldDevice, ...] = ()
    software: tuple[Installed, ...] = ()
    shares: tuple[OldShare, ...] = ()
    printers: tuple[OldPrinter, ...] = ()
    users: tuple[User, ...] = ()
    licences: tuple[OwnedLicences, ...] | None = None
    findings: tuple[Finding, ...] = ()
    columns: Mapping[Export, Columns] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Whether something is so wrong that nothing may follow from these exports."""
        return any(finding.severity == "error" for finding in self.findings)


def read_exports(sources: Sources) -> Exports:
    """Read all files. Never raises for what they hold; see ``findings``."""
    mapping, findings = (ColumnMapping(), []) if sources.mapping is None else read_mapping(sources.mapping)
    reader = _Reader(mapping, findings)
    devices = tuple(reader.devices(sources.devices))
    software = tuple(reader.software(sources.software, {device.hostname for device in devices}))
    return Exports(
        devices,
        software,
        tuple(reader.shares(sources.shares)) if sources.shares else (),
        tuple(reader.printers(sources.printers)) if sources.printers else (),
        tuple(reader.users(sources.users)) if sources.users else (),
        tuple(reader.licences(sources.licences)) if sources.licences else None,
        tuple(reader.findings),
        reader.columns,
    )


@dataclass
class _Reader:
    mapping: ColumnMapping
    findings: list[Finding] = field(default_factory=list)
    columns: dict[Export, Columns] = field(default_factory=dict)

    def devices(self, file: Path) -> Iterator[OldDevice]:
        for columns, row, text in self._records("devices", file):
            hostname = self._hostname(columns, row, text)
            if hostname is None:
                continue
            yield OldDevice(
                columns.table.place(row, columns.position["hostname"]),
                hostname,
                serial=self._serial(columns, row, text["serial"]),
                mac=self._mac(columns, row, text["mac"]),
                platform=self._platform(columns, row, text["platform"]),
                **{name: text[name] for name in ("site", "location", "department", "profile", "os", "wave")},
                **{name: text[name] for name in ("model", "ou", "user")},
            )

    def software(self, file: Path, known: set[str]) -> Iterator[Installed]:
        untitled: list[Place] = []
        strangers: dict[str, Place] = {}
        for columns, row, text in self._records("software", file):
            place = columns.table.place(row, columns.position["title"])
            if not text["title"]:
                # Windows' registry is full of entries without a display name.
                untitled.append(place)
                continue
            hostname = self._hostname(columns, row, text)
            if hostname is None:
                continue
            if hostname not in known:
                strangers.setdefault(hostname, columns.table.place(row, columns.position["hostname"]))
            yield Installed(place, hostname, text["title"], text["version"], text["publisher"])
        if untitled:
            count = f"{len(untitled)} line{'s' if len(untitled) > 1 else ''} without a title"
            self._warn("table-rows-skipped", untitled[0], f"{count} skipped; this is the first one")
        if known:
            for hostname, place in strangers.items():
                hint = "add it to the devices, or leave it out here if it is gone"
                message = f"software is listed for '{hostname}', which is not among the devices"
                self._warn("device-not-listed", place, message, hostname, hint)

    def shares(self, file: Path) -> Iterator[OldShare]:
        for columns, row, text in self._records("shares", file):
            name = text["name"] or text["path"].replace("/", "\\").rstrip("\\").rpartition("\\")[2]
            if not name:
                self._empty(columns, row, "name")
                continue
            yield OldShare(
                columns.table.place(row, columns.position["name"]),
                name,
                gib=self._gib(columns, row, text["size"]),
                **{field: text[field] for field in ("path", "server", "department", "comment")},
            )

    def printers(self, file: Path) -> Iterator[OldPrinter]:
        for columns, row, text in self._records("printers", file):
            if not text["name"]:
                self._empty(columns, row, "name")
                continue
            yield OldPrinter(
                columns.table.place(row, columns.position["name"]),
                text["name"],
                address=self._address(columns, row, text["address"]),
                serial=self._serial(columns, row, text["serial"]),
                mac=self._mac(columns, row, text["mac"]),
                **{field: text[field] for field in ("model", "site", "location", "department")},
            )

    def users(self, file: Path) -> Iterator[User]:
        for columns, row, text in self._records("users", file):
            login = account(text["login"])
            if not login:
                self._empty(columns, row, "login")
                continue
            off = text["enabled"].casefold() in (
                "false",
                "falsch",
                "nein",
                "no",
                "0",
                "inaktiv",
                "deaktiviert",
                "disabled",
            )
            place = columns.table.place(row, columns.position["login"])
            yield User(place, login, text["department"], text["ou"], text["site"], not off)

    def licences(self, file: Path) -> Iterator[OwnedLicences]:
        for columns, row, text in self._records("licences", file):
            if not text["title"]:
                self._empty(columns, row, "title")
                continue
            if not re.fullmatch(r"\d{1,6}", text["seats"]):
                place = columns.table.place(row, columns.position["seats"])
                message = f"seats: '{text['seats']}' is not a whole number"
                self.findings.append(Finding("wrong-format", place, message, text["seats"], "0, 1, 2 …"))
                continue
            place = columns.table.place(row, columns.position["title"])
            yield OwnedLicences(place, text["title"], int(text["seats"]))

    # --- one file -------------------------------------------------------------------------

    def _records(self, export: Export, file: Path) -> Iterator[tuple[Columns, Row, _Texts]]:
        tables, findings = read_table(file, self.mapping.header(export, "sheet"))
        self.findings.extend(findings)
        if not tables:
            return
        columns, findings = find_columns(export, tables, self.mapping)
        self.findings.extend(findings)
        if columns is None:
            return
        self.columns[export] = columns
        if not columns.body:
            place = columns.table.place(columns.header, 0)
            self.findings.append(Finding("file-empty", place, "there is a header but no line below it"))
        used = sorted(columns.position.items(), key=lambda item: item[1])
        for row in columns.body:
            formulas = [name for name, at in used if at < len(row.cells) and columns.table.is_formula(row, at)]
            for name in formulas:
                value = columns.text(row, name)
                self.findings.append(
                    Finding(
                        rule="csv-formula",
                        place=columns.table.place(row, columns.position[name]),
                        message=f"{name}: '{value[:60]}' is a formula; formulas are never calculated",
                        value=value[:200],
                        hint="in the spreadsheet copy the column and insert it as values, then export again",
                    )
                )
            if not formulas:
                yield columns, row, _Texts({name: columns.text(row, name) for name in columns.position})

    # --- one value ------------------------------------------------------------------------

    def _hostname(self, columns: Columns, row: Row, text: _Texts) -> str | None:
        raw = text["hostname"]
        name = raw.rpartition("\\")[2].split(".")[0]
        if not raw:
            self._empty(columns, row, "hostname")
            return None
        if not _HOSTNAME.fullmatch(name):
            place = columns.table.place(row, columns.position["hostname"])
            allowed = "letters, digits, hyphens and underscores, at most 63 characters"
            self.findings.append(Finding("wrong-format", place, f"'{raw}' is not a host name", raw, allowed))
            return None
        return name.lower()

    def _serial(self, columns: Columns, row: Row, raw: str) -> str:
        if re.sub(r"[^a-z0-9]", "", raw.casefold()) in _NO_SERIAL or not raw:
            return ""
        if not _SERIAL.fullmatch(raw):
            allowed = "letters, digits and . / _ -, 2 to 40 characters"
            self._set_aside(columns, row, "serial", "is not a serial number", allowed)
            return ""
        return raw

    def _mac(self, columns: Columns, row: Row, raw: str) -> str:
        digits = re.sub(r"[\s:.-]", "", raw).lower()
        if not raw or set(digits) == {"0"}:
            return ""
        if not re.fullmatch(r"[0-9a-f]{12}", digits):
            self._set_aside(columns, row, "mac", "is not a MAC address", "six pairs of hexadecimal digits")
            return ""
        return ":".join(digits[i : i + 2] for i in range(0, 12, 2))

    def _platform(self, columns: Columns, row: Row, raw: str) -> str:
        if raw and raw.lower() not in ("linux", "windows", "tablet"):
            self._set_aside(columns, row, "platform", "is not a platform", "linux, windows, tablet")
            return ""
        return raw.lower()

    def _address(self, columns: Columns, row: Row, raw: str) -> IPv4Address | None:
        """The address in a port's name too: Windows calls ports ``IP_10.1.2.3`` or ``10.1.2.3_1``."""
        found = _ADDRESS.search(raw.replace("_", " "))
        if found is None:
            return None
        try:
            return IPv4Address(found.group())
        except ValueError:
            self._set_aside(columns, row, "address", "is not an IPv4 address", "for example 192.168.1.20")
            return None

    def _gib(self, columns: Columns, row: Row, raw: str) -> float | None:
        """A size in GiB; the unit stands in the cell, or in the header's brackets, else it is bytes."""
        if not raw:
            return None
        match = _SIZE.fullmatch(raw)
        number = decimal(match["number"]) if match else None
        if match is None or number is None:
            self._set_aside(columns, row, "size", "is not a size", "for example 12,5 GB or 1.234,5 MB")
            return None
        in_header = re.search(
            r"(?:[(\[]\s*|\s)([kmgt]i?b|bytes?)\s*[)\]]?$", columns.header.cells[columns.position["size"]], re.I
        )
        unit = (match["unit"] or (in_header.group(1) if in_header else "")).lower()
        scale = _UNITS.get(unit.replace("ib", "b").removesuffix("ytes").removesuffix("yte"), 1.0)
        if _THOUSANDS.fullmatch(match["number"].strip()) and scale > 1:
            if self._decimal_mark(columns) not in (None, _mark(match["number"])):
                return number * 1000 * scale / 2**30
            place = columns.table.place(row, columns.position["size"])
            message = f"size: '{raw}' is read as {number:,.3f}; it could mean {number * 1000:,.0f} as well"
            self._warn("size-ambiguous", place, message, raw, "write it without a point or comma, or with two decimals")
        return number * scale / 2**30

    @staticmethod
    def _decimal_mark(columns: Columns) -> str | None:
        """The decimal mark of the column's sizes that can be read in one way only; None if they do not agree."""
        sizes = [match["number"] for row in columns.body if (match := _SIZE.fullmatch(columns.text(row, "size")))]
        marks = {_mark(size) for size in sizes if re.search(r"[.,]\d{1,2}\s*$", size)}
        return marks.pop() if len(marks) == 1 else None

    # --- findings -------------------------------------------------------------------------

    def _empty(self, columns: Columns, row: Row, name: str) -> None:
        place = columns.table.place(row, columns.position[name])
        hint = "fill the cell, or remove the line"
        self.findings.append(Finding("csv-empty-cell", place, f"the line has no {name}", hint=hint))

    def _set_aside(self, columns: Columns, row: Row, name: str, wrong: str, allowed: str) -> None:
        raw = columns.text(row, name)
        place = columns.table.place(row, columns.position[name])
        message = f"{name}: '{raw[:60]}' {wrong}; it is left out"
        self.findings.append(Finding("wrong-format", place, message, raw[:200], allowed, severity="warning"))

    def _warn(self, rule: Rule, place: Place, message: str, value: str | None = None, hint: str | None = None) -> None:
        self.findings.append(Finding(rule, place, message, value, hint=hint, severity="warning"))


@dataclass(frozen=True)
class _Texts:
    """The cells of one record by field; a field without a column is empty. Line breaks become blanks."""

    cells: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return " ".join(self.cells.get(name, "").split())


def decimal(raw: str) -> float | None:
    """A number as Germans (1.234,5) or others (1,234.5) write it; None if it is neither.

    The last separator is the decimal one, unless it occurs more than once. One separator followed
    by three digits stays a decimal separator: the caller can see that it is ambiguous.
    """
    text = raw.replace(" ", "").replace("'", "")
    last = max(text.rfind(","), text.rfind("."))
    if last >= 0:
        mark, other = text[last], "." if text[last] == "," else ","
        if text.count(mark) > 1:
            if other in text or not re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", text):
                return None
            text = text.replace(mark, "")
        else:
            whole, _, fraction = text.partition(mark)
            if other in whole and not re.fullmatch(rf"\d{{1,3}}(?:{re.escape(other)}\d{{3}})+", whole):
                return None
            text = f"{whole.replace(other, '')}.{fraction}"
    return float(text) if re.fullmatch(r"\d+(\.\d*)?", text) else None


def _mark(number: str) -> str:
    """The last separator in a number."""
    return next(character for character in reversed(number) if character in ".,")


def account(raw: str) -> str:
    r"""An account's name without its domain: DOMAIN\name and name@domain become name, in lower case."""
    return raw.rpartition("\\")[2].partition("@")[0].strip().casefold()
