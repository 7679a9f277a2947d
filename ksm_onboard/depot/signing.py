"""The depot's signing key: made once, kept by the controller, and only its public part goes anywhere.

GnuPG does the work, in a keyring that lives for one run: its agent needs a socket, whose path may be too
long for a folder of the state, and no agent is left behind.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ksm_onboard.atomic import write_atomically
from ksm_onboard.errors import NotReadyError, OnboardError

_VALIDITY = "3y"
_PRIVATE = 0o600
_RENEW = "make it valid again: ksm-onboard depot renew-key"


class SigningError(OnboardError):
    """The key cannot sign: it is missing, damaged or expired."""


@dataclass(frozen=True)
class SigningKey:
    """What everybody may know of it. ``expires`` is the moment from which on nobody accepts its signatures."""

    fingerprint: str
    expires: datetime

    def require_valid(self, now: datetime) -> None:
        """Raises SigningError if nobody would accept its signatures any more."""
        if now >= self.expires:
            raise SigningError(
                f"the depot's signing key {self.fingerprint[-16:]} expired on {self.expires:%Y-%m-%d}: "
                "no machine would accept what it signs",
                hint=_RENEW,
            )


@dataclass(frozen=True)
class KeyFiles:
    """Where the key is kept: ``secret`` readable by its owner only, ``public`` for every machine."""

    folder: Path

    @property
    def secret(self) -> Path:
        return self.folder / "signing-key.asc"

    @property
    def public(self) -> Path:
        return self.folder / "signing-key.pub.gpg"


def ensure_key(files: KeyFiles, owner: str) -> SigningKey:
    """The depot's key, made first if there is none. Raises SigningError for one that is damaged."""
    if not files.secret.exists():
        with _keyring() as keyring:
            made = ["--quick-generate-key", f"Softwaredepot {owner}", "ed25519", "sign", _VALIDITY]
            keyring.run(*made)
            _keep(files, keyring)
    return read_key(files)


def renew_key(files: KeyFiles) -> SigningKey:
    """Let the same key be valid from now for as long as a new one. Raises SigningError if it cannot be read."""
    key = read_key(files)
    with _keyring(files) as keyring:
        keyring.run("--quick-set-expire", key.fingerprint, _VALIDITY)
        _keep(files, keyring)
    return read_key(files)


def read_key(files: KeyFiles) -> SigningKey:
    """Fingerprint and expiry, as the public part says. Raises SigningError if that is no key."""
    with _keyring() as keyring:
        try:
            listed = keyring.run("--with-colons", "--show-keys", str(files.public))
        except OnboardError as error:
            raise SigningError(f"cannot read the depot's signing key {files.public}: {error}") from None
    rows = [line.split(":") for line in listed.splitlines()]
    expires = next((row[6] for row in rows if row[0] == "pub"), "")
    fingerprint = next((row[9] for row in rows if row[0] == "fpr"), "")
    if not (expires and fingerprint):
        raise SigningError(f"{files.public} holds no signing key with an end of validity")
    return SigningKey(fingerprint, datetime.fromtimestamp(int(expires), UTC))


@contextmanager
def signing(files: KeyFiles) -> Iterator[Signer]:
    """Something that signs files with the depot's key. Raises SigningError if the key cannot be used."""
    key = read_key(files)
    key.require_valid(datetime.now(UTC))
    with _keyring(files) as keyring:
        yield Signer(keyring, key)


@dataclass(frozen=True)
class Keyring:
    """A keyring of one run."""

    home: Path

    def run(self, *words: str, stdin: bytes = b"") -> str:
        """What gpg prints. Raises OnboardError with what it complains about."""
        return _gpg(self.home, words, stdin)


@dataclass(frozen=True)
class Signer:
    """Signs with one key. Digests are SHA-512."""

    keyring: Keyring
    key: SigningKey

    def clearsign(self, source: Path, target: Path) -> None:
        """Write ``source`` with its signature around it."""
        self._sign("--clearsign", source, target)

    def detach(self, source: Path, target: Path) -> None:
        """Write the signature of ``source`` by itself."""
        self._sign("--detach-sign", source, target)

    def _sign(self, how: str, source: Path, target: Path) -> None:
        who = ("--local-user", self.key.fingerprint, "--digest-algo", "SHA512")
        self.keyring.run(*who, "--armor", "--yes", "--output", str(target), how, str(source))


@contextmanager
def _keyring(files: KeyFiles | None = None) -> Iterator[Keyring]:
    """An empty keyring, or one that holds the depot's key."""
    with tempfile.TemporaryDirectory(prefix="ksm-depot-") as folder:
        keyring = Keyring(Path(folder))
        try:
            if files is not None:
                _import(keyring, files)
            yield keyring
        finally:
            # The agent that gpg starts would outlive it; it is told by its own folder to end.
            with suppress(OnboardError):
                _call(["gpgconf", "--homedir", folder, "--kill", "all"], b"")


def _import(keyring: Keyring, files: KeyFiles) -> None:
    if files.secret.stat().st_mode & 0o077:
        raise SigningError(
            f"others can read the depot's signing key {files.secret}",
            hint=f"find out who did; if it is only the mode: chmod 600 {files.secret}",
        )
    try:
        keyring.run("--import", str(files.secret))
    except OnboardError as error:
        raise SigningError(f"cannot read the depot's signing key {files.secret}: {error}") from None


def _keep(files: KeyFiles, keyring: Keyring) -> None:
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(files.secret, keyring.run("--armor", "--export-secret-keys"), mode=_PRIVATE)
    fresh = files.public.with_name(f".{files.public.name}")
    keyring.run("--yes", "--output", str(fresh), "--export")
    fresh.chmod(0o644)
    fresh.replace(files.public)


def _gpg(home: Path, words: Sequence[str], stdin: bytes) -> str:
    options = ("--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback", "--passphrase-fd", "0")
    return _call(["gpg", "--homedir", str(home), *options, *words], stdin)


def _call(arguments: Sequence[str], stdin: bytes) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(arguments, input=stdin, capture_output=True, check=False, env=environment)
    except FileNotFoundError:
        raise NotReadyError(f"{arguments[0]} is not installed", hint="run: make setup") from None
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip()
        raise OnboardError(f"{arguments[0]} failed: {complaint}")
    return done.stdout.decode(errors="replace")
