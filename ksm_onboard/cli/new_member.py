"""``new``: writes the declaration of a new member, from flags or from questions at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, get_args

import typer
from rich.markup import escape

from ksm_onboard.cli import terminal
from ksm_onboard.declaration.findings import relative
from ksm_onboard.declaration.models import MemberKind
from ksm_onboard.errors import ExitCode, InterruptedRunError, OnboardError
from ksm_onboard.planning.new_member import complaint, create, proposals, refuse_taken
from ksm_onboard.project import find_project

_QUESTIONS = {
    "kind": f"kind of member ({', '.join(get_args(MemberKind))})",
    "name": "official name, for example 'Stadt Grabow'",
    "short": "prefix of host names, two to four letters",
    "dns_domain": "domain of the member's hosts",
    "responsible": "who signs the hand-over for the member",
    "site_name": "name of its main building",
    "address": "address of that building",
}


class _UsageError(OnboardError):
    exit_code = ExitCode.USAGE


def new(
    key: Annotated[str, typer.Argument(metavar="KEY", help="short name of the member, for example grabow")],
    *,
    kind: Annotated[str | None, typer.Option(help=", ".join(get_args(MemberKind)))] = None,
    name: Annotated[str | None, typer.Option(help="official name")] = None,
    short: Annotated[str | None, typer.Option(help="prefix of host names, two to four letters")] = None,
    dns_domain: Annotated[str | None, typer.Option("--dns-domain", help="default: KEY.internal")] = None,
    responsible: Annotated[str | None, typer.Option(help="who signs the hand-over for the member")] = None,
    site_name: Annotated[str | None, typer.Option("--site", help="name of its main building")] = None,
    address: Annotated[str | None, typer.Option(help="address of that building")] = None,
) -> None:
    """Declare a new member: writes a small commented declaration and gives out addresses. Overwrites nothing."""
    project = find_project()
    said = {
        "kind": kind,
        "name": name,
        "short": short,
        "dns_domain": dns_domain,
        "responsible": responsible,
        "site_name": site_name,
        "address": address,
    }
    refuse_taken(project, key)
    answers = _asked(key, said) if sys.stdin.isatty() else _complete(key, said)
    site = answers.pop("site_name"), answers.pop("address")
    created = create(project, {"key": key, **answers}, site)
    for file in (created.declaration, created.record):
        terminal.out.print(f"written: {escape(relative(file, project.root))}")
    block = created.allocated.after.block
    further = len(created.allocated.lines) - 1
    terminal.out.print(
        f"given out: block {block}, {further} further entries"
        if created.allocated.lines
        else f"given out before and kept: block {block}"
    )
    terminal.err.print(
        f"next: fill in sites, departments and devices; then: ksm-onboard allocate {key} && ksm-onboard check {key}",
        markup=False,
    )


def _asked(key: str, said: dict[str, str | None]) -> dict[str, str]:
    """The answers, those that no flag gives asked for at the terminal, again until each could be right."""
    if wrong := complaint("key", key):
        raise _UsageError(f"this cannot be: KEY: {wrong}", hint="nothing was written; see: ksm-onboard new --help")
    answers: dict[str, str] = {}
    for field, question in _QUESTIONS.items():
        proposal = proposals(key, answers.get("kind"), answers.get("name")).get(field)
        try:
            answers[field] = said[field] or typer.prompt(question, default=proposal or None, value_proc=_proper(field))
        except typer.Abort:
            raise InterruptedRunError("interrupted; nothing was written") from None
    return answers


def _proper(field: str) -> Callable[[str], str]:
    def proper(answer: str) -> str:
        if wrong := complaint(field, answer):
            raise typer.BadParameter(wrong)
        return answer.strip()

    return proper


def _complete(key: str, said: dict[str, str | None]) -> dict[str, str]:
    """The answers, all of which must be given where nobody can be asked."""
    answers = {field: said[field] for field in _QUESTIONS}
    answers["dns_domain"] = said["dns_domain"] or proposals(key, None, None)["dns_domain"]
    missing = [{"site_name": "--site"}.get(field, f"--{field}") for field, value in answers.items() if value is None]
    if missing:
        raise _UsageError(
            f"missing: {', '.join(missing)}", hint="give these flags, or run the command at a terminal to be asked"
        )
    return {field: value for field, value in answers.items() if value is not None}
