"""Device lists: read in every common spelling, refused with line and column where something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.declaration.devices import COLUMNS, read_devices

HEADER = ";".join(COLUMNS)
ROW = "gra-ws0001;SN1;02:4b:53:00:00:01;rathaus;bauamt;standard;linux;pilot;PC-7"


def read(tmp_path: Path, text: str | bytes) -> tuple[list[str], list[tuple[str, int, int]]]:
    file = tmp_path / "x.devices.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    devices, findings = read_devices(file)
    return [row.hostname for row in devices.rows], [(f.rule, f.place.line, f.place.column) for f in findings]


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{ROW}\n",
        f"\ufeff{HEADER}\n{ROW}\n",
        f"{HEADER}\r\n{ROW}\r\n",
        f"{HEADER}\r{ROW}",
        f"{HEADER}\n\n{ROW}\n\n",
        f"{HEADER}\n{ROW}\n".replace(";", ","),
        f"{HEADER.upper()}\n{ROW}",
        HEADER.replace(";", " ; ") + "\n" + ROW.replace(";", " ; "),
        f"{HEADER}\n{ROW.replace('SN1', chr(34) + 'SN1' + chr(34))}\n",
        "hostname;site;department;profile;platform;wave\ngra-ws0001;rathaus;bauamt;standard;linux;pilot\n",
        f"{HEADER}\n{ROW.replace('SN1', '').replace('PC-7', '').replace('02:4b:53:00:00:01', '')}\n",
    ],
)
def test_reads_every_common_spelling(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == (["gra-ws0001"], [])


def test_values_and_places(tmp_path: Path) -> None:
    file = tmp_path / "x.devices.csv"
    file.write_text(f'wave;{HEADER.replace(";wave", "")}\n\n"pilot";{ROW.replace(";pilot", "").replace("4b", "4B")}\n')
    devices, findings = read_devices(file)
    assert findings == []
    assert devices.rows[0].wave == "pilot"
    assert devices.rows[0].mac == "02:4b:53:00:00:01"
    assert (devices.place(0, "wave").line, devices.place(0, "wave").column) == (3, 1)
    assert (devices.place(0, "hostname").line, devices.place(0, "hostname").column) == (3, 9)
    assert devices.place(0, "serial").column == 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("file-empty", 1, 1)),
        (" \n\n", ("file-empty", 1, 1)),
        (HEADER + "\n", ("file-empty", 1, 1)),
        (f"{HEADER}\n{ROW}\n".encode("utf-16"), ("file-encoding", 1, 1)),
        (f"{HEADER}\n{ROW.replace('PC-7', 'Büro')}\n".encode("latin-1"), ("file-encoding", 2, 71)),
        (f"{HEADER}\n{ROW}\0\n", ("csv-syntax", 2, 1)),
        (f'{HEADER}\n{ROW}\n"gra-ws0002"x;{ROW[11:]}\n', ("csv-syntax", 3, 1)),
        (HEADER.replace("serial", "serail") + f"\n{ROW}\n", ("csv-unknown-column", 1, 10)),
        (HEADER.replace("mac", "serial") + f"\n{ROW}\n", ("csv-duplicate-column", 1, 17)),
        (HEADER.replace(";wave", "") + f"\n{ROW}\n", ("csv-missing-column", 1, 1)),
        (f"{HEADER}\n{ROW};x\n", ("csv-cells", 2, 75)),
        (f"{HEADER}\ngra-ws0001;SN1\n", ("csv-cells", 2, 12)),
        (f"{HEADER}\n{ROW.replace('PC-7', chr(34) + 'PC' + chr(10) + '7' + chr(34))}\n", ("csv-cells", 2, 70)),
        (f"{HEADER}\n{ROW.replace('bauamt', '')}\n", ("csv-empty-cell", 2, 42)),
        (f"{HEADER}\n{ROW.replace('SN1', '=cmd()')}\n", ("csv-formula", 2, 12)),
        (f"{HEADER}\n{ROW.replace('PC-7', '@SUM(A1)')}\n", ("csv-formula", 2, 70)),
        (f"{HEADER}\n{ROW.replace('PC-7', '+49 38756')}\n", ("csv-formula", 2, 70)),
        (f"{HEADER}\n{ROW.replace('gra-ws0001', 'gra-arbeitsplatz1')}\n", ("name-too-long", 2, 1)),
        (f"{HEADER}\n{ROW.replace('gra-ws0001', 'GRA_WS1')}\n", ("wrong-format", 2, 1)),
        (f"{HEADER}\n{ROW.replace('02:4b', '02:4g')}\n", ("wrong-format", 2, 16)),
        (f"{HEADER}\n{ROW.replace('linux', 'lunix')}\n", ("wrong-format", 2, 58)),
    ],
)
def test_refused_with_its_place(tmp_path: Path, text: str | bytes, expected: tuple[str, int, int]) -> None:
    names, findings = read(tmp_path, text)
    assert expected in findings
    assert findings[0][0] in {"csv-syntax", expected[0]}
    assert names in ([], ["gra-ws0001"])


def test_every_wrong_cell_is_found_and_sound_lines_are_kept(tmp_path: Path) -> None:
    bad = ROW.replace("rathaus", "").replace("linux", "lunix").replace("gra-ws0001", "gra-ws0002")
    names, findings = read(tmp_path, f"{HEADER}\n{bad}\n{ROW}\n{bad};\n")
    assert names == ["gra-ws0001"]
    assert [(rule, line) for rule, line, _ in findings] == [
        ("csv-cells", 4),
        ("csv-empty-cell", 2),
        ("wrong-format", 2),
    ]


def test_a_missing_file_is_a_finding(tmp_path: Path) -> None:
    _, findings = read_devices(tmp_path / "none.csv")
    assert [f.rule for f in findings] == ["file-unreadable"]


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_nothing_makes_it_stumble(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("csv") / "x.devices.csv"
    file.write_bytes(content)
    devices, findings = read_devices(file)
    assert findings
    assert devices.rows == ()
    assert all(f.place.line >= 1 and f.place.column >= 1 for f in findings)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_line_is_a_device_or_a_finding_on_it(tmp_path_factory: pytest.TempPathFactory, line: str) -> None:
    file = tmp_path_factory.mktemp("csv") / "x.devices.csv"
    file.write_text(f"{HEADER}\n{ROW}\n{line}\n", encoding="utf-8", newline="")
    devices, findings = read_devices(file)
    if not findings:
        assert len(devices.rows) == 1 + bool(line.strip())
    assert all(f.rule in ("file-encoding", "csv-syntax") or f.place.line >= 3 for f in findings)


def test_a_list_that_is_wrong_throughout_is_not_told_line_by_line(tmp_path: Path) -> None:
    _, findings = read(tmp_path, HEADER + "\n" + f"{ROW.replace('linux', 'lunix')}\n" * 5000)
    assert len(findings) == 1001
    assert findings[-1][0] == "too-many-findings"
    assert findings[-1][1] == 1002
