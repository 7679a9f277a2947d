"""The root file system that every lab host starts from: Debian as this machine's own sources serve it.

Built by mmdebstrap, in one go from all suites including updates and security, every package verified
by apt against Debian's archive keyring. (debootstrap knows one suite only, and takes twice as long.)
"""

from __future__ import annotations

import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab import commands
from ksm_onboard.lab.cache import built_once, key_of
from ksm_onboard.progress import Progress
from ksm_onboard.project import cache_dir

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITE = "bookworm"

PACKAGES = (
    # Boots as a machine and lets people in.
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo"),
    # What Ansible needs at the other end: Python, apt's bindings, and acl to become users without rights.
    *("python3", "python3-apt", "acl"),
    # What its facts and its time and trust settings rest upon.
    *("iproute2", "procps", "tzdata", "ca-certificates"),
    # What every machine gets anyway, as in a data centre's own templates; configuring them is left to the roles.
    *("chrony", "unattended-upgrades", "dconf-cli"),
)

# Have nothing to do in a container, fail there, or only wait.
_MASKED_UNITS = ("getty@.service", "console-getty.service", "systemd-networkd-wait-online.service")
# Would download behind the back of whoever watches a run. Only switched off: a role may want them on.
_DISABLED_TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")

# Settings of this machine's apt without which packages could not be fetched from here.
_CARRIED_OVER = re.compile(
    r'^Acquire::(?:(?:https?|ftp)::Proxy(?:::\S+)?|Check-Valid-Until|Check-Date|Retries|ForceIPv[46]) ".*";$'
)
_LOCAL_CAS = Path("/usr/local/share/ca-certificates")
_RECIPE = "2"
"""To be raised when the steps below change what comes out."""


@dataclass(frozen=True)
class Source:
    """One line of apt's sources."""

    uri: str
    suite: str
    component: str

    def line(self) -> str:
        return f"deb [signed-by={KEYRING}] {self.uri} {self.suite} {self.component}"


def find_sources(index_targets: str | None = None) -> tuple[Source, ...]:
    """Debian's own archives among this machine's apt sources: release, updates and security.

    Raises NotReadyError if there are none for the release that the lab's hosts run.
    """
    listed = _index_targets() if index_targets is None else index_targets
    rows = [line.split("|") for line in listed.splitlines()]
    found = {
        Source(uri, suite, component)
        for uri, suite, component, origin, codename in rows
        if origin == "Debian" and (codename == SUITE or codename.startswith((f"{SUITE}-updates", f"{SUITE}-security")))
    }
    if not any(source.suite in (SUITE, "oldstable", "stable") for source in found):
        raise NotReadyError(
            f"this machine's apt sources have no Debian 12 ({SUITE}), from which the lab's hosts are made",
            hint=f"run apt-get update; if it still fails, add Debian's {SUITE} to /etc/apt/sources.list.d",
        )
    return tuple(sorted(found, key=lambda source: (source.suite, source.component, source.uri)))


def carried_over_apt_settings(dump: str | None = None) -> tuple[str, ...]:
    """The lines of ``apt-config dump`` that hosts on this machine need as well."""
    text = commands.output(["apt-config", "dump", "Acquire"]) if dump is None else dump
    return tuple(line for line in text.splitlines() if _CARRIED_OVER.match(line))


def ensure_base_image(progress: Progress) -> Path:
    """The base image's folder, built first if this machine does not have it yet."""
    sources = find_sources()
    settings = carried_over_apt_settings()
    local_cas = sorted(_LOCAL_CAS.rglob("*.crt"))
    key = key_of(
        _RECIPE,
        platform.machine(),
        *(source.line() for source in sources),
        *PACKAGES,
        *_MASKED_UNITS,
        *_DISABLED_TIMERS,
        *settings,
        KEYRING.read_bytes(),
        *(file.read_bytes() for file in local_cas),
    )

    def build(folder: Path) -> None:
        root = folder / "root"
        _bootstrap(root, sources, settings, progress)
        _carry_over(root, settings, local_cas)
        _prepare_for_containers(root)

    title = "build the base image of the lab's hosts (Debian 12, once; about two minutes)"
    return built_once(cache_dir() / f"base-image-{key}", build, progress, title) / "root"


def _index_targets() -> str:
    form = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(CODENAME)"
    ask = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    listed = commands.output(ask)
    if "|Debian|" not in listed:  # origins are known only once the lists were fetched
        commands.run(["apt-get", "update"])
        listed = commands.output(ask)
    return listed


def _bootstrap(root: Path, sources: tuple[Source, ...], settings: tuple[str, ...], progress: Progress) -> None:
    commands.run(
        [
            *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"),
            f"--include={','.join(PACKAGES)}",
            *(f"--aptopt={setting.rstrip(';')}" for setting in settings),
            # Hosts start with the package lists, and don't each fetch them again.
            "--skip=cleanup/apt/lists",
            *(SUITE, str(root)),
            *(source.line() for source in sources),
        ],
        progress=progress,
        worth_showing=lambda line: line.removeprefix("I: ") if line.startswith("I: ") else None,
    )


def _carry_over(root: Path, settings: tuple[str, ...], local_cas: list[Path]) -> None:
    """What this machine needs to reach its package servers, its hosts need as well."""
    (root / "etc/apt/apt.conf.d/20machine").write_text("".join(f"{line}\n" for line in settings))
    for file in local_cas:
        shutil.copy(file, root / "usr/local/share/ca-certificates" / file.name)
    if local_cas:
        commands.run(["chroot", str(root), "update-ca-certificates"])
    commands.run(["chroot", str(root), "apt-cache", "gencaches"])


def _prepare_for_containers(root: Path) -> None:
    units = root / "etc/systemd/system"
    for unit in _MASKED_UNITS:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for timer in _DISABLED_TIMERS:
        (units / "timers.target.wants" / timer).unlink(missing_ok=True)
    # Identity comes with each host.
    for file in (*(root / "etc/ssh").glob("ssh_host_*"), root / "etc/hostname", root / "etc/resolv.conf"):
        file.unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("")
    (root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
