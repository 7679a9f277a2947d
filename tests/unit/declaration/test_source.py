"""Reading YAML: places are right, and everything a declaration must not hold is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.declaration.source import read_yaml


def read(tmp_path: Path, text: str | bytes) -> tuple[object, list[tuple[str, int, int]]]:
    file = tmp_path / "file.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    located, findings = read_yaml(file)
    return located.data, [(f.rule, f.place.line, f.place.column) for f in findings]


def test_values_know_their_places(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("a:\n  - x: 1\n    y: [p, q]\n")
    located, findings = read_yaml(file)
    assert findings == []
    assert located.data == {"a": [{"x": 1, "y": ["p", "q"]}]}
    assert (located.place(("a", 0, "y", 1)).line, located.place(("a", 0, "y", 1)).column) == (3, 12)
    assert (located.key_place(("a", 0, "y")).line, located.key_place(("a", 0, "y")).column) == (3, 5)


def test_place_of_something_absent_is_that_of_what_holds_it(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("a: 1\nb:\n  c: 2\n")
    located, _ = read_yaml(file)
    assert located.place(("b", "missing", 3)).line == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\tb: 1\n", ("yaml-syntax", 2, 1)),
        ("a: [1, 2\nb: 3\n", ("yaml-syntax", 2, 2)),
        ("a: 1\nb: 2\na: 3\n", ("yaml-duplicate-key", 3, 1)),
        ("a: &x 1\nb: *x\n", ("yaml-anchor", 1, 4)),
        ("a: !!python/object/apply:os.system ['true']\n", ("yaml-tag", 1, 4)),
        ("a: 1\n---\nb: 2\n", ("yaml-second-document", 2, 1)),
        ("[a, b]: 1\n", ("yaml-key", 1, 1)),
        ("a: 1\nb: \"{{ lookup('pipe', 'true') }}\"\n", ("template-marker", 2, 4)),
        ("a: 1\nb: '{# gone #}'\n", ("template-marker", 2, 4)),
        ("a:\n  b: 010\n", ("yaml-value", 2, 6)),
        ("a: 1\nb: x\0y\n", ("yaml-syntax", 2, 5)),
        ('a: "x\\ny"\n', ("hidden-character", 1, 4)),
        ('a: "x\\a"\n', ("hidden-character", 1, 4)),
        ("a: |\n  x\n  y\n", ("hidden-character", 1, 4)),
        ("a: ra\u202ewobarG\n", ("hidden-character", 1, 4)),
        ("a: Gra\u200bbow\n", ("hidden-character", 1, 4)),
        ("a: Gra\u00adbow\n", ("hidden-character", 1, 4)),
        ("null\n", ("file-empty", 1, 1)),
        ("", ("file-empty", 1, 1)),
        ("# only a comment\n", ("file-empty", 1, 1)),
        (b"name: M\xfcritz\n", ("file-encoding", 1, 8)),
        ("[" * 100 + "]" * 100, ("yaml-depth", 1, 25)),
    ],
)
def test_refused_with_its_place(tmp_path: Path, text: str | bytes, expected: tuple[str, int, int]) -> None:
    _, findings = read(tmp_path, text)
    assert expected in findings


def test_a_bomb_of_aliases_is_refused_before_it_is_built(tmp_path: Path) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for this, last in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{this}: &{this} [{','.join([f'*{last}'] * 9)}]\n"
    data, findings = read(tmp_path, bomb)
    assert data is None
    assert {rule for rule, _, _ in findings} == {"yaml-anchor", "yaml-alias"}


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\n") == ({"a": 1}, [])


@pytest.mark.parametrize("text", ['a: "x\ty"\n', "a: >-\n  x\n  y\n", "a: |\n  x\n", "a: 1 000 €\u00a0netto 🎉\n"])
def test_what_can_be_seen_may_stay(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text)[1] == []


def test_a_missing_file_is_a_finding(tmp_path: Path) -> None:
    _, findings = read_yaml(tmp_path / "none.yaml")
    assert [f.rule for f in findings] == ["file-unreadable"]


def no_brace(character: str) -> bool:
    return character != "{"


plain = st.recursive(
    # Without what marks a template: that is refused (rule template-marker).
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]).filter(no_brace)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcäß-", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(data=st.dictionaries(st.text("abcdef", min_size=1), plain, min_size=1))
def test_reads_what_pyyaml_reads(data: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("yaml") / "f.yaml"
    # Aliases would be written for equal objects; a declaration never has them.
    dumper = type("NoAliases", (yaml.SafeDumper,), {"ignore_aliases": lambda *_: True})
    file.write_text(yaml.dump(data, Dumper=dumper, allow_unicode=True), encoding="utf-8")
    located, findings = read_yaml(file)
    assert findings == []
    assert located.data == yaml.safe_load(file.read_text(encoding="utf-8"))
