"""Keys, certificates and passwords of a lab."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

from ksm_onboard.lab import certificates
from ksm_onboard.lab.certificates import ensure_certificates, ensure_password, ensure_ssh_key


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_the_servers_certificate_is_trusted_for_localhost_only(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, "lab")
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    server = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    trusting = PolicyBuilder().store(Store([authority]))
    trusting.build_server_verifier(x509.DNSName("localhost")).verify(server, [])
    with pytest.raises(x509.verification.VerificationError):
        trusting.build_server_verifier(x509.DNSName("vcenter.example")).verify(server, [])


def test_keys_are_private_and_the_roots_is_not_kept(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, "lab")
    assert mode(tmp_path / "server.key") == mode(tmp_path / "issuing.key") == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("ca.pem", "issuing.key", "issuing.pem", "server.key", "server.pem")
    ]


def test_certificates_are_kept_until_they_are_about_to_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_certificates(tmp_path, "lab")
    first = (tmp_path / "server.pem").read_text()
    ensure_certificates(tmp_path, "lab")
    assert (tmp_path / "server.pem").read_text() == first
    monkeypatch.setattr(certificates, "RENEW_BEFORE", timedelta(days=2000))
    ensure_certificates(tmp_path, "lab")
    assert (tmp_path / "server.pem").read_text() != first
    assert isinstance(x509.load_pem_x509_certificate(first.encode()).public_key(), ec.EllipticCurvePublicKey)


def test_the_ssh_key_is_made_once(tmp_path: Path) -> None:
    public = ensure_ssh_key(tmp_path / "ssh" / "ops", "ops@lab")
    assert public.startswith("ssh-ed25519 ")
    assert mode(tmp_path / "ssh" / "ops") == 0o600
    assert ensure_ssh_key(tmp_path / "ssh" / "ops", "ops@lab") == public


def test_the_password_is_made_once(tmp_path: Path) -> None:
    ensure_password(tmp_path / "password")
    first = (tmp_path / "password").read_text()
    ensure_password(tmp_path / "password")
    assert (tmp_path / "password").read_text() == first
    assert len(first.strip()) >= 24
    assert mode(tmp_path / "password") == 0o600
