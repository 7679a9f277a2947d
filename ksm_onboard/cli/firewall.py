"""``firewall``: a member's zones and flows as rules for its zone gateway. Touches nothing."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ksm_onboard.atomic import write_atomically
from ksm_onboard.cli import terminal
from ksm_onboard.cli.declarations import MemberKey
from ksm_onboard.firewall.policy import firewall_policy
from ksm_onboard.firewall.render import as_csv, as_json, as_nft
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import find_project


class Format(StrEnum):
    """How the rules are written."""

    NFT = "nft"
    JSON = "json"
    CSV = "csv"


def firewall(
    member: MemberKey,
    shown_as: Annotated[
        Format, typer.Option("--format", help="nft: for Linux; json, csv: for any other firewall")
    ] = Format.NFT,
    output: Annotated[Path | None, typer.Option(help="write the file there; default: stdout")] = None,
) -> None:
    """Write the firewall rules of a member's zone gateway: everything that is accepted; all else is dropped."""
    project = find_project()
    policy = firewall_policy(Declarations(project).plan(member).member)
    match shown_as:
        case Format.NFT:
            text = as_nft(policy, project.templates)
        case Format.JSON:
            text = as_json(policy)
        case Format.CSV:
            text = as_csv(policy)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_atomically(output, text)
    rules = sum(len(domain.rules) for domain in policy.policies)
    terminal.err.print(f"{output}: {rules} rules in {len(policy.policies)} rule set(s)")
