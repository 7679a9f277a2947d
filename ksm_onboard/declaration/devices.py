"""Device lists: ``stacks/<member>.devices.csv``, read strictly and fast.

UTF-8 with or without byte order mark, semicolons or commas, one header line, one device per
line. Cells are checked column by column; only what is wrong costs time. Every finding has
line and column in the file.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import starmap
from pathlib import Path
from typing import NamedTuple, get_args

from ksm_onboard.declaration.findings import TOLD_ONE_BY_ONE, Finding, Place
from ksm_onboard.declaration.models import (
    HOST_NAME_LENGTH,
    HOST_NAME_PATTERN,
    KEY_PATTERN,
    MAC_PATTERN,
    OLD_NAME_PATTERN,
    PATTERNS_IN_WORDS,
    SERIAL_PATTERN,
    Device,
    DevicePlatform,
)
from ksm_onboard.declaration.rules import Rule
from ksm_onboard.declaration.source import MAX_BYTES, read_text


class DeviceRow(NamedTuple):
    """One workstation. Cells that are not given are empty."""

    hostname: str
    serial: str
    mac: str
    site: str
    department: str
    profile: str
    platform: str
    wave: str
    replaces: str


COLUMNS = DeviceRow._fields
OPTIONAL = frozenset(("serial", "mac", "replaces"))

# Excel and LibreOffice execute cells that begin so (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PATTERNS: dict[str, re.Pattern[str]] = {
    "hostname": re.compile(HOST_NAME_PATTERN),
    "serial": re.compile(SERIAL_PATTERN),
    "mac": re.compile(MAC_PATTERN),
    "site": re.compile(KEY_PATTERN),
    "department": re.compile(KEY_PATTERN),
    "profile": re.compile(KEY_PATTERN),
    "platform": re.compile(f"^({'|'.join(get_args(DevicePlatform))})$"),
    "wave": re.compile(KEY_PATTERN),
    "replaces": re.compile(OLD_NAME_PATTERN),
}
_ALLOWED = {
    "hostname": f"{PATTERNS_IN_WORDS[HOST_NAME_PATTERN]}, at most {HOST_NAME_LENGTH} characters",
    "serial": PATTERNS_IN_WORDS[SERIAL_PATTERN],
    "mac": PATTERNS_IN_WORDS[MAC_PATTERN],
    "platform": ", ".join(get_args(DevicePlatform)),
    "replaces": PATTERNS_IN_WORDS[OLD_NAME_PATTERN],
}


@dataclass(frozen=True)
class DeviceList:
    """A member's devices, and where each stands.

    ``mac`` is kept in lower case with colons. ``lines`` holds the text of the file, ``starts`` the
    line that each device begins on (from 0), ``order`` the positions of the columns; for
    devices inside the declaration, ``inline`` says where those stand.
    """

    file: Path
    rows: tuple[DeviceRow, ...] = ()
    lines: Sequence[str] = ()
    starts: Sequence[int] = ()
    order: Sequence[str] = ()
    delimiter: str = ";"
    inline: Callable[[int, str], Place] | None = None

    def place(self, index: int, column: str = "hostname") -> Place:
        """The place of one cell."""
        if self.inline is not None:
            return self.inline(index, column)
        position = self.order.index(column) if column in self.order else 0
        line = self.starts[index]
        return Place(self.file, line + 1, _cell_column(self.lines[line], position, self.delimiter))


def device_file(stacks: Path, member: str) -> Path:
    """Where the device list of ``member`` lies, if it has one."""
    return stacks / f"{member}.devices.csv"


def inline_devices(file: Path, devices: Sequence[Device], place: Callable[[int, str], Place]) -> DeviceList:
    """The devices that a declaration lists itself."""
    columns = [
        _normal(column, [str(getattr(device, column) or "") for device in devices], plain=True) for column in COLUMNS
    ]
    rows = tuple(starmap(DeviceRow, zip(*columns, strict=True)))
    return DeviceList(file, rows, inline=place)


def read_devices(file: Path) -> tuple[DeviceList, list[Finding]]:
    """Read one list. What cannot be read is reported as findings, never raised.

    Rows with a wrong cell are left out of the result, so that nothing follows from them.
    """
    text, refused = read_text(file)
    if text is None:
        return DeviceList(file), refused
    return _Reader(file, text).read()


class _Reader:
    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text
        # As the csv module counts lines; str.splitlines() would also break at form feeds and the like.
        self._lines = re.split(r"\r\n|\n|\r", text)
        header = self._lines[0]
        self._delimiter = "," if header.count(",") > header.count(";") else ";"
        self.findings: list[Finding] = []

    def read(self) -> tuple[DeviceList, list[Finding]]:
        empty = DeviceList(self._file)
        if not self._text.strip():
            self._add("file-empty", 0, 0, "the file is empty", hint=f"the header is {self._delimiter.join(COLUMNS)}")
            return empty, self.findings
        if "\0" in self._text:
            line = self._text.count("\n", 0, self._text.index("\0"))
            self._add("csv-syntax", line, 0, "the file holds a NUL character", hint="save it as CSV, UTF-8")
            return empty, self.findings
        records, starts = self._records()
        if not records or (order := self._header(records[0], starts[0])) is None:
            return empty, self.findings
        if len(records) == 1 and not self.findings:
            self._add("file-empty", starts[0], 0, "the file holds a header but no device")
        sound, plain = self._sound(records[1:], starts[1:], order)
        empty_column = [""] * len(sound)
        given = dict(zip(order, zip(*(record for record, _ in sound), strict=True), strict=True)) if sound else {}
        columns = [_normal(column, given.get(column, empty_column), plain) for column in COLUMNS]
        rows = tuple(starmap(DeviceRow, zip(*columns, strict=True)))
        found = DeviceList(self._file, rows, self._lines, [start for _, start in sound], order, self._delimiter)
        return found, self.findings

    def _records(self) -> tuple[list[list[str]], list[int]]:
        """The cells of every line that is not blank, and the line it begins on."""
        records: list[list[str]] = []
        starts: list[int] = []
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=self._delimiter, strict=True)
        begins = 0
        try:
            for record in reader:
                if record and (len(record) > 1 or record[0].strip()):
                    records.append(record)
                    starts.append(begins)
                begins = reader.line_num
        except csv.Error as error:
            hint = "a cell with quotation marks must be quoted as a whole, its own marks doubled"
            self._add("csv-syntax", begins, 0, f"this is not a valid line of CSV: {error}", hint=hint)
        return records, starts

    def _header(self, cells: list[str], line: int) -> list[str] | None:
        """The columns in the order of the file; None if it is not clear what the cells below mean."""
        order = [cell.strip().lower() for cell in cells]
        for position, column in enumerate(order):
            if column not in COLUMNS:
                close = _like(column)
                self._add(
                    "csv-unknown-column",
                    line,
                    position,
                    f"the column '{cells[position].strip()}' is not known",
                    value=cells[position].strip(),
                    allowed=", ".join(COLUMNS),
                    hint=f"did you mean '{close[0]}'?" if close else "remove it",
                )
            elif column in order[:position]:
                self._add("csv-duplicate-column", line, position, f"the column '{column}' is there twice", value=column)
        misspelt = {close for column in order if column not in COLUMNS for close in _like(column)}
        missing = [column for column in COLUMNS if column not in (*order, *OPTIONAL)]
        for column in (column for column in missing if column not in misspelt):
            self._add(
                "csv-missing-column",
                line,
                0,
                f"the column '{column}' is missing",
                allowed=self._delimiter.join(COLUMNS),
                hint="separate columns with semicolons or commas" if len(cells) == 1 else f"add the column {column}",
            )
        return None if missing or len(set(order)) < len(order) else order

    def _sound(
        self, records: list[list[str]], starts: list[int], order: list[str]
    ) -> tuple[list[tuple[list[str], int]], bool]:
        """The records without a wrong cell, with the lines they begin on; and whether their cells need no trimming."""
        wrong: set[int] = set()
        whole: list[int] = []
        plain = True
        for index, record in enumerate(records):
            if len(record) == len(order):
                whole.append(index)
                continue
            wrong.add(index)
            self._add(
                "csv-cells",
                starts[index],
                min(len(record) - 1, len(order)),
                f"the line has {len(record)} cells, the header has {len(order)}",
                value=str(len(record)),
                allowed=str(len(order)),
            )
        for position, column in enumerate(order):
            # Judged once per distinct value, since a column mostly repeats itself, and at length only where in doubt.
            values = [records[index][position] for index in whole]
            matches = _PATTERNS[column].fullmatch if column in _PATTERNS else str.isalnum
            longest = HOST_NAME_LENGTH if column == "hostname" else MAX_BYTES
            doubtful = [value for value in set(values) if not matches(value) or len(value) > longest]
            plain = plain and all(value == value.strip() for value in doubtful)
            refused = {value: why for value in doubtful if (why := _refused(column, value)) is not None}
            if not refused:
                continue
            for index, value in zip(whole, values, strict=True):
                if value in refused:
                    wrong.add(index)
                    self._add(
                        refused[value][0],
                        starts[index],
                        position,
                        f"{column}: {refused[value][1]}",
                        value=value,
                        allowed=_ALLOWED.get(column, PATTERNS_IN_WORDS[KEY_PATTERN]),
                    )
        return [(record, starts[i]) for i, record in enumerate(records) if i not in wrong], plain

    def _add(
        self,
        rule: Rule,
        line: int,
        position: int,
        message: str,
        *,
        value: str | None = None,
        allowed: str | None = None,
        hint: str | None = None,
    ) -> None:
        if len(self.findings) > TOLD_ONE_BY_ONE:
            return
        column = _cell_column(self._lines[line], position, self._delimiter) if line < len(self._lines) else 1
        if len(self.findings) == TOLD_ONE_BY_ONE:
            rule, value, allowed = "too-many-findings", None, None
            message = f"more than {TOLD_ONE_BY_ONE} findings; those from here on are not listed"
            hint = "put right what is listed and check again"
        self.findings.append(Finding(rule, Place(self._file, line + 1, column), message, value, allowed, hint))


def _like(column: str) -> list[str]:
    """The known column that an unknown one is most like, if any."""
    return get_close_matches(column, COLUMNS, n=1)


def _refused(column: str, raw: str) -> tuple[Rule, str] | None:
    """The rule that a cell breaks, and how; None if it is sound."""
    if raw.startswith(_FORMULA):
        return "csv-formula", f"'{raw}' begins like a formula"
    if "\n" in raw or "\r" in raw:
        return "csv-cells", "the cell holds a line break"
    value = raw.strip()
    if not value:
        return None if column in OPTIONAL else ("csv-empty-cell", "the cell is empty")
    if column == "hostname" and len(value) > HOST_NAME_LENGTH:
        return "name-too-long", f"'{value}' has {len(value)} characters"
    pattern = _PATTERNS.get(column)
    if pattern is not None and not pattern.fullmatch(value):
        return "wrong-format", f"'{value}' is not written the way it must be"
    return None


def _normal(column: str, values: Sequence[str], plain: bool) -> Sequence[str]:
    """A column's values without blanks around them, MACs in lower case with colons."""
    if not plain:
        values = [value.strip() for value in values]
    return [value.lower().replace("-", ":") for value in values] if column == "mac" else values


def _cell_column(line: str, position: int, delimiter: str) -> int:
    """Where the cell at ``position`` begins in ``line``, counted from 1; the line's end if there is none."""
    column, quoted, cell = 0, False, 0
    for column, character in enumerate(line):
        if cell == position:
            return column + 1
        if character == '"':
            quoted = not quoted
        elif character == delimiter and not quoted:
            cell += 1
    return len(line) + 1 if cell == position else column + 1
