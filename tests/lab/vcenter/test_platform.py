"""The platform's own stack on a fresh vCenter: it adopts the cluster, sets it, and leaves it alone at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from ksm_onboard.connection import CONNECTION_VARIABLE
from ksm_onboard.lab.certificates import ensure_ssh_key
from ksm_onboard.onboarding.lab_world import array_exports, data_centre
from ksm_onboard.planning.load import PLATFORM, load_own, load_platform
from ksm_onboard.planning.plan import PlatformPlan
from ksm_onboard.project import find_project
from ksm_onboard.provisioning.environment import POLICY_PACK_VARIABLE
from ksm_onboard.verifying.cluster_settings import planned_settings, settings_of
from tests.lab.vcenter.conftest import HERE, Stack, VCenter, new_stack, served
from tests.lab.vcenter.door import Door

pytestmark = pytest.mark.lab


@pytest.fixture
def plan() -> PlatformPlan:
    return load_platform(find_project(HERE))


@pytest.fixture
def schwerin(tmp_path: Path, plan: PlatformPlan) -> Iterator[VCenter]:
    """A vCenter with the declared data centre."""
    with served(tmp_path / "vcenter", data_centre(plan), _exports()) as running:
        yield running


def _exports() -> dict[str, Any]:
    own = load_own(find_project(HERE))
    assert own is not None
    return {"exports": [asdict(export) for export in array_exports(own)]}


@pytest.fixture
def platform(schwerin: VCenter, tmp_path: Path) -> Stack:
    ensure_ssh_key(tmp_path / "ops", "ops@test")
    connection = {
        "name": "vcenter-test",
        "simulated": True,
        "vcenter": {
            "server": schwerin.server,
            "user": schwerin.user,
            "password_file": str(schwerin.folder / "password"),
            "ca_file": str(schwerin.ca_file),
        },
        "guests": {"user": "ops", "private_key_file": str(tmp_path / "ops")},
        "trust": {"root_ca_file": str(schwerin.ca_file)},
    }
    (tmp_path / "connection.yaml").write_text(yaml.safe_dump(connection))
    stack = new_stack(schwerin, tmp_path / "platform", find_project(HERE).root / "stacks", PLATFORM)
    stack.environment[CONNECTION_VARIABLE] = str(tmp_path / "connection.yaml")
    stack.environment[POLICY_PACK_VARIABLE] = str(find_project(HERE).policies)
    return stack


def test_the_cluster_is_adopted_set_and_outlives_the_stack(
    platform: Stack, schwerin: VCenter, plan: PlatformPlan
) -> None:
    hosts = sorted(host for section in plan.sections for host in section.hosts)
    for _ in range(2):
        platform.up()
        platform.assert_settled()
        with Door(schwerin) as door:
            cluster = door.cluster()
            assert settings_of(cluster.configurationEx) == planned_settings(plan.cluster_settings)
            assert sorted(host.name for host in cluster.host) == hosts
        # The datastores of its VMs are protected, like members': whoever removes them says so first.
        platform.pulumi("state", "unprotect", "--all", "--yes")
        platform.pulumi("destroy", "--yes", "--skip-preview")
        with Door(schwerin) as door:
            cluster = door.cluster()
            assert sorted(host.name for host in cluster.host) == hosts
            assert cluster.configurationEx.dasConfig.enabled
            assert not cluster.configurationEx.group


def test_what_is_changed_by_hand_is_set_again_and_the_rest_is_left(platform: Stack, schwerin: VCenter) -> None:
    platform.up()
    with Door(schwerin) as door:
        door.set_admission_control(10)
        door.set_power_management(True)
        platform.refresh()
        assert "1 updated" in platform.up()
        config = door.cluster().configurationEx
        assert config.dasConfig.admissionControlPolicy.memoryFailoverResourcesPercent == 50
        assert config.dpmConfigInfo.enabled, "what the plan does not speak of belongs to others"
