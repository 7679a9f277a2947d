"""The engine's and the provider's errors, as a person can act on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ksm_onboard.connection import Connection
from ksm_onboard.errors import NotReadyError, OnboardError

_SHOWN = 8


@dataclass(frozen=True)
class Diagnostic:
    """One error of the engine; ``resource`` is the resource's name, empty for the program or the engine itself."""

    resource: str
    message: str


@dataclass(frozen=True)
class _Cause:
    pattern: re.Pattern[str]
    error: type[OnboardError]
    message: str
    hint: str


def _cause(pattern: str, error: type[OnboardError], message: str, hint: str) -> _Cause:
    return _Cause(re.compile(pattern, re.IGNORECASE | re.DOTALL), error, message, hint)


# The first one that fits explains the failure: what prevents everything comes before what hits one resource.
_CAUSES = (
    _cause(
        r"incorrect passphrase|passphrase must be set",
        NotReadyError,
        "the passphrase does not open the state of stack '{stack}'",
        "restore .state/passphrase, or set PULUMI_CONFIG_PASSPHRASE_FILE to the file with the right one;"
        " if stacks/Pulumi.{stack}.yaml was written with another passphrase, delete that file",
    ),
    _cause(
        r"x509:|certificate signed by unknown authority|tls: failed to verify",
        NotReadyError,
        "the certificate of vCenter {server} is not trusted",
        "vcenter.ca_file in the connection file must hold the CA that signed it",
    ),
    _cause(
        r"policy pack .*failed to start|failed to load Pulumi policy|policy pack not found|error loading policy pack",
        NotReadyError,
        "the policy pack does not start, and nothing runs without it: {detail}",
        "bring the checkout and its packages up to date: git status policies, make setup",
    ),
    _cause(
        r"incorrect user name or password|InvalidLogin|ServerFaultCode: Login failure|401 Unauthorized",
        NotReadyError,
        "vCenter {server} refuses the login of {user}",
        "check the account and the password in {password_file}",
    ),
    _cause(
        r"connection refused|no such host|no route to host|network is unreachable|i/o timeout"
        r"|connection reset by peer|context deadline exceeded|server misbehaving",
        NotReadyError,
        "vCenter {server} cannot be reached, or stopped answering",
        "check vcenter.server in the connection file and whether it is up (for the lab: ksm-onboard lab up),"
        " then run the same command again: it goes on where this run stopped",
    ),
    _cause(
        r"unknown stack .*?/(?P<platform>[a-z0-9-]+)[\"']|Required output '\w+' does not exist",
        NotReadyError,
        "the platform is not set up yet in this data centre",
        "set it up first: ksm-onboard up schwerin",
    ),
    _cause(
        r"protected|marked for protection",
        OnboardError,
        "this would delete or replace data that outlives its server; nothing of it was touched: {resources}",
        "undo the change in the declaration: name, size and tier of a data disk are fixed once it exists;"
        " if its data may go, take the protection away by hand first: pulumi state unprotect <urn> -s {stack}",
    ),
    _cause(
        r"cannot locate virtual machine",
        OnboardError,
        "somebody deleted VMs in vCenter, and the provider cannot read what the state holds about them: {resources}",
        "ksm-onboard up {stack} forgets that and builds the VMs again; with plain pulumi:"
        " pulumi state delete '<urn of …-restart>' -s {stack}, then pulumi up",
    ),
    _cause(
        r"insufficient disk space on datastore",
        OnboardError,
        "a datastore is full, so these could not be made: {resources}\n  {detail}",
        "have its export enlarged on the array (ksm-onboard plan {stack} --exports says how large it is planned),"
        " or free room on it, then run the same command again: it goes on where this run stopped",
    ),
    _cause(
        r"timeout waiting for an available IP address",
        OnboardError,
        "servers that were started but never reported an address: {resources}",
        "look at their console in vCenter, then run the same command again: it rebuilds them, data disks are kept",
    ),
    _cause(
        r"datastore ['\"]?(?P<name>[\w-]+)['\"]? not found|error fetching datastore",
        NotReadyError,
        "a datastore that the platform declares is missing in vCenter: {detail}",
        "compare stacks/schwerin.yaml with vCenter",
    ),
    _cause(
        r"invoke of vsphere:index/get(?P<kind>\w+):?\w* failed",
        NotReadyError,
        "something that the platform declares is missing in vCenter: {detail}",
        "compare stacks/schwerin.yaml with vCenter",
    ),
)

_NOISE = re.compile(
    r"^(update|preview|destroy|refresh|resource \w+) failed$|^\s*$|^an unhandled error occurred: program exited with"
)


def is_noise(message: str) -> bool:
    """Whether an error only says that there was one."""
    return _NOISE.match(message) is not None


def explain(stack: str, connection: Connection, diagnostics: Sequence[Diagnostic], rest: str) -> OnboardError:
    """One error for a failed run, from its diagnostics and what the engine wrote besides."""
    found = list(dict.fromkeys(d for d in diagnostics if not _NOISE.match(d.message)))
    found = found or [Diagnostic("", line) for line in rest.splitlines() if line.startswith("error: ")]
    for cause in _CAUSES:
        hit = [d for d in found if cause.pattern.search(d.message)]
        if hit:
            values = {
                "stack": stack,
                "server": connection.vcenter.server,
                "user": connection.vcenter.user,
                "password_file": connection.vcenter.password_file,
                "resources": ", ".join(sorted({d.resource for d in hit if d.resource})),
                "detail": innermost(hit[0].message),
            }
            return cause.error(cause.message.format(**values), hint=cause.hint.format(**values))
    lines = [f"{d.resource}: {innermost(d.message)}" if d.resource else innermost(d.message) for d in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"… and {len(found) - _SHOWN} more")
    reason = "\n  ".join(lines) or rest.strip()[-500:] or "the engine gave no reason"
    return OnboardError(
        f"the engine could not finish stack '{stack}':\n  {reason}",
        hint="put that right and run the same command again: it goes on where this run stopped",
    )


def innermost(message: str) -> str:
    """What a message says once the engine's, the bridge's and Python's wrapping is taken off."""
    if "Traceback (most recent call last)" in message:
        message = message.strip().splitlines()[-1].removeprefix("Exception: ")
    message = re.sub(r"\b\d+ errors? occurred:\s*\*?", "", message)
    message = re.sub(r"\b\w+ing urn:pulumi:\S+:\s*", "", message)
    message = re.sub(r"^.*?invocation of \S+ returned an error: (invoking \S+: )?", "", message, flags=re.DOTALL)
    message = re.sub(r"^error: ", "", message.strip())
    return re.sub(r"\n\s*\n+", "\n", message).strip()
