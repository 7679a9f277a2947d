"""What a person reads when the engine fails. The messages are recorded from the real engine and provider."""

from __future__ import annotations

import pytest

from ksm_onboard.connection import Connection
from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.provisioning.failures import Diagnostic, explain, innermost

TRACEBACK = """Program failed with an unhandled exception:
Traceback (most recent call last):
  File "/srv/x/stack.py", line 205, in run_in_stack
    await run_pulumi_func(run)
Exception: invoke of vsphere:index/getDatastore:getDatastore failed: invocation of vsphere:index/getDatastore:\
getDatastore returned an error: invoking vsphere:index/getDatastore:getDatastore: \
"""
CREATING = "1 error occurred:\n\t* creating urn:pulumi:grabow::ksm-onboard::ksm:member:Member$x:VM::gra-dns02: "


@pytest.mark.parametrize(
    ("message", "kind", "says", "hint"),
    [
        (
            TRACEBACK + 'error setting up client: Post "https://vcenter.invalid/sdk": dial tcp 192.0.2.1:443: connect:'
            " connection refused",
            NotReadyError,
            "vCenter vcenter.invalid cannot be reached",
            "vcenter.server",
        ),
        (
            TRACEBACK + "error setting up new vSphere SOAP client: ServerFaultCode: Cannot complete login due to an"
            " incorrect user name or password.",
            NotReadyError,
            "refuses the login of svc@vsphere.local",
            "vcenter-password",
        ),
        (
            TRACEBACK + 'Post "https://vcenter.invalid/sdk": tls: failed to verify certificate: x509: certificate'
            " signed by unknown authority",
            NotReadyError,
            "certificate of vCenter vcenter.invalid is not trusted",
            "vcenter.ca_file",
        ),
        (
            TRACEBACK + "error fetching datastore: datastore 'sn-local-b09' not found",
            NotReadyError,
            "datastore 'sn-local-b09' not found",
            "stacks/schwerin.yaml",
        ),
        (
            "error creating virtual disk: Insufficient disk space on datastore 'gra-silver-mirrored-b'.",
            OnboardError,
            "a datastore is full, so these could not be made: gra-dns02",
            "ksm-onboard plan grabow --exports",
        ),
        (
            CREATING + "timeout waiting for an available IP address",
            OnboardError,
            "never reported an address: gra-dns02",
            "rebuilds them",
        ),
        (
            'unable to replace resource "urn:pulumi:grabow::x::y::gra-dns02"\nas it is currently marked for'
            " protection.",
            OnboardError,
            "nothing of it was touched: gra-dns02",
            "undo the change",
        ),
    ],
)
def test_known_causes(connection: Connection, message: str, kind: type[OnboardError], says: str, hint: str) -> None:
    error = explain("grabow", connection, [Diagnostic("gra-dns02", message), Diagnostic("", "update failed")], "")
    assert type(error) is kind
    assert says in str(error)
    assert hint in (error.hint or "")
    assert "Traceback" not in str(error)
    assert "urn:" not in str(error)


def test_what_the_engine_says_before_it_starts(connection: Connection) -> None:
    text = "error: getting stack configuration: get stack secrets manager: incorrect passphrase\n"
    error = explain("grabow", connection, [], text)
    assert isinstance(error, NotReadyError)
    assert "passphrase does not open the state of stack 'grabow'" in str(error)


def test_what_stops_everything_is_told_rather_than_what_it_led_to(connection: Connection) -> None:
    diagnostics = [
        Diagnostic("gra-dns01", CREATING + "timeout waiting for an available IP address"),
        Diagnostic("gra-dns02", CREATING + 'Post "https://vcenter.invalid/sdk": connect: connection refused'),
    ]
    assert "cannot be reached" in str(explain("grabow", connection, diagnostics, ""))


def test_unknown_failures_are_listed_once_and_without_wrapping(connection: Connection) -> None:
    diagnostics = [Diagnostic(f"gra-{n}", CREATING + "out of luck") for n in range(12)]
    error = explain("grabow", connection, [*diagnostics, *diagnostics, Diagnostic("", "update failed")], "")
    assert str(error).count("out of luck") == 8
    assert "gra-0: out of luck" in str(error)
    assert "… and 4 more" in str(error)
    assert "urn:" not in str(error)


def test_findings_of_the_program_stay_whole(connection: Connection) -> None:
    finding = "the declarations have 1 error; nothing was touched\n  stacks/grabow.yaml:3:1: unknown key 'x'"
    noise = Diagnostic("", "an unhandled error occurred: program exited with code 1")
    text = str(explain("grabow", connection, [Diagnostic("", finding), noise], ""))
    assert "stacks/grabow.yaml:3:1: unknown key 'x'" in text
    assert "unhandled" not in text


def test_silence_is_called_silence(connection: Connection) -> None:
    assert "gave no reason" in str(explain("grabow", connection, [], ""))


def test_innermost_takes_the_wrapping_off() -> None:
    assert innermost(TRACEBACK + "datastore 'x' not found") == "datastore 'x' not found"
    assert innermost(CREATING + "reason") == "reason"
