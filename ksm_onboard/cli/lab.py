"""``lab``: the embedded data centre, for trying things out and for tests. Everything in it is simulated or local."""

from __future__ import annotations

from typing import Annotated, cast

import typer
from rich.markup import escape

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json, MemberKey
from ksm_onboard.connection import lab_name, lab_shift
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.firewall.record import proven, save_proof
from ksm_onboard.lab import instance, losses
from ksm_onboard.lab.base_image import ensure_base_image
from ksm_onboard.lab.engine import ensure_engine, ensure_vcenter
from ksm_onboard.lab.prerequisites import install_prerequisites
from ksm_onboard.lab.windows.machine import FOLDER, MISBEHAVIOURS, Hosts, Misbehaviour
from ksm_onboard.onboarding.lab_array import export_all
from ksm_onboard.onboarding.lab_world import data_centre
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import find_project

app = typer.Typer(help="The lab: a simulated vCenter whose powered-on VMs are real Debian hosts.", no_args_is_help=True)


@app.command()
def setup() -> None:
    """Prepare this machine: Debian packages, engine, vCenter simulator, base image. Builds each only once."""
    project, progress = find_project(), terminal.TerminalProgress()
    installed = install_prerequisites(progress)
    engine = ensure_engine(project, progress)
    ensure_vcenter(project, progress)
    ensure_base_image(progress)
    progress.line(f"ready: Pulumi {engine.version} ({'official' if engine.official else 'built from its Go modules'})")
    if installed:
        progress.line(f"installed Debian packages: {', '.join(installed)}")


@app.command()
def up() -> None:
    """Start the lab, unless it is up already; its array exports all datastores that can be planned."""
    declarations, name, progress = Declarations(find_project()), lab_name(), terminal.TerminalProgress()
    inventory = data_centre(declarations.platform_plan())
    started = instance.up(declarations.project, name, inventory, shift=lab_shift(name), progress=progress)
    export_all(declarations, name, progress)
    terminal.err.print(f"the lab {name} is up: vCenter (simulated) at {started.endpoint}")


@app.command()
def down() -> None:
    """Stop the lab: vCenter, hosts and everything in them. Keys and logs stay in .state."""
    name = lab_name()
    if instance.down(find_project(), name, terminal.TerminalProgress()):
        terminal.err.print(f"the lab {name} is down; nothing of it is left running")
    else:
        terminal.err.print(f"the lab {name} is not up; nothing to do")


@app.command()
def status(json: Json = False) -> None:
    """Show endpoint, credentials file and hosts."""
    now = instance.status(lab_name())
    if json:
        terminal.print_json(now.model_dump(mode="json"))
        return
    terminal.out.print(f"lab {now.name}: [bold]{now.state}[/]" + (f" since {now.since}" if now.since else ""))
    if now.endpoint:
        terminal.out.print(f"vCenter (simulated): {now.endpoint}, user {now.user}")
        terminal.out.print(f"password file: {now.credentials_file}\nconnection file: {now.connection_file}\n")
    terminal.print_table(
        f"Hosts ({len(now.hosts)})",
        ("name", "kind", "state", "declared", "reachable at"),
        ((h.name, h.kind, h.state, h.address, f"{h.reachable_at}:{h.port}") for h in now.hosts),
    )
    if names := _windows_hosts().names():
        machines = [_windows_hosts().read(name) for name in names]
        terminal.print_table(
            f"Windows workstations (simulated, {len(names)})",
            ("name", "state"),
            ((machine.name, machine.misbehaviour or "well") for machine in machines),
        )


@app.command()
def misbehave(
    host: Annotated[str, typer.Argument(help="a simulated Windows workstation")],
    how: Annotated[str, typer.Argument(help=f"{', '.join(MISBEHAVIOURS)}, or none to end it")],
) -> None:
    """Let a simulated Windows workstation misbehave from now on."""
    if how not in (*MISBEHAVIOURS, "none"):
        raise OnboardError(f"{how!r} is no misbehaviour", hint=f"allowed: {', '.join(MISBEHAVIOURS)}, none")
    _windows_hosts().misbehave(host, None if how == "none" else cast(Misbehaviour, how))
    terminal.out.print(f"{host} (simulated): {'behaves again' if how == 'none' else how}")


def _windows_hosts() -> Hosts:
    return Hosts(find_project().state / lab_name() / FOLDER)


_Section = Annotated[str | None, typer.Option("--section", help="a fire section, such as A")]
_Host = Annotated[str | None, typer.Option("--host", help="a hypervisor host")]
_Datastore = Annotated[str | None, typer.Option("--datastore", help="a datastore")]
_Link = Annotated[str | None, typer.Option("--link", help="an uplink of a host, as HOST/UPLINK")]


@app.command()
def lose(
    section: _Section = None, host: _Host = None, datastore: _Datastore = None, link: _Link = None, json: Json = False
) -> None:
    """Let a fire section, host, datastore or uplink of the lab fail, and wait for what HA makes of it."""
    what = _losable(section, host, datastore, link)
    if what is None:
        raise _UsageError("say what is lost: --section, --host, --datastore or --link")
    control = losses.Control.of(lab_name())
    control.lose(what)
    _show(control.settled(), json=json)


@app.command()
def restore(
    section: _Section = None, host: _Host = None, datastore: _Datastore = None, link: _Link = None, json: Json = False
) -> None:
    """Let what was lost come back; without an option, everything."""
    what = _losable(section, host, datastore, link)
    control = losses.Control.of(lab_name())
    if what is None:
        control.restore_everything()
    else:
        control.restore(what)
    _show(control.settled(), json=json)


@app.command("prove-zones")
def prove_zones(member: MemberKey, json: Json = False) -> None:
    """Try every flow of a member with packets, and that nothing else passes. Namespaces simulate its port groups.

    The rules are those that ``ksm-onboard firewall`` writes. The result is kept for the lab's hand-over protocol.
    """
    project, progress = find_project(), terminal.TerminalProgress()
    plan = Declarations(project).plan(member)
    progress.step(f"prove the zones of {member} with packets (simulation: namespaces stand in for port groups)")
    record = proven(project, plan, progress.line)
    save_proof(record, project.state / lab_name() / "reports" / member)
    result = record.result
    if json:
        terminal.print_json(record.model_dump(mode="json"))
    for surprise in result.surprises:
        terminal.err.print(f"[red]{escape(str(surprise))}[/]")
    terminal.err.print(
        f"{result.tried} connections tried: {result.allowed} have to pass, {result.refused} must not; "
        f"{result.tricks} tricks; {result.surprising} surprise(s) ({result.seconds:.0f} s, simulated port groups)"
    )
    raise typer.Exit(ExitCode.OK if result.holds else ExitCode.DIFFERENCES)


class _UsageError(OnboardError):
    exit_code = ExitCode.USAGE


def _losable(section: str | None, host: str | None, datastore: str | None, link: str | None) -> losses.Losable | None:
    chosen: list[losses.Losable] = []
    if section is not None:
        chosen.append(losses.Section(section))
    if host is not None:
        chosen.append(losses.Host(host))
    if datastore is not None:
        chosen.append(losses.Datastore(datastore))
    if link is not None:
        name, separator, uplink = link.partition("/")
        if not separator:
            raise _UsageError(f"--link {link}: a host and its uplink are needed", hint="for example sn-esx-a01/uplink1")
        chosen.append(losses.Link(name, uplink))
    if len(chosen) > 1:
        raise _UsageError("only one of --section, --host, --datastore and --link at a time")
    return chosen[0] if chosen else None


def _show(now: losses.LabState, *, json: bool) -> None:
    if json:
        terminal.print_json(now.model_dump(mode="json"))
        return
    lost = [" ".join(str(part) for part in what.values()) for what in now.lost]
    terminal.out.print(f"lost in the lab (simulated): {', '.join(lost) or 'nothing'}")
    terminal.print_table(
        "Hosts", ("name", "section", "state"), ((host.name, host.section, host.state) for host in now.hosts)
    )
    terminal.print_table(
        "VMs", ("name", "host", "power", "waits because"), ((m.name, m.host, m.power, m.waiting) for m in now.machines)
    )
