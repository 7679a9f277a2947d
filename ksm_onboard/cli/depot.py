"""``depot``: the software depot's media, packages and publications."""

from __future__ import annotations

from datetime import UTC, datetime

import typer
from rich.markup import escape

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json
from ksm_onboard.cli.surroundings import shared_machines
from ksm_onboard.configuring.inventory import SHARED_GROUPS
from ksm_onboard.connection import connection_file, load_connection
from ksm_onboard.depot.checking import problems_of
from ksm_onboard.depot.inbox import look_through
from ksm_onboard.depot.publication import Contents, Depot, depot_of, read_contents
from ksm_onboard.depot.publication import build as build_publication
from ksm_onboard.depot.serving import differing, served
from ksm_onboard.depot.signing import renew_key as renew
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.planning.depot import DepotItem, depot_items
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import find_project

DEPOTS = SHARED_GROUPS["depot"]
app = typer.Typer(help="The software depot: media, packages, publications.", no_args_is_help=True)


def _depot() -> tuple[Depot, list[DepotItem]]:
    project = find_project()
    items = list(depot_items(Declarations(project).catalogue))
    return depot_of(project, load_connection(connection_file(project))), items


@app.command("list")
def list_items(json: Json = False) -> None:
    """What comes from the depot, and how far its media are known, there and checked."""
    depot, items = _depot()
    inbox = look_through(items, depot.inbox)
    states = {(item.application, item.platform): "checked" for item, _ in inbox.verified}
    states.update({(item.application, item.platform): "missing" for item in inbox.missing})
    states.update({(refused.item.application, refused.item.platform): "refused" for refused in inbox.refused})
    rows = [(item, states.get((item.application, item.platform), "not known")) for item in items]
    if json:
        terminal.print_json([{**item.model_dump(mode="json"), "package": item.package, "state": s} for item, s in rows])
        return
    terminal.print_table(
        f"Media of the depot ({depot.owner})",
        ("application", "platform", "media", "state", "package"),
        ((i.application, i.platform, i.media.file if i.media else "–", state, i.package) for i, state in rows),
    )
    number = {state: sum(1 for _, other in rows if other == state) for _, state in rows}
    terminal.err.print(", ".join(f"{count} {state}" for state, count in sorted(number.items())))


@app.command()
def build(json: Json = False) -> None:
    """Check the inbox, and make and sign a publication of what it and the catalogue say now."""
    depot, items = _depot()
    folder, new = build_publication(depot, items, terminal.TerminalProgress(), datetime.now(UTC))
    contents = read_contents(folder)
    if json:
        terminal.print_json({**contents.model_dump(mode="json"), "folder": str(folder), "new": new})
    _show(contents, new=new)


@app.command()
def publish(json: Json = False) -> None:
    """Build, and let all depots serve it. Machines see it when they are configured the next time."""
    depot, items = _depot()
    progress = terminal.TerminalProgress()
    folder, new = build_publication(depot, items, progress, datetime.now(UTC))
    contents = read_contents(folder)
    _show(contents, new=new)
    machines = shared_machines(progress)
    if not machines.platform.central_servers("depot"):
        raise OnboardError("no depot is declared", hint="give two VMs under shared.vms the role depot")
    result = machines.configure(limit=DEPOTS, tags="software_depot")
    assert result is not None  # noqa: S101 - only a run over machines that are due may have none to go over
    if json:
        terminal.print_json({"publication": contents.id, "run": result.model_dump(mode="json")})
    for problem in result.problems:
        terminal.err.print(f"[red]failed:[/] {escape(problem)}")
    terminal.err.print(f"published on {len(result.hosts)} depots: {result.status}, {result.changed} changed")
    raise typer.Exit(ExitCode.OK if result.status == "finished" else ExitCode.FAILED)


@app.command()
def check(json: Json = False) -> None:
    """Look at key, inbox, the newest publication and what the depots serve. Exit code 4 if something is wrong."""
    depot, items = _depot()
    project = find_project()
    connection = load_connection(connection_file(project))
    depots = {
        server.name: connection.guests.reachable_at(server.address)
        for server in Declarations(project).platform_plan().central_servers("depot")
    }
    latest = depot.latest()
    now = datetime.now(UTC)
    answers = served(depots, connection.trust.root_ca_file) if latest else {}
    problems = [*problems_of(depot, items, now), *differing(answers, latest[1] if latest else None, now)]
    if json:
        terminal.print_json({"problems": problems})
    for problem in problems:
        terminal.err.print(f"[red]wrong:[/] {escape(problem)}")
    terminal.err.print(f"depot of {depot.owner}: {len(problems)} wrong")
    raise typer.Exit(ExitCode.DIFFERENCES if problems else ExitCode.OK)


@app.command("renew-key")
def renew_key() -> None:
    """Let the signing key be valid for three more years. It stays the same key; publish afterwards."""
    depot, _ = _depot()
    if not depot.key_files.secret.exists():
        raise OnboardError("the depot has no signing key yet", hint="run: ksm-onboard depot build")
    key = renew(depot.key_files)
    terminal.err.print(f"the signing key {key.fingerprint[-16:]} is valid until {key.expires:%Y-%m-%d}")


def _show(contents: Contents, *, new: bool) -> None:
    stand_ins = sum(package.stand_in for package in contents.packages)
    terminal.err.print(
        f"{'made' if new else 'unchanged:'} {contents.id}, {len(contents.packages)} packages, "
        f"{stand_ins} of them stand-ins (Platzhalter), valid until {contents.valid_until:%Y-%m-%d}"
    )
