"""The software depots behind an onboarded Grabow: what its workplace has from them, and what it refuses.

Runs before the other tests of the shared Grabow, which take it apart; afterwards everything is in its place again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Checkout, on_host

pytestmark = pytest.mark.lab

DEPOTS = ("10.96.0.41", "10.96.0.42")
WORKPLACE = "10.64.0.21"
STAND_IN = "ksm-standin-quba-viewer"


def test_a_workstation_has_what_comes_from_the_depots_and_everybody_sees_that_it_is_a_stand_in(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    shown = on_host(checkout, WORKPLACE, f"dpkg-query -W -f '${{db:Status-Abbrev}}|${{Description}}' {STAND_IN}")
    assert shown.startswith("ii |Platzhalter (stand-in) for Quba Viewer (XRechnung/ZUGFeRD), NOT the product")
    logs = [on_host(checkout, depot, "sudo cat /var/log/nginx/access.log") for depot in DEPOTS]
    assert [STAND_IN in log for log in logs] == [True, False], "the first of the two is asked, and answers"
    assert "unter Linux nur ein Platzhalter" in Path(onboarded["documents"]["html"]).read_text(encoding="utf-8")
    workplaces = {told["name"]: told for told in checkout.ksm_json("status", "grabow")["workplaces"]}
    assert workplaces["gra-ws0001"]["stand_ins"] == ["quba-viewer"]
    assert checkout.ksm_json("depot", "check")["problems"] == []
    private = "sudo grep -rlsE 'BEGIN PGP PRIVATE' /srv/depot /etc /usr/local /root || true"
    assert on_host(checkout, DEPOTS[0], private) == ""


def test_the_other_depot_steps_in_and_what_nobody_signed_is_not_installed(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    again = ("configure", "grabow", "--limit", "gra-ws0001", "--tags", "applications")
    away = f"sudo dpkg --purge {STAND_IN} && sudo apt-get clean"
    package = f"/srv/depot/current/apt/pool/{STAND_IN}_0~standin1_all.deb"
    first, second = DEPOTS
    on_host(checkout, first, "sudo systemctl stop nginx")
    try:
        told = checkout.ksm("depot", "check")
        assert told.returncode == 4 and "sn-depot01 serves nothing" in told.stderr
        on_host(checkout, WORKPLACE, away)
        assert checkout.ksm(*again).returncode == 0
        assert STAND_IN in on_host(checkout, second, "sudo cat /var/log/nginx/access.log")
        on_host(checkout, WORKPLACE, away)
        on_host(checkout, second, f"sudo cp {package} /root/whole.deb; echo more | sudo tee --append {package}")
        refused = checkout.ksm(*again)
        assert refused.returncode == 1
        assert f"package {STAND_IN} of application quba-viewer" in refused.stderr
        assert "has another checksum in the software depots than the signed one" in refused.stderr
        assert "Traceback" not in refused.stderr
        absent = on_host(checkout, WORKPLACE, f"dpkg-query -W {STAND_IN} || echo absent")
        assert absent == "absent\n"
    finally:
        on_host(checkout, second, f"sudo test ! -e /root/whole.deb || sudo mv /root/whole.deb {package}")
        on_host(checkout, first, "sudo systemctl start nginx")
    assert checkout.ksm(*again).returncode == 0
