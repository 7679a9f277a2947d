"""Writes a member's hand-over protocol and network plan: HTML, the same content as JSON, and an SVG file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ksm_onboard.atomic import write_atomically
from ksm_onboard.connection import Connection
from ksm_onboard.drilling.result import load_results
from ksm_onboard.firewall.record import ProofRecord
from ksm_onboard.planning.plan import Plan
from ksm_onboard.planning.workplace_status import WorkplaceStatus
from ksm_onboard.project import Project
from ksm_onboard.reporting import wording
from ksm_onboard.reporting.baseline import Baseline
from ksm_onboard.reporting.network_plan import network_plan_svg
from ksm_onboard.reporting.protocol import RUN_OUTCOMES, ConfigurationSummary, Protocol, protocol
from ksm_onboard.verifying.audit_report import AuditReport
from ksm_onboard.verifying.restores import Restores

PROTOCOL = "uebergabeprotokoll"
TEMPLATE = f"reports/{PROTOCOL}.html.j2"
NETWORK_PLAN_FILE = "netzplan.svg"
# Host names have at most 15 characters; longer names may be broken where a column is narrow.
_LONGEST_UNBROKEN = 15


@dataclass(frozen=True)
class Documents:
    """The files of one member's hand-over."""

    html: Path
    json: Path
    network_plan: Path


def write_documents(
    project: Project,
    connection: Connection,
    plan: Plan,
    audit: AuditReport,
    configuration: ConfigurationSummary | None,
    *,
    restores: Restores,
    baseline: Baseline | None = None,
    folder: Path,
    now: datetime,
    proof: ProofRecord | None = None,
    workplaces: Sequence[WorkplaceStatus] = (),
) -> Documents:
    """Write the protocol of a member into ``folder``, where its drills are kept; each file whole or not at all.

    ``configuration`` is the last run, ``proof`` the kept proof of the zones, ``baseline`` the coverage of
    requirements; None if there was none. ``workplaces`` is how runs left the workplaces, ``restores`` are the proofs
    of restore tests. Raises NotReadyError if
    Graphviz is missing, ValueError if the audit is another member's.
    """
    content = protocol(
        plan,
        audit,
        configuration,
        restores,
        baseline=baseline,
        data_centre=connection.vcenter.server,
        created=now,
        proof=proof,
        drilled=load_results(folder),
        workplaces=workplaces,
    )
    picture = network_plan_svg(plan)
    documents = Documents(
        html=folder / f"{PROTOCOL}.html", json=folder / f"{PROTOCOL}.json", network_plan=folder / NETWORK_PLAN_FILE
    )
    write_atomically(documents.html, render_html(project.templates, content, picture))
    write_atomically(documents.json, content.model_dump_json(indent=2) + "\n")
    write_atomically(documents.network_plan, picture + "\n")
    return documents


def render_html(templates: Path, content: Protocol, network_plan: str) -> str:
    """The protocol as one HTML file. ``network_plan`` is the SVG that ``network_plan_svg`` has drawn."""
    environment = Environment(
        loader=FileSystemLoader(templates),
        # The names of templates end in .j2, so escaping is switched on for all of them, not by suffix.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "date_and_time": wording.date_and_time,
        "number": wording.number,
        "counted": wording.counted,
        "name_ranges": wording.name_ranges,
        "unbroken": _unbroken,
        "css": _css_string,
    }
    return environment.get_template(TEMPLATE).render(
        p=content,
        network_plan=Markup(network_plan),  # noqa: S704 - drawn and checked by us
        run_outcomes=RUN_OUTCOMES,
    )


def _unbroken(text: str) -> Markup:
    """Escaped text whose short names with hyphens (gra-ws0001) stay on one line."""
    pieces = re.split(r"((?<![\w-])[a-z0-9]+(?:-[a-z0-9]+)+(?![\w-]))", text)
    return Markup("").join(
        Markup('<span class="unbroken">{}</span>').format(piece)
        if index % 2 and len(piece) <= _LONGEST_UNBROKEN
        else piece
        for index, piece in enumerate(pieces)
    )


def _css_string(text: str) -> Markup:
    """Text inside a CSS string: everything but letters, digits and a few signs is written as a CSS escape."""
    return Markup(re.sub(r"[^A-Za-z0-9 ._-]", lambda found: f"\\{ord(found[0]):06x}", text))  # noqa: S704 - nothing is left to escape
