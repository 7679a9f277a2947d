"""``comment``: what a change does, as one Markdown text for a merge request."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from ksm_onboard.atomic import write_atomically
from ksm_onboard.cli import terminal
from ksm_onboard.cli.affected import Since
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.at_ref import archetypes_of
from ksm_onboard.planning.checks_capacity import asked_of_arrays, servers_of_all, without_each_section
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.sides import change_since
from ksm_onboard.planning.storage import available_gib
from ksm_onboard.project import Project, find_project
from ksm_onboard.reporting.comment import ArrayLeft, SectionLost, render_comment


def comment(
    since: Since,
    previews: Annotated[
        Path | None, typer.Option("--previews", metavar="FOLDER", help="what ksm-onboard ci preview wrote there")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="default: stdout")] = None,
) -> None:
    """Say in one Markdown text what the change since GITREF does: words, risk, policies, cost, capacity left."""
    project = find_project()
    sections, arrays = _capacity(project)
    text = render_comment(project.templates, change_since(project, since), _read(previews), sections, arrays)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_atomically(output, text)
    terminal.err.print(f"written: {output}", markup=False)


def _read(folder: Path | None) -> dict[str, dict[str, Any]]:
    found = {}
    for file in sorted(folder.glob("*.json")) if folder else ():
        try:
            found[file.stem] = json_module.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OnboardError(
                f"cannot read the preview {file}: {error}", hint="make it again: ksm-onboard ci preview"
            ) from None
    return found


def _capacity(project: Project) -> tuple[list[SectionLost], list[ArrayLeft]]:
    """What is left of the data centre; nothing, where the platform's declaration has errors."""
    declarations = Declarations(project, archetypes_of(project))
    platform = declarations.platform.content
    if platform is None or declarations.platform.findings:
        return [], []
    members = {k: (m, m.file.content) for k, m in declarations.members.items() if m.file.content is not None}
    sections = [
        SectionLost(
            without.lost,
            without.memory_gib,
            without.memory_gib - without.memory.total,
            without.vcpus,
            without.vcpus - without.cpus.total,
        )
        for without in without_each_section(servers_of_all(members, platform), platform)
    ]
    asked = asked_of_arrays(members, declarations.orphans, declarations.own_record, platform)
    rooms = {name: available_gib(array, platform) for name, array in platform.arrays.items()}
    arrays = [ArrayLeft(name, room, room - (asked[name].total if name in asked else 0)) for name, room in rooms.items()]
    return sections, arrays
