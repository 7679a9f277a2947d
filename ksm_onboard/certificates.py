"""Certificates of the data centre's own services and of its machines, signed by an authority below the root.

The authority belongs to the connection (``trust.issuing``): the lab makes its own, a real data centre names
the one that its administration set up for the toolkit. The root's key is never needed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ksm_onboard.atomic import write_atomically
from ksm_onboard.connection import Connection
from ksm_onboard.errors import NotReadyError
from ksm_onboard.project import Project

RENEW_BEFORE = timedelta(days=30)
CLOCKS_DIFFER = timedelta(days=1)
_VALID_FOR = timedelta(days=397)
_PRIVATE = 0o600

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Purposes = tuple[x509.ObjectIdentifier, ...]
_SERVER: Purposes = (ExtendedKeyUsageOID.SERVER_AUTH,)
_CLIENT_AND_SERVER: Purposes = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


@dataclass(frozen=True)
class ServiceCertificate:
    """Where a service's certificate lies (PEM, followed by the authority that signed it), and its key (0600)."""

    chain: Path
    key: Path


@dataclass(frozen=True)
class MachineIdentity:
    """Who a machine is to services of the data centre: whose it is (``member``), its full name, and its addresses."""

    member: str
    fqdn: str
    addresses: tuple[IPv4Address, ...]


def machine_certificates_dir(project: Project, connection: Connection) -> Path:
    """Where machines' certificates are kept: ``<fqdn>.pem`` (with the authority that signed it) and ``<fqdn>.key``."""
    return connection.state_dir(project) / "certificates" / "machines"


def ensure_service_certificate(
    project: Project, connection: Connection, names: tuple[str, ...], addresses: Iterable[IPv4Address]
) -> ServiceCertificate:
    """The certificate of the service that is reached by these names and addresses; the first name is the subject.

    Kept in the connection's state; made anew when it is about to expire, or names, addresses or the authority
    changed. Raises NotReadyError if the connection has no authority that signs, or a broken or expired one.
    """
    folder = connection.state_dir(project) / "certificates"
    return _ensure(folder, common_name(names[0]), subject_names(names, addresses), _SERVER, _authority(connection))


def ensure_machine_certificates(project: Project, connection: Connection, machines: Iterable[MachineIdentity]) -> None:
    """Machines' certificates, by which they prove who they are, both as clients and as servers.

    The subject names the machine (CN) and whose it is (O), which is what log collectors go by. Kept, made anew and
    refused as those of services are.
    """
    folder, authority = machine_certificates_dir(project, connection), _authority(connection)
    for machine in machines:
        subject = common_name(machine.fqdn, organisation=machine.member)
        _ensure(folder, subject, subject_names((machine.fqdn,), machine.addresses), _CLIENT_AND_SERVER, authority)


def _ensure(
    folder: Path,
    subject: x509.Name,
    names: x509.SubjectAlternativeName,
    purposes: Purposes,
    authority: tuple[x509.Certificate, SigningKey],
) -> ServiceCertificate:
    name = names.get_values_for_type(x509.DNSName)[0]
    files = ServiceCertificate(folder / f"{name}.pem", folder / f"{name}.key")
    if files.key.exists() and _serves(files.chain, subject, names, authority[0]):
        return files
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(key, subject, names, purposes=purposes, signed_by=authority, valid_for=_VALID_FOR)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(files.key, private_pem(key), mode=_PRIVATE)
    write_atomically(files.chain, public_pem(certificate) + public_pem(authority[0]))
    return files


def _authority(connection: Connection) -> tuple[x509.Certificate, SigningKey]:
    issuing = connection.trust.issuing
    if issuing is None:
        raise NotReadyError(
            f"the connection {connection.name} names no authority that signs its services' certificates",
            hint="set trust.issuing to an authority below the root certificate (docs/how-to/real-data-centre.md)",
        )
    try:
        certificate = x509.load_pem_x509_certificate(issuing.certificate_file.read_bytes())
        key = serialization.load_pem_private_key(issuing.key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise NotReadyError(f"cannot use the authority of trust.issuing: {error}") from None
    if (
        not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        or key.public_key() != certificate.public_key()
    ):
        raise NotReadyError(f"{issuing.key_file} is not the key of {issuing.certificate_file}")
    if not _valid_for_long(certificate):
        until = certificate.not_valid_after_utc
        raise NotReadyError(
            f"the authority {issuing.certificate_file} is valid until {until:%Y-%m-%d}: too short to sign with",
            hint="have it renewed; in the lab: ksm-onboard lab down, then lab up",
        )
    return certificate, key


def _serves(file: Path, subject: x509.Name, wanted: x509.SubjectAlternativeName, authority: x509.Certificate) -> bool:
    try:
        certificate, *above = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    as_wanted = names == wanted and certificate.subject == subject
    return as_wanted and above == [authority] and _valid_for_long(certificate)


def _valid_for_long(certificate: x509.Certificate) -> bool:
    now = datetime.now(UTC)
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE


# --- making certificates --------------------------------------------------------------------


def subject_names(names: Iterable[str], addresses: Iterable[IPv4Address]) -> x509.SubjectAlternativeName:
    """What a server is reached by, as its certificate says it."""
    return x509.SubjectAlternativeName(
        [*(x509.DNSName(name) for name in names), *(x509.IPAddress(address) for address in addresses)]
    )


def server_certificate(
    key: ec.EllipticCurvePrivateKey,
    names: x509.SubjectAlternativeName,
    authority: x509.Certificate,
    authority_key: SigningKey,
    valid_for: timedelta,
) -> x509.Certificate:
    """A server's certificate, never valid for longer than the authority that signs it."""
    subject = common_name(names.get_values_for_type(x509.DNSName)[0])
    return _signed(key, subject, names, purposes=_SERVER, signed_by=(authority, authority_key), valid_for=valid_for)


def _signed(
    key: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    names: x509.SubjectAlternativeName,
    *,
    purposes: Purposes,
    signed_by: tuple[x509.Certificate, SigningKey],
    valid_for: timedelta,
) -> x509.Certificate:
    authority, authority_key = signed_by
    until = min(datetime.now(UTC) + valid_for, authority.not_valid_after_utc)
    signed_with = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder(subject, authority.subject, key, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signed_with), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime
) -> x509.CertificateBuilder:
    """What every certificate of ours has, whoever signs it."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - CLOCKS_DIFFER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What the certificate's key is for: signing certificates, or serving."""
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


def common_name(text: str, *, organisation: str = "") -> x509.Name:
    """A subject of one name, and the organisation that it belongs to, if any."""
    belongs = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*belongs, x509.NameAttribute(NameOID.COMMON_NAME, text)])


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The key as text, without a passphrase: for a file that only its owner reads."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(certificate: x509.Certificate) -> str:
    """The certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
