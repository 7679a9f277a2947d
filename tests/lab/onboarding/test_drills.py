"""Losing things of an onboarded Grabow: sections, hosts, datastores, links, one by one and together.

Runs before the other tests of the shared Grabow, which take it apart; afterwards everything is in its place again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim

from ksm_onboard.connection import load_connection
from ksm_onboard.lab.losses import Control, Losable, Section
from ksm_onboard.vcenter import collect, session

from .conftest import LAB, Checkout, on_host

pytestmark = pytest.mark.lab

DB01, DB02 = "10.64.11.11", "10.64.11.12"
TYPES: Any = vim  # its constructors have no types


def drill(checkout: Checkout, *losses: str, code: int) -> dict[str, Any]:
    """Loses it all at once; ``code`` is what the command has to end with."""
    done = checkout.ksm("drill", "grabow", *(word for what in losses for word in ("--lose", what)), "--json")
    assert done.returncode == code, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    # Whatever was lost: at the end everything answers, each server in its own section.
    assert (result["displaced"], result["silent"]) == ([], [])
    assert result["kept"] is (code == 0)
    assert result["surprises"] == [], "the forecast was wrong"
    return result


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {service["key"]: service["outcome"] for service in result["services"]}


def lost(result: dict[str, Any]) -> set[str]:
    return {fate["machine"] for fate in result["fates"] if fate["outcome"] == "lost"}


@contextmanager
def without(what: Losable) -> Iterator[None]:
    """It is lost while the block lasts, and HA has done what it can when it begins."""
    control = Control.of(LAB)
    control.lose(what)
    try:
        control.settled()
        yield
    finally:
        control.restore(what)
        control.settled()


def eventually(attempt: Callable[[], str], expected: str) -> None:
    """A server that has just been started refuses for a while."""
    deadline, seen = time.monotonic() + 300, ""
    while time.monotonic() < deadline:
        try:
            if (seen := attempt()) == expected:
                return
        except AssertionError as refused:
            seen = str(refused)
        time.sleep(1)
    raise AssertionError(f"expected {expected!r}, last seen: {seen}")


def sql(checkout: Checkout, server: str, statement: str) -> str:
    return on_host(checkout, server, f"sudo -u postgres psql -qAtX -d fachdaten -c '{statement}'").strip()


def test_section_a_everything_comes_back_within_its_time(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    result = drill(checkout, "section-a", code=0)
    assert lost(result) == set()
    seen = outcomes(result)
    assert seen["fachdaten-write"] == seen["gra-file01"] == "returned", seen
    assert {seen[key] for key in ("dns", "fachdaten-read", "application", "print", "web")} == {"stayed"}
    # Names before what needs them, the database before the rest: by HA's priorities.
    order = [told["server"] for told in result["returns"]]
    assert {"gra-dns01", "gra-db01", "gra-file01"} <= set(order)
    assert order.index("gra-dns01") < order.index("gra-file01") > order.index("gra-db01")


def test_what_is_written_without_section_a_is_kept_and_copied(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    sql(checkout, DB01, "create table if not exists drill (what text)")
    with without(Section("A")):
        eventually(lambda: sql(checkout, DB01, "insert into drill values (1) returning what"), "1")
    eventually(lambda: sql(checkout, DB01, "select distinct what from drill"), "1")
    eventually(lambda: sql(checkout, DB02, "select distinct what, pg_is_in_recovery() from drill"), "1|t")
    sql(checkout, DB01, "drop table drill")


def test_a_datastore_of_one_section_takes_only_the_second_copy(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    result = drill(checkout, "datastore:gra-local-b", code=0)
    assert lost(result) == {"gra-db02"}
    assert set(outcomes(result).values()) == {"stayed"}
    [reading] = [service for service in result["services"] if service["key"] == "fachdaten-read"]
    assert reading["left"] == ["gra-db01"]


def test_a_section_and_the_storage_of_the_other_leave_only_what_is_mirrored(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    result = drill(checkout, "section-a", "datastore:gra-local-b", code=0)
    assert lost(result) == {"gra-db02"}
    assert outcomes(result)["fachdaten-read"] == outcomes(result)["fachdaten-write"] == "returned"


def test_a_host_of_one_section_and_every_link_of_one_of_the_other(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    hosts = {machine.name: machine.host for machine in Control.of(LAB).state().machines}
    away, cut_off, half = hosts["gra-db01"], hosts["gra-db02"], hosts["gra-app01"]
    links = [f"link:{cut_off}/{uplink}" for uplink in ("uplink1", "uplink2")]
    if half not in (away, cut_off):
        links.append(f"link:{half}/uplink1")
    result = drill(checkout, f"host:{away}", *links, code=0)
    assert lost(result) == set()
    assert outcomes(result)["fachdaten-write"] == outcomes(result)["fachdaten-read"] == "returned"


def test_a_service_that_is_cheated_into_one_section_fails_the_drill(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    """Somebody turns the rule that prefers section A into one that demands it: HA may not leave it any more."""
    prefer(checkout, "grabow-in-section-a", mandatory=True)
    try:
        result = drill(checkout, "section-a", code=4)
    finally:
        prefer(checkout, "grabow-in-section-a", mandatory=False)
    broken = {service["key"] for service in result["services"] if service["kept"] is False}
    assert broken == {"fachdaten-write", "gra-file01"}
    assert {"gra-db01", "gra-file01"} <= lost(result)
    report = checkout.ksm_json("verify", "grabow")
    assert [row for row in report["differences"] if row["area"] in ("redundancy", "storage")] == []


def prefer(checkout: Checkout, name: str, *, mandatory: bool) -> None:
    with session(load_connection(checkout.state / "connection.yaml")) as instance:
        [cluster] = collect(instance, vim.ClusterComputeResource, ["configurationEx"])
        [rule] = [rule for rule in cluster.get("configurationEx").rule if rule.name == name]
        rule.mandatory = mandatory
        change = TYPES.cluster.ConfigSpecEx(rulesSpec=[TYPES.cluster.RuleSpec(operation="edit", info=rule)])
        WaitForTask(cluster.ref.ReconfigureComputeResource_Task(change, modify=True))
