"""The inventory: what stands in it, that it is always the same, and that Ansible reads it as it is meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ksm_onboard.certificates import ServiceCertificate
from ksm_onboard.configuring.inventory import (
    KNOWN_HOSTS,
    NOT_IN_LAB,
    DepotSource,
    Files,
    render_inventory,
    render_platform_inventory,
    write_inventory,
)
from ksm_onboard.connection import Connection
from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[3]
SNAPSHOT = Path(__file__).parent / "snapshots" / "grabow.txt"
GRABOW = Declarations(Project(ROOT)).plan("grabow")
_OWN = Declarations(Project(ROOT)).own_plan()
assert _OWN is not None
OWN = _OWN
WORKSTATIONS = [w.name for w in GRABOW.member.workstations if w.platform == "linux"]
REPOSITORIES = {server.name: f"ssh-ed25519 AAAA{server.name[-2:]}" for server in GRABOW.platform.shared_servers}
QUBA = "quba-viewer"
DEPOTS = ("sn-depot01", "sn-depot02")
RESOLVERS = {"sn-core01": "ssh-ed25519 AAAACORE1", "sn-core02": "ssh-ed25519 AAAACORE2"}
PROXIES = {"sn-edge01": "ssh-ed25519 AAAAEDGE1", "sn-edge02": "ssh-ed25519 AAAAEDGE2"}
CONTROLLERS = {"sn-dc01": "ssh-ed25519 AAAADC1", "sn-dc02": "ssh-ed25519 AAAADC2"}
MONITORING = {"sn-ops01": "ssh-ed25519 AAAAOPS1", "sn-ops02": "ssh-ed25519 AAAAOPS2"}
CENTRAL = {**RESOLVERS, **CONTROLLERS, **MONITORING, **PROXIES}
KEYS = {"gra-dns01": "ssh-ed25519 AAAADNS", "gra-ws0001": "ssh-ed25519 AAAAWS\n", **REPOSITORIES, **CENTRAL}
DEPOT = DepotSource(Path("/state/depot/publications/20260101T000000Z-0a"), Path("/state/depot/key/public.gpg"))
CERTIFICATE = ServiceCertificate(Path("/state/certificates/portal.pem"), Path("/state/certificates/portal.key"))
SECRETS = Path("/state/secrets/schwerin")
CERTIFICATES = Path("/state/certificates/machines")


def render(plan: Plan, connection: Connection, outputs: Mapping[str, Any], **changes: Any) -> Files:
    arguments: dict[str, Any] = {
        "outputs": outputs,
        "host_keys": KEYS,
        "secrets": Path("/state/secrets/grabow"),
        "certificate": CERTIFICATE,
        "depot": DEPOT,
    }
    return render_inventory(plan, connection, machine_certificates=CERTIFICATES, **(arguments | changes))


def make_connection(loopback_shift: int | None, port: int = 22) -> Connection:
    return Connection.model_validate(
        {
            "name": "lab",
            "simulated": loopback_shift is not None,
            "vcenter": {"server": "127.0.0.1:8989", "user": "svc@vsphere.local", "password_file": "/state/password"},
            "guests": {"private_key_file": "/state/ssh/ops", "port": port, "loopback_shift": loopback_shift},
            "trust": {"root_ca_file": "/state/tls/ca.pem"},
        }
    )


@pytest.fixture
def lab() -> Connection:
    return make_connection(loopback_shift=0)


@pytest.fixture
def outputs(plan: Plan) -> Mapping[str, Any]:
    """What the stack reports when everything was provisioned as planned."""
    return {"servers": {s.name: {"id": "vm-1", "address": str(s.address)} for s in plan.member.servers}}


def as_text(files: Files) -> str:
    return "".join(f"=== {name}\n{text}" for name, text in files.items())


def hosts(files: Files) -> dict[str, Any]:
    return dict(yaml.safe_load(files["hosts.yml"])["all"]["children"])


def test_grabow_is_rendered_as_recorded(plan: Plan, lab: Connection, outputs: Mapping[str, Any]) -> None:
    """KSM_UPDATE_SNAPSHOTS=1 records it anew; look at the difference before committing it."""
    text = as_text(render(plan, lab, outputs, workstations=["gra-ws0001", "gra-ws0049"]))
    if os.environ.get("KSM_UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text()


def test_hosts_of_a_real_data_centre_are_reached_at_their_own_addresses(plan: Plan, outputs: Mapping[str, Any]) -> None:
    files = render(plan, make_connection(loopback_shift=None, port=2222), outputs)
    assert hosts(files)["servers"]["children"]["dns_servers"]["hosts"]["gra-dns01"] == {"ansible_host": "10.64.12.11"}
    assert hosts(files)[NOT_IN_LAB] == {"hosts": {}}
    assert "127.0.0.0/8" not in as_text(files)
    assert "[10.64.12.11]:2222 ssh-ed25519 AAAADNS\n" in files[KNOWN_HOSTS]


def test_only_published_keys_are_trusted(plan: Plan, lab: Connection, outputs: Mapping[str, Any]) -> None:
    files = render(plan, lab, outputs)
    assert files[KNOWN_HOSTS].splitlines() == [
        "127.64.12.11 ssh-ed25519 AAAADNS",
        "127.64.0.21 ssh-ed25519 AAAAWS",
        *(f"127.96.81.1{n} ssh-ed25519 AAAA0{n}" for n in (1, 2, 3)),
        *(f"127.96.0.1{n} ssh-ed25519 AAAACORE{n}" for n in (1, 2)),
        *(f"127.96.0.2{n} ssh-ed25519 AAAADC{n}" for n in (1, 2)),
        *(f"127.96.0.3{n} ssh-ed25519 AAAAOPS{n}" for n in (1, 2)),
        *(f"127.96.1.1{n} ssh-ed25519 AAAAEDGE{n}" for n in (1, 2)),
    ]
    assert "StrictHostKeyChecking=yes" in yaml.safe_load(files["group_vars/all.yml"])["ansible_ssh_common_args"]


@settings(deadline=None, max_examples=25)
@given(st.sets(st.sampled_from(WORKSTATIONS)))
def test_every_workplace_is_either_targeted_or_named_as_absent(present: set[str]) -> None:
    outputs = {"servers": {s.name: {"address": str(s.address)} for s in GRABOW.member.servers}}
    files = render(GRABOW, make_connection(loopback_shift=0), outputs, workstations=present)
    groups = hosts(files)
    assert set(groups["workstations"]["hosts"]) == present
    assert set(groups[NOT_IN_LAB]["hosts"]) == set(WORKSTATIONS) - present
    elsewhere = {name for key, group in groups.items() if key != NOT_IN_LAB for name in group.get("hosts", {})}
    assert not elsewhere & (set(WORKSTATIONS) - present)
    assert {name for name in files if name.startswith("host_vars/gra-ws")} == {f"host_vars/{n}.yml" for n in present}
    assert as_text(files) == as_text(
        render(GRABOW, make_connection(loopback_shift=0), outputs, workstations=sorted(present, reverse=True))
    )


def test_what_was_not_provisioned_is_named_all_at_once(plan: Plan, lab: Connection, outputs: Mapping[str, Any]) -> None:
    servers = dict(outputs["servers"])
    del servers["gra-db02"]
    servers["gra-file01"] = {"address": "10.64.12.99"}
    with pytest.raises(NotReadyError) as caught:
        render(plan, lab, {"servers": servers})
    assert "gra-db02: not provisioned" in str(caught.value)
    assert "gra-file01: planned at 10.64.12.21, provisioned at 10.64.12.99" in str(caught.value)
    assert "ksm-onboard up grabow" in str(caught.value.hint)


def test_backups_need_repositories_whose_host_keys_are_known(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    with pytest.raises(NotReadyError) as caught:
        render(plan, lab, outputs, host_keys={})
    assert "sn-backup01, sn-backup02, sn-backup03" in str(caught.value)
    assert "ksm-onboard configure schwerin" in str(caught.value.hint)


def test_a_disk_that_is_not_backed_up_stops_its_timer_and_asks_nobody(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    none = [b.model_copy(update={"backup_class": None, "copies": ()}) for b in plan.member.backups]
    bare = plan.model_copy(update={"member": plan.member.model_copy(update={"backups": tuple(none)})})
    files = render(bare, lab, outputs, host_keys=CENTRAL)
    variables = yaml.safe_load(files["host_vars/gra-file01.yml"])
    assert variables["backup_client_sources"] == [] and variables["backup_client_repositories"] == []
    assert hosts(files)["backup_repositories"] == {"hosts": {}}


def test_the_shared_machines_have_an_inventory_of_their_own_that_knows_no_member(lab: Connection) -> None:
    keys = {name: key for name, key in REPOSITORIES.items() if name != "sn-backup01"}
    files = render_platform_inventory(
        GRABOW.platform, None, lab, outputs={}, host_keys=keys, secrets=SECRETS, machine_certificates=CERTIFICATES
    )
    assert hosts(files)["servers"]["children"]["backup_servers"]["hosts"] == {
        "sn-backup02": {"ansible_host": "127.96.81.12"},
        "sn-backup03": {"ansible_host": "127.96.81.13"},
    }
    assert yaml.safe_load(files["host_vars/sn-backup03.yml"])["server_baseline_data_mounts"] == ["/srv/backup"]
    assert "gra" not in as_text(files)
    real = make_connection(loopback_shift=None)
    everywhere = render_platform_inventory(
        GRABOW.platform, None, real, outputs={}, host_keys={}, secrets=SECRETS, machine_certificates=CERTIFICATES
    )
    assert set(hosts(everywhere)["servers"]["children"]["backup_servers"]["hosts"]) == set(REPOSITORIES)


def test_one_name_server_makes_the_member_known_to_every_central_resolver(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    files = render(plan, lab, outputs)
    assert set(hosts(files)["central_servers"]["hosts"]) == set(CENTRAL)
    telling = yaml.safe_load(files["host_vars/gra-dns01.yml"])
    assert telling["central_registration_resolvers"] == list(RESOLVERS)
    assert telling["central_registration_name_servers"] == ["127.64.12.11", "127.64.12.12"]
    assert {"grabow.internal", "12.64.10.in-addr.arpa"} <= set(telling["central_registration_zones"])
    assert telling["central_registration_monitoring"] == list(MONITORING)
    watched = {target["targets"][0]: target["labels"] for target in telling["central_registration_targets"]}
    assert watched["127.64.12.21:9100"]["instance"] == "gra-file01.grabow.internal"
    assert {labels["member"] for labels in watched.values()} == {"grabow"}
    others = [name for name, text in files.items() if "central_registration" in text]
    assert others == ["host_vars/gra-dns01.yml"]


def test_what_a_member_publishes_its_own_run_hands_to_every_reverse_proxy(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    files = render(plan, lab, outputs)
    telling = yaml.safe_load(files["host_vars/gra-dns01.yml"])
    assert telling["central_registration_proxies"] == list(PROXIES)
    assert telling["central_registration_published"] == [
        {
            "name": "portal.grabow.internal",
            "port": 80,
            "health": "/",
            "servers": [
                {"name": "gra-web01", "address": "127.64.2.11"},
                {"name": "gra-web02", "address": "127.64.2.12"},
            ],
        }
    ]
    assert telling["central_registration_private_key_file"] == str(CERTIFICATE.key)
    names = yaml.safe_load(files["group_vars/dns_servers.yml"])
    assert names["dns_server_aliases"] == [
        {"name": "portal.grabow.internal", "addresses": ["10.96.1.11", "10.96.1.12"]}
    ]


def test_every_radius_server_is_told_the_members_switches_and_its_workplaces_networks(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    files = render(plan, lab, outputs)
    telling = yaml.safe_load(files["host_vars/gra-dns01.yml"])
    assert telling["central_registration_radius_servers"] == ["sn-core01", "sn-core02"]
    assert telling["central_registration_switches"] == [
        {"name": "rathaus", "address": "127.64.15.31"},
        {"name": "bauhof", "address": "127.64.15.32"},
    ]
    [clients] = telling["central_registration_devices"]
    assert clients["vlan"] == next(zone.vlan for zone in plan.member.zones if zone.key == "clients")
    assert clients["names"] == sorted(w.fqdn for w in plan.member.workstations)
    assert not any("secret:" in text for text in files.values())
    without = plan.model_copy(update={"member": plan.member.model_copy(update={"switches": ()})})
    nothing = yaml.safe_load(render(without, lab, outputs)["host_vars/gra-dns01.yml"])
    assert nothing["central_registration_switches"] == nothing["central_registration_devices"] == []


def test_who_publishes_nothing_has_what_was_published_taken_away_where_proxies_stand(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    silent = plan.model_copy(update={"member": plan.member.model_copy(update={"published": ()})})
    telling = yaml.safe_load(render(silent, lab, outputs, certificate=None)["host_vars/gra-dns01.yml"])
    assert telling["central_registration_published"] == []
    assert telling["central_registration_proxies"] == list(PROXIES)
    assert "central_registration_private_key_file" not in telling
    keys = {name: key for name, key in KEYS.items() if name not in PROXIES}
    without = yaml.safe_load(render(silent, lab, outputs, certificate=None, host_keys=keys)["host_vars/gra-dns01.yml"])
    assert "central_registration_proxies" not in without
    with pytest.raises(NotReadyError, match="sn-edge01, sn-edge02"):
        render(plan, lab, outputs, host_keys=keys)


def test_a_name_outside_the_members_domain_is_forwarded_to_its_name_servers_too(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    public = plan.member.published[0].model_copy(update={"name": "www.example.org"})
    outside = plan.model_copy(update={"member": plan.member.model_copy(update={"published": (public,)})})
    telling = yaml.safe_load(render(outside, lab, outputs)["host_vars/gra-dns01.yml"])
    assert "www.example.org" in telling["central_registration_zones"]


def test_resolvers_that_cannot_be_logged_in_to_are_named(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    with pytest.raises(NotReadyError, match="sn-core02") as refused:
        render(plan, lab, outputs, host_keys={name: key for name, key in KEYS.items() if name != "sn-core02"})
    assert "ksm-onboard configure schwerin" in (refused.value.hint or "")


def test_the_platforms_vms_are_in_a_group_per_role(lab: Connection) -> None:
    keys = {name: f"ssh-ed25519 AAAA{name[-2:]}" for name in (*CENTRAL, *REPOSITORIES)}
    machines = {"servers": {s.name: {"address": str(s.address)} for s in OWN.member.servers}}
    files = render_platform_inventory(
        OWN.platform,
        OWN,
        lab,
        outputs={"machines": machines},
        host_keys=keys,
        secrets=SECRETS,
        machine_certificates=CERTIFICATES,
    )
    for group in ("resolver_servers", "time_servers", "radius_servers"):
        assert hosts(files)["servers"]["children"][group]["hosts"] == {
            "sn-core01": {"ansible_host": "127.96.0.11"},
            "sn-core02": {"ansible_host": "127.96.0.12"},
        }
    resolvers = yaml.safe_load(files["group_vars/resolver_servers.yml"])
    assert resolvers["dns_server_name_servers"] == ["sn-core01.ksm.internal", "sn-core02.ksm.internal"]
    assert {"name": "sn-backup01.ksm.internal", "address": "10.96.81.11"} in resolvers["dns_server_records"]
    assert "10.64.0.0/12" in resolvers["dns_server_allowed_clients"]
    everybody = yaml.safe_load(files["group_vars/all.yml"])["machine_baseline_ntp_servers"]
    assert everybody == ["sn-core01.ksm.internal", "sn-core02.ksm.internal"]
    assert "gra" not in as_text(files)


def test_depots_get_the_publication_and_each_its_own_certificate(lab: Connection) -> None:
    machines = {"servers": {s.name: {"address": str(s.address)} for s in OWN.member.servers}}
    chain = ServiceCertificate(Path("/state/depot01.pem"), Path("/state/depot01.key"))
    depot = replace(DEPOT, certificates={"sn-depot01": chain})
    files = render_platform_inventory(
        OWN.platform,
        OWN,
        lab,
        outputs={"machines": machines},
        host_keys=dict.fromkeys(DEPOTS, "key"),
        secrets=SECRETS,
        machine_certificates=CERTIFICATES,
        depot=depot,
    )
    assert list(hosts(files)["servers"]["children"]["depot_servers"]["hosts"]) == list(DEPOTS)
    served = yaml.safe_load(files["group_vars/depot_servers.yml"])
    assert served["software_depot_publication"] == str(DEPOT.publication)
    assert served["software_depot_signing_key_file"] == str(DEPOT.signing_key)
    own = [yaml.safe_load(files[f"host_vars/{name}.yml"]) for name in DEPOTS]
    assert own[0]["software_depot_private_key_file"] == "/state/depot01.key"
    assert "software_depot_private_key_file" not in own[1]


def test_machines_ask_the_depot_of_their_own_section_first_and_know_none_without_need(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    servers = tuple(s.model_copy(update={"applications": (*s.applications, QUBA)}) for s in plan.member.servers)
    more = plan.model_copy(update={"member": plan.member.model_copy(update={"servers": servers})})
    first = {"A": "127.96.0.41", "B": "127.96.0.42"}
    files = render(more, lab, outputs, workstations=WORKSTATIONS)
    names = (*(server.name for server in servers), *WORKSTATIONS)
    told = {name: yaml.safe_load(files[f"host_vars/{name}.yml"]) for name in names}
    for server in servers:
        assert told[server.name]["depot_client_depots"][0] == first[server.section]
    asked_first = Counter(told[name]["depot_client_depots"][0] for name in WORKSTATIONS)
    assert asked_first == {"127.96.0.41": 9, "127.96.0.42": 9}
    assert all(set(variables["depot_client_depots"]) == set(first.values()) for variables in told.values())
    [quba] = told["gra-ws0001"]["depot_client_applications"]
    assert quba["packages"] == ["ksm-standin-quba-viewer"]
    assert quba["product"].endswith("(unter Linux nur ein Platzhalter)")
    without = render(plan, lab, outputs)
    assert "depot_client_depots" not in yaml.safe_load(without["host_vars/gra-file01.yml"])
    assert "depot_client" not in as_text(render(plan, lab, outputs, depot=None))


def test_machines_log_in_at_the_directory_unless_their_zone_is_apart(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    files = render(plan, lab, outputs)
    assert plan.member.directory is not None
    present = {
        name for name in plan.member.directory.machines if name.startswith("gra-ws") or name in outputs["servers"]
    }
    assert set(hosts(files)["directory_clients"]["hosts"]) == present
    states = {
        name: yaml.safe_load(files[f"host_vars/{name}.yml"])["directory_client_state"]
        for name in ("gra-file01", "gra-web01", WORKSTATIONS[0])
    }
    assert states == {"gra-file01": "joined", "gra-web01": "left", WORKSTATIONS[0]: "joined"}
    everywhere = yaml.safe_load(files["group_vars/all.yml"])
    assert everywhere["directory_client_controllers"] == [
        {"name": "sn-dc01", "address": "127.96.0.21"},
        {"name": "sn-dc02", "address": "127.96.0.22"},
    ]
    assert everywhere["directory_client_allowed_groups"] == ["gra-users", "ksm-workplace-support"]


def test_controllers_have_certificates_and_backups_and_answer_for_their_names(lab: Connection) -> None:
    machines = {"servers": {s.name: {"address": str(s.address)} for s in OWN.member.servers}}
    signed = {name: ServiceCertificate(Path(f"/state/{name}.pem"), Path(f"/state/{name}.key")) for name in CONTROLLERS}
    keys = {**CONTROLLERS, **RESOLVERS, **REPOSITORIES}
    files = render_platform_inventory(
        OWN.platform,
        OWN,
        lab,
        outputs={"machines": machines},
        host_keys=keys,
        secrets=SECRETS,
        machine_certificates=CERTIFICATES,
        certificates=signed,
    )
    first = yaml.safe_load(files["host_vars/sn-dc01.yml"])
    assert first["directory_server_certificate_key_file"] == "/state/sn-dc01.key"
    assert first["directory_server_dump"] == "/srv/directory/ksm-backup/current/domain.tar.bz2"
    [source] = first["backup_client_sources"]
    assert (source["kind"], source["repositories"]) == ("directory", ["section-b", "outside"])
    resolvers = yaml.safe_load(files["group_vars/resolver_servers.yml"])
    assert resolvers["dns_server_delegated_zones"] == [
        {"zone": "ad.ksm.internal", "name_servers": ["127.96.0.21", "127.96.0.22"]}
    ]
    assert "directory_server_certificate_file" not in files["host_vars/sn-core01.yml"]
    del keys["sn-backup03"]
    with pytest.raises(NotReadyError, match="sn-backup03"):
        render_platform_inventory(
            OWN.platform,
            OWN,
            lab,
            outputs={"machines": machines},
            host_keys=keys,
            secrets=SECRETS,
            machine_certificates=CERTIFICATES,
        )


def test_central_services_ask_the_world_only_from_a_real_data_centre(lab: Connection) -> None:
    baseline = OWN.platform.baseline.model_copy(update={"upstream_dns": (IPv4Address("192.0.2.53"),)})
    platform = OWN.platform.model_copy(update={"baseline": baseline})
    machines = {"servers": {s.name: {"address": str(s.address)} for s in OWN.member.servers}}
    asked = []
    for connection in (lab, make_connection(loopback_shift=None)):
        files = render_platform_inventory(
            platform,
            OWN,
            connection,
            outputs={"machines": machines},
            host_keys=REPOSITORIES,
            secrets=SECRETS,
            machine_certificates=CERTIFICATES,
        )
        time = yaml.safe_load(files["group_vars/time_servers.yml"])
        names = yaml.safe_load(files["group_vars/resolver_servers.yml"])
        asked.append((time["machine_baseline_ntp_servers"], names["dns_server_forwarders"]))
    [nobody, world] = asked
    assert nobody == ([], [])
    assert world == (["ptbtime1.ptb.de", "ptbtime2.ptb.de", "ptbtime3.ptb.de"], ["192.0.2.53"])


def test_vms_of_the_platform_that_do_not_stand_are_not_configured(lab: Connection) -> None:
    elsewhere = {"servers": {"sn-core01": {"address": "10.96.0.99"}}}
    with pytest.raises(NotReadyError, match=r"sn-core01: planned at 10\.96\.0\.11, provisioned at 10\.96") as refused:
        render_platform_inventory(
            OWN.platform,
            OWN,
            lab,
            outputs={"machines": elsewhere},
            host_keys={},
            secrets=SECRETS,
            machine_certificates=CERTIFICATES,
        )
    assert "sn-core02: not provisioned" in str(refused.value)


def test_a_pair_without_databases_still_has_a_primary(plan: Plan, lab: Connection, outputs: Mapping[str, Any]) -> None:
    bare = plan.model_copy(update={"member": plan.member.model_copy(update={"databases": ()})})
    files = render(bare, lab, outputs)
    for name in ("gra-db01", "gra-db02"):
        variables = yaml.safe_load(files[f"host_vars/{name}.yml"])
        assert variables["database_server_primary"] == "gra-db01"
        assert variables["database_server_standbys"] == ["gra-db02"]


def test_writing_replaces_everything_and_then_touches_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path)
    stale = project.inventories / "grabow" / "host_vars" / "old.yml"
    stale.parent.mkdir(parents=True)
    stale.write_text("x: 1\n")
    (project.inventories / ".grabow.killed").mkdir()
    files = {"group_vars/all.yml": "a: 1\n", "hosts.yml": "all: {}\n"}
    assert write_inventory(project, "grabow", files)
    assert [p.name for p in project.inventories.iterdir()] == ["grabow"]
    assert not stale.exists()
    before = (project.inventories / "grabow").stat().st_ino
    assert not write_inventory(project, "grabow", files)
    assert (project.inventories / "grabow").stat().st_ino == before


def test_ansible_reads_it_as_it_is_meant(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    write_inventory(Project(folder), "grabow", render(plan, lab, outputs, workstations=["gra-ws0001"]))
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\n")
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", "inventories/grabow", "--list"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ANSIBLE_CONFIG": str(config)},
    )
    assert not done.stderr.strip(), "Ansible warns about the inventory"
    listed = json.loads(done.stdout)
    variables = listed["_meta"]["hostvars"]
    assert set(listed["servers"]["children"]) >= {"dns_servers", "file_servers", "print_servers", "database_servers"}
    assert listed["database_servers"]["hosts"] == ["gra-db01", "gra-db02"]
    assert listed["department_buergerbuero"]["hosts"] == ["gra-ws0001"]
    assert len(listed[NOT_IN_LAB]["hosts"]) == len(WORKSTATIONS) - 1
    assert [share["name"] for share in variables["gra-file01"]["file_server_shares"]] == [
        "verwaltung",
        "kaemmerei",
        "bauamt",
    ]
    assert variables["gra-db02"]["database_server_primary_address"] == "127.64.11.11"
    assert [a["key"] for a in variables["gra-ws0001"]["applications_wanted"]] == [
        "7zip", "ausweisapp", "emra-mv", "firefox-esr", "kartenleser-treiber-linux", "keepassxc", "libreoffice",
        "mv-serviceportal", "quba-viewer",
    ]  # fmt: skip


WINDOWS_WORKPLACE = next(w.name for w in GRABOW.member.workstations if w.platform == "windows")


@pytest.mark.parametrize("transport", ["psrp", "ssh"])
def test_windows_workplaces_of_a_real_data_centre_are_reached_without_a_secret_in_the_inventory(
    plan: Plan, outputs: Mapping[str, Any], transport: str
) -> None:
    windows = {"transport": transport, "password_file": "/secret/file"}
    known = make_connection(loopback_shift=None).model_dump() | {"windows": windows}
    connection = Connection.model_validate(known)
    files = render(
        GRABOW, connection, {"servers": {s.name: {"address": str(s.address)} for s in GRABOW.member.servers}}
    )
    assert WINDOWS_WORKPLACE in hosts(files)["windows_workstations"]["hosts"]
    assert WINDOWS_WORKPLACE not in hosts(files)["workstations"]["hosts"]
    variables = yaml.safe_load(files["group_vars/windows_workstations.yml"])
    assert variables["ansible_connection"] == transport
    assert (
        variables["ansible_port"]
        == variables["windows_workstation_management_port"]
        == {"psrp": 5986, "ssh": 22}[transport]
    )
    assert "ksm_simulated_windows_folder" not in variables
    if transport == "psrp":
        assert variables["ansible_psrp_cert_validation"] == "validate"
        assert variables["ansible_password"] == "{{ lookup('ansible.builtin.file', '/secret/file') }}"
    wanted = yaml.safe_load(files[f"host_vars/{WINDOWS_WORKPLACE}.yml"])["windows_applications_wanted"]
    assert {"key", "product", "entry", "package"} <= set(next(a for a in wanted if a["key"] == "firefox-esr"))


def test_windows_workplaces_of_the_lab_are_simulated(plan: Plan) -> None:
    known = make_connection(loopback_shift=0).model_dump() | {"windows": {}}
    outputs = {"servers": {s.name: {"address": str(s.address)} for s in GRABOW.member.servers}}
    files = render(GRABOW, Connection.model_validate(known), outputs, workstations=[WINDOWS_WORKPLACE])
    variables = yaml.safe_load(files["group_vars/windows_workstations.yml"])
    assert variables["ansible_connection"] == "ksm_simulated_windows"
    assert variables["ksm_simulated_windows_folder"] == "/state/windows"
    assert list(hosts(files)["windows_workstations"]["hosts"]) == [WINDOWS_WORKPLACE]


def test_a_member_without_name_servers_is_watched_all_the_same(
    plan: Plan, lab: Connection, outputs: Mapping[str, Any]
) -> None:
    without = tuple(server for server in plan.member.servers if server.role != "dns")
    bare = plan.model_copy(update={"member": plan.member.model_copy(update={"servers": without})})
    files = render(bare, lab, outputs)
    [told] = [yaml.safe_load(text) for text in files.values() if "central_registration" in text]
    assert told["central_registration_monitoring"] == list(MONITORING)
    assert "central_registration_resolvers" not in told
    assert set(hosts(files)["central_servers"]["hosts"]) == {*CONTROLLERS, *MONITORING, *PROXIES, *RESOLVERS}


def test_collectors_and_monitoring_know_no_member_and_where_each_others_are(lab: Connection) -> None:
    machines = {"servers": {s.name: {"address": str(s.address)} for s in OWN.member.servers}}
    files = render_platform_inventory(
        OWN.platform,
        OWN,
        lab,
        outputs={"machines": machines},
        host_keys={**CENTRAL, **REPOSITORIES},
        secrets=SECRETS,
        machine_certificates=CERTIFICATES,
    )
    monitoring = yaml.safe_load(files["group_vars/monitoring_servers.yml"])
    assert [m["address"] for m in monitoring["monitoring_server_machines"]] == ["127.96.0.31", "127.96.0.32"]
    assert monitoring["monitoring_server_backup_rpo_hours"] == [1, 4, 24]
    watched = {target["labels"]["instance"] for target in monitoring["monitoring_server_targets"]}
    assert {"sn-ops02.ksm.internal", "sn-core01.ksm.internal", "sn-backup03.ksm.internal"} <= watched
    collectors = yaml.safe_load(files["group_vars/log_collectors.yml"])
    assert collectors["log_collector_retention_days"] == OWN.platform.baseline.log_retention_days
    everybody = yaml.safe_load(files["group_vars/all.yml"])
    assert everybody["machine_baseline_certificate_key_file"].startswith(f"{CERTIFICATES}/")
    assert "gra" not in as_text(files)
