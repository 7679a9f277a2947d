"""The central log collectors and the monitoring, as an onboarded member's machines and strangers meet them.

Asked from outside: over TLS with certificates, and by looking into the collectors' folders. What is broken is mended.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.certificates import (
    MachineIdentity,
    ensure_machine_certificates,
    ensure_service_certificate,
    machine_certificates_dir,
)
from ksm_onboard.connection import load_connection
from ksm_onboard.project import Project

from .conftest import Checkout, address, on_host

pytestmark = pytest.mark.lab

OPS = {"sn-ops01": "10.96.0.31", "sn-ops02": "10.96.0.32"}
FILE01 = ("gra-file01.grabow.internal", "10.64.12.21")
WORKPLACE = ("gra-ws0001.grabow.internal", "10.64.0.21")
WITHOUT_OWNER = "_without_owner"
"""Where collectors keep what came together with the end of a handshake: whose it is, syslog-ng does not tell then."""
PATIENCE_SECONDS = 300
"""Nothing is measured by it: it only ends a test that would wait for ever."""


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(1)


def folders_with(checkout: Checkout, collector: str, text: str) -> list[str]:
    """Where ``text`` stands on a collector: member/machine, or WITHOUT_OWNER."""
    # sudo logs the search, which arrives there as well: so it must not match itself.
    pattern = f"'[{text[0]}]{text[1:]}'"
    found = on_host(checkout, OPS[collector], f"sudo grep --recursive --files-with-matches {pattern} /srv/logs || true")
    folders = {"/".join(line.split("/")[3:5]) for line in found.splitlines()}
    return sorted(WITHOUT_OWNER if folder.startswith(WITHOUT_OWNER) else folder for folder in folders)


def has_arrived(checkout: Checkout, collector: str, text: str, machine: str) -> Callable[[], bool]:
    return lambda: folders_with(checkout, collector, text) == [f"grabow/{machine}"]


@contextmanager
def stopped(checkout: Checkout, declared: str, unit: str) -> Iterator[None]:
    on_host(checkout, declared, f"sudo systemctl stop {unit}")
    try:
        yield
    finally:
        on_host(checkout, declared, f"sudo systemctl start {unit}")


@pytest.mark.parametrize(("machine", "declared"), [FILE01, WORKPLACE])
def test_what_a_machine_logs_arrives_at_both_collectors_under_its_member(
    checkout: Checkout, onboarded: dict[str, Any], machine: str, declared: str
) -> None:
    text = secrets.token_hex(8)
    on_host(checkout, declared, f"logger {text}")
    for collector in OPS:
        until(f"{text} of {machine} at {collector}", has_arrived(checkout, collector, text, machine))


def test_nothing_is_lost_while_a_collector_is_away(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    texts = [secrets.token_hex(8) for _ in range(3)]
    machine, declared = FILE01
    with stopped(checkout, OPS["sn-ops02"], "ksm-log-collector"):
        for text in texts:
            on_host(checkout, declared, f"logger {text}")
            until("the other collector has it", has_arrived(checkout, "sn-ops01", text, machine))
            assert folders_with(checkout, "sn-ops02", text) == []
    for text in texts:
        until("it is made up for", lambda t=text: folders_with(checkout, "sn-ops02", t) != [])  # type: ignore[misc]
        assert folders_with(checkout, "sn-ops02", text) in ([f"grabow/{machine}"], [WITHOUT_OWNER])


def test_only_auditors_read_what_was_collected(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    kinds = on_host(checkout, OPS["sn-ops01"], "sudo find /srv/logs/grabow -printf '%y %m %u %g\\n' | sort -u")
    assert kinds.splitlines() == ["d 750 log-collector log-auditors", "f 640 log-collector log-auditors"]
    assert on_host(checkout, OPS["sn-ops01"], "ls /srv/logs 2>/dev/null || echo refused").strip() == "refused"


def test_a_file_whose_time_is_over_is_deleted_and_no_other(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    folder = f"/srv/logs/grabow/{FILE01[0]}"
    on_host(checkout, OPS["sn-ops01"], f"sudo touch -d '91 days ago' {folder}/old.log")
    on_host(checkout, OPS["sn-ops01"], f"sudo touch -d '89 days ago' {folder}/young.log")
    on_host(checkout, OPS["sn-ops01"], "sudo systemd-tmpfiles --clean")
    left = on_host(checkout, OPS["sn-ops01"], f"sudo ls {folder}").split()
    assert "old.log" not in left and "young.log" in left and len(left) > 1
    on_host(checkout, OPS["sn-ops01"], f"sudo rm {folder}/young.log")


# --- strangers ----------------------------------------------------------------------------


def certificate_of(checkout: Checkout, member: str, name: str) -> Path:
    """The certificate of a machine of ``member``, as the toolkit itself makes it."""
    project, connection = Project(checkout.root), load_connection(checkout.state / "connection.yaml")
    ensure_machine_certificates(project, connection, [MachineIdentity(member, name, ())])
    return machine_certificates_dir(project, connection) / f"{name}.pem"


def trusting(checkout: Checkout, certificate: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(checkout.state / "tls" / "ca.pem"))
    if certificate is not None:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def send(checkout: Checkout, collector: str, certificate: Path | None, line: str) -> None:
    """One line (RFC 5425) as a stranger would send it, who says to be gra-file01. Raises OSError if that ends it."""
    message = f"<13>1 2026-01-01T00:00:00Z {FILE01[0]} app - - - {line}".encode()
    where = (address(OPS[collector]), 6514)
    context = trusting(checkout, certificate)
    # In TLS 1.3 whoever is refused learns it only when reading, and a collector never says anything.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(where, timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=where[0]) as link,
    ):
        link.sendall(b"%d %s" % (len(message), message))


def test_another_members_machine_writes_into_its_own_members_folder_only(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    other, text = "lwl-evil01.ludwigslust.internal", secrets.token_hex(8)
    certificate = certificate_of(checkout, "ludwigslust", other)
    for collector in OPS:

        def arrives(collector: str = collector) -> bool:
            send(checkout, collector, certificate, text)
            return f"ludwigslust/{other}" in folders_with(checkout, collector, text)

        until("it arrives", arrives)
        assert set(folders_with(checkout, collector, text)) <= {f"ludwigslust/{other}", WITHOUT_OWNER}


def test_whoever_is_no_machine_of_ours_writes_nothing(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    project, connection = Project(checkout.root), load_connection(checkout.state / "connection.yaml")
    service = ensure_service_certificate(project, connection, ("some.ksm.internal",), []).chain
    text, known = secrets.token_hex(8), secrets.token_hex(8)
    for certificate in (None, service):
        with pytest.raises(OSError):
            send(checkout, "sn-ops01", certificate, text)
    # What is sent after them has arrived, so they have been dealt with.
    send(checkout, "sn-ops01", certificate_of(checkout, "ludwigslust", "lwl-app01.ludwigslust.internal"), known)
    until("a later line arrives", lambda: folders_with(checkout, "sn-ops01", known) != [])
    assert folders_with(checkout, "sn-ops01", text) == []


# --- monitoring ---------------------------------------------------------------------------


def ask(checkout: Checkout, server: str, port: int, path: str) -> Any:
    certificate = machine_certificates_dir(
        Project(checkout.root), load_connection(checkout.state / "connection.yaml")
    ) / (f"{server}.ksm.internal.pem")
    url = f"https://{address(OPS[server])}:{port}{path}"
    with urllib.request.urlopen(url, context=trusting(checkout, certificate), timeout=30) as reply:
        return json.load(reply)


def health(checkout: Checkout, server: str) -> dict[str, str]:
    told = ask(checkout, server, 9090, "/api/v1/targets?state=active")["data"]["activeTargets"]
    return {target["labels"]["instance"]: target["health"] for target in told if target["labels"]["job"] == "machines"}


def test_each_prometheus_sees_every_server_of_the_member_and_of_the_data_centre(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    plan, own = checkout.ksm_json("plan", "grabow"), checkout.ksm_json("plan", "schwerin")
    expected = {server["fqdn"] for server in plan["member"]["servers"]}
    expected |= {server["fqdn"] for server in own["member"]["servers"]}
    expected |= {server["fqdn"] for server in plan["platform"]["shared_servers"]}
    for server in OPS:
        until(f"{server} sees all", lambda s=server: health(checkout, s) == dict.fromkeys(expected, "up"))  # type: ignore[misc]


def test_nobody_without_a_certificate_is_told_anything(checkout: Checkout, onboarded: dict[str, Any]) -> None:
    for declared, port in ((OPS["sn-ops01"], 9090), (OPS["sn-ops01"], 9093), (FILE01[1], 9100)):
        with pytest.raises(OSError):
            urllib.request.urlopen(f"https://{address(declared)}:{port}/metrics", context=trusting(checkout, None))


def test_a_server_that_tells_nothing_any_more_raises_an_alert_at_both(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    def raised(server: str) -> set[tuple[str, str]]:
        told = ask(checkout, server, 9093, "/api/v2/alerts")
        return {(a["labels"]["alertname"], a["labels"].get("instance", a["labels"].get("pair", ""))) for a in told}

    wanted = {("HostDown", "gra-app02.grabow.internal"), ("PairWithoutPartner", "application")}
    assert not wanted & raised("sn-ops01")
    with stopped(checkout, "10.64.10.12", "prometheus-node-exporter"):
        for server in OPS:
            until(f"{server} raises it", lambda s=server: wanted <= raised(s))  # type: ignore[misc]
        found = checkout.ksm("verify", "grabow", "--json")
        assert found.returncode == 4
        assert {(d["object"], d["attribute"]) for d in json.loads(found.stdout)["differences"]} == {
            ("gra-app02", "unit prometheus-node-exporter.service"),
            ("gra-app02", "monitored sn-ops01"),
            ("gra-app02", "monitored sn-ops02"),
        }
    assert checkout.ksm("verify", "grabow").returncode == 0
    assert checkout.ksm("verify", "schwerin").returncode == 0


def test_central_logging_and_monitoring_are_proven_for_the_baseline(
    checkout: Checkout, onboarded: dict[str, Any]
) -> None:
    told = {entry["id"]: entry for entry in checkout.ksm_json("baseline", "grabow")["requirements"]}
    for requirement, looked_at in (("OPS.1.1.5.A6", 13), ("SYS.1.1.A23", 12)):
        [evidence] = told[requirement]["evidence"]
        assert (evidence["source"], evidence["looked_at"], evidence["wrong"]) == ("machines", looked_at, [])
    assert told["SYS.1.1.A23"]["status"] == "fulfilled"
