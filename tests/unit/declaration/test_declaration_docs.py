"""docs/reference/declaration.md names every key that a declaration may have, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from ksm_onboard.declaration.merging import Layer, merge
from ksm_onboard.declaration.models import MemberDeclaration
from ksm_onboard.declaration.source import Located

ROOT = Path(__file__).resolve().parents[3]


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation holds, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := model_in(part))), None)


def paths(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, bool]]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field.is_required()
        if (below := model_in(field.annotation)) is not None:
            yield from paths(below, f"{prefix}{name}.")


def test_every_key_is_documented_with_whether_it_must_be_there() -> None:
    text = (ROOT / "docs/reference/declaration.md").read_text(encoding="utf-8")
    rows = {path: must == "yes" for path, must in re.findall(r"^\| `([a-z_.]+)` \| (yes|no) \|", text, re.MULTILINE)}
    sections = set(re.findall(r"^## ([a-z_]+)$", text, re.MULTILINE))
    assert sections == set(MemberDeclaration.model_fields)
    assert rows == {path: must for path, must in paths(MemberDeclaration, "") if "." in path}


def test_the_examples_of_the_merge_rules_are_true() -> None:
    """Each example's columns, put through the merging itself."""
    text = (ROOT / "docs/reference/merging.md").read_text(encoding="utf-8")
    examples = re.findall(r"^   ```yaml\n(.*?)^   ```", text, re.MULTILINE | re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        lines = [line[3:] for line in example.splitlines()]
        starts = column_starts(lines)
        columns = [
            yaml.safe_load("\n".join(line[start:end].rstrip() for line in lines).replace("…", "model: x"))
            for start, end in zip(starts, [*starts[1:], None], strict=True)
        ]
        layers = [Layer("archetype", data, Located(Path("x"))) for data in columns[:-1]]
        assert merge(layers).data == columns[-1]


def column_starts(lines: list[str]) -> list[int]:
    """Where the columns of an example begin: at the texts of its first line that stand two blanks apart."""
    return [match.start() for match in re.finditer(r"(?<![^ ])(?<! )\S|(?<=  )\S", lines[0])]
