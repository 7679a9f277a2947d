from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from ksm_onboard.takeover.columns import ColumnMapping, find_columns, read_mapping
from ksm_onboard.takeover.read import Exports, Sources, decimal, read_exports
from ksm_onboard.takeover.tables import read_table
from tests.unit.takeover.conftest import EXPORTS, sources


def write(folder: Path, name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return file


def read(
    tmp_path: Path, devices: str | bytes, software: str = "Computer;Software\nPC-1;7-Zip\n", **others: Path
) -> Exports:
    return read_exports(
        Sources(write(tmp_path, "devices.csv", devices), write(tmp_path, "software.csv", software), **others)
    )


def told(exports: Exports, severity: str = "error") -> list[tuple[str, str, int, int]]:
    found = [f for f in exports.findings if f.severity == severity]
    return [(f.rule, f.place.file.name, f.place.line, f.place.column) for f in found]


def test_the_sample_exports_are_read_whatever_their_encoding() -> None:
    exports = read_exports(sources(EXPORTS))
    assert len(exports.devices) == 55
    assert len({item.title for item in exports.software}) >= 400
    assert told(exports) == []
    first = exports.devices[0]
    assert (first.hostname, first.os) == ("pc-bb-01", "Microsoft Windows 10 Pro")
    assert exports.devices[1].department == "Bürgerbüro"
    assert exports.devices[7].location == "Rathaus, Zimmer 107 (Anbau)"  # a line break in quotes
    assert {share.name: share.gib for share in exports.shares}["Bauamt"] == 1204.5
    assert exports.shares[1].comment == "Haushalt – „alte“ Jahre inklusive"
    assert str(exports.printers[0].address) == "192.168.10.21"
    assert exports.users[-1].enabled is False
    assert exports.licences is not None


def test_what_is_set_aside_is_told_with_its_place() -> None:
    exports = read_exports(sources(EXPORTS))
    assert told(exports, "warning") == [
        ("wrong-format", "geraete.csv", 28, 20),
        ("table-rows-skipped", "software.csv", 130, 12),
        ("device-not-listed", "software.csv", 2948, 1),
    ]
    assert exports.devices[25].mac == ""
    assert exports.devices[40].serial == exports.devices[41].serial == ""  # what firmware says without a serial number


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_delimiters_and_line_ends(tmp_path: Path, encoding: str, delimiter: str, newline: str) -> None:
    lines = ["Gerätename;Abteilung;Größe", "PC-Ö1;Bürgerbüro;x", 'PC-2;"Kasse; Steuern";y']
    lines[1] = lines[1].replace("Ö", "O")
    text = newline.join(lines).replace(";", delimiter).replace("Kasse" + delimiter, "Kasse" + delimiter) + newline
    exports = read(tmp_path, text.encode(encoding))
    assert told(exports) == []
    assert [(d.hostname, d.department) for d in exports.devices] == [
        ("pc-o1", "Bürgerbüro"),
        ("pc-2", f"Kasse{delimiter} Steuern".replace("\t", " ").replace("  ", " ")),
    ]


def test_what_powershell_and_excel_write_before_the_header(tmp_path: Path) -> None:
    assert len(read(tmp_path, '#TYPE Selected.Object\n"ComputerName"\n"PC-1"\n').devices) == 1
    assert len(read(tmp_path, "sep=,\nComputerName,Abteilung\nPC-1,Bau\n").devices) == 1
    assert len(read(tmp_path, "Geräteliste;\nStand: heute;\n\nComputer;Abteilung\nPC-1;Bau\n").devices) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ("file-empty", 1, 1)),
        (b"\xef\xbb\xbf  \r\n", ("file-empty", 1, 1)),
        (b"Computer;Abteilung\n", ("file-empty", 1, 1)),
        (b"Standort;Abteilung\nRathaus;Bauamt\n", ("csv-missing-column", 1, 1)),
        (b"Computer;Computer\nPC-1;PC-2\n", ("csv-duplicate-column", 1, 10)),
        (b"Computer;Abteilung\nPC-1;Bauamt\n;Kasse\n", ("csv-empty-cell", 3, 1)),
        (b"Computer;Abteilung\nPC 1;Bauamt\n", ("wrong-format", 2, 1)),
        (b'Computer;Abteilung\nPC-1;"Bau\namt"\nPC-2;=1+1\n', ("csv-formula", 4, 6)),
        (b"Computer;Abteilung\nPC-1;@SUM(A1:A2)\n", ("csv-formula", 2, 6)),
        (b"Computer;Abteilung\nPC-1;+cmd|' /C calc'!A0\n", ("csv-formula", 2, 6)),
        (b"Computer;Abteilung\nPC-1;Bau;Amt\n", ("csv-cells", 2, 10)),
        (b'Computer;Abteilung\nPC-1;"Bau\nPC-2;Kasse\n', ("csv-syntax", 2, 1)),
        (b"Computer;Abteilung\nPC-1;\x00\n", ("file-encoding", 2, 1)),
        (b"Computer;Abteilung\nPC-1;K\x81mmerei\n", ("file-encoding", 2, 1)),
        (b"PK\x03\x04nonsense", ("table-unreadable", 1, 1)),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", ("table-unreadable", 1, 1)),
    ],
)  # fmt: skip
def test_broken_files_are_refused_with_the_place(
    tmp_path: Path, content: bytes, expected: tuple[str, int, int]
) -> None:
    (finding,) = [f for f in read(tmp_path, content).findings if f.severity == "error"]
    assert (finding.rule, finding.place.line, finding.place.column) == expected
    assert finding.place.file.name == "devices.csv"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    exports = read_exports(Sources(tmp_path / "nowhere.csv", tmp_path))
    assert [rule for rule, *_ in told(exports)] == ["file-unreadable", "file-unreadable"]


def test_all_errors_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    exports = read(tmp_path, "Computer\nPC 1\nPC 2\n", "Computer;Programm\nPC 3;7-Zip\nPC-1;=A1\n")
    assert told(exports) == [
        ("wrong-format", "devices.csv", 2, 1),
        ("wrong-format", "devices.csv", 3, 1),
        ("wrong-format", "software.csv", 2, 1),
        ("csv-formula", "software.csv", 3, 6),
    ]


def test_umlauts_of_a_mixed_up_encoding_are_told(tmp_path: Path) -> None:
    exports = read(tmp_path, "Computer;Abteilung\nPC-1;KÃ¤mmerei\n")
    assert told(exports, "warning")[0] == ("table-mixed-encoding", "devices.csv", 2, 7)


def test_a_mapping_file_names_unusual_columns(tmp_path: Path) -> None:
    mapping = write(tmp_path, "mapping.yaml", "devices: {hostname: Inventarnummer, department: Wo}\n")
    exports = read(tmp_path, "Inventarnummer;Wo\nPC-1;Bauamt\n", mapping=mapping)
    assert told(exports) == []
    assert exports.devices[0].department == "Bauamt"


def test_errors_of_a_mapping_file_have_their_place(tmp_path: Path) -> None:
    mapping = write(tmp_path, "mapping.yaml", "devices:\n  hostname: Rechnr\n  hostnam: x\ngeraete: {}\nsoftware: 5\n")
    exports = read(tmp_path, "Rechnernr\nPC-1\n", mapping=mapping)
    assert told(exports) == [
        ("unknown-key", "mapping.yaml", 3, 3),
        ("unknown-key", "mapping.yaml", 4, 1),
        ("wrong-type", "mapping.yaml", 5, 11),
        ("csv-missing-column", "mapping.yaml", 2, 13),
    ]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("12,5", 12.5), ("12.5", 12.5), ("1.234,5", 1234.5), ("1,234.5", 1234.5), ("1.234.567", 1234567.0),
        ("1 234,5", 1234.5), ("1'234.5", 1234.5), ("7", 7.0), ("1.23.4", None), ("1,2.3,4", None), ("12,34.5", None),
    ],
)  # fmt: skip
def test_decimal(raw: str, value: float | None) -> None:
    assert decimal(raw) == value


@pytest.mark.parametrize(
    ("header", "cell", "gib"),
    [
        ("Größe", "1073741824", 1.0),
        ("Größe", "512 MB", 0.5),
        ("Größe", "2,5 TB", 2560.0),
        ("Size [GB]", "12.25", 12.25),
        ("Belegt (MB)", "2.048,00", 2.0),
        ("Größe", "12 GiB", 12.0),
    ],
)
def test_sizes(tmp_path: Path, header: str, cell: str, gib: float) -> None:
    shares = write(tmp_path, "shares.csv", f"Freigabe;{header}\nDaten;{cell}\n")
    exports = read(tmp_path, "Computer\nPC-1\n", shares=shares)
    assert exports.shares[0].gib == pytest.approx(gib)
    assert told(exports) == []


def test_an_ambiguous_size_is_told(tmp_path: Path) -> None:
    shares = write(tmp_path, "shares.csv", "Freigabe;Größe (GB)\nDaten;1.234\nMehr;viel\n")
    exports = read(tmp_path, "Computer\nPC-1\n", shares=shares)
    assert told(exports, "warning") == [("size-ambiguous", "shares.csv", 2, 7), ("wrong-format", "shares.csv", 3, 6)]
    assert exports.shares[1].gib is None


# --- workbooks ----------------------------------------------------------------------------


def workbook(*rows: tuple[str | float, ...], title: str = "Geräte") -> bytes:
    book = Workbook()
    book.create_sheet("Deckblatt", 0).append(("Übernahme der Technik",))
    sheet = book["Sheet"]
    sheet.title = title
    for row in rows:
        sheet.append(row)
    raw = io.BytesIO()
    book.save(raw)
    return raw.getvalue()


def test_a_workbook_of_all_devices(tmp_path: Path) -> None:
    """The same 55 devices as .xlsx, below a title, on the second sheet."""
    (table,), _ = read_table(EXPORTS / "geraete.csv")
    raw = workbook(("Geräteliste",), (), *(row.cells for row in table.rows))
    file = write(tmp_path, "geraete.xlsx", raw)
    from_book = read_exports(sources(EXPORTS, devices=file))
    from_csv = read_exports(sources(EXPORTS))
    assert told(from_book) == []
    assert [d.hostname for d in from_book.devices] == [d.hostname for d in from_csv.devices]
    assert [d.department for d in from_book.devices] == [d.department for d in from_csv.devices]
    assert ("wrong-format", "geraete.xlsx", 29, 3) in told(from_book, "warning")  # row 29, column C


def test_formulas_in_a_workbook_are_refused_never_calculated(tmp_path: Path) -> None:
    exports = read(tmp_path, workbook(("Computer", "Abteilung"), ("PC-1", "=1+1"), ("PC-2", "Bau")))
    assert told(exports) == [("csv-formula", "devices.csv", 2, 2)]


def test_numbers_in_a_workbook_are_read_as_people_see_them(tmp_path: Path) -> None:
    exports = read(tmp_path, workbook(("Computer", "Seriennummer"), ("PC-1", 12345678.0), ("PC-2", 4711)))
    assert [d.serial for d in exports.devices] == ["12345678", "4711"]


def test_a_sheet_can_be_chosen(tmp_path: Path) -> None:
    mapping = write(tmp_path, "mapping.yaml", "devices: {sheet: Gibtsnicht}\n")
    exports = read(tmp_path, workbook(("Computer",), ("PC-1",)), mapping=mapping)
    (finding,) = [f for f in exports.findings if f.severity == "error"]
    assert (finding.rule, finding.allowed) == ("value-not-allowed", "Deckblatt, Geräte")


def test_a_workbook_that_explodes_is_not_unpacked(tmp_path: Path) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(6):
            archive.writestr(f"xl/{number}.xml", b"\0" * (100 * 1024 * 1024))
    (finding,) = read_table(write(tmp_path, "bomb.xlsx", raw.getvalue()))[1]
    assert finding.rule == "file-too-large"


def test_entities_in_a_workbook_are_refused(tmp_path: Path) -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    source = zipfile.ZipFile(io.BytesIO(workbook(("Computer",), ("PC-1",))))
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name in source.namelist():
            body = source.read(name)
            archive.writestr(name, bomb + body.partition(b"?>")[2] if name.endswith("sheet1.xml") else body)
            if name == "xl/sharedStrings.xml":
                continue
    tables, findings = read_table(write(tmp_path, "entities.xlsx", raw.getvalue()))
    assert tables == []
    assert [finding.rule for finding in findings] == ["table-unreadable"]


# --- anything -----------------------------------------------------------------------------


anything = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=200).map(lambda raw: b"Computer;Software;Abteilung\n" + raw),
    st.binary(max_size=200).map(lambda raw: b"PK\x03\x04" + raw),
    st.lists(st.lists(st.text(alphabet=';,\t"=+-@ \n\rPC1ä', max_size=8), max_size=4), max_size=6).map(
        lambda rows: "\n".join(";".join(row) for row in [["Computer", "Software"], *rows]).encode()
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(anything, anything)
def test_any_bytes_are_rows_or_findings(tmp_path: Path, first: bytes, second: bytes) -> None:
    files = write(tmp_path, "a.csv", first), write(tmp_path, "b.csv", second)
    exports = read_exports(Sources(*files, shares=files[0], printers=files[0], users=files[0], licences=files[1]))
    assert exports.devices or exports.findings
    for finding in exports.findings:
        assert finding.message
        assert finding.place.line >= 1
        assert finding.place.column >= 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_workbook_is_rows_or_findings(tmp_path: Path, at: int, byte: int) -> None:
    raw = bytearray(workbook(("Computer", "Software"), ("PC-1", "7-Zip")))
    raw[at % len(raw)] = byte
    tables, findings = read_table(write(tmp_path, "damaged.xlsx", bytes(raw)))
    assert tables or findings


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_mapping_file_is_read_or_refused(tmp_path: Path, raw: bytes) -> None:
    mapping, findings = read_mapping(write(tmp_path, "mapping.yaml", raw))
    assert findings or isinstance(mapping, ColumnMapping)
    table, _ = read_table(write(tmp_path, "devices.csv", "Computer\nPC-1\n"))
    assert find_columns("devices", table, mapping)[0] is not None or findings or mapping.headers


@given(st.lists(st.lists(st.text(alphabet='ab;"\n ', min_size=1, max_size=6), min_size=2, max_size=3), min_size=1))
def test_places_point_at_the_cell(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    """The text at a cell's place is the cell, whatever stands in quotes before it."""
    quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in rows]
    text = "".join(";".join(row) + "\n" for row in quoted)
    file = write(tmp_path_factory.getbasetemp(), "places.csv", text)
    tables, findings = read_table(file)
    assert findings == [] or all(not "".join(row).strip() for row in rows)
    lines = text.split("\n")
    for table in tables:
        for row in table.rows:
            for position, cell in enumerate(row.cells):
                place = table.place(row, position)
                rest = "\n".join([lines[place.line - 1][place.column - 1 :], *lines[place.line :]])
                assert rest.startswith('"')
                assert rest[1:].lstrip().replace('""', '"').startswith(cell)


@pytest.mark.parametrize(
    ("devices", "software"),
    [
        # Configuration Manager, GLPI, Lansweeper, baramundi, PDQ, Matrix42, and what a person wrote down
        ("Name0\tSerialNumber0\tMACAddress0\tUser_Name0", "Netbios_Name0\tDisplayName0\tVersion0\tPublisher0"),
        ("Name;Seriennummer;Netzwerk - MAC-Adresse;Benutzer", "Computer;Software - Name;Software - Version;Hersteller"),
        ("AssetName,Serialnumber,Mac,Username", "AssetName,softwareName,softwareVersion,SoftwarePublisher"),
        ("Rechnername;Seriennr.;Primäre MAC-Adresse;Registrierter Benutzer", "Endpoint;Anwendung;Version;Hersteller"),
        (
            "Computer Name,Computer Serial Number,Computer MAC Address,Computer Current User",
            "Computer Name,Application Name,Application Version,Application Publisher",
        ),
        ("Workstation,Serial No.,MAC-Address,Primary User", "Assigned Computer,Product Name,Version,Manufacturer"),
        ("Gerätename;Serien-Nr.;MAC;Nutzer", "Rechner;Bezeichnung;Version;Hersteller"),
    ],
)
def test_columns_as_common_tools_call_them(tmp_path: Path, devices: str, software: str) -> None:
    mark = next(mark for mark in "\t;," if mark in devices)
    device = mark.join(("PC-1", "SN1", "02:4B:53:00:00:01", "GRABOW\\mm01"))
    exports = read(tmp_path, f"{devices}\n{device}\n", f"{software}\n{mark.join(('PC-1', '7-Zip', '23.01', 'Igor'))}\n")
    assert exports.findings == ()
    (one,) = exports.devices
    assert (one.hostname, one.serial, one.mac, one.user) == ("pc-1", "SN1", "02:4b:53:00:00:01", "GRABOW\\mm01")
    (installed,) = exports.software
    assert (installed.title, installed.version, installed.publisher) == ("7-Zip", "23.01", "Igor")
    assert all(not columns.unused for columns in exports.columns.values())


def test_a_column_that_is_not_read_is_told(tmp_path: Path) -> None:
    exports = read(tmp_path, "Computer;Schrank;Seriennummer\nPC-1;4;SN1\n")
    assert exports.columns["devices"].used == {"hostname": "Computer", "serial": "Seriennummer"}
    assert exports.columns["devices"].unused == ("Schrank",)


def test_a_summed_up_list_of_software_is_refused_with_what_to_do(tmp_path: Path) -> None:
    exports = read(tmp_path, "Computer\nPC-1\n", "Software;Anzahl Installationen\n7-Zip;40\n")
    (finding,) = exports.findings
    assert finding.rule == "csv-missing-column"
    assert "one line per device and title" in (finding.hint or "")


def test_one_size_tells_how_the_others_of_its_column_are_written(tmp_path: Path) -> None:
    shares = write(tmp_path, "shares.csv", "Freigabe;Größe\nA;1,5 TB\nB;1.234 MB\n")
    exports = read(tmp_path, "Computer\nPC-1\n", shares=shares)
    assert [share.gib for share in exports.shares] == [1536.0, pytest.approx(1234 / 1024)]
    assert told(exports, "warning") == []
    shares = write(tmp_path, "shares.csv", "Freigabe;Größe in GB\nA;2\nB;1.234\n")
    exports = read(tmp_path, "Computer\nPC-1\n", shares=shares)
    assert [share.gib for share in exports.shares] == [2.0, 1.234]
    assert [rule for rule, *_ in told(exports, "warning")] == ["size-ambiguous"]


def test_one_workbook_may_hold_everything(tmp_path: Path) -> None:
    book = Workbook()
    sheets: dict[str, list[list[object]]] = {
        "Übersicht": [["Bestand der Stadt Muster", "Stand 01.03.2026"]],
        "Geräte": [["Inventarliste"], [], ["Inv.-Nr.", "Gerätename", "Serien-Nr."], [1, "PC-1", 123456]],
        "Software": [["Rechner", "Bezeichnung", "Hersteller"], ["PC-1", "7-Zip", "Igor Pavlov"]],
        "Freigaben": [["Freigabename", "Pfad", "Größe"], ["Bau", "D:\\Bau", "12 GB"]],
        "Drucker": [["Druckername", "Treibername", "Anschlussname"], ["HP-EG", "HP PCL 6", "IP_192.168.1.50"]],
        "Benutzer": [["SamAccountName", "Name", "Abteilung"], ["mm01", "Muster, Max", "Bauamt"]],
    }
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = tmp_path / "bestand.xlsx"
    book.save(file)
    exports = read_exports(Sources(file, file, file, file, file))
    assert exports.findings == ()
    assert {export: columns.table.sheet for export, columns in exports.columns.items()} == {
        "devices": "Geräte",
        "software": "Software",
        "shares": "Freigaben",
        "printers": "Drucker",
        "users": "Benutzer",
    }
    assert (exports.devices[0].serial, str(exports.printers[0].address)) == ("123456", "192.168.1.50")
