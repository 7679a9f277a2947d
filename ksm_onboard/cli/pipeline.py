"""``ci``: what pipelines run. Each is the command of the same name, for every stack that a change touches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ksm_onboard.atomic import write_atomically
from ksm_onboard.cli import flow, terminal
from ksm_onboard.cli import preview as previewing
from ksm_onboard.cli.affected import Since
from ksm_onboard.cli.baseline import baseline
from ksm_onboard.cli.surroundings import Surroundings, find_surroundings, planned
from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.errors import ExitCode, NotReadyError, OnboardError
from ksm_onboard.planning.affected import Touched
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.planning.sides import change_since
from ksm_onboard.project import find_project
from ksm_onboard.provisioning.driver import Driver
from ksm_onboard.reporting.pipelines import FILES, System, render_pipeline
from ksm_onboard.verifying.audit import reports_dir

app = typer.Typer(help="What pipelines run, for every stack that a change touches; and their files.")

To = Annotated[Path, typer.Option("--to", metavar="FOLDER", help="where results are written; made anew")]


@app.command()
def render(system: System) -> None:
    """Write the pipeline file for GitLab or GitHub from templates/ci/."""
    project = find_project()
    file = project.root / FILES[system]
    write_atomically(file, render_pipeline(project.templates, system))
    terminal.err.print(f"written: {file}", markup=False)


@app.command()
def plan(since: Since, to: To) -> None:
    """Write the plan of every member that the change since GITREF touches, as JSON."""
    touched, folder = _touched(since), _emptied(to)

    def one(member: str) -> None:
        text = json.dumps(planned(member).model_dump(mode="json"), indent=2, ensure_ascii=False)
        write_atomically(folder / f"{member}.json", text + "\n")

    _each(touched.to_bring_up, "plan", one)


@app.command()
def preview(since: Since, to: To) -> None:
    """Preview every stack that the change since GITREF touches, for ksm-onboard comment."""
    stacks, folder = _stacks(_touched(since)), _emptied(to)

    def one(stack: str) -> None:
        try:
            told = previewing.as_json(find_project(), previewing.previewed(stack))
        except OnboardError as error:
            write_atomically(folder / f"{stack}.json", json.dumps({"stack": stack, "error": str(error)}) + "\n")
            raise
        write_atomically(folder / f"{stack}.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        for change in told["changes"]:
            terminal.err.print(f"  {change['risk']}: {escape(change['text'])}")
        for objection in told["objections"]:
            terminal.err.print(f"  [bold red]not approved:[/] {escape(objection)}")
        raise typer.Exit(ExitCode.NOT_APPROVED if told["objections"] else ExitCode.OK)

    _each(stacks, "preview", one)


@app.command()
def up(since: Since) -> None:
    """Bring every stack up to date that the change since GITREF touches, the platform's first."""
    _each(_stacks(_touched(since)), "up", flow.up)


@app.command()
def servers(since: Since) -> None:
    """Configure the servers of every member that the change touches, the data centre's own machines first."""
    touched = _touched(since)
    if touched.platform is not None:
        _each([PLATFORM], "configure", flow.configure)
    _each(touched.to_bring_up, "configure --limit servers", lambda key: flow.configure(key, limit="servers"))


@app.command()
def waves(since: Since) -> None:
    """Roll workplaces out in waves, for every member that the change since GITREF touches."""
    _each(_touched(since).to_bring_up, "configure --wave all", lambda key: flow.configure(key, wave="all"))


@app.command()
def verify(since: Since, to: To) -> None:
    """Audit every member that the change since GITREF touches, and write its hand-over protocol."""
    members, folder = _touched(since).to_bring_up, _emptied(to)
    _verify(members, folder)


@app.command()
def nightly(to: To) -> None:
    """Audit every member that has a stack, and show how far it fulfils the baseline."""
    folder, surroundings = _emptied(to), _surroundings()
    standing = Driver(surroundings.project, surroundings.connection, surroundings.engine).stacks()
    members = [key for key in Declarations(surroundings.project).member_keys if key in standing]
    codes = [_code(members, "verify", lambda key: _audited(key, folder)), _code(members, "baseline", baseline)]
    raise typer.Exit(max(codes))


def _verify(members: Iterable[str], folder: Path) -> None:
    _each(members, "verify", lambda key: _audited(key, folder))


def _audited(member: str, folder: Path) -> None:
    """Verify and report; the protocol is kept also where something differs."""
    try:
        flow.verify(member)
    finally:
        surroundings = find_surroundings()
        written = reports_dir(surroundings.project, surroundings.connection, member)
        if (written / "audit.json").is_file():
            flow.report(member)
            shutil.copytree(written, folder / member, dirs_exist_ok=True)


# --- for each stack -----------------------------------------------------------------------


def _touched(since: str) -> Touched:
    return change_since(find_project(), since).touched


def _stacks(touched: Touched) -> tuple[str, ...]:
    """The platform first: members refer to what it puts out."""
    return ((PLATFORM,) if touched.platform else ()) + touched.to_bring_up


def _surroundings() -> Surroundings:
    try:
        return find_surroundings()
    except NotReadyError as missing:
        raise NotReadyError(
            f"this pipeline has no data centre to work on: {missing}",
            hint="the runner's own environment must name the connection file (KSM_CONNECTION), the state's backend "
            "(PULUMI_BACKEND_URL) and its passphrase file; see docs/how-to/run-it-in-a-pipeline.md",
        ) from None


def _each(stacks: Iterable[str], command: str, run: Callable[[str], None]) -> None:
    """Run a command for each stack; one that fails does not keep the others from theirs, but the platform does."""
    raise typer.Exit(_code(stacks, command, run))


def _code(stacks: Iterable[str], command: str, run: Callable[[str], None]) -> int:
    worst = 0
    stacks = list(stacks)
    if not stacks:
        terminal.err.print("the change touches no stack: nothing to do")
    elif command != "plan":
        _surroundings()
    for stack in stacks:
        terminal.err.print(f"[bold]▶ ksm-onboard {command} {escape(stack)}[/]")
        code = _one(stack, run)
        worst = max(worst, code)
        if code and stack == PLATFORM and command not in ("preview", "verify"):
            terminal.err.print("members wait until the platform's stack is up to date")
            break
    return worst


def _one(stack: str, run: Callable[[str], None]) -> int:
    try:
        run(stack)
    except typer.Exit as done:
        return done.exit_code
    except OnboardError as error:
        if isinstance(error, DeclarationRefusedError):
            terminal.print_findings(error.findings, find_project().root)
        terminal.print_error(error)
        if error.exit_code is ExitCode.INTERRUPTED:
            raise
        return error.exit_code
    return ExitCode.OK


def _emptied(folder: Path) -> Path:
    """A folder without the results of an earlier run; nobody else's files are removed."""
    if folder.exists():
        marker = folder / ".ksm-onboard"
        if not marker.is_file():
            raise OnboardError(f"{folder} exists and is not of a pipeline", hint="name another folder, or remove it")
        shutil.rmtree(folder)
    write_atomically(folder / ".ksm-onboard", "")
    return folder
