"""The door to vCenter: what a person is told when it does not open. Endpoints are tiny TLS servers of the test."""

from __future__ import annotations

import base64
import gzip
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ksm_onboard import vcenter
from ksm_onboard.connection import Connection, GuestAccess, Trust, VCenterAccess
from ksm_onboard.errors import ExitCode, NotReadyError
from ksm_onboard.verifying.vcenter_facts import customisation, split_datastore_path

SECRET = "correct-horse-battery"


class NotAVCenter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>some printer</html>")

    def log_message(self, *args: object) -> None:  # noqa: ARG002
        return


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """host:port of a TLS server; its certificate, valid for 127.0.0.1, is in ``tmp_path/server.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test endpoint")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "server.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    server = HTTPServer(("127.0.0.1", 0), NotAVCenter)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def refusal(folder: Path, server: str, ca: Path | None) -> NotReadyError:
    (folder / "password").write_text(SECRET)
    connection = Connection(
        name="test",
        vcenter=VCenterAccess(server=server, user="svc@x", password_file=folder / "password", ca_file=ca),
        guests=GuestAccess(private_key_file=folder / "key"),
        trust=Trust(root_ca_file=folder / "ca.pem"),
    )
    with pytest.raises(NotReadyError) as caught, vcenter.session(connection):
        pytest.fail("the session opened")
    assert SECRET not in str(caught.value) + str(caught.value.hint)
    assert caught.value.exit_code is ExitCode.NOT_READY
    return caught.value


def test_nobody_listens(tmp_path: Path) -> None:
    error = refusal(tmp_path, "127.0.0.1:1", None)
    assert "cannot be reached" in str(error) and "refused" in str(error)
    assert "lab up" in str(error.hint)


def test_an_unknown_certificate_is_not_trusted(tmp_path: Path, endpoint: str) -> None:
    error = refusal(tmp_path, endpoint, None)
    assert "not trusted" in str(error)
    assert "vcenter.ca_file" in str(error.hint)


def test_a_trusted_certificate_for_another_name_is_not_trusted(tmp_path: Path, endpoint: str) -> None:
    error = refusal(tmp_path, endpoint.replace("127.0.0.1", "localhost"), tmp_path / "server.pem")
    assert "not trusted" in str(error) and "localhost" in str(error)


def test_something_else_answers(tmp_path: Path, endpoint: str) -> None:
    assert "not as a vCenter" in str(refusal(tmp_path, endpoint, tmp_path / "server.pem"))


def test_a_ca_file_that_is_none(tmp_path: Path, endpoint: str) -> None:
    assert "No such file" in str(refusal(tmp_path, endpoint, tmp_path / "missing.pem"))
    (tmp_path / "ca.pem").write_text("not a certificate")
    assert "ca.pem" in str(refusal(tmp_path, endpoint, tmp_path / "ca.pem"))


@pytest.mark.parametrize("server", ["", "host:port", ":443"])
def test_an_endpoint_that_is_none(tmp_path: Path, server: str) -> None:
    assert "not an endpoint" in str(refusal(tmp_path, server, None))


def test_a_silent_endpoint_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vcenter, "CONNECT_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(vcenter, "READ_TIMEOUT_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "does not answer in time" in str(refusal(tmp_path, f"127.0.0.1:{silent.getsockname()[1]}", None))


def test_what_lies_in_a_folder() -> None:
    assert vcenter.is_below("grabow", "grabow")
    assert vcenter.is_below("grabow/old", "grabow")
    assert not vcenter.is_below("grabow2", "grabow")
    assert vcenter.is_below("anything", "")


def test_paths_on_datastores() -> None:
    assert split_datastore_path("[sn-mirror01] ksm-data/x.vmdk") == ("sn-mirror01", "ksm-data/x.vmdk")
    assert split_datastore_path("ksm-data/x.vmdk") == ("", "ksm-data/x.vmdk")


METADATA = "local-hostname: gra-db01\nnetwork: {ethernets: {a: {addresses: [10.64.11.11/24]}}}\n"


def test_customisation_in_every_encoding() -> None:
    packed = base64.b64encode(gzip.compress(METADATA.encode())).decode()
    plain = base64.b64encode(METADATA.encode()).decode()
    for text, encoding in ((METADATA, ""), (plain, "base64"), (packed, "gzip+base64")):
        told = customisation({"guestinfo.metadata": text, "guestinfo.metadata.encoding": encoding})
        assert told is not None
        assert (told.host_name, told.addresses) == ("gra-db01", ("10.64.11.11/24",))


@pytest.mark.parametrize("text", ["%%%", "[]", "a: [", "local-hostname: [1]", "network: 3"])
def test_customisation_that_makes_no_sense_names_nobody(text: str) -> None:
    told = customisation({"guestinfo.metadata": text})
    assert told is not None
    assert (told.host_name, told.addresses) == (None, ())


def test_no_customisation() -> None:
    assert customisation({}) is None
