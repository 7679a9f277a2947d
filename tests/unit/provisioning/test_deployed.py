"""Reading what stands from Pulumi's state: recorded from a real run in the lab, trimmed to what is compared."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.deployed import DeployedZone
from ksm_onboard.project import Project
from ksm_onboard.provisioning.deployed import find_deployed, read_exported
from tests.unit.conftest import RECORDED_STATE

RECORDED: dict[str, Any] = json.loads(RECORDED_STATE.read_text(encoding="utf-8"))
# How Pulumi marks a value that it encrypted (sdk/go/common/resource, SigKey and SecretSig).
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc:def"}


def exported(checkpoint: Any) -> Any:
    """The same state as `pulumi stack export` prints it."""
    return {"version": 3, "deployment": checkpoint["checkpoint"]["latest"]}


def written(folder: Path, content: Any, name: str = "state.json") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def resources(state: Any, kind: str) -> list[Any]:
    return [r for r in state["checkpoint"]["latest"]["resources"] if r["type"].endswith(f":{kind}")]


def test_everything_that_is_compared_is_read(tmp_path: Path) -> None:
    found = read_exported([written(tmp_path, RECORDED)], ["grabow", "zoo"])
    assert list(found.missing) == ["zoo"]
    grabow = found.deployed["grabow"]
    assert len(grabow.servers) == 8
    assert grabow.zones["grabow-management"] == DeployedZone(1280, IPv4Network("10.64.15.0/24"))
    file01 = grabow.servers["gra-file01"]
    assert (file01.address, file01.dns_domain) == (IPv4Interface("10.64.12.21/24"), "grabow.internal")
    assert (file01.port_group, file01.guest_id, file01.system_disk_gib) == (
        "grabow-infrastructure",
        "debian12_64Guest",
        20,
    )
    (disk,) = file01.disks.items()
    assert disk[0] == "data"
    assert (disk[1].size_gib, disk[1].datacenter, disk[1].unit_number, disk[1].mount) == (
        500,
        "Schwerin",
        1,
        "/srv/data",
    )
    assert disk[1].vmdk == "ksm-data/grabow/gra-file01-data.vmdk"


def test_an_export_says_the_same_as_the_backends_file(tmp_path: Path) -> None:
    one = read_exported([written(tmp_path, RECORDED, "a.json")], ["grabow"]).deployed["grabow"]
    other = read_exported([written(tmp_path, exported(RECORDED), "b.json")], ["grabow"]).deployed["grabow"]
    assert replace(one, source="") == replace(other, source="")


def test_the_states_of_the_data_centre_in_force_are_found(tmp_path: Path) -> None:
    project = Project(tmp_path)
    backend = ".state/lab/pulumi/.pulumi/stacks/ksm-onboard"
    written(tmp_path, RECORDED, f"{backend}/grabow.json")
    found = find_deployed(project, ["grabow", "zoo"], {})
    assert found.deployed["grabow"].source == f"{backend}/grabow.json"
    assert found.missing == {"zoo": "no stack of it in .state/lab/pulumi"}
    assert not find_deployed(project, ["grabow"], {"KSM_LAB": "other"}).deployed
    elsewhere = {"PULUMI_BACKEND_URL": f"file://{tmp_path}/.state/lab/pulumi", "KSM_LAB": "other"}
    assert "grabow" in find_deployed(project, ["grabow"], elsewhere).deployed
    kept = find_deployed(project, ["grabow"], {"PULUMI_BACKEND_URL": "s3://user:word@states"})
    assert kept.missing == {"grabow": "its state is kept at s3:…, not in a file"}


def test_a_disk_that_grew_has_its_present_size(tmp_path: Path) -> None:
    state = copy.deepcopy(RECORDED)
    (stack,) = resources(state, "Stack")
    stack["outputs"]["disks"]["gra-file01-data"]["size_gib"] = 600
    grabow = read_exported([written(tmp_path, state)], ["grabow"]).deployed["grabow"]
    assert grabow.servers["gra-file01"].disks["data"].size_gib == 600


def test_of_a_destroyed_stack_nothing_stands(tmp_path: Path) -> None:
    state = copy.deepcopy(RECORDED)
    state["checkpoint"]["latest"]["resources"] = []
    found = read_exported([written(tmp_path, state, "grabow.json")], ["grabow"])
    assert not found.deployed
    assert found.missing["grabow"].startswith("nothing of it stands")


def test_what_is_being_replaced_is_read_once(tmp_path: Path) -> None:
    state = copy.deepcopy(RECORDED)
    old = copy.deepcopy(resources(state, "VirtualMachine")[0])
    old |= {"delete": True, "outputs": {}}
    state["checkpoint"]["latest"]["resources"].append(old)
    assert read_exported([written(tmp_path, state)], ["grabow"]).deployed["grabow"].servers["gra-file01"].address


def test_secrets_are_never_read(tmp_path: Path) -> None:
    state = copy.deepcopy(RECORDED)
    for machine in resources(state, "VirtualMachine"):
        machine["outputs"] |= {"extraConfig": SECRET, "guestId": SECRET}
    grabow = read_exported([written(tmp_path, state)], ["grabow"]).deployed["grabow"]
    assert {server.address for server in grabow.servers.values()} == {None}
    assert "v1:" not in repr(grabow)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"deployment": null}', '{"checkpoint": []}', "\x00"])
def test_what_is_no_state_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(NotReadyError, match="cannot read the deployed state"):
        read_exported([written(tmp_path, content)], ["grabow"])


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="No such file"):
        read_exported([tmp_path / "state.json"], ["grabow"])


def test_the_state_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="stack 'grabow'"):
        read_exported([written(tmp_path, RECORDED)], ["zoo"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.clear(),
        lambda r: r.update(outputs=None),
        lambda r: r.update(
            outputs={"networkInterfaces": [], "disks": [[]], "extraConfig": {"guestinfo.metadata": "e30="}}
        ),
        lambda r: r.update(outputs={"extraConfig": {"guestinfo.metadata": "%", "guestinfo.userdata": "Og=="}}),
        lambda r: r.update(outputs={"networkInterfaces": [None], "disks": "x", "size": True, "vlanId": "x"}),
        lambda r: r.update(urn="x", parent=None),
    ],
)
def test_damage_is_nothing_known_and_never_a_traceback(tmp_path: Path, damage: Callable[[Any], None]) -> None:
    state = copy.deepcopy(RECORDED)
    for resource in state["checkpoint"]["latest"]["resources"][1:]:
        damage(resource)
    read_exported([written(tmp_path, state)], ["grabow"])
