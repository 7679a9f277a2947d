"""The secrets and certificates of a lab: made on this machine, for this machine, and readable only by their owner."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ksm_onboard.atomic import write_atomically
from ksm_onboard.lab import commands

_VALID_FOR = timedelta(days=825)
_RENEW_BEFORE = timedelta(days=30)
_CLOCKS_DIFFER = timedelta(days=1)
_PRIVATE = 0o600
_PASSWORD_BYTES = 24


def ensure_certificates(folder: Path, lab: str) -> None:
    """``ca.pem``, ``server.pem`` and ``server.key`` in ``folder``; made anew when they are about to expire.

    The certificate is for localhost and 127.0.0.1. The CA's key is never written: nothing else can be signed with it.
    """
    if _still_good(folder / "ca.pem") and _still_good(folder / "server.pem") and (folder / "server.key").exists():
        return
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(lab, authority_key)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _server(server_key, authority, authority_key)
    key = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_atomically(folder / "server.key", key.decode(), mode=_PRIVATE)
    for name, certificate in (("server.pem", server), ("ca.pem", authority)):
        write_atomically(folder / name, certificate.public_bytes(serialization.Encoding.PEM).decode())


def ensure_ssh_key(private_key: Path, comment: str) -> str:
    """An ed25519 key pair without passphrase, made once. Returns the public key's line."""
    public = private_key.with_name(f"{private_key.name}.pub")
    if not (private_key.exists() and public.exists()):
        private_key.parent.mkdir(parents=True, exist_ok=True)
        for half in (private_key, public):
            half.unlink(missing_ok=True)
        commands.output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(private_key)])
    private_key.chmod(_PRIVATE)
    return public.read_text().strip()


def ensure_password(file: Path) -> None:
    """A random password, made once."""
    if not file.exists():
        write_atomically(file, secrets.token_urlsafe(_PASSWORD_BYTES) + "\n", mode=_PRIVATE)
    file.chmod(_PRIVATE)


def _still_good(file: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError):
        return False
    now = datetime.now(UTC)
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - _RENEW_BEFORE


def _authority(lab: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # Two labs, or one made anew, must not have different CAs of one name.
    name = _name(f"KSM lab {lab} root CA {secrets.token_hex(4)}")
    return (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    return (
        _builder(_name("localhost"), authority.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
