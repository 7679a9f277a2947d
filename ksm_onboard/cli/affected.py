"""``affected``: which members a change touches."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json
from ksm_onboard.planning.affected import Affected
from ksm_onboard.planning.sides import change_since
from ksm_onboard.project import find_project

Since = Annotated[str, typer.Option("--from", metavar="GITREF", help="the commit before the change")]

_VERB = {"adds": "new", "removes": "removed", "changes": "changed"}


def affected(since: Since = "HEAD", json: Json = False) -> None:
    """Name exactly the members that the change since GITREF touches, and why. Needs no data centre."""
    touched = change_since(find_project(), since).touched
    if json:
        terminal.print_json(
            {
                "from": since,
                "platform": touched.platform and touched.platform.as_json(),
                "members": [member.as_json() for member in touched.members],
                "to_bring_up": list(touched.to_bring_up),
                "removed": list(touched.removed),
            }
        )
        return
    for one in (*((touched.platform,) if touched.platform else ()), *touched.members):
        _show(one)
    if touched.platform is None and not touched.members:
        terminal.err.print(f"nothing since {escape(since)} touches any member")


def _show(one: Affected) -> None:
    terminal.out.print(f"[bold]{escape(one.key)}[/] ({_VERB[one.kind]})", soft_wrap=True)
    for reason in one.reasons:
        label = "" if reason.exact else " (possibly; named to be on the safe side)"
        terminal.out.print(f"  {escape(reason.text)}{label}", soft_wrap=True)
    for change in one.changes:
        mark = "[bold red]![/]" if change.destroys else "-"
        terminal.out.print(f"    {mark} {escape(change.text)}", soft_wrap=True)
