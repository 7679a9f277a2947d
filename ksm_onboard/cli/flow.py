"""The flow, as a whole (``onboard``) or step by step, and what it left behind (``status``)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json, MemberKey
from ksm_onboard.cli.rollout import Chosen, as_json, roll_out, show_rolled, show_workplaces
from ksm_onboard.cli.surroundings import Surroundings, find_surroundings, in_the_lab, planned, shared_machines
from ksm_onboard.configuring.results import RunResult
from ksm_onboard.configuring.run import last_run
from ksm_onboard.connection import lab_name, lab_shift
from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.errors import ExitCode, NotReadyError, OnboardError
from ksm_onboard.firewall.proof import ProofResult
from ksm_onboard.lab import instance
from ksm_onboard.lab.engine import ensure_engine
from ksm_onboard.onboarding.lab_array import export_all
from ksm_onboard.onboarding.lab_room import require_room_for
from ksm_onboard.onboarding.lab_world import data_centre
from ksm_onboard.onboarding.steps import Onboarding
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.progress import Progress
from ksm_onboard.project import find_project
from ksm_onboard.provisioning.driver import Driver, EngineRun
from ksm_onboard.provisioning.environment import shell_lines
from ksm_onboard.reporting.documents import Documents
from ksm_onboard.verifying.audit import load_audit, reports_dir
from ksm_onboard.verifying.audit_report import AuditReport
from ksm_onboard.verifying.restores import Attempt

Workstations = Annotated[
    int, typer.Option("--workstations", min=0, help="lab only: how many of the declared workstations are started")
]
MemberOrPlatform = Annotated[str, typer.Argument(metavar="MEMBER", help=f"key of the member, or {PLATFORM}")]

_SHOWN_NOT_CHECKED = 4


def env() -> None:
    """Print the environment that plain pulumi needs: eval "$(ksm-onboard env)"."""
    for line in shell_lines(find_surroundings().environment()):
        typer.echo(line)


def up(member: MemberOrPlatform, json: Json = False) -> None:
    """Bring a stack up to date: the member's, or the platform's. The same as: pulumi up -s MEMBER."""
    progress = terminal.TerminalProgress()
    if member == PLATFORM:
        run = shared_machines(progress).provision()
    else:
        plan = planned(member)
        run = find_surroundings().onboarding(plan, progress).provision()
    if json:
        terminal.print_json(_engine_run(run))
    _show_engine_run(run)


def configure(
    member: MemberOrPlatform,
    *,
    check: Annotated[bool, typer.Option("--check", help="only look what would change")] = False,
    limit: Annotated[
        str | None, typer.Option(help="Ansible pattern of hosts or groups; with waves: host names")
    ] = None,
    tags: Annotated[str | None, typer.Option(help="Ansible tags")] = None,
    full: Annotated[bool, typer.Option("--full", help="also workplaces that are as they were left")] = False,
    wave: Annotated[str | None, typer.Option(metavar="WAVE", help="only this wave, or all: one after another")] = None,
    due: Annotated[bool, typer.Option("--due", help="what failed, was off or was not tried in waves so far")] = False,
    application: Annotated[
        str | None, typer.Option(metavar="APPLICATION", help="only workplaces that are given it")
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="take the application back from them")] = False,
    give_back: Annotated[bool, typer.Option("--give-back", help="undo --rollback")] = False,
    unscheduled: Annotated[
        bool, typer.Option("--unscheduled", help="do not wait for the wave's first day and maintenance window")
    ] = False,
    json: Json = False,
) -> None:
    """Refresh the inventory and configure servers and workstations with Ansible, or the data centre's own machines.

    With --wave and --due only workplaces: freezes, gates between waves and the hosts' own word are minded.
    """
    progress = terminal.TerminalProgress()
    if wave is not None or due or application is not None or rollback or give_back or unscheduled:
        if check or tags is not None or member == PLATFORM:
            raise typer.BadParameter("--check, --tags and the platform know no waves, nor applications of workplaces")
        chosen = Chosen(limit, wave, application, full, unscheduled, due, rollback, give_back)
        rolled = roll_out(planned(member), chosen, progress)
        if json:
            terminal.print_json([as_json(one) for one in rolled])
        show_rolled(rolled)
        raise typer.Exit(ExitCode.FAILED if any(one.closed or one.failed for one in rolled) else ExitCode.OK)
    if member == PLATFORM:
        shared = shared_machines(progress)
        if shared.connection.simulated:
            shared.start_in_lab()
        done = shared.configure(check=check, limit=limit, tags=tags)
        assert done is not None  # noqa: S101 - only a run over machines that are due may have none to go over
        result = done
    else:
        plan = planned(member)
        onboarding = find_surroundings().onboarding(plan, progress)
        result = onboarding.configure(check=check, limit=limit, tags=tags, full=full)
    if json:
        terminal.print_json(result.model_dump(mode="json"))
    _show_run(result)
    raise typer.Exit(ExitCode.OK if result.status == "finished" else ExitCode.FAILED)


def restore_test(
    member: MemberOrPlatform,
    server: Annotated[list[str] | None, typer.Option("--server", help="only this server; can be given again")] = None,
    due: Annotated[bool, typer.Option("--due", help="only copies without a valid proof")] = False,
    json: Json = False,
) -> None:
    """Restore the newest backups into scratch folders and compare every file. Exit code 4 if any copy fails."""
    progress = terminal.TerminalProgress()
    if member == PLATFORM:
        attempts = shared_machines(progress).restore_test(servers=server, only_due=due)
    else:
        onboarding = find_surroundings().onboarding(planned(member), progress)
        attempts = onboarding.restore_test(servers=server, only_due=due)
    if json:
        terminal.print_json([attempt.model_dump(mode="json") for attempt in attempts])
    _show_restores(attempts)
    raise typer.Exit(ExitCode.DIFFERENCES if any(attempt.problem for attempt in attempts) else ExitCode.OK)


def verify(member: MemberOrPlatform, json: Json = False) -> None:
    """Compare vCenter and hosts with the plan, without Pulumi's state. Exit code 4 if anything differs."""
    progress = terminal.TerminalProgress()
    if member == PLATFORM:
        audit = shared_machines(progress).verify()
    else:
        plan = planned(member)
        audit = find_surroundings().onboarding(plan, progress).verify()
    if json:
        terminal.print_json(audit.model_dump(mode="json"))
    _show_audit(audit)
    raise typer.Exit(ExitCode.DIFFERENCES if audit.differences else ExitCode.OK)


def report(member: MemberKey, json: Json = False) -> None:
    """Write the hand-over protocol (Übergabeprotokoll) from the last audit and configuration run."""
    plan = planned(member)
    written = find_surroundings().onboarding(plan, terminal.TerminalProgress()).report()
    if json:
        terminal.print_json(_documents(written))
    else:
        terminal.out.print(
            f"Übergabeprotokoll: {written.html}\nas JSON: {written.json}\nNetzplan: {written.network_plan}"
        )


def onboard(member: MemberKey, workstations: Workstations = 6, json: Json = False) -> None:
    """All of it: lab (if no other data centre is named), platform, member, configuration, audit, protocol."""
    plan = planned(member)
    progress = terminal.TerminalProgress()
    if in_the_lab():
        shared_hosts = len(plan.platform.shared_servers) + len(plan.platform.all_central_servers)
        hosts = len(plan.member.servers) + shared_hosts + workstations
        _bring_up_the_lab(progress, expected_hosts=hosts)
    surroundings = find_surroundings()
    require_room_for(surroundings.project, surroundings.connection, plan, workstations=workstations, configured=True)
    onboarding = surroundings.onboarding(plan, progress)
    platform_run = onboarding.provision_platform()
    if surroundings.connection.simulated:
        onboarding.shared.start_in_lab()
    shared = onboarding.shared.configure(only_due=True)
    member_run = onboarding.provision()
    if surroundings.connection.simulated:
        onboarding.start_lab_workstations(workstations)
    configured = onboarding.configure()
    restores = onboarding.restore_test(only_due=True)
    audit = onboarding.verify()
    if surroundings.connection.simulated:
        _prove_zones(onboarding)
    documents = onboarding.report()
    if json:
        terminal.print_json(
            {
                "member": member,
                "stacks": [_engine_run(platform_run), _engine_run(member_run)],
                "shared_machines": shared.model_dump(mode="json") if shared else None,
                "configuration": configured.model_dump(mode="json"),
                "restore_tests": [attempt.model_dump(mode="json") for attempt in restores],
                "audit": {"points": audit.points, "differences": len(audit.differences)},
                "documents": _documents(documents),
            }
        )
    _show_restores(restores)
    results = (*((shared,) if shared else ()), configured)
    _show_result(surroundings, (platform_run, member_run), results, audit, documents)
    if any(result.status != "finished" for result in results):
        raise typer.Exit(ExitCode.FAILED)
    raise typer.Exit(ExitCode.DIFFERENCES if audit.differences else ExitCode.OK)


def status(
    member: Annotated[str | None, typer.Argument(metavar="[MEMBER]", help="default: all members")] = None,
    json: Json = False,
) -> None:
    """Show per member: stack, last configuration run, last audit; of one member each workplace. Asks no host."""
    declarations = Declarations(find_project())
    if member:
        declarations.require(member)
    surroundings = find_surroundings()
    stacks = Driver(surroundings.project, surroundings.connection, surroundings.engine).stacks()
    connection = surroundings.connection
    keys = [member] if member else declarations.member_keys
    rows = [_member_status(surroundings, key, has_stack=key in stacks) for key in keys]
    plan = _plan_if_sound(declarations, member) if member else None
    workplaces = surroundings.onboarding(plan, terminal.TerminalProgress()).workplaces() if plan else ()
    if json:
        terminal.print_json(
            {
                "data_centre": connection.name,
                "simulated": connection.simulated,
                "members": rows,
                **({"workplaces": [asdict(workplace) for workplace in workplaces]} if plan else {}),
            }
        )
        return
    label = " (simulated)" if connection.simulated else ""
    terminal.print_table(
        f"Data centre {connection.name}{label}",
        ("member", "stack", "last configuration", "last audit"),
        (
            (
                r["member"],
                "there" if r["stack"] else "not set up",
                _run_words(r["configuration"]),
                _audit_words(r["audit"]),
            )
            for r in rows
        ),
    )
    if plan:
        show_workplaces(plan, workplaces)


def _plan_if_sound(declarations: Declarations, member: str) -> Plan | None:
    """What stands can be told of a member whose declaration is wrong just now, only not what is due there."""
    try:
        return declarations.plan(member)
    except DeclarationRefusedError as refused:
        terminal.err.print(f"[yellow]workplaces are not shown:[/] {escape(str(refused))}: ksm-onboard check {member}")
        return None


# --- in the lab ---------------------------------------------------------------------------


def _bring_up_the_lab(progress: Progress, *, expected_hosts: int) -> None:
    declarations, name = Declarations(find_project()), lab_name()
    ensure_engine(declarations.project, progress)
    instance.up(
        declarations.project,
        name,
        data_centre(declarations.platform_plan()),
        shift=lab_shift(name),
        progress=progress,
        expected_hosts=expected_hosts,
    )
    export_all(declarations, name, progress)


# --- in words -----------------------------------------------------------------------------


def _engine_run(run: EngineRun) -> dict[str, Any]:
    told: dict[str, Any] = {
        "stack": run.stack,
        "changes": run.changes,
        "unchanged": run.unchanged,
        "counts": dict(run.counts),
    }
    if run.policies:
        told["policies"] = {
            "passed": run.policies.passed,
            "advice": [asdict(finding) for finding in run.policies.advice],
            "waived": [asdict(finding) for finding in run.policies.waived],
        }
    return told


def _show_engine_run(run: EngineRun) -> None:
    """What changed, and what the policies found without stopping the run, one line each."""
    terminal.err.print(_engine_words(run))
    for finding in run.policies.findings if run.policies else ():
        label = "waived" if finding.waived else "advice"
        first_line = finding.message.partition("\n")[0]
        terminal.err.print(f"  {label}: {escape(f'[{finding.rule}] {first_line}')}")


def _engine_words(run: EngineRun) -> str:
    words = f"stack {run.stack}: {_counted(run.changes, 'change')}, {run.unchanged} unchanged ({run.seconds:.0f} s)"
    if run.policies is None:
        return words
    found = [f"{_counted(run.policies.passed, 'policy', 'policies')} fulfilled"]
    found += [f"{len(run.policies.advice)} findings that are advice"] if run.policies.advice else []
    found += [f"{len(run.policies.waived)} waived"] if run.policies.waived else []
    return f"{words}; {', '.join(found)}"


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _documents(written: Documents) -> dict[str, str]:
    return {"html": str(written.html), "json": str(written.json), "network_plan": str(written.network_plan)}


def _show_run(result: RunResult) -> None:
    for problem in result.problems:
        terminal.err.print(f"[red]failed:[/] {escape(problem)}")
    what = "would change" if result.check else "changed"
    terminal.err.print(
        f"configuration of {result.member} {result.status}: {len(result.hosts)} hosts, {result.changed} {what}"
    )


def _show_restores(attempts: list[Attempt]) -> None:
    for attempt in attempts:
        if attempt.problem:
            copy = f"{attempt.server}, {attempt.source} from {attempt.repository}"
            terminal.err.print(f"[red]not restored:[/] {escape(f'{copy}: {attempt.problem}')}")
    failed = sum(1 for attempt in attempts if attempt.problem)
    terminal.err.print(f"restore test: {_counted(len(attempts) - failed, 'copy', 'copies')} restored, {failed} failed")


def _show_audit(audit: AuditReport) -> None:
    if audit.differences:
        terminal.err.print(f"[bold]Differences ({len(audit.differences)})[/]")
    for d in audit.differences:
        terminal.err.print(
            f"  [red]{d.kind}[/] {escape(f'{d.object}: {d.attribute}')}: "
            f"declared {escape(d.expected or '–')}, found {escape(d.found or '–')} ({d.how_seen})"
        )
    for reason in sorted({entry.reason for entry in audit.not_checked}):
        objects = sorted({entry.object for entry in audit.not_checked if entry.reason is reason})
        shown = ", ".join(objects[:_SHOWN_NOT_CHECKED]) + (" …" if len(objects) > _SHOWN_NOT_CHECKED else "")
        terminal.err.print(f"not checked, {reason}: something on {len(objects)} machines ({shown}); --json lists it")
    terminal.err.print(
        f"audit of {audit.member}: {audit.points} points compared, {_counted(len(audit.differences), 'difference')}"
        + (" (in the lab: the vCenter is simulated)" if audit.simulated else "")
    )


def _prove_zones(onboarding: Onboarding) -> None:
    """A machine that cannot have such networks can still onboard; the protocol says that nothing was tried."""
    try:
        _show_proof(onboarding.prove_zones().result)
    except OnboardError as error:
        terminal.err.print(f"[yellow]zones of {onboarding.member} not tried with packets:[/] {escape(str(error))}")


def _show_proof(result: ProofResult) -> None:
    for surprise in result.surprises[:_SHOWN_NOT_CHECKED]:
        terminal.err.print(f"  [red]{escape(str(surprise))}[/]")
    terminal.err.print(
        f"zones of {result.member}: {result.tried} connections and {result.tricks} tricks tried, "
        f"{_counted(result.surprising, 'surprise')} (port groups simulated)"
    )


def _show_result(
    surroundings: Surroundings,
    runs: tuple[EngineRun, ...],
    configured: tuple[RunResult, ...],
    audit: AuditReport,
    documents: Documents,
) -> None:
    """What stands where, and where to read it."""
    terminal.err.print()
    connection = surroundings.connection
    label = " (simulated)" if connection.simulated else ""
    terminal.err.print(f"[bold]vCenter{label}:[/] {connection.vcenter.server}")
    if connection.simulated:
        hosts = instance.status(connection.name).hosts
        terminal.print_table(
            f"Hosts ({len(hosts)})",
            ("name", "kind", "declared", "ssh"),
            ((h.name, h.kind, h.address, f"{connection.guests.user}@{h.reachable_at} port {h.port}") for h in hosts),
            to=terminal.err,
        )
        terminal.err.print(f"log in with: ssh -i {connection.guests.private_key_file} …\n")
    for run in runs:
        _show_engine_run(run)
    for result in configured:
        _show_run(result)
    _show_audit(audit)
    if not any(result.changed for result in configured) and not any(run.changes for run in runs):
        terminal.err.print("[green]nothing had to be changed: 0 Pulumi changes, 0 Ansible changes[/]")
    terminal.err.print(f"[bold]Übergabeprotokoll:[/] {documents.html}")


def _member_status(surroundings: Surroundings, key: str, *, has_stack: bool) -> dict[str, Any]:
    run = last_run(surroundings.project, surroundings.connection, key)
    try:
        audit: AuditReport | None = load_audit(reports_dir(surroundings.project, surroundings.connection, key))
    except NotReadyError:
        audit = None
    return {
        "member": key,
        "stack": has_stack,
        "configuration": run
        and {
            "status": run.status,
            "started": run.started.isoformat(),
            "hosts": len(run.hosts),
            "changed": run.changed,
            "problems": list(run.problems),
        },
        "audit": audit
        and {
            "at": audit.at.isoformat(),
            "points": audit.points,
            "differences": len(audit.differences),
            "not_checked": len(audit.not_checked),
        },
    }


def _run_words(run: dict[str, Any] | None) -> str:
    return f"{run['status']}, {run['started'][:16]}, {run['hosts']} hosts, {run['changed']} changed" if run else "never"


def _audit_words(audit: dict[str, Any] | None) -> str:
    if not audit:
        return "never"
    return f"{audit['differences']} differences in {audit['points']} points, {audit['at'][:16]}"
