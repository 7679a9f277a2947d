"""``catalogue``: what applications there are, what is known about each, and what runs out of support."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import Json
from ksm_onboard.declaration.findings import relative
from ksm_onboard.declaration.load import CatalogueEntry
from ksm_onboard.declaration.models import DevicePlatform
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.planning.detecting import PRECEDENCE, Rule, outdated, rules, server_side, updated_by
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.machine_actions import given_to_machines
from ksm_onboard.project import Project, find_project

app = typer.Typer(help="The applications that members can be given (catalogue/).", no_args_is_help=True)

UNKNOWN = "unknown"
_INSTALLED_ON: tuple[DevicePlatform, ...] = ("linux", "windows")


@app.command("list")
def list_(
    domain: Annotated[str | None, typer.Option(help="only this domain, for example finanzen")] = None,
    platform: Annotated[str | None, typer.Option(help="only what runs there: linux, windows or web")] = None,
    text: Annotated[str | None, typer.Option("--search", help="only products and vendors with this text")] = None,
    json: Json = False,
) -> None:
    """All applications, or some of them, one per line."""
    entries = list(_catalogue().values())
    domains = sorted({entry.domain for entry in entries})
    if domain is not None and domain not in domains:
        raise OnboardError(f"no domain '{domain}'", hint=f"domains: {', '.join(domains)}")
    if platform not in (None, "linux", "windows", "web"):
        raise OnboardError(f"no platform '{platform}'", hint="platforms: linux, windows, web")
    chosen = [
        entry
        for entry in sorted(entries, key=lambda entry: (entry.domain, entry.key))
        if domain in (None, entry.domain)
        and (platform is None or platform in entry.application.platforms)
        and (text is None or text.lower() in f"{entry.application.product} {entry.application.vendor}".lower())
    ]
    if json:
        terminal.print_json([_as_json(entry) for entry in chosen])
        return
    terminal.print_table(
        f"{len(chosen)} of {len(entries)} applications",
        ("key", "product", "vendor", "domain", "platforms", "part", "licence", "uncertain"),
        (
            (
                e.key,
                e.application.product,
                e.application.vendor,
                e.domain,
                ", ".join(e.application.platforms),
                e.application.component,
                e.application.licence,
                ", ".join((*e.application.uncertain, *(f"{s} package" for s in e.application.packages.unconfirmed))),
            )
            for e in chosen
        ),
    )


@app.command()
def show(key: Annotated[str, typer.Argument(metavar="APPLICATION")], json: Json = False) -> None:
    """Everything that is known about one application; what is not known is said to be unknown."""
    project = find_project()
    catalogue = Declarations(project).catalogue
    if key not in catalogue:
        close = get_close_matches(key, catalogue, n=3)
        raise OnboardError(
            f"no application '{key}' in the catalogue",
            hint=f"did you mean {' or '.join(close)}?" if close else "ksm-onboard catalogue list",
        )
    entry = catalogue[key]
    if json:
        terminal.print_json({**_as_json(entry), "at": _at(entry, project)})
        return
    terminal.print_table(f"{entry.application.product} ({key}), {_at(entry, project)}", ("", ""), _lines(entry))


@app.command()
def check(json: Json = False) -> None:
    """Check the catalogue: schema, references, cycles, contradictions. Exit code 3 if anything is wrong."""
    project = find_project()
    declarations = Declarations(project)
    findings = [f for f in declarations.findings([]) if f.place.file.parent == project.catalogue]
    if json:
        terminal.print_json([finding.as_json(project.root) for finding in findings])
    else:
        terminal.print_findings(findings, project.root)
        number = len(declarations.catalogue)
        terminal.err.print(f"catalogue: {number} applications, {len(findings)} finding(s)")
    raise typer.Exit(ExitCode.DECLARATION_REFUSED if any(f.severity == "error" for f in findings) else ExitCode.OK)


@app.command("outdated")
def outdated_(
    on: Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="default: today")] = None,
    within: Annotated[int, typer.Option(min=0, help="also what ends within so many days after it")] = 180,
    json: Json = False,
) -> None:
    """Applications whose support has ended or ends soon, and which members still give them to machines."""
    declarations = Declarations(find_project())
    day = on.date() if on is not None else date.today()
    found = outdated(declarations.catalogue.values(), day, timedelta(days=within))
    users = _users(declarations)
    unknown = sum(entry.application.support_end is None for entry in declarations.catalogue.values())
    if json:
        entries = [{**asdict(entry), "members": users.get(entry.key, [])} for entry in found]
        terminal.print_json({"on": day, "within_days": within, "support_end_unknown": unknown, "outdated": entries})
        return
    terminal.print_table(
        f"Support ended, or ends within {within} days, on {day}",
        ("key", "support until", "", "successor", "given to machines of"),
        (
            (
                entry.key,
                entry.support_end,
                f"ended {-entry.days} days ago" if entry.days < 0 else f"{entry.days} days left",
                entry.successor or UNKNOWN,
                ", ".join(users.get(entry.key, [])) or "nobody",
            )
            for entry in found
        ),
    )
    terminal.err.print(f"of {unknown} other applications no end of support is known")


# --- in words -----------------------------------------------------------------------------


def _catalogue() -> dict[str, CatalogueEntry]:
    return Declarations(find_project()).catalogue


def _at(entry: CatalogueEntry, project: Project) -> str:
    return f"{relative(entry.place.file, project.root)}:{entry.place.line}"


def _users(declarations: Declarations) -> dict[str, list[str]]:
    """The members whose workplaces or servers get an application, by application, requirements included."""
    users: dict[str, dict[str, None]] = {}
    platform = declarations.platform.content
    for key, member in declarations.members.items():
        if (declared := member.file.content) is None or platform is None:
            continue
        for application in given_to_machines(member, declared, declarations.catalogue, platform):
            users.setdefault(application, {})[key] = None
    return {application: list(members) for application, members in users.items()}


def _as_json(entry: CatalogueEntry) -> dict[str, Any]:
    application = entry.application
    return {
        "key": entry.key,
        "domain": entry.domain,
        **application.model_dump(mode="json", exclude={"protection", "detection", "server_side"}),
        "licence_metric": application.licence_metric,
        "detection": {p: [asdict(rule) for rule in rules(application, p)] for p in _INSTALLED_ON},
        "updated_by": {p: updated_by(application, p) for p in _INSTALLED_ON},
        "server_side": server_side(application),
        "protection": entry.protection.model_dump() if entry.protection else None,
    }


def _lines(entry: CatalogueEntry) -> Iterable[Sequence[object]]:
    a = entry.application
    packages = a.packages
    yield "vendor", a.vendor
    yield "domain", entry.domain
    yield "platforms", ", ".join(a.platforms)
    yield "part", a.component
    yield "licence", f"{a.licence}, counted by {a.licence_metric}" if a.licence_metric else a.licence
    if packages.debian:
        yield "Debian packages", ", ".join(packages.debian)
    for name, package in (("chocolatey", packages.chocolatey), ("winget", packages.winget)):
        if package:
            yield name, package + (" (unconfirmed)" if name in packages.unconfirmed else "")
    if packages.media:
        yield "installer from", packages.media
    if packages.saas:
        yield "run by", packages.saas
    yield "address", a.url or ("the member's own" if a.in_browser else "–")
    for platform in _INSTALLED_ON:
        if platform in a.platforms:
            yield f"recognised on {platform}", "; then ".join(map(_rule, rules(a, platform))) or UNKNOWN
            yield f"updates on {platform}", f"{updated_by(a, platform) or UNKNOWN}, ring {a.updates_ring}"
    if "windows" in a.platforms:
        yield "silent installation", " ".join(a.silent.install) if a.silent else UNKNOWN
        yield "silent removal", " ".join(a.silent.uninstall) if a.silent else UNKNOWN
    yield "requires", ", ".join(a.requires) or "–"
    for platform_, keys in a.requires_on.items():
        yield f"requires on {platform_}", ", ".join(keys)
    yield "needs", ", ".join(a.needs) or "–"
    yield "conflicts with", ", ".join(a.conflicts) or "–"
    yield "on servers", ", ".join(server_side(a) or ()) or UNKNOWN
    protection = entry.protection
    yield "protection need", f"{protection.need}, by {protection.source} (proposal)" if protection else UNKNOWN
    yield "support until", a.support_end or UNKNOWN
    yield "successor", a.successor or "–"
    yield "not confirmed", ", ".join(a.uncertain) or "–"
    if a.note:
        yield "note", a.note
    yield "precedence", " > ".join(PRECEDENCE)


def _rule(rule: Rule) -> str:
    least = f" from version {rule.at_least}" if rule.at_least else ""
    joined = " or ".join(rule.values) if rule.kind == "registry" else ", ".join(rule.values)
    return f"{rule.kind} {joined}{least}".strip()
