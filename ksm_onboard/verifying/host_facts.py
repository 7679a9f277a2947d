"""What the hosts say about themselves: the question that each is asked, and the meaning of its answer."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ksm_onboard.declaration.models import AnyRole

HostKind = Literal["server", "workstation"]

# The units that make a server what it is. PostgreSQL's own unit only starts the clusters, so one of them is asked for.
ROLE_UNITS: dict[AnyRole, tuple[str, ...]] = {
    "dns": ("unbound.service",),
    "file": ("smbd.service",),
    "print": ("cups.service",),
    "database": ("postgresql@15-main.service",),
    "application": (),
    "resolver": ("unbound.service",),
    "time": ("chrony.service",),
    "directory": ("samba-ad-dc.service", "ksm-sysvol.timer"),
    "depot": ("nginx.service",),
    "log-collector": ("ksm-log-collector.service",),
    "monitoring": ("prometheus.service", "prometheus-alertmanager.service"),
    "reverse-proxy": ("haproxy.service",),
    "radius": ("freeradius.service",),
}
# Units of packages that run as a service; a server application of which no unit is named here is proven by its package.
PACKAGE_UNITS: dict[str, str] = {"nginx": "nginx.service"}

_DATABASE_QUESTION = """
select json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'databases', (select coalesce(json_object_agg(datname, pg_get_userbyid(datdba)), '{}'::json)
                from pg_database where not datistemplate and datname <> 'postgres'),
  'followers', (select coalesce(json_agg(json_build_object(
                  'name', application_name, 'address', host(client_addr), 'state', state)), '[]'::json)
                from pg_stat_replication),
  'receiving', (select status from pg_stat_wal_receiver))
"""


class Seen(BaseModel):
    """Base of everything that was seen on a host."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ShareSeen(Seen):
    """A network drive as Samba serves it; ``groups`` are those that may connect."""

    path: str
    groups: tuple[str, ...]
    comment: str
    writable: bool
    guests: bool


class QueueSeen(Seen):
    """A print queue: where it sends, and whether it takes jobs."""

    device_uri: str
    accepting: bool


class FollowerSeen(Seen):
    """A standby that a primary is sending to."""

    name: str
    address: str | None
    state: str


class DatabaseServerSeen(Seen):
    """A PostgreSQL server: whether it follows another one, its databases (name → owner) and its followers."""

    in_recovery: bool
    databases: Mapping[str, str]
    followers: tuple[FollowerSeen, ...]
    receiving: str | None


class DirectoryServerSeen(Seen):
    """A domain controller: from whom it pulls changes (host name → worst number of failures in a row)."""

    pulls_from: Mapping[str, int]


class ScreenLockSeen(Seen):
    """The desktop's lock policy in force; ``enforced``: people cannot change it. Seconds; None: not set."""

    idle_seconds: int | None
    enabled: bool | None
    delay_seconds: int | None
    enforced: bool


class UnitSeen(Seen):
    """A systemd unit. ``impossible``: it is masked, or one of its conditions keeps it from starting here."""

    state: str
    impossible: bool


class PageSeen(Seen):
    """What was answered over TLS: the status, or why there was none; ``plain``: where HTTP without TLS leads to."""

    status: int | None
    problem: str
    plain: str


class PageToAsk(Seen):
    """A page to ask for by its name, of the machine at ``address``."""

    name: str
    address: IPv4Address
    path: str


class HostFacts(Seen):
    """One host that answered."""

    name: str
    host_name: str
    fqdn: str
    operating_system: str
    packages: Mapping[str, str]
    units: Mapping[str, UnitSeen]
    mounts: Mapping[str, str]
    time_zone: str
    time_servers: tuple[str, ...]
    security_updates: bool
    banner: str
    sudo_members: tuple[str, ...]
    sudo_rights: Mapping[str, bool]
    admin_keys: Mapping[str, tuple[str, ...]]
    sshd: Mapping[str, str]
    trusted_roots: frozenset[str]
    log_kept: bool
    log_servers: tuple[str, ...]
    name_servers: tuple[str, ...]
    dns: Mapping[str, Mapping[str, tuple[str, ...] | None]]
    bookmarks: tuple[str, ...] = ()
    screen_lock: ScreenLockSeen | None = None
    shares: Mapping[str, ShareSeen] | None = None
    queues: Mapping[str, QueueSeen] | None = None
    database: DatabaseServerSeen | None = None
    directory: DirectoryServerSeen | None = None
    pages: tuple[PageSeen, ...] = ()


class HostSilent(Seen):
    """A host that could not be asked, and why."""

    name: str
    reason: str


class HostToAsk(Seen):
    """Whom to ask: where the host answers, and what it should be able to tell.

    ``address`` is where ssh reaches it; ``name_servers`` are asked for ``names`` from there, and ``pages`` are.
    ``mark`` is a text that it writes into its own log, for others to find; empty: none.
    """

    name: str
    kind: HostKind
    address: IPv4Address
    role: AnyRole | None = None
    units: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    name_servers: tuple[IPv4Address, ...] = ()
    names: tuple[str, ...] = ()
    pages: tuple[PageToAsk, ...] = ()
    mark: str = ""


_UNIT_PROPERTIES = "Id,LoadState,ActiveState,ConditionResult,ConditionTimestampMonotonic"
_IDLE_DELAY = "/org/gnome/desktop/session/idle-delay"
_LOCK_ENABLED = "/org/gnome/desktop/screensaver/lock-enabled"
_LOCK_DELAY = "/org/gnome/desktop/screensaver/lock-delay"
_SCREEN_LOCK_KEYS = (_IDLE_DELAY, _LOCK_ENABLED, _LOCK_DELAY)


# --- the question -------------------------------------------------------------------------

_FILES = (
    "/etc/os-release",
    "/etc/chrony/chrony.conf",
    "/etc/chrony/conf.d/*.conf",
    "/etc/chrony/sources.d/*.sources",
    "/etc/issue",
    "/etc/issue.net",
    "/etc/resolv.conf",
    "/etc/ssh/authorized_keys.d/*",
    "/etc/syslog-ng/syslog-ng.conf",
    "/etc/syslog-ng/conf.d/*.conf",
    "/usr/share/firefox-esr/distribution/policies.json",
    "/etc/chromium/policies/managed/*.json",
)


def question(host: HostToAsk) -> dict[str, Any]:
    """The request for ``on_host.answer``: fixed commands, none of which changes anything but the log."""
    commands: dict[str, list[str]] = {
        "hostname": ["hostname"],
        "fqdn": ["hostname", "--fqdn"],
        "packages": ["dpkg-query", "--show", "--showformat", "${db:Status-Status}\t${Package}\t${Version}\n"],
        "mounts": ["findmnt", "--json", "--output", "TARGET,SOURCE,FSTYPE"],
        "time_zone": ["readlink", "--canonicalize", "/etc/localtime"],
        "updates": ["apt-config", "dump", "APT::Periodic"],
        "sudo_group": ["getent", "group", "sudo"],
        "sshd": ["sshd", "-T"],
        "journal": ["systemd-analyze", "cat-config", "systemd/journald.conf"],
        "journal_files": ["find", "/var/log/journal", "-mindepth", "2", "-maxdepth", "2", "-name", "system.journal"],
    }
    if host.units:
        commands["units"] = ["systemctl", "show", f"--property={_UNIT_PROPERTIES}", *host.units]
    if host.mark:
        commands["mark"] = ["logger", "--tag", "ksm-onboard-audit", host.mark]
    for admin in host.admins:
        commands[f"sudo {admin}"] = ["sudo", "--non-interactive", "--list", "--other-user", admin]
    if host.kind == "workstation":
        # Read as an account without settings of its own: what comes back is the policy that everybody gets.
        as_nobody = ["runuser", "-u", "nobody", "--", "dconf"]
        commands |= {f"dconf {key}": [*as_nobody, "read", key] for key in _SCREEN_LOCK_KEYS}
        commands["dconf locks"] = [*as_nobody, "list-locks", "/org/gnome/desktop/"]
    if host.role == "file":
        commands["shares"] = ["testparm", "--suppress-prompt"]
    if host.role == "print":
        commands["queue_devices"] = ["lpstat", "-v"]
        commands["queue_states"] = ["lpstat", "-a"]
    if host.role == "database":
        psql = ["psql", "--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--command", _DATABASE_QUESTION]
        commands["database"] = ["runuser", "-u", "postgres", "--", *psql]
    if host.role == "directory":
        commands["replication"] = ["samba-tool", "drs", "showrepl", "--json"]
    return asking(commands) | {
        "files": list(_FILES),
        "name_servers": [str(server) for server in host.name_servers],
        "names": list(host.names),
        "pages": [page.model_dump(mode="json") for page in host.pages],
    }


def asking(commands: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The request for ``on_host.answer`` that asks for the output of commands, and for nothing else."""
    argvs = {key: list(argv) for key, argv in commands.items()}
    return {"commands": argvs, "files": [], "name_servers": [], "names": [], "pages": []}


# --- the answer ---------------------------------------------------------------------------


def understand(host: HostToAsk, answer: Mapping[str, Any]) -> HostFacts:
    """The facts in a host's answer. What a host does not have comes out empty, not as an error."""
    commands: Mapping[str, Mapping[str, Any]] = answer["commands"]
    files: Mapping[str, str] = answer["files"]

    def output(key: str) -> str:
        return str(commands.get(key, {}).get("out", ""))

    sshd = sshd_settings(output("sshd"))
    return HostFacts(
        name=host.name,
        host_name=output("hostname").strip(),
        fqdn=output("fqdn").strip(),
        operating_system=_os_name(files.get("/etc/os-release", "")),
        packages=installed_packages(output("packages")),
        units=unit_states(output("units")),
        mounts=mount_points(output("mounts")),
        time_zone=output("time_zone").strip().removeprefix("/usr/share/zoneinfo/"),
        time_servers=time_servers(text for path, text in files.items() if path.startswith("/etc/chrony/")),
        security_updates=security_updates(output("updates")),
        banner=files.get(sshd.get("banner", ""), "").strip(),
        sudo_members=tuple(
            name for name in _group_members(output("sudo_group")) if name not in answer["expired_accounts"]
        ),
        sudo_rights={admin: "NOPASSWD: ALL" in output(f"sudo {admin}") for admin in host.admins},
        admin_keys={
            path.rsplit("/", 1)[-1]: tuple(sorted(line.strip() for line in text.splitlines() if line.strip()))
            for path, text in files.items()
            if path.startswith("/etc/ssh/authorized_keys.d/")
        },
        sshd=sshd,
        trusted_roots=frozenset(answer["trusted_roots"]),
        log_kept=log_kept(output("journal"), output("journal_files")),
        log_servers=log_servers(text for path, text in files.items() if path.startswith("/etc/syslog-ng/")),
        name_servers=tuple(
            line.split()[1]
            for line in files.get("/etc/resolv.conf", "").splitlines()
            if line.startswith("nameserver ") and len(line.split()) > 1
        ),
        dns={
            server: {name: None if found is None else tuple(found) for name, found in names.items()}
            for server, names in answer["dns"].items()
        },
        bookmarks=bookmarks(text for path, text in files.items() if path.endswith(".json")),
        screen_lock=screen_lock(commands) if host.kind == "workstation" else None,
        shares=shares(output("shares")) if host.role == "file" else None,
        queues=queues(output("queue_devices"), output("queue_states")) if host.role == "print" else None,
        database=database(output("database")) if host.role == "database" else None,
        directory=directory(output("replication")) if host.role == "directory" else None,
        pages=tuple(PageSeen(**page) for page in answer["pages"]),
    )


def _os_name(text: str) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', text, re.MULTILINE)
    return found.group(1) if found else ""


def installed_packages(text: str) -> dict[str, str]:
    """Name → version of the packages that are fully installed, from dpkg-query's lines."""
    fields = (line.split("\t") for line in text.splitlines())
    return {found[1]: found[2] for found in fields if len(found) == 3 and found[0] == "installed"}


def unit_states(text: str) -> dict[str, UnitSeen]:
    """Units, from the blocks that ``systemctl show`` prints."""
    states = {}
    for block in text.split("\n\n"):
        entries = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in entries:
            state = entries.get("ActiveState", "")
            # A unit that nobody has tried to start says "no" as well; only a checked condition has a time.
            checked = entries.get("ConditionTimestampMonotonic", "0") != "0"
            kept = entries.get("LoadState") == "masked" or (checked and entries.get("ConditionResult") == "no")
            states[entries["Id"]] = UnitSeen(state=state, impossible=kept and state != "active")
    return states


def mount_points(text: str) -> dict[str, str]:
    """Mount point → file system type, from findmnt's JSON."""
    found: dict[str, str] = {}

    def walk(entries: Sequence[Mapping[str, Any]]) -> None:
        for entry in entries:
            found[entry["target"]] = entry["fstype"]
            walk(entry.get("children", ()))

    walk(_json(text).get("filesystems", ()))
    return found


def _json(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def time_servers(texts: Iterable[str]) -> tuple[str, ...]:
    """Servers and pools named in chrony's configuration, sorted."""
    lines = (line.split() for text in texts for line in text.splitlines())
    return tuple(sorted({words[1] for words in lines if len(words) > 1 and words[0] in ("server", "pool", "peer")}))


def security_updates(text: str) -> bool:
    """Whether apt's periodic run refreshes the lists and installs upgrades by itself (apt.conf(5))."""
    values = dict(re.findall(r'^APT::Periodic::([\w-]+) "([^"]*)";$', text, re.MULTILINE))
    wanted = (values.get("Update-Package-Lists", "0"), values.get("Unattended-Upgrade", "0"))
    return values.get("Enable", "1") != "0" and all(value not in ("", "0") for value in wanted)


def _group_members(text: str) -> tuple[str, ...]:
    members = text.strip().rsplit(":", 1)[-1]
    return tuple(sorted(name for name in members.split(",") if name))


def sshd_settings(text: str) -> dict[str, str]:
    """The ssh server's settings in force (``sshd -T``); of a repeated one, the first."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key.lower(), value.strip())
    return found


def log_kept(configuration: str, files: str) -> bool:
    """Whether the journal survives a reboot: it may lie on disk (journald.conf(5), Storage=), and it does."""
    return _last_setting(configuration, "Storage") in (None, "auto", "persistent") and bool(files.strip())


def _last_setting(text: str, key: str) -> str | None:
    values = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return values[-1].strip() if values else None


def log_servers(texts: Iterable[str]) -> tuple[str, ...]:
    """Whom syslog-ng sends to, and whom it knows by a certificate: an unencrypted target is none."""
    found: set[str] = set()
    for text in texts:
        lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        for target, options in re.findall(r'\b(?:syslog|network)\(\s*"([^"]+)"(.*?)\);\s*\}', lines, re.DOTALL):
            if re.search(r'transport\("?tls"?\)', options) and re.search(r"peer-verify\(required-trusted\)", options):
                found.add(target)
    return tuple(sorted(found))


def bookmarks(texts: Iterable[str]) -> tuple[str, ...]:
    """Addresses that the browsers' policies offer everybody (ManagedBookmarks of Firefox and Chromium), sorted."""
    found: set[str] = set()
    for text in texts:
        policies = _json(text)
        entries = policies.get("policies", policies).get("ManagedBookmarks", ())
        found |= {str(entry["url"]) for entry in entries if isinstance(entry, dict) and "url" in entry}
    return tuple(sorted(found))


def screen_lock(commands: Mapping[str, Mapping[str, Any]]) -> ScreenLockSeen:
    """The lock policy in dconf's compiled system databases, which GNOME, Cinnamon and others obey."""
    values = {key: str(commands.get(f"dconf {key}", {}).get("out", "")).strip() for key in _SCREEN_LOCK_KEYS}
    locks = str(commands.get("dconf locks", {}).get("out", "")).split()
    return ScreenLockSeen(
        idle_seconds=_number(values[_IDLE_DELAY]),
        enabled={"true": True, "false": False}.get(values[_LOCK_ENABLED]),
        delay_seconds=_number(values[_LOCK_DELAY]),
        enforced=set(_SCREEN_LOCK_KEYS) <= set(locks),
    )


def _number(value: str | None) -> int | None:
    found = re.search(r"\d+$", value or "")
    return int(found.group()) if found else None


# Sections of smb.conf that are not network drives.
_NO_SHARES = frozenset({"global", "printers", "print$", "homes"})


def shares(text: str) -> dict[str, ShareSeen]:
    """Network drives in the configuration in force (``testparm -s``)."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {
        name: ShareSeen(
            path=entries.get("path", ""),
            groups=tuple(sorted(re.sub(r'^[@+&"]+|"$', "", word) for word in _users(entries.get("valid users", "")))),
            comment=entries.get("comment", ""),
            writable=entries.get("read only", "yes").lower() == "no" or bool(entries.get("write list")),
            guests=entries.get("guest ok", "no").lower() == "yes",
        )
        for name in parser.sections()
        if name not in _NO_SHARES
        for entries in [parser[name]]
    }


def _users(value: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", value) if word]


def queues(devices: str, states: str) -> dict[str, QueueSeen]:
    """Print queues, from ``lpstat -v`` (devices) and ``lpstat -a`` (which take jobs)."""
    accepting = set(re.findall(r"^(\S+) accepting requests", states, re.MULTILINE))
    found = re.findall(r"^device for ([^:\n]+): (\S+)$", devices, re.MULTILINE)
    return {name: QueueSeen(device_uri=uri, accepting=name in accepting) for name, uri in found}


def database(text: str) -> DatabaseServerSeen | None:
    """A PostgreSQL server's answer; None if it gave none."""
    data = _json(text)
    if not data:
        return None
    return DatabaseServerSeen(
        in_recovery=data["in_recovery"],
        databases=data["databases"],
        followers=tuple(FollowerSeen.model_validate(entry) for entry in data["followers"]),
        receiving=data["receiving"],
    )


def directory(text: str) -> DirectoryServerSeen | None:
    """A domain controller's answer (``samba-tool drs showrepl --json``); None if it gave none.

    What it pulls is asked, not whom it notifies: that list is emptied and filled again all the time.
    """
    data = _json(text)
    if "repsFrom" not in data:
        return None
    failures: dict[str, int] = {}
    for partner in data["repsFrom"]:
        if partner.get("is deleted"):
            continue
        # "Default-First-Site-Name\\SN-DC02"
        name = str(partner["DSA"]).rpartition("\\")[2].lower()
        failures[name] = max(failures.get(name, 0), int(partner["consecutive failures"]))
    return DirectoryServerSeen(pulls_from=failures)
