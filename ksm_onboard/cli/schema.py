"""``schema``: writes the JSON Schemas that editors and readers of results use, or says whether they are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel

from ksm_onboard.atomic import write_atomically
from ksm_onboard.cli import terminal
from ksm_onboard.declaration.findings import relative
from ksm_onboard.declaration.schema import FOLDER, outdated, rendered, schema_file, schema_of, schemas
from ksm_onboard.errors import OnboardError
from ksm_onboard.firewall.policy import FirewallPolicy
from ksm_onboard.project import find_project

OUTPUTS: Final[dict[str, type[BaseModel]]] = {"firewall": FirewallPolicy}
"""What the toolkit writes for other programs, by the name of the schema's file."""


def output_schemas(root: Path) -> dict[Path, str]:
    """The schemas of what the toolkit writes, by their files."""
    return {root / FOLDER / "output" / f"{name}.json": rendered(schema_of(name, m)) for name, m in OUTPUTS.items()}


def schema(
    check: Annotated[
        bool, typer.Option("--check", help="write nothing; fail if a file differs from the models")
    ] = False,
) -> None:
    """Write docs/schema/*.json, which editors use to help while declarations are typed."""
    root = find_project().root
    outputs = output_schemas(root)
    wrong = outdated(root)
    wrong += [file for file, text in outputs.items() if not file.is_file() or file.read_text("utf-8") != text]
    if check and wrong:
        names = ", ".join(relative(file, root) for file in wrong)
        raise OnboardError(f"not as the models are: {names}", hint="run: ksm-onboard schema, and commit the result")
    if check:
        terminal.err.print(f"{FOLDER}: as the models are")
        return
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    written = {schema_file(root, name): rendered(content) for name, content in schemas().items()} | outputs
    for file in wrong:
        if file in written:
            write_atomically(file, written[file])
        else:
            file.unlink()
        terminal.out.print(relative(file, root), markup=False)
    terminal.err.print(f"{len(wrong)} file(s) written or removed in {FOLDER}")
