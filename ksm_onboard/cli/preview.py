"""``preview`` and ``approve``: what an ``up`` would do, how bad that is, and who answers for a loss of data."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json
from ksm_onboard.cli.surroundings import find_surroundings, planned, shared_machines
from ksm_onboard.declaration.approvals import LONGEST_DAYS, Approval, ApprovedResource, load_approval, write_approval
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.planning.approving import objections
from ksm_onboard.planning.load import PLATFORM
from ksm_onboard.planning.risk import RISK_CLASSES, losses, worst_of
from ksm_onboard.project import Project, find_project
from ksm_onboard.provisioning.driver import EngineRun

Stack = Annotated[str, typer.Argument(metavar="MEMBER", help=f"key of the member, or {PLATFORM}")]

_COLOURS = {"harmless": "green", "disruptive": "yellow", "data-loss": "bold red"}


def preview(member: Stack, json: Json = False) -> None:
    """Show what up would change and what each change means. Exit code 6 if it loses data that nobody has approved."""
    run = previewed(member)
    told = as_json(find_project(), run)
    if json:
        terminal.print_json(told)
    else:
        _show(run)
    for objection in told["objections"]:
        terminal.err.print(f"[bold red]not approved:[/] {escape(objection)}")
    raise typer.Exit(ExitCode.NOT_APPROVED if told["objections"] else ExitCode.OK)


def approve(
    member: Stack,
    who: Annotated[str, typer.Option("--who", help="name of the person who answers for it")],
    why: Annotated[str, typer.Option("--why", help="the reason")],
    days: Annotated[int, typer.Option("--days", min=0, max=LONGEST_DAYS, help="for how many days")] = 7,
    json: Json = False,
) -> None:
    """Write down who approves exactly the loss of data that the present preview shows: stacks/approvals/MEMBER.yaml."""
    run, today = previewed(member), date.today()
    lost = losses(run.risks)
    if not lost:
        raise OnboardError(f"nothing that up {member} would do loses data, so there is nothing to approve")
    approval = Approval(
        who=who,
        why=why,
        granted=today,
        expires=today + timedelta(days=days),
        resources=tuple(ApprovedResource(urn=r.urn, id=r.id, what=r.text, digest=r.digest) for r in lost),
    )
    file = write_approval(find_project().stacks, member, approval)
    if json:
        terminal.print_json({"file": str(file), **approval.model_dump(mode="json")})
    for risk in lost:
        terminal.err.print(f"[bold red]data loss:[/] {escape(risk.text)}")
    terminal.err.print(f"{file}: approved by {escape(who)} until {approval.expires}; have it reviewed and committed")


def previewed(member: str) -> EngineRun:
    """The preview of a stack. Raises OnboardError for what a person can put right."""
    progress = terminal.TerminalProgress()
    if member == PLATFORM:
        return shared_machines(progress).preview()
    return find_surroundings().onboarding(planned(member), progress).preview()


def as_json(project: Project, run: EngineRun) -> dict[str, Any]:
    """A preview for machines: ``ksm-onboard comment`` reads it again."""
    lost = losses(run.risks)
    against = objections(lost, run.standing, load_approval(project.stacks, run.stack), date.today()) if lost else []
    policies = run.policies
    return {
        "stack": run.stack,
        "risk": worst_of(run.risks),
        "changes": [risk.as_json() for risk in run.risks],
        "unchanged": run.unchanged,
        "objections": against,
        "policies": policies
        and {
            "passed": policies.passed,
            "advice": [asdict(finding) for finding in policies.advice],
            "waived": [asdict(finding) for finding in policies.waived],
        },
    }


def _show(run: EngineRun) -> None:
    for risk in run.risks:
        terminal.out.print(f"[{_COLOURS[risk.risk]}]{risk.risk:10}[/] {escape(risk.text)}", soft_wrap=True)
    counts = [f"{sum(r.risk == name for r in run.risks)} {name}" for name in reversed(RISK_CLASSES)]
    if run.risks:
        terminal.err.print(f"stack {run.stack}: {len(run.risks)} changes ({', '.join(counts)})")
    else:
        terminal.err.print(f"stack {run.stack}: nothing would change")
    if run.policies is None:
        terminal.err.print("[yellow]the policies were not asked:[/] the engine stopped at protected data")
    for finding in run.policies.findings if run.policies else ():
        label = "waived" if finding.waived else "advice"
        first_line = finding.message.partition("\n")[0]
        terminal.err.print(f"  {label}: {escape(f'[{finding.rule}] {first_line}')}")
