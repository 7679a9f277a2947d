"""A role's README, made from its ``meta/argument_specs.yml`` so that the two cannot tell different things.

``python -m ksm_onboard.configuring.role_docs`` writes them all anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ksm_onboard.project import find_project

Option = dict[str, Any]


def roles(folder: Path) -> list[Path]:
    """All roles below ``folder``."""
    return sorted(path.parent.parent for path in folder.glob("*/meta/argument_specs.yml"))


def render_readme(role: Path) -> str:
    """The README of the role in the folder ``role``, as Markdown; first what it does, then its other entry points."""
    specs: dict[str, Any] = yaml.load((role / "meta" / "argument_specs.yml").read_text(), Loader=yaml.CSafeLoader)[
        "argument_specs"
    ]
    main_spec = specs.pop("main")
    lines = [f"# {role.name}", "", *_entry_point(main_spec, "##")]
    for name, spec in specs.items():
        lines += [f"## tasks_from: {name}", "", *_entry_point(spec, "###")]
    lines += ["Generated from `meta/argument_specs.yml` by `python -m ksm_onboard.configuring.role_docs`.", ""]
    return "\n".join(lines)


def _entry_point(spec: dict[str, Any], heading: str) -> list[str]:
    options: dict[str, Option] = spec.get("options", {})
    return [
        f"{spec['short_description']}.",
        "",
        *(f"- {point}" for point in spec.get("description", ())),
        "",
        f"{heading} Variables",
        "",
        "| variable | type | default | meaning |",
        "| --- | --- | --- | --- |",
        *(row for name, option in options.items() for row in _rows(name, option)),
        "",
    ]


def _rows(name: str, option: Option, parent: str = "") -> list[str]:
    shown = f"{parent}{name}"
    kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
    default = "required" if option.get("required") else f"`{json.dumps(option.get('default'), ensure_ascii=False)}`"
    row = f"| `{shown}` | {kind} | {default} | {option['description'].replace('|', chr(92) + '|')} |"
    inner: dict[str, Option] = option.get("options", {})
    return [row, *(line for key, value in inner.items() for line in _rows(key, value, f"{shown}[]."))]


def main() -> None:
    """Write all READMEs."""
    for role in roles(find_project().roles):
        (role / "README.md").write_text(render_readme(role))


if __name__ == "__main__":
    main()
