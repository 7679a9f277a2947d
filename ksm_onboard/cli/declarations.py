"""``check`` and ``plan``: need no data centre and no credentials."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ksm_onboard.cli import findings_output, terminal
from ksm_onboard.errors import ExitCode, NotReadyError, OnboardError
from ksm_onboard.planning.exports import as_csv, exports_of
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project, find_project
from ksm_onboard.provisioning.deployed import Found, find_deployed, read_exported

Json = Annotated[bool, typer.Option("--json", help="machine-readable output on stdout")]
MemberKey = Annotated[str, typer.Argument(metavar="MEMBER", help="key of the member, for example grabow")]


class Format(StrEnum):
    """How findings are shown."""

    TERMINAL = "terminal"
    JSON = "json"
    SARIF = "sarif"
    CODE_QUALITY = "codequality"


def check(
    members: Annotated[list[str] | None, typer.Argument(metavar="[MEMBER]...", help="default: all members")] = None,
    shown_as: Annotated[
        Format, typer.Option("--format", help="sarif and codequality: for pipelines (docs/reference/check-output.md)")
    ] = Format.TERMINAL,
    json: Annotated[bool, typer.Option("--json", help="the same as --format json")] = False,
    deployed: Annotated[
        bool | None,
        typer.Option(
            "--deployed/--no-deployed",
            help="compare with what stands, by Pulumi's state on this machine: every member must have one / none is "
            "looked at. Default: those members that have one",
        ),
    ] = None,
    exported: Annotated[
        list[Path] | None,
        typer.Option(
            "--deployed-state",
            metavar="FILE",
            help="compare with this state instead, made by: pulumi stack export -s MEMBER --file FILE",
        ),
    ] = None,
) -> None:
    """Check declarations: every error at once, with file, line and column. Touches nothing."""
    if json and shown_as not in (Format.TERMINAL, Format.JSON):
        raise typer.BadParameter(f"--json contradicts --format {shown_as}")
    if exported and deployed is False:
        raise typer.BadParameter("--deployed-state contradicts --no-deployed")
    project = find_project()
    declarations = Declarations(project, today=date.today())
    for key in members or ():
        declarations.require(key)
    checked = members or declarations.member_keys
    stands = _what_stands(project, checked, deployed, exported or [])
    findings = replace(declarations, deployed=stands.deployed).findings(members or None)
    errors = sum(finding.severity == "error" for finding in findings)
    if json or shown_as is Format.JSON:
        terminal.print_json(findings_output.as_json(findings, project.root, checked, stands))
    elif shown_as is Format.SARIF:
        terminal.print_json(findings_output.as_sarif(findings, project.root, stands=stands))
    elif shown_as is Format.CODE_QUALITY:
        terminal.print_json(findings_output.as_code_quality(findings, project.root))
    else:
        terminal.print_findings(findings, project.root)
        terminal.err.print(f"checked {', '.join(checked)}: {errors} error(s), {len(findings) - errors} warning(s)")
    for line in findings_output.about_deployed(stands):
        terminal.err.print(line, markup=False)
    raise typer.Exit(ExitCode.DECLARATION_REFUSED if errors else ExitCode.OK)


def _what_stands(project: Project, checked: list[str], wanted: bool | None, exported: list[Path]) -> Found:
    """The deployed states to compare with. Raises NotReadyError if one is wanted that there is not."""
    if wanted is False:
        return Found(missing=dict.fromkeys(checked, "--no-deployed"))
    stands = read_exported(exported, checked) if exported else find_deployed(project, checked)
    if wanted and stands.missing:
        member, why = next(iter(stands.missing.items()))
        raise NotReadyError(
            f"cannot compare {member} with what stands: {why}",
            hint=f"export its state where it is kept: pulumi stack export -s {member} --file FILE, "
            "and give it with --deployed-state FILE; or leave --deployed out",
        )
    return stands


def plan(
    member: MemberKey,
    exports: Annotated[
        bool, typer.Option("--exports", help="only what the storage arrays have to export, as CSV (with --json: JSON)")
    ] = False,
    json: Json = False,
) -> None:
    """Show everything that is decided for a member: networks, servers, storage, workstations; or the platform's VMs."""
    declarations = Declarations(find_project())
    decided = declarations.own_plan() if member == PLATFORM else declarations.plan(member)
    if decided is None:
        raise OnboardError(f"{member} declares no VMs of its own", hint="they are declared under shared.vms")
    if exports:
        wanted = exports_of(decided)
        if json:
            terminal.print_json([export.as_json() for export in wanted])
        else:
            typer.echo(as_csv(wanted), nl=False)
        return
    if json:
        terminal.print_json(decided.model_dump(mode="json"))
        return
    _show(decided)


def _show(decided: Plan) -> None:
    member = decided.member
    terminal.out.print(f"[bold]{member.name}[/] ({member.kind}), block {member.block}, domain {member.dns_domain}\n")
    terminal.print_table(
        "Network zones",
        ("zone", "VLAN", "network", "gateway", "port group", "purpose"),
        ((z.key, z.vlan, z.cidr, z.gateway, z.port_group, z.title) for z in member.zones),
    )
    terminal.print_table(
        "Servers",
        ("name", "role", "section", "pair", "address", "zone", "vCPU", "GiB", "system disk", "datastore"),
        (
            (
                s.name,
                s.role,
                s.section,
                s.pair or "–",
                s.address,
                s.zone,
                s.cpus,
                s.memory_mib // 1024,
                f"{s.system_disk_gib} GiB {s.tier}",
                s.datastore,
            )
            for s in member.servers
        ),
    )
    terminal.print_table(
        "Datastores",
        ("datastore", "tier", "GiB", "declared", "cluster", "export", "seen in sections"),
        (
            (
                d.name,
                d.tier,
                d.size_gib,
                d.need_gib,
                d.cluster or "–",
                f"{d.remote_host}:{d.remote_path}",
                ", ".join(d.sections),
            )
            for d in member.datastores
        ),
    )
    terminal.print_table(
        "Data disks",
        ("server", "disk", "GiB", "tier", "datastore", "mounted at"),
        ((s.name, d.name, d.size_gib, d.tier, d.datastore, d.mount) for s in member.servers for d in s.disks),
    )
    terminal.print_table(
        "Shares",
        ("share", "server", "path", "groups"),
        ((s.name, s.server, s.path, ", ".join(s.groups)) for s in member.shares),
    )
    terminal.print_table(
        "Print queues",
        ("queue", "server", "site", "printer"),
        ((q.name, q.server, q.site, q.device_uri) for q in member.print_queues),
    )
    terminal.print_table(
        "Databases",
        ("database", "owner", "primary", "standbys"),
        ((d.name, d.owner, d.primary, ", ".join(d.standbys)) for d in member.databases),
    )
    groups: dict[tuple[str, str, str], list[str]] = {}
    applications: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for w in member.workstations:
        group = (w.department, w.site, w.profile)
        groups.setdefault(group, []).append(w.name)
        applications[group] = w.applications
    terminal.print_table(
        f"Workstations ({len(member.workstations)})",
        ("department", "site", "profile", "number", "names", "applications"),
        (
            (*group, len(names), f"{names[0]} … {names[-1]}", ", ".join(applications[group]))
            for group, names in groups.items()
        ),
    )
