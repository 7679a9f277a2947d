"""What servers are told at their first boot: as reviewed, and safe for disks that come with data."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from ksm_onboard.planning.plan import Plan
from ksm_onboard.provisioning.customisation import Customisation
from tests.unit.provisioning.conftest import PUBLIC_KEY, ROOT

SNAPSHOTS = Path(__file__).parent / "cloud-init"


@pytest.fixture
def customisation() -> Customisation:
    return Customisation(ROOT / "templates", "ops", PUBLIC_KEY)


@pytest.mark.parametrize("name", ["gra-dns01", "gra-file01"])
def test_both_documents_are_as_reviewed(customisation: Customisation, plan: Plan, name: str) -> None:
    server = plan.member.server(name)
    assert customisation.metadata(server) == (SNAPSHOTS / f"{name}.metadata.yaml").read_text()
    assert customisation.userdata(server) == (SNAPSHOTS / f"{name}.userdata.yaml").read_text()


def test_every_server_gets_its_own_address(customisation: Customisation, plan: Plan) -> None:
    for server in plan.member.servers:
        told = yaml.safe_load(customisation.metadata(server))
        (interface,) = told["network"]["ethernets"].values()
        assert told["local-hostname"] == server.name
        assert interface["addresses"] == [f"{server.address}/{server.prefix_length}"]
        assert interface["routes"] == [{"to": "0.0.0.0/0", "via": str(server.gateway)}]
        assert interface["nameservers"]["addresses"] == ["10.64.12.11", "10.64.12.12"]


def test_a_new_address_is_a_new_instance(customisation: Customisation, plan: Plan) -> None:
    server = plan.member.servers[0]
    moved = server.model_copy(update={"address": "10.64.12.99"})
    instances = [yaml.safe_load(customisation.metadata(s))["instance-id"] for s in (server, moved)]
    assert instances[0] != instances[1]


def test_only_the_key_opens_the_account(customisation: Customisation, plan: Plan) -> None:
    told = _userdata(customisation, plan, "gra-dns01")
    (account,) = told["users"]
    assert account["name"] == "ops"
    assert account["lock_passwd"] is True
    assert account["ssh_authorized_keys"] == [PUBLIC_KEY]
    assert told["ssh_pwauth"] is False
    assert told["disable_root"] is True


def test_a_data_disk_that_comes_with_data_is_never_formatted(customisation: Customisation, plan: Plan) -> None:
    for name in ("gra-file01", "gra-db01", "gra-db02"):
        told = _userdata(customisation, plan, name)
        (disk,) = plan.member.server(name).disks
        (file_system,) = told["fs_setup"]
        assert file_system["overwrite"] is False
        # cloud-init ignores "overwrite" with "none", and formats whatever has another label with a number.
        assert file_system["partition"] == "auto"
        assert file_system["device"].endswith(f"-scsi-0:0:{disk.unit_number}:0")
        assert told["mounts"] == [
            [f"LABEL={disk.label}", disk.mount, "ext4", "defaults,nofail,x-systemd.growfs", "0", "2"]
        ]


def test_servers_without_data_disks_format_nothing(customisation: Customisation, plan: Plan) -> None:
    assert not {"fs_setup", "mounts"} & set(_userdata(customisation, plan, "gra-app01"))


def test_values_cannot_break_out_of_the_document(customisation: Customisation, plan: Plan) -> None:
    key = 'ssh-ed25519 AAAA "quoted": [x]\nruncmd: [evil] # {{ user }}'
    told = yaml.safe_load(Customisation(customisation.templates, "ops", key).userdata(plan.member.server("gra-dns01")))
    assert told["users"][0]["ssh_authorized_keys"] == [key]
    assert "runcmd" not in told


def test_guestinfo_carries_both_documents(customisation: Customisation, plan: Plan) -> None:
    server = plan.member.server("gra-file01")
    carried = customisation.guestinfo(server)
    assert base64.b64decode(carried["guestinfo.userdata"]).decode() == customisation.userdata(server)
    assert base64.b64decode(carried["guestinfo.metadata"]).decode() == customisation.metadata(server)
    assert carried["guestinfo.userdata"].startswith(base64.b64encode(b"#cloud-config").decode()[:16])


def _userdata(customisation: Customisation, plan: Plan, name: str) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load(customisation.userdata(plan.member.server(name)))
    return told
