"""A firewall policy as text: nftables for Linux, JSON and CSV for any other firewall."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ksm_onboard.firewall.policy import OUTSIDE, FirewallPolicy, FirewallRule, RoutingDomainPolicy
from ksm_onboard.planning.flows import internet

TEMPLATE: Final = "firewall/zones.nft.j2"
# nftables keeps 128 bytes of a rule's comment (libnftnl, NFTNL_UDATA_COMMENT_MAXLEN).
_COMMENT_BYTES = 120
_CSV_HEAD = (
    "policy",
    "number",
    "flow",
    "reason",
    "source zone",
    "source",
    "source networks",
    "target zone",
    "target",
    "target networks",
    "protocol",
    "ports",
    "action",
)


def as_nft(policy: FirewallPolicy, templates: Path) -> str:
    """The rule set of a Linux gateway: loading it replaces the member's former one as a whole."""
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=False,  # noqa: S701 - not HTML; every value is a checked name, number, network or comment
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "comment": comment,
        "plain": _plain,
        "elements": elements,
        "by_source": _by_source,
        "match": _match,
    }
    return environment.get_template(TEMPLATE).render(policy=policy, internet=internet(), outside=OUTSIDE)


def as_json(policy: FirewallPolicy) -> str:
    """The policy as JSON; its schema is docs/schema/output/firewall.json."""
    return policy.model_dump_json(indent=2) + "\n"


def as_csv(policy: FirewallPolicy) -> str:
    """One line per rule, and one per policy for everything else; several values in a cell stand apart by blanks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_HEAD)
    for domain in policy.policies:
        for rule in domain.rules:
            writer.writerow(
                (
                    domain.name,
                    rule.number,
                    rule.flow,
                    rule.reason,
                    rule.source_zone,
                    rule.source,
                    " ".join(map(str, rule.source_networks)),
                    rule.target_zone,
                    rule.target,
                    " ".join(map(str, rule.target_networks)),
                    rule.protocol,
                    " ".join(rule.ports),
                    rule.action,
                )
            )
        last = ("default", "everything else", "any", "any", "any", "any", "any", "any", "any", "any")
        writer.writerow((domain.name, len(domain.rules) + 1, *last, domain.default_action))
    return text.getvalue()


def comment(text: str) -> str:
    """``text`` as a quoted nftables comment, cut to the bytes that are kept."""
    cut = _plain(text).encode()[:_COMMENT_BYTES].decode(errors="ignore")
    return f'"{cut}"'


def _plain(text: str) -> str:
    """``text`` on one line and without what ends a quoted string."""
    return "".join(letter for letter in text if letter.isprintable() and letter not in '"\\')


def elements(networks: Iterable[IPv4Network]) -> str:
    """Networks as elements of a set; single hosts without their prefix length."""
    shown = [str(n.network_address) if n.prefixlen == n.max_prefixlen else str(n) for n in networks]
    return shown[0] if len(shown) == 1 else "{ " + ", ".join(shown) + " }"


def _by_source(domain: RoutingDomainPolicy) -> list[tuple[str, list[FirewallRule]]]:
    """The rules by the zone that they begin in, zones that open nothing included, outside last."""
    grouped: dict[str, list[FirewallRule]] = defaultdict(list)
    for rule in domain.rules:
        grouped[rule.source_zone].append(rule)
    return [(zone, grouped[zone]) for zone in (*(zone.key for zone in domain.zones), OUTSIDE)]


def _match(rule: FirewallRule, domain: RoutingDomainPolicy) -> str:
    """What a packet must be like for ``rule`` to accept it."""
    interfaces = {zone.key: zone.interface for zone in domain.zones}
    there = f'"{interfaces[rule.target_zone]}"' if rule.target_zone != OUTSIDE else "!= @zones"
    parts = [f"oifname {there}"]
    for field, networks in (("saddr", rule.source_networks), ("daddr", rule.target_networks)):
        parts.append(f"ip {field} {'@internet' if networks == internet() else elements(networks)}")
    if rule.protocol == "icmp":
        parts.append("icmp type echo-request")
    else:
        ports = rule.ports[0] if len(rule.ports) == 1 else "{ " + ", ".join(rule.ports) + " }"
        parts.append(f"{rule.protocol} dport {ports}")
    return " ".join(parts)
