"""Certificates of the data centre's services: trusted through the root, kept as long as they serve."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from ksm_onboard import certificates
from ksm_onboard.certificates import (
    MachineIdentity,
    ServiceCertificate,
    ensure_machine_certificates,
    ensure_service_certificate,
    machine_certificates_dir,
)
from ksm_onboard.connection import Connection
from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab.certificates import ensure_certificates
from ksm_onboard.project import Project

NAMES = ("sn-depot01.ksm.internal",)
ADDRESSES = (IPv4Address("10.96.0.41"), IPv4Address("127.96.0.41"))


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    ensure_certificates(tmp_path, "lab")
    return _connection(tmp_path, {"certificate_file": "issuing.pem", "key_file": "issuing.key"})


def _connection(folder: Path, issuing: object) -> Connection:
    return Connection.model_validate(
        {
            "name": "lab",
            "vcenter": {"server": "127.0.0.1:1", "user": "nobody", "password_file": "none"},
            "guests": {"private_key_file": "none"},
            "trust": {"root_ca_file": "ca.pem", "issuing": issuing},
        }
    ).resolved(folder)


def _made(folder: Path, connection: Connection, names: tuple[str, ...] = NAMES) -> ServiceCertificate:
    return ensure_service_certificate(Project(folder), connection, names, ADDRESSES)


def test_a_service_is_trusted_through_the_root_for_its_names_and_addresses_only(
    tmp_path: Path, connection: Connection
) -> None:
    made = _made(tmp_path, connection)
    leaf, issuing = x509.load_pem_x509_certificates(made.chain.read_bytes())
    root = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    trusting = PolicyBuilder().store(Store([root]))
    subjects: list[x509.DNSName | x509.IPAddress] = [x509.DNSName(NAMES[0]), *map(x509.IPAddress, ADDRESSES)]
    for subject in subjects:
        trusting.build_server_verifier(subject).verify(leaf, [issuing])
    with pytest.raises(x509.verification.VerificationError):
        trusting.build_server_verifier(x509.DNSName("sn-depot02.ksm.internal")).verify(leaf, [issuing])
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600


def test_it_is_kept_until_its_names_change_or_it_is_about_to_expire(
    tmp_path: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _made(tmp_path, connection).chain.read_text()
    assert _made(tmp_path, connection).chain.read_text() == first
    second = _made(tmp_path, connection, (*NAMES, "depot.ksm.internal")).chain.read_text()
    assert second != first
    monkeypatch.setattr(certificates, "_VALID_FOR", timedelta(days=20))
    short = _made(tmp_path, connection).chain.read_text()
    assert _made(tmp_path, connection).chain.read_text() != short


def test_an_authority_that_cannot_sign_is_named(tmp_path: Path, connection: Connection) -> None:
    with pytest.raises(NotReadyError, match="names no authority"):
        _made(tmp_path, _connection(tmp_path, None))
    with pytest.raises(NotReadyError, match="is not the key of"):
        _made(tmp_path, _connection(tmp_path, {"certificate_file": "ca.pem", "key_file": "issuing.key"}))
    with pytest.raises(NotReadyError, match="cannot use the authority"):
        _made(tmp_path, _connection(tmp_path, {"certificate_file": "none.pem", "key_file": "issuing.key"}))


def test_a_machine_proves_as_client_and_as_server_who_it_is_and_whose(tmp_path: Path, connection: Connection) -> None:
    project = Project(tmp_path)
    machine = MachineIdentity("grabow", "gra-file01.grabow.internal", ADDRESSES)
    ensure_machine_certificates(project, connection, [machine])
    folder = machine_certificates_dir(project, connection)
    leaf, issuing = x509.load_pem_x509_certificates((folder / "gra-file01.grabow.internal.pem").read_bytes())
    trusting = PolicyBuilder().store(Store([x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())]))
    trusting.build_server_verifier(x509.DNSName(machine.fqdn)).verify(leaf, [issuing])
    trusting.build_client_verifier().verify(leaf, [issuing])
    assert leaf.subject.rfc4514_string() == "CN=gra-file01.grabow.internal,O=grabow"
    assert stat.S_IMODE((folder / "gra-file01.grabow.internal.key").stat().st_mode) == 0o600
    before = (folder / "gra-file01.grabow.internal.pem").read_text()
    ensure_machine_certificates(project, connection, [machine])
    assert (folder / "gra-file01.grabow.internal.pem").read_text() == before
    # Whoever takes over a machine's name gets a certificate of their own.
    ensure_machine_certificates(project, connection, [replace(machine, member="schwerin-stadt")])
    assert (folder / "gra-file01.grabow.internal.pem").read_text() != before


def test_a_services_certificate_proves_nothing_as_a_client(tmp_path: Path, connection: Connection) -> None:
    leaf, issuing = x509.load_pem_x509_certificates(_made(tmp_path, connection).chain.read_bytes())
    trusting = PolicyBuilder().store(Store([x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())]))
    with pytest.raises(x509.verification.VerificationError):
        trusting.build_client_verifier().verify(leaf, [issuing])
