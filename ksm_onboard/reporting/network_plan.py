"""The member's network as a picture: sites, the zone gateway, and every zone with its two fire sections.

Drawn by Graphviz from an HTML-like table per zone, so that fire sections A and B stand side
by side in every zone. The same plan gives the same picture, byte for byte. Nothing of ours
sets up the gateway or the sites' links yet; the picture says so.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from html import escape
from itertools import zip_longest
from xml.etree import ElementTree as ET

import graphviz

from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.plan import MemberPlan, Plan, ZonePlan
from ksm_onboard.reporting.connections import reached_from
from ksm_onboard.reporting.wording import counted

INK = "#1f2d3a"
LINE = "#7b8794"
PAPER = "#ffffff"
HEAD = "#f1f3f5"
# Points; longer text makes a box wider.
SITE_WIDTH, GATEWAY_WIDTH, ZONE_WIDTH = 124, 124, 300
LETTERS_PER_LINE = 52
SECTION_COLOURS = ("#e3edf5", "#f7ecdc")

_SVG = "http://www.w3.org/2000/svg"
# No element of the picture may lead out of the document or run anything.
_ALLOWED = frozenset({"svg", "g", "title", "desc", "polygon", "path", "text", "ellipse", "polyline"})


def network_plan_svg(plan: Plan) -> str:
    """The network plan as an SVG element with a title and a description for people who cannot see it.

    Raises NotReadyError if Graphviz (the program ``dot``) is not installed.
    """
    try:
        drawn: bytes = _graph(plan).pipe(format="svg")
    except graphviz.ExecutableNotFound:
        raise NotReadyError(
            "the network plan cannot be drawn: Graphviz (the program dot) is not installed",
            hint="install it (Debian: apt-get install graphviz), then run the command again",
        ) from None
    return _accessible(drawn, plan)


def describe(plan: Plan) -> str:
    """The picture in words."""
    member = plan.member
    zones = "; ".join(
        f"{zone.title}: VLAN {zone.vlan}, {zone.cidr}"
        + "".join(
            f", {section.name}: {', '.join(names)}"
            for section in plan.platform.sections
            if (names := [s.name for s in member.servers if s.zone == zone.key and s.section == section.key])
        )
        + f", erreichbar von: {', '.join(reached_from(member, zone.key)) or 'niemandem'}"
        for zone in member.zones
    )
    sites = ", ".join(site.name for site in member.sites)
    return (
        f"Die Standorte {sites} sind über den Zonenübergang mit {len(member.zones)} Netzzonen verbunden. {zones}. "
        "Zonenübergang und Standortanbindung sind geplant; eingerichtet sind die Netzzonen."
    )


def _graph(plan: Plan) -> graphviz.Digraph:
    member = plan.member
    graph = graphviz.Digraph(
        "network",
        graph_attr={
            "rankdir": "LR",
            "splines": "line",
            "nodesep": "0.2",
            "ranksep": "0.9",
            "bgcolor": "transparent",
            "fontname": "Arial",
            "pad": "0.05",
            "charset": "utf-8",
        },
        node_attr={"fontname": "Arial", "fontsize": "10", "fontcolor": INK, "shape": "plain"},
        edge_attr={"color": LINE, "dir": "none", "penwidth": "1.1"},
    )
    for site in member.sites:
        graph.node(f"site-{site.key}", label=_site(member, site.key, site.name))
    graph.node("gateway", label=_gateway(member))
    for zone in member.zones:
        graph.node(f"zone-{zone.key}", label=_zone(plan, zone))
    for site in member.sites:
        graph.edge(f"site-{site.key}:e", "gateway:w")
    for zone in member.zones:
        graph.edge("gateway:e", f"zone-{zone.key}:w")
    return graph


def _site(member: MemberPlan, key: str, name: str) -> str:
    workstations = sum(1 for w in member.workstations if w.site == key)
    printers = len({q.name for q in member.print_queues if q.site == key})
    lines = [
        *([counted(workstations, "Arbeitsplatz", "Arbeitsplätze")] if workstations else []),
        *([counted(printers, "Drucker", "Drucker")] if printers else []),
    ]
    return _table(
        [_row(_cell(f"<b>{escape(name)}</b>", SITE_WIDTH, HEAD)), *(_row(_cell(t, SITE_WIDTH)) for t in lines)]
    )


def _gateway(member: MemberPlan) -> str:
    lines = (escape(str(member.block)), "noch einzurichten")
    head = _row(_cell("<b>Zonenübergang</b>", GATEWAY_WIDTH, HEAD))
    return _table([head, *(_row(_cell(text, GATEWAY_WIDTH)) for text in lines)])


def _zone(plan: Plan, zone: ZonePlan) -> str:
    sections = plan.platform.sections
    title = f"<b>{escape(zone.title)}</b>   VLAN {zone.vlan}   {escape(str(zone.cidr))}"
    head = _row(_cell(title, ZONE_WIDTH, HEAD, span=len(sections)))
    reached = ", ".join(reached_from(plan.member, zone.key)) or "niemandem"
    text = "<br/>".join(escape(line) for line in textwrap.wrap(f"erreichbar von: {reached}", LETTERS_PER_LINE))
    last = _row(_cell(text, ZONE_WIDTH, span=len(sections)))
    servers = [server for server in plan.member.servers if server.zone == zone.key]
    if not servers:
        return _table([head, _row(_cell(_devices(plan.member, zone), ZONE_WIDTH, span=len(sections))), last])
    columns = [
        [
            f"<i>{escape(section.name)}</i>",
            *(f"{escape(s.name)}   {s.address}" for s in servers if s.section == section.key),
        ]
        for section in sections
    ]
    width = ZONE_WIDTH // len(sections)
    rows = (
        _row(*(_cell(text, width, colour) for text, colour in zip(texts, SECTION_COLOURS, strict=False)))
        for texts in zip_longest(*columns, fillvalue=" ")
    )
    return _table([head, *rows, last])


def _devices(member: MemberPlan, zone: ZonePlan) -> str:
    """What stands in a zone that has no servers."""
    workstations = sum(1 for w in member.workstations if w.zone == zone.key)
    printers = len({queue.name for queue in member.print_queues if queue.address in zone.cidr})
    if workstations:
        return counted(workstations, "Arbeitsplatz", "Arbeitsplätze")
    return counted(printers, "Drucker", "Drucker") if printers else "noch ohne Geräte"


def _cell(content: str, width: int, colour: str = PAPER, *, span: int = 1) -> str:
    columns = f' colspan="{span}"' if span > 1 else ""
    return f'<td{columns} width="{width}" bgcolor="{colour}" align="left" balign="left">{content}</td>'


def _row(*cells: str) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _table(rows: Iterable[str]) -> str:
    head = f'<table border="0" cellborder="1" cellspacing="0" cellpadding="6" color="{LINE}">'
    return f"<{head}{''.join(rows)}</table>>"


def _accessible(drawn: bytes, plan: Plan) -> str:
    """Graphviz's SVG without its tooltips and comments, scalable, with a title and a description."""
    root = ET.fromstring(drawn)  # noqa: S314 - Graphviz's own output
    strangers = {tag for element in root.iter() if (tag := _tag(element)) not in _ALLOWED}
    if strangers:
        raise ValueError(f"Graphviz drew elements that are not expected: {sorted(strangers)}")
    for parent in list(root.iter()):
        for title in [child for child in parent if _tag(child) == "title"]:
            parent.remove(title)
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-labelledby": "network-plan-title network-plan-description"}
    title = ET.Element(f"{{{_SVG}}}title", id="network-plan-title")
    title.text = f"Netzplan {plan.member.name}"
    description = ET.Element(f"{{{_SVG}}}desc", id="network-plan-description")
    description.text = describe(plan)
    root.insert(0, title)
    root.insert(1, description)
    ET.register_namespace("", _SVG)
    text = ET.tostring(root, encoding="unicode", xml_declaration=False)
    return re.sub(r'\s+xmlns:xlink="[^"]*"', "", text)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else "comment"
