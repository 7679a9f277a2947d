"""Which machines the monitoring watches: those that it may reach, and what is said of them."""

from __future__ import annotations

from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.monitoring import targets
from ksm_onboard.project import Project
from tests.unit.conftest import ROOT

DECLARATIONS = Declarations(Project(ROOT))
GRABOW = DECLARATIONS.plan("grabow")


def test_every_server_of_a_member_is_watched_and_described() -> None:
    found = {target.name: target for target in targets(GRABOW)}
    assert set(found) == {server.name for server in GRABOW.member.servers}
    assert found["gra-file01"].labels == {"section": "A", "backup_rpo_hours": "24"}
    assert found["gra-db02"].labels == {"section": "B", "pair": "database", "backup_rpo_hours": "4"}
    assert "backup_rpo_hours" not in found["gra-app01"].labels


def test_what_the_firewall_keeps_from_the_monitoring_is_not_watched() -> None:
    without = GRABOW.member.model_copy(update={"flows": tuple(f for f in GRABOW.member.flows if f.key != "metrics")})
    assert targets(GRABOW.model_copy(update={"member": without})) == ()
    large = DECLARATIONS.plan("ludwigslust-parchim")
    watched = {target.name for target in targets(large)}
    apart = {s.name: s.zone for s in large.member.servers if s.platform == "linux" and s.name not in watched}
    assert watched and set(apart.values()) == {"admin"}
    windows = {server.name for server in large.member.servers if server.platform == "windows"}
    assert windows and not windows & watched


def test_the_data_centre_watches_all_its_own_machines() -> None:
    own = DECLARATIONS.own_plan()
    assert own is not None
    names = {target.name for target in targets(own)}
    assert names == {s.name for s in own.member.servers} | {s.name for s in own.platform.shared_servers}
    assert own.platform.baseline.log_servers == tuple(s.address for s in own.platform.central_servers("log-collector"))
