"""Zones and flows, proven with packets; and the proof itself, proven with rule sets that are wrong on purpose.

Everything happens in network namespaces that the test makes. Namespaces and bridges simulate port groups;
the rules are those that ``ksm-onboard firewall`` writes.
"""

from __future__ import annotations

import re
import select
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ksm_onboard.errors import OnboardError
from ksm_onboard.firewall.expectations import TestHost, expectations
from ksm_onboard.firewall.policy import firewall_policy
from ksm_onboard.firewall.proof import prove
from ksm_onboard.firewall.render import as_nft
from ksm_onboard.firewall.testbed import Testbed, lay_out
from ksm_onboard.lab.prerequisites import install_prerequisites, missing_prerequisites
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "templates"


@pytest.fixture(scope="session", autouse=True)
def prerequisites() -> None:
    if any(item.command in ("ip", "nft") for item in missing_prerequisites()):
        install_prerequisites(Silent())


@pytest.fixture(scope="session")
def declarations() -> Declarations:
    return Declarations(Project(ROOT))


@pytest.fixture(scope="session")
def grabow(declarations: Declarations) -> Plan:
    return declarations.plan("grabow")


def rules_of(plan: Plan) -> str:
    return as_nft(firewall_policy(plan.member), TEMPLATES)


# A town, a school, and a utility with a control room: between them they have every invariant.
@pytest.mark.parametrize("member", ["grabow", "schule-hagenow", "stadtwerke"])
def test_what_is_declared_passes_and_nothing_else(declarations: Declarations, member: str) -> None:
    plan = declarations.plan(member)
    result = prove(plan, rules_of(plan))
    assert [str(surprise) for surprise in result.surprises] == []
    zones = {host.zone for host in expectations(plan).hosts}
    assert zones == {None, *(zone.key for zone in plan.member.zones)}
    assert result.allowed > 100 and result.refused > 10_000 and result.tricks > 5_000
    assert result.tried == result.allowed + result.refused


def test_loading_again_replaces_what_was_loaded(grabow: Plan) -> None:
    rules = rules_of(grabow)
    with lay_out(grabow.member, ()) as bed:
        bed.load(rules)
        first = bed.loaded()
        bed.load(rules)
        assert bed.loaded() == first
        with pytest.raises(OnboardError, match="nft"):
            bed.load(rules.replace("tcp dport 445", "tcp dport 99999"))
        assert bed.loaded() == first


def test_every_member_has_rules_that_nft_takes(declarations: Declarations) -> None:
    for key in declarations.member_keys:
        member = declarations.plan(key).member
        with lay_out(member, ()) as bed:
            bed.load(as_nft(firewall_policy(member), TEMPLATES))


# --- the proof is proven ------------------------------------------------------------------


def without(text: str, rules: str) -> str:
    changed = re.sub(rf"^.*{re.escape(text)}.*\n", "", rules, flags=re.MULTILINE)
    assert changed != rules
    return changed


def instead(old: str, new: str) -> Callable[[str], str]:
    def change(rules: str) -> str:
        assert old in rules
        return rules.replace(old, new, 1)

    return change


def added(chain: str, rule: str) -> Callable[[str], str]:
    return instead(f"chain {chain} {{\n", f"chain {chain} {{\n\t\t{rule}\n")


def by_address_only(rules: str) -> str:
    """A rule that trusts addresses, without the rules that make sure of them."""
    trusting = 'oifname "vlan1222" ip saddr 10.64.0.0/23 ip daddr 10.64.12.21 tcp dport 445 accept'
    return without("source is not of the zone", added("from-printers", trusting)(rules))


def six(rules: str) -> str:
    return added("between", "meta nfproto ipv6 accept")(without("IPv6 is not used", rules))


def stateless(rules: str) -> str:
    for text in ("begins with SYN", "belongs to no connection", "in another way"):
        rules = without(text, rules)
    return rules


TOO_LITTLE: tuple[tuple[Callable[[str], str], str], ...] = (
    (lambda rules: without("files: Netzlaufwerke", rules), r"blocked: gra-ws0001 .* gra-file01 .*tcp/445"),
    (
        instead("{ 10.64.12.11, 10.64.12.12 } tcp dport 53", "10.64.12.11 tcp dport 53"),
        r"blocked: .*gra-dns02 .*tcp/53",
    ),
)
TOO_MUCH: tuple[tuple[Callable[[str], str], str], ...] = (
    (added("from-clients", 'oifname "vlan1221" tcp dport 5432 accept'), r"leak: gra-ws0001 .* gra-db01 .*5432 passes"),
    (added("from-clients", 'oifname "vlan1280" tcp dport 22 accept'), r"leak: .*\(management\): tcp/22 passes"),
    (instead("tcp dport 631", "tcp dport { 631, 8080 }"), r"leak: .*gra-print01 .*tcp/8080 passes"),
    (added("from-outside", "ip saddr 10.127.255.10 udp dport 161 accept"), r"leak: stranger .*udp/161 passes"),
    (added("between", "tcp sport { 53, 445 } accept"), r"leak: gra-file01 .* gra-ws0001 .*from port 445"),
    (instead("related icmp type { destination-unreachable,", "related icmp type { redirect,"), r"icmp type 5"),
    (added("between", "meta l4proto gre accept"), r"leak: .*protocol 47"),
    (instead("@zones icmp type echo-request counter accept", "@zones counter accept"), r"gateway: tcp/22 of"),
    (by_address_only, r"leak: gra-ws0001 .*gra-file01 .*a forged packet arrived \(tcp/445"),
    (stateless, r"leak: .*a forged packet arrived \(tcp/53 from port"),
    (six, r"leak: .*an IPv6 packet arrived"),
)


@pytest.mark.parametrize("wrong", [TOO_LITTLE, TOO_MUCH], ids=["too little", "too much"])
def test_every_wrong_rule_is_noticed(grabow: Plan, wrong: tuple[tuple[Callable[[str], str], str], ...]) -> None:
    rules = rules_of(grabow)
    for change, _ in wrong:
        rules = change(rules)
    told = [str(surprise) for surprise in prove(grabow, rules).surprises]
    unnoticed = [expected for _, expected in wrong if not any(re.search(expected, line) for line in told)]
    assert unnoticed == [], told[:10]


# --- two members on one gateway -----------------------------------------------------------


def visit(source: str, target: str) -> str:
    return f"flows:\n  visit: {{sources: [{source}], targets: [{target}], services: [https], reason: Auskunft}}\n"


def test_two_members_meet_only_where_both_have_opened(tmp_path: Path) -> None:
    """Grabow's workplaces and the zoo's servers, both rule sets on one gateway."""
    shutil.copytree(ROOT / "stacks", tmp_path / "stacks")
    shutil.copytree(ROOT / "catalogue", tmp_path / "catalogue")
    for member, text in (
        ("grabow", visit("clients", "member:zoo/application")),
        ("zoo", visit("member:grabow/clients", "application")),
    ):
        with (tmp_path / "stacks" / f"{member}.yaml").open("a", encoding="utf-8") as stream:
            stream.write(text)
    declarations = Declarations(Project(tmp_path))
    ours, theirs = declarations.plan("grabow"), declarations.plan("zoo")
    # One member of both, so that both have their zones on the gateway; zones of a kind that only one has.
    there = next(zone for zone in theirs.member.zones if zone.key == "application")
    here = next(zone for zone in ours.member.zones if zone.key == "clients")
    both = ours.member.model_copy(update={"zones": (here, there)})
    hosts = (
        TestHost("visitor", here.cidr[21], "clients"),
        TestHost("visited", there.cidr[11], "application"),
    )
    shut_here = without("visit: Auskunft", rules_of(ours))
    shut_there = without("visit: Auskunft", rules_of(theirs))
    with lay_out(both, hosts) as bed:
        assert passes(bed, hosts, 443, rules_of(ours), rules_of(theirs))
        assert not passes(bed, hosts, 80, rules_of(ours), rules_of(theirs))
        assert not passes(bed, hosts, 443, shut_here, rules_of(theirs))
        assert not passes(bed, hosts, 443, rules_of(ours), shut_there)


def passes(bed: Testbed, hosts: tuple[TestHost, TestHost], port: int, *rules: str) -> bool:
    """Whether the first host can open a connection to the second one; if not, the gateway has counted a drop."""
    bed.flush()
    for text in rules:
        bed.load(text)
    to = (str(hosts[1].address), port)
    with ExitStack() as stack:
        with bed.hosts[1].inside():
            stack.enter_context(socket.create_server(to))
        with bed.hosts[0].inside():
            client = stack.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(to)
        poll = select.poll()
        poll.register(client, select.POLLOUT)
        while True:  # one of the two comes about
            if poll.poll(50):
                return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            if re.search(r'counter packets [1-9]\d* .*drop comment "nothing accepts it"', bed.counters()):
                return False
