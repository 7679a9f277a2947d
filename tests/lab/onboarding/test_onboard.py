"""Grabow from its declaration to the hand-over protocol, and what can go wrong on the way.

The tests share one onboarded Grabow and put right what they break, in the order of this file.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ksm_onboard.certificates import private_pem, public_pem
from ksm_onboard.lab.certificates import ensure_certificates

from .conftest import CENTRAL, LINUX, WORKSTATIONS, Checkout, address, delete_vm, on_host

pytestmark = pytest.mark.lab


def asked_for(checkout: Checkout, proxy: str, name: str, host: str = "") -> tuple[int, dict[str, str], str]:
    """What a reverse proxy answers to somebody who trusts the data centre's root: status, headers, body."""
    trusting = ssl.create_default_context(cafile=str(checkout.state / "tls" / "ca.pem"))
    link = socket.create_connection((address(proxy), 443), timeout=20)
    with link, trusting.wrap_socket(link, server_hostname=name) as secured:
        secured.sendall(f"GET / HTTP/1.1\r\nHost: {host or name}\r\nConnection: close\r\n\r\n".encode())
        answer = HTTPResponse(secured)
        answer.begin()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read().decode()


class Headings(HTMLParser):
    """Collects the text of a page, and everything it would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [
            value for name, value in attrs if name in ("src", "href") and value and not value.startswith("#")
        ]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_everything_declared_stands_and_the_protocol_says_so(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    assert onboarded["configuration"]["status"] == "finished"
    assert len(onboarded["configuration"]["hosts"]) == 12 + WORKSTATIONS
    assert onboarded["audit"]["differences"] == 0
    assert onboarded["audit"]["points"] > 500
    page = Headings()
    page.feed(Path(onboarded["documents"]["html"]).read_text(encoding="utf-8"))
    text = " ".join(page.text)
    assert page.loads == []
    assert "Übergabeprotokoll" in text
    assert "Simulation" in text
    for name in ("gra-dns01", "gra-file01", "gra-db02", "gra-ws0001", "Brandabschnitt A", "KeePassXC"):
        assert name in text
    written = json.loads(Path(onboarded["documents"]["json"]).read_text(encoding="utf-8"))
    assert written["simulated"] is True
    assert "Traceback" not in onboarded["log"]


def test_every_copy_was_restored_and_the_protocol_proves_it(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    tests = onboarded["restore_tests"]
    assert sorted((test["server"], test["repository"]) for test in tests) == [
        ("gra-db01", "outside"), ("gra-db01", "section-b"), ("gra-db02", "outside"), ("gra-db02", "section-a"),
        ("gra-file01", "outside"), ("gra-file01", "section-b"),
    ]  # fmt: skip
    assert {test["problem"] for test in tests} == {""}
    page = Path(onboarded["documents"]["html"]).read_text(encoding="utf-8")
    assert "Datensicherung und Rücksicherungsprobe" in page
    assert all(test["restored"]["manifest"] in page for test in tests)


def test_a_copy_that_cannot_be_restored_is_a_difference(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    key = "/etc/ssh/backup_keys/bk-gra-file01"
    on_host(checkout, "10.96.81.13", f"sudo mv {key} /root/key")
    try:
        done = checkout.ksm("restore-test", "grabow", "--server", "gra-file01", "--json")
        assert done.returncode == 4, done.stderr
        problems = {test["repository"]: test["problem"] for test in json.loads(done.stdout)}
        assert "does not let this server in" in problems["outside"] and problems["section-b"] == ""
        found = checkout.ksm("verify", "grabow", "--json")
        assert found.returncode == 4
        assert [(d["object"], d["attribute"]) for d in json.loads(found.stdout)["differences"]] == [
            ("gra-file01: data @ outside", "restore_proof")
        ]
    finally:
        on_host(checkout, "10.96.81.13", f"sudo mv /root/key {key}")
    assert checkout.ksm("restore-test", "grabow", "--due").returncode == 0
    assert checkout.ksm("verify", "grabow").returncode == 0


def test_hosts_and_workstations_are_real_machines(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    hosts = checkout.ksm_json("lab", "status")["hosts"]
    assert sorted(host["kind"] for host in hosts) == ["shared"] * 3 + ["vm"] * (12 + CENTRAL) + ["workstation"] * LINUX
    assert on_host(checkout, "10.64.12.21", "hostname; systemctl is-system-running").split() == [
        "gra-file01",
        "running",
    ]
    assert "keepassxc" in on_host(checkout, "10.64.0.21", "dpkg-query -W -f '${Package} ${Status}' keepassxc")


EDGES = ("10.96.1.11", "10.96.1.12")
PORTAL = "portal.grabow.internal"


def test_either_reverse_proxy_publishes_what_is_declared_and_nothing_else(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    for edge in EDGES:
        status, headers, body = asked_for(checkout, edge, PORTAL)
        assert status == 200 and re.match(r"gra-web0[12]\.grabow\.internal", body)
        assert headers["strict-transport-security"] == "max-age=31536000"
        assert "server" not in headers
        assert asked_for(checkout, edge, PORTAL, host="portal.ludwigslust.internal")[0] == 421
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            asked_for(checkout, edge, "gra-app01.grabow.internal")
        with socket.create_connection((address(edge), 80), timeout=20) as link:
            link.sendall(f"GET /x HTTP/1.1\r\nHost: {PORTAL}\r\nConnection: close\r\n\r\n".encode())
            plain = HTTPResponse(link)
            plain.begin()
            assert (plain.status, plain.getheader("Location")) == (308, f"https://{PORTAL}/x")
    # Keys lie where root reads them, and nowhere on the way.
    assert (
        on_host(checkout, EDGES[0], "sudo sh -c 'stat -c %a-%U /etc/haproxy/certificates/*'").split()
        == ["600-root"] * 2
    )
    assert "PRIVATE KEY" not in onboarded["log"]


def test_one_web_server_and_one_reverse_proxy_are_enough(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    on_host(checkout, "10.64.2.11", "sudo systemctl stop nginx")
    on_host(checkout, EDGES[0], "sudo systemctl stop haproxy")
    try:
        until = time.monotonic() + 60
        while (found := asked_for(checkout, EDGES[1], PORTAL))[0] != 200:
            assert time.monotonic() < until, found
        assert found[2].startswith("gra-web02")
        audit = checkout.ksm("verify", "grabow", "--json")
        assert audit.returncode == 4
        differences = {(d["object"], d["attribute"]) for d in json.loads(audit.stdout)["differences"]}
        assert (f"{PORTAL} @ 10.96.1.11", "published") in differences
        assert (f"{PORTAL} @ 10.96.1.12", "published") not in differences
    finally:
        on_host(checkout, EDGES[0], "sudo systemctl start haproxy")
        on_host(checkout, "10.64.2.11", "sudo systemctl start nginx")


RADIUS = ("10.96.0.11", "10.96.0.12")
SWITCH = "10.64.15.31"
WORKPLACE = "10.64.0.21"
OWN = "/tmp/own"
EAPOL_TEST = "/tmp/eapol/usr/bin/eapol_test"


def let_in(
    checkout: Checkout, server: str, *, switch: str = SWITCH, secret: str = "", folder: str = OWN, patience: int = 30
) -> str:
    """The VLAN that a RADIUS server tells a switch for a workplace that is set up as in ``folder``; else what happened.

    eapol_test plays supplicant and switch, on the workplace itself; its secret is one of this lab only.
    """
    secret = secret or (checkout.state / "secrets" / "grabow" / "radius-rathaus").read_text().strip()
    program = f"sudo LD_LIBRARY_PATH=$(echo /tmp/eapol/usr/lib/*-linux-gnu) {EAPOL_TEST} -r0 -t{patience}"
    ends = f"-c {folder}/wired.conf -a {address(server)} -A {address(switch)} -s {secret}"
    said = on_host(checkout, WORKPLACE, f"{program} {ends} 2>&1 || true")
    told = re.search(r"Tunnel-Private-Group-Id\) length=\d+\n\s+Value: ([0-9a-f]+)", said)
    if said.rstrip().endswith("SUCCESS"):
        return bytes.fromhex(told.group(1)).decode() if told else "accepted without a network"
    return "refused" if "code=3 (Access-Reject)" in said else "no answer"


def supplicant(checkout: Checkout, folder: str, name: str, files: dict[str, str] | None = None) -> None:
    """Set a workplace up in ``folder`` that calls itself ``name``, with its own certificate or that in ``files``."""
    proof = "/etc/syslog-ng" if files is None else folder
    settings = {
        "key_mgmt": "IEEE8021X",
        "eap": "TLS",
        "eapol_flags": "0",
        "identity": f'"host/{name}"',
        "ca_cert": '"/etc/syslog-ng/root-ca.pem"',
        "domain_suffix_match": '"ksm.internal"',
        "client_cert": f'"{proof}/machine.pem"',
        "private_key": f'"{proof}/machine.key"',
    }
    lines = "".join(f"  {key}={value}\n" for key, value in settings.items())
    for file, text in {**(files or {}), "wired.conf": f"network={{\n{lines}}}\n"}.items():
        on_host(checkout, WORKPLACE, f"mkdir -p {folder} && cat >{folder}/{file} <<'END'\n{text}END")


def certificate(authority: Path, name: str, days: float = 1, *, of_a_server: bool = False) -> dict[str, str]:
    """A machine's certificate for ``name`` and its key, made by nothing of the toolkit's that decides."""
    signer = x509.load_pem_x509_certificate((authority / "issuing.pem").read_bytes())
    signing = serialization.load_pem_private_key((authority / "issuing.key").read_bytes(), None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if of_a_server else ExtendedKeyUsageOID.CLIENT_AUTH
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    return {"machine.pem": public_pem(made) + public_pem(signer), "machine.key": private_pem(key)}


def test_either_radius_server_lets_a_declared_device_into_its_network(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    # Unpacked, not installed: the workplace stays as it was left.
    fetch = "mkdir /tmp/eapol && cd /tmp/eapol && apt-get -qq download eapoltest libpcsclite1"
    on_host(checkout, WORKPLACE, f"{fetch} && for package in *.deb; do dpkg -x $package .; done")
    supplicant(checkout, OWN, "gra-ws0001.grabow.internal")
    vlan = next(z["vlan"] for z in checkout.ksm_json("plan", "grabow")["member"]["zones"] if z["key"] == "clients")
    assert [let_in(checkout, server) for server in RADIUS] == [str(vlan)] * 2
    on_host(checkout, RADIUS[0], "sudo systemctl stop freeradius")
    try:
        assert [let_in(checkout, server) for server in RADIUS] == ["no answer", str(vlan)]
    finally:
        on_host(checkout, RADIUS[0], "sudo systemctl start freeradius")


def test_nobody_else_is_let_into_a_network(checkout: Checkout, onboarded: dict[str, Any], tmp_path: Path) -> None:
    name, unknown, authority = "gra-ws0001.grabow.internal", "gra-ws0999.grabow.internal", checkout.state / "tls"
    ensure_certificates(tmp_path, "another")
    foreign = {
        "stranger": (name, certificate(tmp_path, name)),
        "expired": (name, certificate(authority, name, days=-1)),
        "server": (name, certificate(authority, name, of_a_server=True)),
        "unknown": (unknown, certificate(authority, unknown)),
        "pretender": (name, certificate(authority, unknown)),
    }
    for kind, (called, files) in foreign.items():
        supplicant(checkout, f"/tmp/{kind}", called, files)
        assert let_in(checkout, RADIUS[1], folder=f"/tmp/{kind}") == "refused", kind
    supplicant(checkout, "/tmp/control", name, certificate(authority, name))
    assert let_in(checkout, RADIUS[1], folder="/tmp/control").isdigit(), "what differs is only what each name says"
    assert let_in(checkout, RADIUS[1], switch="10.64.15.99", patience=5) == "no answer"
    # What the package's example client has.
    assert let_in(checkout, RADIUS[1], secret="testing123", patience=5) == "no answer"


def test_a_second_onboarding_changes_nothing_and_says_so(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    done = checkout.ksm("onboard", "grabow", "--workstations", str(WORKSTATIONS), "--json")
    again = json.loads(done.stdout)
    assert done.returncode == 0
    assert [stack["changes"] for stack in again["stacks"]] == [0, 0]
    assert again["configuration"]["hosts"]
    assert {host["changed"] for host in again["configuration"]["hosts"].values()} == {0}
    assert again["shared_machines"] is None, "no run goes over shared machines that are as they are wanted"
    assert "0 Pulumi changes, 0 Ansible changes" in done.stderr
    assert "build" not in done.stderr


@pytest.mark.parametrize("stack", ["schwerin", "grabow"])
def test_plain_pulumi_sees_no_changes(checkout: Checkout, onboarded: dict[str, Any], stack: str) -> None:
    done = checkout.pulumi("preview", "-s", stack, "--expect-no-changes")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_change_of_what_stands_is_refused_before_anything_is_touched(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    assert checkout.ksm("check", "grabow", "--deployed").returncode == 0
    declaration = checkout.root / "stacks" / "grabow.yaml"
    sound = declaration.read_text(encoding="utf-8")
    moved = "servers:\n  app01: {address: 10.64.10.77}\n  file01: {disks: {data: {size_gib: 20}}}\ndepartments:"
    declaration.write_text(sound.replace("departments:", moved, 1), encoding="utf-8")
    try:
        here = checkout.ksm("check", "grabow", "--deployed", "--json")
        export = checkout.root / "grabow.state.json"
        assert checkout.pulumi("stack", "export", "-s", "grabow", "--file", str(export)).returncode == 0
        elsewhere = checkout.ksm("check", "grabow", "--deployed-state", str(export), "--json", KSM_LAB="another")
    finally:
        declaration.write_text(sound, encoding="utf-8")
    for done in (here, elsewhere):
        assert done.returncode == 3
        assert [f["rule"] for f in json.loads(done.stdout)["findings"]] == ["immutable-changed"] * 2


def test_plain_ansible_works_on_the_inventory(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    done = checkout.run(".venv/bin/ansible-playbook", "-i", "inventories/grabow", "roles/site.yml", "-l", "gra-dns01")
    assert done.returncode == 0, done.stdout[-2000:]
    assert re.search(r"gra-dns01 +: ok=\d+ +changed=0 +unreachable=0 +failed=0", done.stdout)


def test_a_vm_deleted_behind_our_back_is_found_and_brought_back(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    on_host(checkout, "10.64.12.21", "echo Akte | sudo tee /srv/data/verwaltung/akte.txt")
    delete_vm(checkout, "gra-file01")
    found = checkout.ksm("verify", "grabow", "--json")
    assert found.returncode == 4
    missing = [d for d in json.loads(found.stdout)["differences"] if d["kind"] == "missing"]
    assert ("gra-file01", "vm") in [(d["object"], d["attribute"]) for d in missing]
    brought_back = checkout.ksm("up", "grabow")
    assert brought_back.returncode == 0, brought_back.stderr
    configured = checkout.ksm("configure", "grabow", "--limit", "gra-file01")
    assert configured.returncode == 0, configured.stderr
    assert on_host(checkout, "10.64.12.21", "sudo cat /srv/data/verwaltung/akte.txt") == "Akte\n"
    verified = checkout.ksm("verify", "grabow")
    assert verified.returncode == 0, verified.stderr


def test_destroying_stops_at_data_disks(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    done = checkout.pulumi("destroy", "-s", "grabow", "--yes")
    assert done.returncode != 0
    assert "protected" in done.stdout + done.stderr
    assert len(checkout.ksm_json("lab", "status")["hosts"]) == 12 + 3 + CENTRAL + LINUX


def test_destroy_interrupted_up_and_up_again(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    gone = checkout.pulumi("destroy", "-s", "grabow", "--yes", "--exclude-protected")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    checkout.wait_for_hosts(["shared"] * 3 + ["vm"] * CENTRAL + ["workstation"] * LINUX)

    code, output = checkout.interrupted("up", "grabow", until="created VirtualMachine")
    assert code == 130, output
    assert "Traceback" not in output

    completed = checkout.ksm("up", "grabow")
    assert completed.returncode == 0, completed.stderr
    assert checkout.pulumi("preview", "-s", "grabow", "--expect-no-changes").returncode == 0
    checkout.wait_for_hosts(["shared"] * 3 + ["vm"] * (12 + CENTRAL) + ["workstation"] * LINUX)


def test_an_application_whose_package_does_not_exist(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    catalogue = checkout.root / "catalogue" / "zzz-test.yaml"
    declaration = checkout.root / "stacks" / "grabow.yaml"
    before = declaration.read_text(encoding="utf-8")
    catalogue.write_text(
        "domain: zzz-test\napplications:\n"
        "  gibt-es-nicht: {product: Gibt es nicht, vendor: Niemand, job: test, platforms: [linux],"
        " component: client, licence: open-source, packages: {debian: [ksm-no-such-package]}}\n",
        encoding="utf-8",
    )
    try:
        declaration.write_text(before + "\napplications_on: {linux: [gibt-es-nicht]}\n", encoding="utf-8")
        failed = checkout.ksm("configure", "grabow", "--limit", "gra-ws0001", "--tags", "applications")
        assert failed.returncode == 1
        assert "ksm-no-such-package" in failed.stderr
        assert "gra-ws0001" in failed.stderr
        assert "Traceback" not in failed.stderr
    finally:
        catalogue.unlink()
        declaration.write_text(before, encoding="utf-8")


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"server": "127.0.0.1:9"}, "127.0.0.1:9"), ({"password_file": "wrong-password"}, "password")],
)
def test_a_vcenter_that_cannot_be_used(
    checkout: Checkout, onboarded: dict[str, Any], changed: dict[str, str], said: str
) -> None:
    connection = yaml.safe_load((checkout.state / "connection.yaml").read_text())
    connection["vcenter"] |= changed
    (checkout.state / "wrong-password").write_text("not-the-password\n")
    (checkout.state / "wrong.yaml").write_text(yaml.safe_dump(connection))
    for command in ("verify", "up"):
        done = checkout.ksm(command, "grabow", KSM_CONNECTION=str(checkout.state / "wrong.yaml"))
        assert done.returncode == 5, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert "not-the-password" not in done.stderr + done.stdout


def test_no_secret_is_left_lying_about(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    secrets = {(checkout.state / "vcenter-password").read_text().strip()}
    secrets |= {f.read_text().split()[0] for f in (checkout.state / "secrets").rglob("*") if f.is_file()}
    secrets.add((checkout.root / ".state" / "passphrase").read_text().strip())
    assert len(secrets) >= 4
    kept = ("secrets", "vcenter-password", "passphrase")
    for file in checkout.root.rglob("*"):
        if not file.is_file() or file.is_symlink() or ".venv" in file.parts or set(kept) & set(file.parts):
            continue
        content = file.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], f"a secret is in {file}"


def test_status_tells_what_there_is(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    told = checkout.ksm_json("status", "grabow")
    assert told["simulated"] is True
    (grabow,) = told["members"]
    assert grabow["stack"] is True
    assert grabow["audit"]["points"] > 500


def test_nothing_outlives_the_lab(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    done = checkout.ksm("lab", "down")
    assert done.returncode == 0, done.stderr
    assert checkout.ksm_json("lab", "status")["state"] == "down"
    assert f"/run/ksm-onboard/{'test'}/" not in Path("/proc/mounts").read_text()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        assert str(checkout.root).encode() not in command, command
    after = checkout.ksm("verify", "grabow")
    assert after.returncode == 5
    assert "lab up" in after.stderr
