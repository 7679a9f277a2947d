"""What modules do to a simulated host: as documented, the same in check mode, and nothing the second time."""

from __future__ import annotations

import base64
import hashlib
import ntpath
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.errors import OnboardError
from ksm_onboard.lab.certificates import ensure_certificates
from ksm_onboard.lab.windows.host import exchange, fetch_file, put_file
from ksm_onboard.lab.windows.machine import MISBEHAVIOURS, Hosts
from ksm_onboard.lab.windows.modules.answering import FailedError
from ksm_onboard.lab.windows.powershell import syntax_errors
from tests.unit.lab.windows.conftest import FEED, HOST, MSI, OWN_MODULES, PRODUCT, SHA256, Call, helper_script

POLICY = "HKLM:\\SOFTWARE\\Policies\\Test"
CHOCOLATEY = "chocolatey.chocolatey.win_chocolatey"

CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("ansible.windows.win_regedit", {"path": POLICY, "name": "Level", "data": 5, "type": "dword"}),
    ("ansible.windows.win_timezone", {"timezone": "W. Europe Standard Time"}),
    ("ansible.windows.win_service", {"name": "w32time", "start_mode": "auto", "state": "started"}),
    ("ansible.windows.win_user", {"name": "support", "password": "x", "update_password": "on_create"}),
    ("ansible.windows.win_group_membership", {"name": "Administrators", "members": ["ops"], "state": "pure"}),
    ("ansible.windows.win_file", {"path": "C:\\ProgramData\\KSM\\facts", "state": "directory"}),
    ("ansible.windows.win_firewall", {"state": "enabled", "inbound_action": "block"}),
    ("ansible.windows.win_audit_policy_system", {"subcategory": "Logon", "audit_type": ["success", "failure"]}),
    ("ansible.windows.win_optional_feature", {"name": ["SMB1Protocol"], "state": "absent"}),
    ("ansible.windows.win_package", {"path": MSI, "product_id": PRODUCT, "state": "present"}),
    ("community.windows.win_firewall_rule", {"name": "Management", "localport": "5986", "protocol": "tcp"}),
    ("community.windows.win_scheduled_task", {"name": "Drives", "actions": [{"path": "powershell.exe"}]}),
    (CHOCOLATEY, {"name": ["7zip", "firefoxesr"], "source": FEED}),
    ("ksm_printers", {"printers": [{"name": "og1", "url": "https://print/og1"}]}),
    ("ksm_defender", {"potentially_unwanted": "enabled", "excluded_paths": ["C:\\Data"]}),
    ("ksm_bitlocker", {}),
]


@pytest.mark.parametrize(("module", "arguments"), CHANGES, ids=[module for module, _ in CHANGES])
def test_a_change_is_foretold_made_once_and_not_again(
    hosts: Hosts, call: Call, module: str, arguments: dict[str, Any]
) -> None:
    before = hosts.read(HOST)
    assert call(module, check=True, **arguments)["changed"] is True
    assert hosts.read(HOST) == before, "a check changes nothing"
    assert call(module, **arguments)["changed"] is True
    after = hosts.read(HOST)
    assert after != before
    assert call(module, check=True, **arguments)["changed"] is False
    assert call(module, **arguments)["changed"] is False
    assert hosts.read(HOST) == after


@pytest.mark.parametrize("path", sorted(OWN_MODULES.glob("*.ps1")), ids=lambda path: str(path.stem))
def test_our_own_modules_parse(path: Any) -> None:
    assert syntax_errors(path.read_bytes()) == ()


def test_the_registry_tells_type_and_difference(call: Call) -> None:
    call("ansible.windows.win_regedit", path=POLICY, name="Level", data=5, type="dword")
    answer = call("ansible.windows.win_regedit", path=POLICY.lower(), name="LEVEL", data="5", type="string")
    assert (answer["changed"], answer["data_type_changed"]) == (True, True)
    assert answer["diff"]["before"] == {POLICY.lower(): {"Level": {"type": "Dword", "value": "0x00000005"}}}
    seen = call("ansible.windows.win_reg_stat", path=POLICY)
    assert seen["properties"] == {"LEVEL": {"type": "REG_SZ", "value": "5", "raw_value": "5"}}
    assert call("ansible.windows.win_regedit", path=POLICY, name="Level", state="absent")["changed"] is True
    assert call("ansible.windows.win_reg_stat", path=POLICY, name="Level")["exists"] is False


def test_wrong_values_fail_as_on_windows(call: Call) -> None:
    too_large = call("ansible.windows.win_regedit", path=POLICY, name="x", data=2**32, type="dword")
    assert "cannot be larger than 0xffffffff" in too_large["msg"]
    assert "not a valid" in call("ansible.windows.win_regedit", path="C:\\x", name="x")["msg"]
    assert "isn't supported" in call("ansible.windows.win_timezone", timezone="Europe/Berlin")["msg"]
    assert "not installed" in call("ansible.windows.win_service", name="sshd", state="started")["msg"]
    assert "Could not resolve" in call("ansible.windows.win_group_membership", name="Users", members=["nobody"])["msg"]


def test_members_that_are_not_listed_are_removed_from_a_pure_group(call: Call) -> None:
    answer = call("ansible.windows.win_group_membership", name="Administrators", members=["ops"], state="pure")
    assert answer["removed"] == ["Administrator"]
    assert answer["members"] == ["ops"]


def test_no_password_is_kept_or_returned(hosts: Hosts, call: Call) -> None:
    answer = call("ansible.windows.win_user", name="support", password="Hidden-4711")
    assert "Hidden-4711" not in str(answer)
    assert "Hidden-4711" not in hosts.read(HOST).model_dump_json()


def test_files_are_sent_copied_and_read(hosts: Hosts, call: Call) -> None:
    content = b'{"applications": ["7zip"]}'
    sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    facts = "C:\\ProgramData\\KSM\\facts"
    query = {
        "_copy_mode": "query",
        "dest": facts,
        "files": [{"src": "/x", "dest": "a.json", "checksum": sha1}],
    }
    assert call("ansible.windows.win_copy", **query)["files"] == query["files"]
    put_file(hosts, HOST, "C:\\Windows\\Temp\\source", content)
    single = {"src": "C:\\Windows\\Temp\\source", "dest": ntpath.join(facts, "a.json"), "_original_basename": "a.json"}
    assert "does not exist" in call("ansible.windows.win_copy", **single)["msg"]
    call("ansible.windows.win_file", path=facts, state="directory")
    assert call("ansible.windows.win_copy", **single)["changed"] is True
    assert call("ansible.windows.win_copy", **query)["files"] == []
    assert call("ansible.windows.win_stat", path=f"{facts}\\A.JSON")["stat"]["checksum"] == sha1
    assert base64.b64decode(call("ansible.windows.slurp", src=f"{facts}\\a.json")["content"]) == content
    assert fetch_file(hosts, HOST, f"{facts}\\a.json") == content
    assert call("ansible.windows.setup", fact_path=facts)["ansible_facts"]["ansible_a"] == {"applications": ["7zip"]}


def test_a_root_certificate_is_known_by_its_thumbprint(hosts: Hosts, call: Call, tmp_path: Path) -> None:
    ensure_certificates(tmp_path, "test")
    put_file(hosts, HOST, "C:\\Windows\\Temp\\ca.pem", (tmp_path / "ca.pem").read_bytes())
    arguments = {"path": "C:\\Windows\\Temp\\ca.pem", "store_name": "Root"}
    answer = call("ansible.windows.win_certificate_store", **arguments)
    assert answer["changed"] is True
    assert call("ansible.windows.win_certificate_store", **arguments)["changed"] is False
    seen = call("ansible.windows.win_certificate_info", store_name="Root", thumbprint=answer["thumbprints"][0])
    assert seen["exists"] is True
    put_file(hosts, HOST, "C:\\Windows\\Temp\\ca.pem", b"no certificate")
    assert "Failed to load" in call("ansible.windows.win_certificate_store", **arguments)["msg"]


def test_only_what_the_feed_offers_is_installed(call: Call) -> None:
    answer = call(CHOCOLATEY, name=["7zip", "unheard-of"], source=FEED)
    assert answer["failed"] is True
    assert "unheard-of not installed. The package was not found" in answer["stderr"]
    # The community feed, which comes with Chocolatey, offers nothing here.
    assert "cannot be installed" in call(CHOCOLATEY, name=["7zip"])["msg"]
    call(CHOCOLATEY, name=["chocolatey"], source=FEED)
    assert call(CHOCOLATEY, name=["7zip"])["failed"] is True
    call("chocolatey.chocolatey.win_chocolatey_source", name="depot", source=FEED)
    assert call(CHOCOLATEY, name=["7zip"])["changed"] is True
    facts = call("chocolatey.chocolatey.win_chocolatey_facts", filter=["packages", "sources"])["ansible_facts"]
    assert facts["ansible_chocolatey"]["packages"] == [
        {"package": "chocolatey", "version": "2.4.3"},
        {"package": "7zip", "version": "24.9.0"},
    ]
    assert call(CHOCOLATEY, name=["7zip"], state="absent")["changed"] is True


def test_an_installer_is_taken_by_product_code_and_checksum(call: Call) -> None:
    wanted = {"path": MSI, "product_id": PRODUCT, "checksum_algorithm": "sha256"}
    assert "did not match" in call("ansible.windows.win_package", **wanted, checksum="00")["msg"]
    assert "404" in call("ansible.windows.win_package", **{**wanted, "path": f"{MSI}.old"}, checksum=SHA256)["msg"]
    other = {**wanted, "product_id": "{99999999-2222-3333-4444-555555555555}"}
    assert f"installs the product {PRODUCT}" in call("ansible.windows.win_package", **other, checksum=SHA256)["msg"]
    assert call("ansible.windows.win_package", **wanted, checksum=SHA256)["changed"] is True
    gone = call("ansible.windows.win_package", product_id=PRODUCT, state="absent")
    assert (gone["changed"], gone["rc"]) == (True, 0)


def test_our_printers_come_and_go_and_others_stay(hosts: Hosts, call: Call) -> None:
    with hosts.opened(HOST) as machine:
        machine.printers["Fax"] = {"url": "FAX:", "location": "", "managed": False}
    assert call("ksm_printers", printers=[{"name": "og1", "url": "https://print/og1"}])["added"] == ["og1"]
    answer = call("ksm_printers", printers=[{"name": "og2", "url": "https://print/og2"}])
    assert (answer["added"], answer["removed"]) == (["og2"], ["og1"])
    assert sorted(hosts.read(HOST).printers) == ["Fax", "og2"]
    assert "somebody else" in call("ksm_printers", printers=[{"name": "Fax", "url": "https://print/fax"}])["msg"]
    assert "missing required" in call("ksm_printers", printers=[{"name": "og3"}])["msg"]


@pytest.mark.parametrize(
    ("how", "said", "code"),
    [("installer-busy", "another installation", 1618), ("disk-full", "not enough space", None)],
)
def test_an_installation_that_fails_leaves_nothing(
    hosts: Hosts, call: Call, how: Any, said: str, code: int | None
) -> None:
    call(CHOCOLATEY, name=["chocolatey"], source=FEED)
    hosts.misbehave(HOST, how)
    answer = call(CHOCOLATEY, name=["7zip"], source=FEED)
    assert answer["failed"] is True
    assert said in answer.get("stderr", "") + answer["msg"]
    assert answer.get("rc") == code
    package = call("ansible.windows.win_package", path=MSI, product_id=PRODUCT)
    assert package["failed"] is True
    assert (hosts.read(HOST).chocolatey.packages, hosts.read(HOST).products) == ({"chocolatey": "2.4.3"}, {})
    hosts.misbehave(HOST, None)
    assert call(CHOCOLATEY, name=["7zip"], source=FEED)["changed"] is True


def test_an_installation_may_need_a_restart(hosts: Hosts, call: Call) -> None:
    hosts.misbehave(HOST, "reboot-required")
    answer = call("ansible.windows.win_package", path=MSI, product_id=PRODUCT)
    assert (answer["changed"], answer["rc"], answer["reboot_required"]) == (True, 3010, True)
    assert call("ansible.windows.setup")["ansible_facts"]["ansible_reboot_pending"] is True


def test_a_full_disk_takes_no_file(hosts: Hosts) -> None:
    hosts.misbehave(HOST, "disk-full")
    with pytest.raises(FailedError, match="not enough space"):
        put_file(hosts, HOST, "C:\\Windows\\Temp\\x", b"x")


def test_every_misbehaviour_is_known_and_no_other(hosts: Hosts) -> None:
    for how in MISBEHAVIOURS:
        hosts.misbehave(HOST, how)  # type: ignore[arg-type]
        assert hosts.read(HOST).misbehaviour == how
    with pytest.raises(ValueError, match="misbehaviour"):
        hosts.misbehave(HOST, "sulk")  # type: ignore[arg-type]
    with pytest.raises(OnboardError, match="no simulated Windows host"):
        hosts.misbehave("gra-ws-9999", "offline")


def test_a_script_that_is_not_known_is_refused(hosts: Hosts) -> None:
    code, _, error = exchange(hosts, HOST, *helper_script("psrp_put_file.ps1", {"Path": "C:\\x"}))
    assert code == 1
    assert b"refused: the script psrp_put_file.ps1" in error
