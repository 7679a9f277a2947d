#!/usr/bin/python3 -I
"""Backs up one source of this server (a data disk's files, its databases, its directory) to all its repositories.

ksm-backup init           create the repositories that there are not yet
ksm-backup run SOURCE     dump databases or directory, list every file with its checksum, save both

The list (manifest) is saved beside the data, so that a restored backup can be compared with what was saved.
Messages go to the journal; the exit code is 1 if any copy failed.
"""

import fcntl
import hashlib
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/ksm-backup")
STATE = Path("/var/lib/ksm-backup")
SCRATCH = ".ksm-restore-test"
"""Folder on a data disk into which backups are restored as a test; never saved."""
BLOCK = 1024 * 1024


class BackupError(Exception):
    """A backup failed; says why."""


def say(priority: int, text: str) -> None:
    """A line for the journal (sd-daemon(3): 3 error, 4 warning, 6 information)."""
    sys.stdout.write(f"<{priority}>{text}\n")
    sys.stdout.flush()


# --- restic -------------------------------------------------------------------------------


def restic_command(repository: dict[str, Any]) -> list[str]:
    """restic, talking to one repository over ssh; which one it is, the account there decides."""
    ssh = ["ssh", "-F", "none", "-i", f"{SETTINGS}/ssh_key", "-p", str(repository["port"])]
    for option in (
        *("BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no"),
        *(f"UserKnownHostsFile={SETTINGS}/known_hosts", "GlobalKnownHostsFile=/dev/null"),
        *("ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4", "LogLevel=ERROR"),
    ):
        ssh += ["-o", option]
    ssh.append(f"{repository['account']}@{repository['address']}")
    words = ["/usr/bin/restic", "--repo", "rclone:repository", "--option", f"rclone.program={' '.join(ssh)}"]
    return [*words, "--password-file", f"{SETTINGS}/passphrase", "--cache-dir", f"{STATE}/cache"]


def restic(repository: dict[str, Any], *words: str, stdin: str = "", allowed: tuple[int, ...] = (0,)) -> str:
    """What restic prints. Raises BackupError with its last line if it ends otherwise than ``allowed``."""
    done = subprocess.run(
        [*restic_command(repository), *words],
        input=stdin,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        cwd="/",
        check=False,
    )
    if done.returncode not in allowed:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        refused = [line for line in lines if "room used up" in line or "Permission denied" in line]
        fatal = [line for line in lines if line.startswith(("Fatal:", "rclone:"))]
        raise BackupError(" / ".join(refused[:1] or fatal[-2:] or lines[-1:]) or f"restic ended with {done.returncode}")
    return done.stdout


def init(settings: dict[str, Any]) -> int:
    """Create the repositories that this server has not seen yet. One that is there already is taken over."""
    failed = 0
    for key, repository in settings["repositories"].items():
        mark = STATE / f"repository-{key}"
        if mark.exists():
            continue
        try:
            try:
                found = restic(repository, "cat", "config")
            except BackupError:
                restic(repository, "init")
                found = restic(repository, "cat", "config")
                say(6, f"{key}: created")
            mark.write_text(found, encoding="utf-8")
        except BackupError as error:
            failed += 1
            say(3, f"{key}: {error}")
    return 1 if failed else 0


# --- what is saved ------------------------------------------------------------------------


def dump_databases(folder: Path) -> None:
    """Put a dump of every database, and of the roles, into ``folder``. The one before is replaced as a whole."""
    postgres = pwd.getpwnam("postgres")
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, postgres.pw_uid, postgres.pw_gid)
    new, current = folder / "new", folder / "current"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    os.chown(new, postgres.pw_uid, postgres.pw_gid)
    names = as_postgres("psql", "--no-psqlrc", "-At", "-c", "select datname from pg_database where not datistemplate")
    as_postgres("pg_dumpall", "--globals-only", f"--file={new}/globals.sql")
    for name in names.splitlines():
        as_postgres("pg_dump", "--format=custom", f"--file={new}/{name}.dump", f"--dbname={name}")
    shutil.rmtree(current, ignore_errors=True)
    new.rename(current)


def dump_directory(folder: Path) -> None:
    """Put a dump of the domain that this controller holds into ``folder``. The one before is replaced as a whole."""
    new, current = folder / "new", folder / "current"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    done = subprocess.run(
        ["/usr/bin/samba-tool", "domain", "backup", "offline", f"--targetdir={new}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        cwd="/",
        check=False,
    )
    dumps = list(new.glob("samba-backup-*.tar.bz2"))
    if done.returncode != 0 or len(dumps) != 1:
        raise BackupError(f"samba-tool domain backup: {(done.stderr.strip().splitlines() or ['no dump'])[-1]}")
    dumps[0].rename(new / "domain.tar.bz2")
    shutil.rmtree(current, ignore_errors=True)
    new.rename(current)


def as_postgres(*words: str) -> str:
    """Run a PostgreSQL client program as the cluster's administrator."""
    done = subprocess.run(
        [words[0], "--no-password", *words[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        user="postgres",
        group="postgres",
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/var/lib/postgresql"},
        cwd="/",
        check=False,
    )
    if done.returncode != 0:
        raise BackupError(f"{words[0]}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def files_below(root: Path) -> dict[str, os.stat_result]:
    """Every regular file and symbolic link below ``root``, by its path relative to it; one file system only."""
    device = root.stat().st_dev
    found = {}
    for place, folders, names in os.walk(root):
        here = Path(place)
        if here == root:
            folders[:] = [name for name in folders if name != SCRATCH]
        folders[:] = [name for name in folders if (here / name).lstat().st_dev == device]
        for name in [*names, *(name for name in folders if (here / name).is_symlink())]:
            try:
                status = (here / name).lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                found[str((here / name).relative_to(root))] = status
    return found


def look(status: os.stat_result) -> list[int]:
    """By this a file is known to be the same as before."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def checksum(path: Path) -> str:
    """SHA-256 of a file's content, or of where a link points."""
    if path.is_symlink():
        return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    total = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(BLOCK):
            total.update(block)
    return total.hexdigest()


def listed(root: Path, before: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Path → size, mtime, ctime, checksum. What looks as ``before`` is not read again."""
    files: dict[str, list[Any]] = {}
    for path, status in sorted(files_below(root).items()):
        known = before.get(path)
        if known and known[:3] == look(status):
            files[path] = known
            continue
        try:
            files[path] = [*look(status), checksum(root / path)]
        except FileNotFoundError:
            continue
    return files


def changed_since(root: Path, files: dict[str, list[Any]]) -> list[str]:
    """What was changed or removed since it was listed: its checksum says nothing about what was saved."""
    now = files_below(root)
    return [path for path, entry in files.items() if path not in now or look(now[path]) != entry[:3]]


# --- a backup -----------------------------------------------------------------------------


def save(
    repository: dict[str, Any], name: str, root: Path, files: dict[str, list[Any]], at: datetime
) -> tuple[str, int]:
    """Save the files and their list to one repository. Returns the snapshot and how many files changed meanwhile."""
    # A backup that was killed left a lock; restic removes those of processes that are gone.
    restic(repository, "unlock")
    when = at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    words = ["--one-file-system", "--exclude", str(root / SCRATCH), "--tag", f"data,source:{name}", "--time", when]
    # 3: some files could not be read; those that were removed meanwhile may be missing, others not.
    told = restic(repository, "backup", "--json", *words, str(root), allowed=(0, 3))
    messages = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    unread = [m["item"] for m in messages if m.get("message_type") == "error" and os.path.lexists(m["item"])]
    if unread:
        raise BackupError(f"{len(unread)} files could not be read, for example {unread[0]}")
    snapshot = next(m["snapshot_id"] for m in messages if m.get("message_type") == "summary")
    changed = changed_since(root, files)
    manifest = {
        "source": name,
        "root": str(root),
        "snapshot": snapshot,
        "taken": at.isoformat(timespec="seconds"),
        "changed": changed,
        "files": {path: [entry[0], entry[3]] for path, entry in files.items()},
    }
    words = ["--stdin", "--stdin-filename", f"manifest-{name}.json", "--time", when]
    words += ["--tag", f"manifest,source:{name},of:{snapshot}"]
    restic(repository, "backup", *words, stdin=json.dumps(manifest))
    return snapshot, len(changed)


def run(settings: dict[str, Any], name: str) -> int:
    """Back up one source to all its repositories; one that fails does not keep the others from theirs."""
    source = settings["sources"][name]
    root, at = Path(source["path"]), datetime.now(UTC).replace(microsecond=0)
    begun = time.monotonic()
    try:
        if source["kind"] != "files":
            dump = dump_databases if source["kind"] == "databases" else dump_directory
            dump(Path(source["dumps"]))
            root = Path(source["dumps"]) / "current"
        known = STATE / f"files-{name}.json"
        before = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
        files = listed(root, before)
        write(known, files)
    except (BackupError, OSError, ValueError) as error:
        say(3, f"{name}: {error}")
        return 1
    failed = 0
    for key in source["repositories"]:
        try:
            snapshot, changed = save(settings["repositories"][key], name, root, files, at)
        except (BackupError, OSError) as error:
            failed += 1
            say(3, f"{name} to {key}: {error}")
            continue
        note = f", {changed} changed meanwhile" if changed else ""
        say(6, f"{name} to {key}: snapshot {snapshot}, {len(files)} files{note} ({time.monotonic() - begun:.0f} s)")
    return 1 if failed else 0


def write(path: Path, content: object) -> None:
    """Replace a file as a whole."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(content), encoding="utf-8")
    new.replace(path)


def main(words: list[str]) -> int:
    """Does what the command line says, one backup of a source at a time."""
    os.umask(0o077)
    settings = json.loads((SETTINGS / "config.json").read_text(encoding="utf-8"))
    if words == ["init"]:
        return init(settings)
    if len(words) != 2 or words[0] != "run" or words[1] not in settings["sources"]:
        sys.stderr.write(__doc__ or "")
        return 2
    with (STATE / f"lock-{words[1]}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(4, f"{words[1]}: the backup before has not ended yet; this one is left out")
            return 1
        return run(settings, words[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
