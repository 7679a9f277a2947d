"""Reading tables that other systems exported: CSV as Windows writes it, and Excel workbooks.

A table is text only: nothing is converted, nothing is evaluated. Cells that hold a formula
are told by ``is_formula``. Every cell knows its place, so that whatever is found later can
point there.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from defusedxml.common import DefusedXmlException
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from ksm_onboard.declaration.findings import Finding, Place
from ksm_onboard.declaration.rules import Rule

# Far above what one member exports; guards against accidents and against archives that explode.
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 512 * 1024 * 1024
MAX_ROWS: Final = 1_000_000
MAX_COLUMNS: Final = 200
MAX_CELL: Final = 32_767  # Excel's own limit of characters in a cell

DELIMITERS: Final = (";", ",", "\t", "|")

# What UTF-8 umlauts look like when a program took them for Windows-1252.
_MOJIBAKE = re.compile(r"Ã[¤¶¼ŸœÖ„–©¨]|â‚¬|Â[ °§]")
# Also what YAML does not allow in a file: C1 controls and non-characters.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff\ud800-\udfff]")
# A call, a link or a range: what makes "+…", "-…" and "@…" a formula and not just text.
_FORMULA = re.compile(r"^=|^[+@-].*[(|!]", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One record: its cells as text, and the line (or sheet row) it begins on, counted from 1."""

    line: int
    cells: tuple[str, ...]


@dataclass
class Table:
    """The content of one sheet or file. ``rows`` holds everything, headers too; blank records are left out."""

    file: Path
    rows: list[Row] = field(default_factory=list)
    sheet: str | None = None
    delimiter: str = ";"
    encoding: str = "utf-8"
    lines: Sequence[str] = ()
    formulas: frozenset[tuple[int, int]] = frozenset()

    def place(self, row: Row, position: int) -> Place:
        """Where the cell at ``position`` (from 0) of ``row`` stands; for a workbook: sheet row and column."""
        if self.sheet is not None:
            return Place(self.file, row.line, position + 1)
        return _place_in_csv(self.file, self.lines, row.line, position, self.delimiter)

    def is_formula(self, row: Row, position: int) -> bool:
        """Whether a spreadsheet would calculate this cell instead of showing it."""
        return (row.line, position) in self.formulas or bool(_FORMULA.match(row.cells[position].strip()))


def read_table(file: Path, sheet: str | None = None) -> tuple[list[Table], list[Finding]]:
    """All tables in ``file``: one for CSV, one per visible sheet for a workbook (or only ``sheet``).

    Never raises for what the file holds or that it is missing; see the findings.
    """
    try:
        if file.is_dir():
            return [], [_refused(file, "file-unreadable", "cannot read the file: it is a folder")]
        size = file.stat().st_size
        if size > MAX_BYTES:
            return [], [
                _refused(file, "file-too-large", f"the file has {size:,} bytes; at most {MAX_BYTES:,} are allowed")
            ]
        raw = file.read_bytes()
    except OSError as error:
        return [], [_refused(file, "file-unreadable", f"cannot read the file: {error.strerror}")]
    if not raw.strip():
        return [], [_refused(file, "file-empty", "the file is empty", hint="export it again, with a header line")]
    if raw.startswith(b"PK\x03\x04"):
        return _workbook(file, raw, sheet)
    if raw.startswith(b"\xd0\xcf\x11\xe0"):
        return [], [
            _refused(
                file,
                "table-unreadable",
                "this is an old or an encrypted Excel workbook (.xls)",
                hint="save it as .xlsx without a password, or as CSV",
            )
        ]
    return _csv(file, raw)


# --- CSV ----------------------------------------------------------------------------------


def _csv(file: Path, raw: bytes) -> tuple[list[Table], list[Finding]]:
    text, encoding, findings = decode(file, raw)
    if text is None:
        return [], findings
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    skip, stated = _preamble(lines)
    delimiter = stated or _delimiter(lines[skip:])
    rows: list[Row] = []
    # csv counts lines itself; the preamble is blanked, not removed, so that its numbers stay ours.
    source = io.StringIO("\n" * skip + "\n".join(lines[skip:]), newline="")
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    begins = 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                if len(record) > MAX_COLUMNS:
                    message = f"the line has {len(record)} cells; at most {MAX_COLUMNS} are allowed"
                    findings.append(_refused(file, "table-unreadable", message, begins))
                    return [], findings
                rows.append(Row(begins, tuple(cell.strip() for cell in record)))
            if len(rows) > MAX_ROWS:
                findings.append(_refused(file, "file-too-large", f"more than {MAX_ROWS:,} lines", begins))
                return [], findings
            begins = reader.line_num + 1
    except csv.Error as error:
        hint = "a cell with quotation marks must be quoted as a whole, its own marks doubled"
        findings.append(_refused(file, "csv-syntax", f"this is not a valid line of CSV: {error}", begins, hint))
        return [], findings
    if not rows:
        findings.append(
            _refused(file, "file-empty", "the file holds no data", hint="export it again, with a header line")
        )
        return [], findings
    return [Table(file, rows, None, delimiter, encoding, lines)], findings


def decode(file: Path, raw: bytes) -> tuple[str | None, str, list[Finding]]:
    """The text of an export: UTF-8, UTF-16 (both with or told by their mark), else Windows-1252 (holds Latin-1)."""
    findings: list[Finding] = []
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif raw.startswith(b"\xef\xbb\xbf"):
        encodings = ["utf-8-sig"]
    else:
        encodings = ["utf-8", "cp1252"]
    text = None
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError as error:
            failed = error
            continue
        break
    if text is None:
        line = raw.count(b"\n", 0, failed.start) + 1
        message = (
            f"this is not text in {' or '.join(encodings)}: the byte {raw[failed.start]:#04x} does not occur in it"
        )
        hint = "export it again as CSV, UTF-8"
        return None, encoding, [_refused(file, "file-encoding", message, line, hint)]
    if control := _CONTROL.search(text):
        line = text.count("\n", 0, control.start()) + 1
        message = f"the file holds the control character {ord(control.group()):#04x}; it is not a text file"
        return None, encoding, [_refused(file, "file-encoding", message, line, "export it again as CSV, UTF-8")]
    if odd := _MOJIBAKE.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        findings.append(
            Finding(
                rule="table-mixed-encoding",
                place=Place(file, line, odd.start() - text.rfind("\n", 0, odd.start())),
                message=f"'{odd.group()}' looks like an umlaut that was written in one encoding and read in another",
                value=odd.group(),
                hint="export the file again in one encoding, best UTF-8",
                severity="warning",
            )
        )
    return text, encoding, findings


def _preamble(lines: Sequence[str]) -> tuple[int, str | None]:
    """Lines before the table that Excel (``sep=;``) and PowerShell (``#TYPE …``) write, and the stated delimiter."""
    if lines and (stated := re.fullmatch(r'"?sep=(.)"?', lines[0].strip(" "), re.IGNORECASE)):
        return 1, stated.group(1)
    if lines and lines[0].startswith("#TYPE "):
        return 1, None
    return 0, None


def _delimiter(lines: Iterable[str]) -> str:
    """The delimiter that the first line with any uses most."""
    for line in lines:
        outside = re.sub(r'"[^"]*"', "", line)
        counts = {delimiter: outside.count(delimiter) for delimiter in DELIMITERS}
        best = max(DELIMITERS, key=lambda delimiter: counts[delimiter])
        if counts[best]:
            return best
        if line.strip():
            break
    return ";"


def _place_in_csv(file: Path, lines: Sequence[str], line: int, position: int, delimiter: str) -> Place:
    """Walks the record from its first line: quoted cells before may run over several lines."""
    quoted, cell = False, 0
    for number in range(line, len(lines) + 1):
        for column, character in enumerate(lines[number - 1]):
            if cell == position:
                return Place(file, number, column + 1)
            if character == '"':
                quoted = not quoted
            elif character == delimiter and not quoted:
                cell += 1
        if not quoted:
            return Place(file, number, len(lines[number - 1]) + 1)
    return Place(file, line, 1)


# --- workbooks ----------------------------------------------------------------------------


def _workbook(file: Path, raw: bytes, wanted: str | None) -> tuple[list[Table], list[Finding]]:
    unreadable = "this is not a readable Excel workbook"
    hint = "open it in Excel and save it again as .xlsx, or as CSV"
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            message = f"the workbook unpacks to {unpacked:,} bytes; at most {MAX_UNPACKED_BYTES:,} are allowed"
            return [], [_refused(file, "file-too-large", message)]
        return _sheets(file, raw, wanted)
    except (zipfile.BadZipFile, InvalidFileException):
        return [], [_refused(file, "table-unreadable", unreadable, hint=hint)]
    except DefusedXmlException:
        message = "the workbook defines XML entities, which no spreadsheet program does; it was not opened"
        return [], [_refused(file, "table-unreadable", message)]
    except Exception as error:
        # openpyxl raises whatever a broken part makes it stumble over; none of it is a defect of ours.
        return [], [_refused(file, "table-unreadable", f"{unreadable} ({type(error).__name__})", hint=hint)]


def _sheets(file: Path, raw: bytes, wanted: str | None) -> tuple[list[Table], list[Finding]]:
    # data_only=False: the formula's text, never a value that some program once calculated.
    book = load_workbook(io.BytesIO(raw), read_only=True, data_only=False, keep_links=False)
    visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    names = [sheet.title for sheet in visible]
    if wanted is not None and wanted not in names:
        return [], [
            Finding(
                rule="value-not-allowed",
                place=Place(file, 1, 1),
                message=f"the workbook has no visible sheet '{wanted}'",
                value=wanted,
                allowed=", ".join(names),
            )
        ]
    tables = []
    for sheet in visible:
        if wanted is not None and sheet.title != wanted:
            continue
        rows: list[Row] = []
        formulas: set[tuple[int, int]] = set()
        # The stated dimensions are often wrong (one formatted cell at the far end); the cells are not.
        sheet.reset_dimensions()
        for number, record in enumerate(sheet.iter_rows(max_col=MAX_COLUMNS, max_row=MAX_ROWS), start=1):
            cells = tuple(_cell_text(cell.value) for cell in record)
            if any(cells):
                rows.append(Row(number, cells))
                formulas |= {(number, i) for i, cell in enumerate(record) if cell.data_type == "f"}
        if rows:
            tables.append(Table(file, rows, sheet.title, formulas=frozenset(formulas)))
    if not tables:
        return [], [_refused(file, "file-empty", "the workbook holds no data")]
    return tables, []


def _cell_text(value: object) -> str:
    """A cell as a person reads it: whole numbers without a decimal point, dates in ISO form."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    text = _CONTROL.sub("", str(value)).strip()
    return text[:MAX_CELL]


def _refused(file: Path, rule: Rule, message: str, line: int = 1, hint: str | None = None) -> Finding:
    return Finding(rule=rule, place=Place(file, line, 1), message=message, hint=hint)
