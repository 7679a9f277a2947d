"""The secrets and certificates of a lab: made on this machine, for this machine, and readable only by their owner."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ksm_onboard.atomic import write_atomically
from ksm_onboard.certificates import (
    RENEW_BEFORE,
    builder,
    common_name,
    private_pem,
    public_pem,
    server_certificate,
    subject_names,
    usage,
)
from ksm_onboard.lab import commands

_VALID_FOR = timedelta(days=825)
_PRIVATE = 0o600
_PASSWORD_BYTES = 24
_WITH_KEYS = ("server", "issuing")
_NAMES = ("ca", *_WITH_KEYS)


def ensure_certificates(folder: Path, lab: str) -> None:
    """The lab's root ``ca.pem``, ``server.pem`` for its vCenter, and ``issuing.pem`` below the root; with keys.

    Made anew when any is about to expire. The vCenter's certificate is for localhost and 127.0.0.1; the issuing
    authority signs certificates of services on the lab's hosts. The root's key is never written.
    """
    if all(_still_good(folder / f"{name}.pem") for name in _NAMES) and all(
        (folder / f"{name}.key").exists() for name in _WITH_KEYS
    ):
        return
    root_key, issuing_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    until = datetime.now(UTC) + _VALID_FOR
    # Two labs, or one made anew, must not have different CAs of one name.
    mark = secrets.token_hex(4)
    root_name = common_name(f"KSM lab {lab} root CA {mark}")
    root = _authority(root_name, root_name, root_key, root_key, until=until, below=1)
    issuing = _authority(
        common_name(f"KSM lab {lab} services CA {mark}"), root_name, issuing_key, root_key, until=until
    )
    vcenter = subject_names(("localhost",), (IPv4Address("127.0.0.1"),))
    server = server_certificate(server_key, vcenter, root, root_key, _VALID_FOR)
    write_atomically(folder / "server.key", private_pem(server_key), mode=_PRIVATE)
    write_atomically(folder / "issuing.key", private_pem(issuing_key), mode=_PRIVATE)
    for name, certificate in (("server", server), ("issuing", issuing), ("ca", root)):
        write_atomically(folder / f"{name}.pem", public_pem(certificate))


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
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signing: ec.EllipticCurvePrivateKey,
    *,
    until: datetime,
    below: int = 0,
) -> x509.Certificate:
    """An authority that may have ``below`` levels of authorities under it."""
    return (
        builder(subject, issuer, key, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )
