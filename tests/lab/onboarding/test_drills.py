"""Losing things of an onboarded Grabow and watching its services, by the command that a person uses.

Runs before the other tests of the shared Grabow, which take it apart; afterwards everything is in its place again.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Checkout

pytestmark = pytest.mark.lab


def drill(checkout: Checkout, what: str, *, code: int) -> dict[str, Any]:
    done = checkout.ksm("drill", "grabow", "--lose", what, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    # Whatever was lost: at the end everything answers, each server in its own section.
    assert (result["displaced"], result["silent"]) == ([], [])
    assert result["kept"] is (code == 0)
    return result


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {service["key"]: service["outcome"] for service in result["services"]}


def lost(result: dict[str, Any]) -> set[str]:
    return {fate["machine"] for fate in result["fates"] if fate["outcome"] == "lost"}


def test_section_a_everything_comes_back_within_its_time(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    result = drill(checkout, "section-a", code=0)
    assert lost(result) == set()
    seen = outcomes(result)
    assert seen["fachdaten-write"] == seen["gra-file01"] == "returned", seen
    assert {seen[key] for key in ("dns", "fachdaten-read", "application", "print", "web")} == {"stayed"}
    assert result["surprises"] == []
    # Names before what needs them, the database before the rest: by HA's priorities.
    order = [told["server"] for told in result["returns"]]
    assert {"gra-dns01", "gra-db01", "gra-file01"} <= set(order)
    assert order.index("gra-dns01") < order.index("gra-file01") > order.index("gra-db01")


def test_a_mirrored_datastore_that_fails_as_a_whole_breaks_promises(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    """No mirror helps against that: the drill fails, and says what is lost."""
    result = drill(checkout, "datastore:gra-gold-mirrored-a", code=4)
    assert lost(result) == {"gra-db01", "gra-file01"}
    broken = {service["key"] for service in result["services"] if service["kept"] is False}
    assert broken == {"fachdaten-write", "gra-file01"}


def test_one_link_of_a_host_is_not_missed(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    result = drill(checkout, "link:sn-esx-a01/uplink1", code=0)
    assert set(outcomes(result).values()) == {"stayed"}
    assert result["returns"] == []
