"""``diff``: what a change means, in words; nothing that differs goes untold."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.planning.changes import Change, changes
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import LegacyNetworkPlan, MemberPlan, Plan, ServerPlan, WorkstationPlan
from ksm_onboard.project import Project
from tests.unit.conftest import ROOT

PLAN = Declarations(Project(ROOT)).plan("grabow")


def with_member(**fields: Any) -> Plan:
    return PLAN.model_copy(update={"member": PLAN.member.model_copy(update=fields)})


def with_server(name: str, **fields: Any) -> Plan:
    return with_member(servers=tuple(s.model_copy(update=fields) if s.name == name else s for s in PLAN.member.servers))


def told(after: Plan) -> list[str]:
    return [change.text for change in changes(PLAN, after)]


def test_nothing_differs_nothing_is_told() -> None:
    assert changes(PLAN, PLAN) == []
    assert changes(None, None) == []


def test_a_whole_member() -> None:
    assert [c.text for c in changes(None, PLAN)] == ["adds Stadt Grabow: 12 VMs, 55 workstations, block 10.64.0.0/20"]
    assert [(c.action, c.destroys) for c in changes(PLAN, None)] == [("removes", True)]


@pytest.mark.parametrize(
    ("fields", "text", "destroys"),
    [
        ({"address": IPv4Address("10.64.12.99")}, "moves gra-file01 from 10.64.12.21 to 10.64.12.99", False),
        ({"section": "B"}, "moves gra-file01 from fire section A to B", False),
        ({"memory_mib": 16384}, "gives gra-file01 16 GiB of memory instead of 8", False),
        ({"cpus": 8}, "gives gra-file01 8 vCPU instead of 4", False),
        ({"template": "debian-13"}, "rebuilds gra-file01 from debian-13 instead of debian-12", True),
        ({"applications": ("nginx",)}, "adds nginx to gra-file01", False),
        ({"disks": ()}, "removes the data disk data (500 GiB) of gra-file01", True),
        ({"service_level": 2}, "changes service level of gra-file01 from 3 to 2", False),
    ],
)
def test_a_server(fields: dict[str, Any], text: str, destroys: bool) -> None:
    assert [(c.text, c.destroys) for c in changes(PLAN, with_server("gra-file01", **fields))] == [(text, destroys)]


def test_servers_that_come_and_go() -> None:
    servers = PLAN.member.servers
    fewer = with_member(servers=servers[:-1])
    assert told(fewer) == ["removes the VM gra-archiv01"]
    assert [c.text for c in changes(fewer, PLAN)] == [
        "adds the VM gra-archiv01 (application, 2 vCPU, 4 GiB, section B, 10.64.10.13)"
    ]


def test_a_shrinking_disk_destroys() -> None:
    disk = PLAN.member.server("gra-file01").disks[0]
    (smaller,) = changes(PLAN, with_server("gra-file01", disks=(disk.model_copy(update={"size_gib": 400}),)))
    assert smaller.destroys
    assert smaller.text == "the data disk data of gra-file01 shrinks from 500 to 400 GiB"


def test_growth_destroys_nothing() -> None:
    disk = PLAN.member.server("gra-file01").disks[0]
    (larger,) = changes(PLAN, with_server("gra-file01", disks=(disk.model_copy(update={"size_gib": 600}),)))
    assert larger.text == "the data disk data of gra-file01 grows from 500 to 600 GiB"
    assert not larger.destroys
    first, *others = PLAN.member.datastores
    (grown,) = changes(PLAN, with_member(datastores=(first.model_copy(update={"size_gib": 850}), *others)))
    assert grown.text == "datastore gra-gold-mirrored-a grows from 650 to 850 GiB"
    assert not grown.destroys


def test_a_datastore_that_goes_or_moves_to_another_export_destroys() -> None:
    first, *others = PLAN.member.datastores
    (gone, *_) = changes(PLAN, with_member(datastores=tuple(others)))
    assert gone.destroys
    assert gone.text == "removes the datastore gra-gold-mirrored-a (650 GiB of sn-mirror01)"
    (moved,) = changes(PLAN, with_member(datastores=(first.model_copy(update={"remote_path": "/x"}), *others)))
    assert moved.destroys


def test_workstations_with_the_same_change_are_told_together() -> None:
    workstations = tuple(
        w.model_copy(update={"applications": w.applications[1:], "wave": "verwaltung"}) if i < 12 else w
        for i, w in enumerate(PLAN.member.workstations)
    )
    found = changes(PLAN, with_member(workstations=workstations))
    assert found[0] == Change(
        "removes",
        "application",
        tuple(w.name for w in workstations[:12]),
        "drops 7zip from 12 workstations (gra-ws0001, gra-ws0002, gra-ws0003, …)",
    )
    assert sum(len(c.names) for c in found if c.text.startswith("changes wave")) == 12


# Fields that follow from others, which are told.
FOLLOWS = {
    MemberPlan: {"placements", "pairs", "tags", "folder"},
    ServerPlan: {"tags", "port_group", "fqdn", "prefix_length", "gateway", "disks"},
    WorkstationPlan: {"fqdn", "prefix_length", "gateway"},
}


def other(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str | type(None)):
        return f"{value}x"
    if isinstance(value, IPv4Address):
        return value + 1
    if isinstance(value, tuple):
        return value[1:] if value else ("x",)
    if isinstance(value, dict):
        return {**value, "x": "x"}
    return None


@given(st.data())
def test_no_difference_goes_untold(data: st.DataObject) -> None:
    model: Any = data.draw(st.sampled_from(list(FOLLOWS)))
    field = data.draw(st.sampled_from(sorted(model.model_fields.keys() - FOLLOWS[model])))
    if model is MemberPlan:
        if field in ("servers", "zones", "applications"):
            return
        changed = with_member(**{field: other(getattr(PLAN.member, field))})
    else:
        table = "servers" if model is ServerPlan else "workstations"
        entries = list(getattr(PLAN.member, table))
        index = data.draw(st.integers(0, len(entries) - 1))
        entries[index] = entries[index].model_copy(update={field: other(getattr(entries[index], field))})
        changed = with_member(**{table: tuple(entries)})
    if changed != PLAN:
        assert changes(PLAN, changed)


def test_the_first_of_a_list_is_told_by_name() -> None:
    network = LegacyNetworkPlan(key="altnetz", cidr=IPv4Network("192.168.1.0/24"), nat=None, quarantine=True)
    brought = with_member(legacy_networks=(network,))
    assert [c.text for c in changes(PLAN, brought)] == ["adds altnetz to the legacy networks of the member"]
    assert [c.text for c in changes(brought, PLAN)] == ["removes altnetz from the legacy networks of the member"]


# --- flows --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        (
            "flows:\n  scans: {sources: [printers], targets: [role:file], services: [smb], reason: Einscannen}\n",
            ["opens smb from printers to infrastructure, role:file (scans: Einscannen)"],
        ),
        (
            "flows:\n  web: null\n",
            ["closes web-proxy from clients to data-centre:web-proxy (web: Internet über den Proxy)"],
        ),
        (
            "flows:\n  files: {sources: [clients, printers]}\n",
            [
                "opens tcp/445 from printers to infrastructure, role:file (files)",
                "closes tcp/445 from application to infrastructure, role:file (files)",
            ],
        ),
        ("flows:\n  files: {reason: Ablage}\n", ["changes reason of the flow files from Netzlaufwerke to Ablage"]),
    ],
)
def test_what_opens_and_closes_is_said_in_words(checkout: Project, addition: str, expected: list[str]) -> None:
    before = Declarations(checkout).plan("grabow")
    with (checkout.stacks / "grabow.yaml").open("a", encoding="utf-8") as stream:
        stream.write(addition)
    assert [change.text for change in changes(before, Declarations(checkout).plan("grabow"))] == expected
