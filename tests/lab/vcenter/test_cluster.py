"""The cluster that was there before the toolkit is adopted, set, and left alone at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.vcenter.conftest import HERE, Stack, VCenter, new_stack
from tests.lab.vcenter.door import Door

pytestmark = pytest.mark.lab


@pytest.fixture
def adopting(vcenter: VCenter, tmp_path: Path) -> Stack:
    return new_stack(vcenter, tmp_path / "cluster", HERE / "cluster_program", percent=50)


def test_a_cluster_is_adopted_and_never_taken_down(adopting: Stack, vcenter: VCenter) -> None:
    for _ in range(2):
        adopting.up()
        adopting.assert_settled()
        with Door(vcenter) as door:
            cluster = door.cluster()
            assert len(cluster.host) == 4
            das = cluster.configurationEx.dasConfig
            policy = das.admissionControlPolicy
            assert (policy.cpuFailoverResourcesPercent, policy.memoryFailoverResourcesPercent) == (50, 50)
            assert not policy.autoComputePercentages
            assert das.defaultVmSettings.isolationResponse == "powerOff"
            assert das.defaultVmSettings.vmComponentProtectionSettings.vmStorageProtectionForPDL == "restartAggressive"
        adopting.pulumi("destroy", "--yes", "--skip-preview")
        with Door(vcenter) as door:
            assert len(door.cluster().host) == 4
            assert door.cluster().configurationEx.dasConfig.enabled


def test_a_change_by_hand_is_found_and_taken_back(adopting: Stack, vcenter: VCenter) -> None:
    adopting.up()
    adopting.configure(percent=40)
    assert "1 updated" in adopting.up()
    with Door(vcenter) as door:
        door.set_admission_control(None)
        adopting.refresh()
        assert "1 updated" in adopting.up()
        policy = door.cluster().configurationEx.dasConfig.admissionControlPolicy
        assert policy.cpuFailoverResourcesPercent == 40
