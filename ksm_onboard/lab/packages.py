"""One download per package and machine: a caching proxy for the apt of all lab hosts.

It is Debian's apt-cacher-ng, run by us on the loopback network with a cache of its own, and never the
system's service. All labs of a machine share it; it ends with the last of them.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ksm_onboard.atomic import write_atomically
from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab import background, commands
from ksm_onboard.lab.cache import locked
from ksm_onboard.lab.cgroups import Cgroup, find_hierarchies
from ksm_onboard.lab.layout import RUN_ROOT
from ksm_onboard.lab.mounts import mount_bind, unmount_below
from ksm_onboard.lab.ports import free_port
from ksm_onboard.progress import Progress, Silent
from ksm_onboard.project import cache_dir

_USER = "apt-cacher-ng"
_RUN = RUN_ROOT / ".packages"
"""No lab's name starts with a dot."""
_CACHE = _RUN / "cache"
_USERS = _RUN / "users"
_CONFIGURATION_FILE = _RUN / "configuration" / "acng.conf"
_PREFERRED_PORT = 3142
_STARTS_WITHIN = 20.0

_CONFIGURATION = """\
CacheDir: {cache}
LogDir: {cache}/log
SocketPath:
SupportDir: /usr/lib/apt-cacher-ng
BindAddress: 127.0.0.1
Port: {port}
ForeGround: 1
# No administration pages, no tunnels: it only fetches what apt asks for.
ReportPage:
PassThroughPattern: ^$
{upstream}"""


def acquire_apt_proxy(lab: str, progress: Progress) -> str:
    """The proxy's URL, started first if no lab uses it yet. Raises OnboardError if it does not start."""
    with _lock(progress):
        (_USERS / lab).touch()
        port = _running_port()
        if port is None:
            progress.line("starting the package cache")
            port = _start()
        return f"http://127.0.0.1:{port}"


def release_apt_proxy(lab: str) -> None:
    """Say that a lab does not need the proxy any more; it ends with the last one that does."""
    if not _RUN.exists():
        return
    with _lock(Silent()):
        (_USERS / lab).unlink(missing_ok=True)
        if not any(_USERS.iterdir()):
            _stop()


def machine_proxy(dump: str | None = None) -> str | None:
    """The HTTP proxy through which this machine's own apt goes, if any."""
    text = commands.output(["apt-config", "dump", "Acquire::http::Proxy"]) if dump is None else dump
    configured = re.search(r'^Acquire::http::Proxy "(.+)";$', text, re.MULTILINE)
    if configured and configured[1].upper() != "DIRECT":
        return configured[1]
    return os.environ.get("http_proxy") or None


@contextmanager
def _lock(progress: Progress) -> Iterator[None]:
    RUN_ROOT.mkdir(mode=0o755, exist_ok=True)
    _USERS.mkdir(parents=True, exist_ok=True)
    with locked(_RUN / ".lock", progress, "the package cache"):
        yield


def _group() -> Cgroup:
    return Cgroup("ksm-onboard/.packages", find_hierarchies())


def _running_port() -> int | None:
    with_port = _RUN / "port"
    if not _group().populated() or not with_port.exists():
        return None
    port = int(with_port.read_text())
    return port if _answers(port) else None


def _start() -> int:
    _stop()  # what a killed one left
    account = _account()
    port = free_port(_PREFERRED_PORT)
    _prepare_cache(account)
    _CONFIGURATION_FILE.parent.mkdir(exist_ok=True)
    proxy = machine_proxy()
    text = _CONFIGURATION.format(cache=_CACHE, port=port, upstream=f"Proxy: {proxy}\n" if proxy else "")
    write_atomically(_CONFIGURATION_FILE, text, mode=0o600)  # the machine's proxy may come with a password
    os.chown(_CONFIGURATION_FILE, account.pw_uid, account.pw_gid)
    log = cache_dir() / "apt.log"
    process = background.launch(
        [
            # Only the account that Debian made for it, with no way to more.
            *("setpriv", f"--reuid={_USER}", f"--regid={account.pw_gid}", "--init-groups"),
            *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
            *(shutil.which("apt-cacher-ng", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "apt-cacher-ng",),
            *("-c", str(_CONFIGURATION_FILE.parent)),
        ],
        _group(),
        log,
    )
    try:
        background.wait_until(lambda: _answers(port), process, log, what="the package cache", seconds=_STARTS_WITHIN)
    except BaseException:
        _stop()
        raise
    (_RUN / "port").write_text(str(port))
    return port


def _stop() -> None:
    background.end(_group(), patience=5)
    unmount_below(_CACHE)
    for file in (_RUN / "port", _CONFIGURATION_FILE):
        file.unlink(missing_ok=True)


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_USER)
    except KeyError:
        raise NotReadyError("apt-cacher-ng is not installed", hint="run: make setup") from None


def _prepare_cache(account: pwd.struct_passwd) -> None:
    """Show the cache, which may lie in root's own home, at a path that the proxy's account can reach."""
    content = cache_dir() / "apt"
    content.mkdir(parents=True, exist_ok=True)
    os.chown(content, account.pw_uid, account.pw_gid)
    mount_bind(content, _CACHE)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False
