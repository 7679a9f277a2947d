"""Runs on a server by its own python3: restores its newest backups into a scratch folder and compares them.

Sent over ssh on standard input, never installed, and independent of the program that makes the
backups: it only knows how a backup's list of files is written. Standard library only, nothing
newer than Python 3.9. It changes nothing but its scratch folder, which it removes again.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

SETTINGS = "/etc/ksm-backup"
SCRATCH = ".ksm-restore-test"
CONNECT_SECONDS = 10
# What ssh itself ends with; what it runs ends with anything else (ssh(1), exit status).
SSH_FAILED = 255
SHOWN = 5
BLOCK = 1024 * 1024
KEPT_FREE_BYTES = 64 * 1024 * 1024

# What the error lines of ssh and restic mean to whoever reads the report.
MEANINGS = (
    ("Permission denied", "the repository's host does not let this server in: its key is not accepted (any more)"),
    ("Host key verification failed", "the repository's host shows another host key than the declared one"),
    ("wrong password or no key found", "the passphrase does not open the repository"),
    ("repository does not exist", "there is no repository of this server"),
    ("Is there a repository", "there is no repository of this server"),
    ("ciphertext verification failed", "the repository is damaged: data do not pass their own check"),
    ("invalid data returned", "the repository is damaged: data do not pass their own check"),
    ("hash mismatch", "the repository is damaged: data do not pass their own check"),
    ("not found in repository", "the repository is damaged: data are missing"),
    ("not found in index", "the repository is damaged: data are missing"),
    ("no matching ID found", "the repository is damaged: a backup is missing in it"),
    ("404 Not Found", "the repository is damaged: files of it are missing"),
    ("does not exist", "the repository is damaged: files of it are missing"),
)


class RestoreError(Exception):
    """A backup could not be restored; says why."""


def answer(request: dict[str, Any]) -> list[dict[str, Any]]:
    """A result for every source and repository of ``request``."""
    return [
        test(source, key, repository, request["first_backup_seconds"])
        for source in request["sources"]
        for key, repository in source["repositories"].items()
    ]


def test(source: dict[str, Any], key: str, repository: dict[str, Any], patience: float) -> dict[str, Any]:
    """Restore the newest backup of one source from one repository. ``problem`` is empty if all is well."""
    result: dict[str, Any] = {"source": source["name"], "repository": key, "problem": ""}
    scratch = Path(source["path"]) / SCRATCH
    begun = time.monotonic()
    try:
        wait_for_a_running_backup(source["name"], patience)
        reach(repository)
        remove(scratch)
        scratch.mkdir(mode=0o700)
        result.update(compare(source, repository, scratch))
    except RestoreError as error:
        result["problem"] = str(error)
    except OSError as error:
        result["problem"] = f"the scratch folder {scratch} cannot be used: {error.strerror or error}"
    finally:
        remove(scratch)
    result["seconds"] = round(time.monotonic() - begun)
    return result


def compare(source: dict[str, Any], repository: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Restore and compare; raises RestoreError where anything is not as it was saved."""
    snapshot = newest_manifest(source, repository)
    text = restic(repository, "dump", snapshot["id"], f"/manifest-{source['name']}.json")
    manifest: dict[str, Any] = json.loads(text)
    size = sum(entry[0] for entry in manifest["files"].values())
    require_room(scratch, size)
    data = scratch / "data"
    restic(repository, "restore", manifest["snapshot"], "--target", str(data))
    root = data / manifest["root"].lstrip("/")
    checked = compare_files(root, manifest)
    proof = {
        "snapshot": manifest["snapshot"],
        "taken": manifest["taken"],
        "manifest": hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(),
        "files": checked,
        "bytes": size,
        "changed_meanwhile": len(manifest["changed"]),
        "databases": {},
    }
    if source["kind"] == "databases":
        proof["databases"] = load_databases(root, scratch)
    if source["kind"] == "directory":
        proof["accounts"] = open_directory(root, scratch)
    return proof


def compare_files(root: Path, manifest: dict[str, Any]) -> int:
    """How many files are there with the checksum that they had; raises RestoreError if any is not.

    Files that came while the backup was made are no fault; those that changed then are left out.
    """
    unstable = set(manifest["changed"])
    missing, different = [], []
    for path, (_size, checksum) in manifest["files"].items():
        if path in unstable:
            continue
        restored = root / path
        if not os.path.lexists(restored):
            missing.append(path)
        elif checksum_of(restored) != checksum:
            different.append(path)
    told = [
        f"{len(paths)} {what} ({', '.join(paths[:SHOWN])}{' …' if len(paths) > SHOWN else ''})"
        for paths, what in ((missing, "files are missing"), (different, "files have another content"))
        if paths
    ]
    if told:
        raise RestoreError(f"what was restored is not what was saved: {'; '.join(told)}")
    return len(manifest["files"]) - len(unstable)


def newest_manifest(source: dict[str, Any], repository: dict[str, Any]) -> dict[str, Any]:
    """The newest backup that was finished: its list is saved last."""
    tags = f"manifest,source:{source['name']}"
    found = json.loads(restic(repository, "snapshots", "--json", "--tag", tags)) or []
    if not found:
        raise RestoreError("there is no backup yet" + last_words(source["name"]))
    snapshot: dict[str, Any] = max(found, key=lambda entry: entry["time"])
    return snapshot


# --- restic -------------------------------------------------------------------------------


def restic(repository: dict[str, Any], *words: str) -> str:
    """What restic prints. Raises RestoreError in words that people understand."""
    program = " ".join(ssh(repository))
    command = ["restic", "--repo", "rclone:repository", "--option", f"rclone.program={program}", "--no-cache"]
    # Reading needs no lock, and must not be kept from it by one that was left behind.
    command += ["--no-lock", "--password-file", f"{SETTINGS}/passphrase", *words]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            cwd="/",
            check=False,
        )
    except FileNotFoundError:
        raise RestoreError("this server has no restic: backups are not set up") from None
    if done.returncode != 0:
        raise RestoreError(meaning(done.stderr) or f"restic {words[0]} ended with {done.returncode}")
    return done.stdout


def ssh(repository: dict[str, Any]) -> list[str]:
    """The command that logs in at the repository's host; the host then serves the repository on standard input."""
    command = ["ssh", "-F", "none", "-i", f"{SETTINGS}/ssh_key", "-p", str(repository["port"])]
    for option in (
        *("BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no"),
        *(f"UserKnownHostsFile={SETTINGS}/known_hosts", "GlobalKnownHostsFile=/dev/null"),
        *(f"ConnectTimeout={CONNECT_SECONDS}", "ServerAliveInterval=15", "LogLevel=ERROR"),
    ):
        command += ["-o", option]
    return [*command, f"{repository['account']}@{repository['address']}"]


def meaning(stderr: str) -> str:
    """What went wrong, by restic's and ssh's own words."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for words, told in MEANINGS:
        for line in lines:
            if words in line:
                return f"{told} ({line[:200]})"
    fatal = [line for line in lines if line.startswith("Fatal:")]
    return (fatal or lines or [""])[-1][:300]


def reach(repository: dict[str, Any]) -> None:
    """Raises RestoreError if nobody answers at the repository's host, or nobody lets this server in.

    ssh is asked before restic is: restic often ends before it has passed on what ssh said.
    """
    address = (repository["address"], repository["port"])
    try:
        socket.create_connection(address, CONNECT_SECONDS).close()
    except OSError as error:
        raise RestoreError(f"the repository's host does not answer ({address[0]}:{address[1]}: {error})") from None
    # What is served on standard output is binary.
    login = subprocess.run(
        ssh(repository),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if login.returncode == SSH_FAILED:
        raise RestoreError(meaning(login.stderr) or "the repository's host does not let this server in")


# --- files --------------------------------------------------------------------------------


def checksum_of(path: Path) -> str:
    """SHA-256 of a file's content, or of where a link points."""
    if path.is_symlink():
        return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    total = hashlib.sha256()
    with path.open("rb") as content:
        block = content.read(BLOCK)
        while block:
            total.update(block)
            block = content.read(BLOCK)
    return total.hexdigest()


def require_room(scratch: Path, size: int) -> None:
    """Raises RestoreError if what is restored would fill the disk."""
    free = shutil.disk_usage(scratch).free
    if free < size + KEPT_FREE_BYTES:
        raise RestoreError(
            f"{scratch.parent} has no room for a restore test: {size // 2**20} MiB are needed, {free // 2**20} are free"
        )


def remove(scratch: Path) -> None:
    """Remove the scratch folder, if it is there."""
    shutil.rmtree(scratch, ignore_errors=True)


# --- databases ----------------------------------------------------------------------------


def open_directory(root: Path, scratch: Path) -> int:
    """Unpack the dump and open the directory's database in it, apart from the one in use. How many accounts it has."""
    place = scratch / "directory"
    place.mkdir(mode=0o700)
    # What looks into it is Samba's own library, which this host has; nothing of it is loaded into this program.
    look = (
        "import sys\n"
        "from samba.auth import system_session\n"
        "from samba.param import LoadParm\n"
        "from samba.samdb import SamDB\n"
        "settings = LoadParm()\n"
        "settings.load_default()\n"
        "database = SamDB(url=sys.argv[1], session_info=system_session(), lp=settings)\n"
        "print(len(database.search(database.domain_dn(), expression='(objectClass=user)', attrs=['cn'])))\n"
    )
    try:
        with tarfile.open(root / "domain.tar.bz2", "r:bz2") as dump:
            plain = [
                m for m in dump if (m.isfile() or m.isdir()) and m.name.startswith("private/") and ".." not in m.name
            ]
            dump.extractall(place, plain)  # noqa: S202 - nothing but files below private/
    except (tarfile.TarError, EOFError) as error:
        raise RestoreError(f"the dump of the directory cannot be unpacked: {error}") from None
    ask = ["/usr/bin/python3", "-c", look, f"{place}/private/sam.ldb"]
    done = subprocess.run(ask, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise RestoreError(f"the dump of the directory cannot be opened: {(lines or ['no message'])[-1][:300]}")
    return int(done.stdout)


def load_databases(root: Path, scratch: Path) -> dict[str, dict[str, int]]:
    """Load every dump into a cluster made for it, which nobody can reach but this test. Tables and rows of each."""
    newest = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    postgres = pwd.getpwnam("postgres")
    folder = root.parent
    while folder != scratch.parent:
        folder.chmod(0o711)
        folder = folder.parent
    for path in (root, *root.iterdir()):
        os.chown(path, postgres.pw_uid, postgres.pw_gid)
    cluster = scratch / "cluster"
    cluster.mkdir(mode=0o700)
    os.chown(cluster, postgres.pw_uid, postgres.pw_gid)
    as_postgres(str(newest / "initdb"), "--pgdata", f"{cluster}/data", "--auth=trust", "--encoding=UTF8", "--no-sync")
    options = f"-k {cluster} -c listen_addresses= -c fsync=off -c log_destination=stderr"
    log = f"{cluster}/log"
    as_postgres(str(newest / "pg_ctl"), "--pgdata", f"{cluster}/data", "--log", log, "--wait", "-o", options, "start")
    try:
        # That the role postgres exists already is no error here.
        as_postgres("psql", "--host", str(cluster), "--quiet", "--file", f"{root}/globals.sql", "postgres")
        return {dump.stem: load(dump, cluster) for dump in sorted(root.glob("*.dump"))}
    finally:
        as_postgres(str(newest / "pg_ctl"), "--pgdata", f"{cluster}/data", "--mode=immediate", "--wait", "stop")


def load(dump: Path, cluster: Path) -> dict[str, int]:
    """Load one dump; an error of any statement is a RestoreError."""
    host, name = ("--host", str(cluster)), f"restored_{dump.stem}"
    as_postgres("createdb", *host, "--template=template0", name)
    as_postgres("pg_restore", *host, "--exit-on-error", f"--dbname={name}", str(dump))
    ask = ("psql", *host, "-At", f"--dbname={name}", "-c")
    tables = as_postgres(
        *ask,
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname not in ('pg_catalog', 'information_schema') order by 1",
    ).splitlines()
    # The names come from the cluster itself, quoted by it.
    rows = [int(as_postgres(*ask, f"select count(*) from {table}")) for table in tables]  # noqa: S608
    return {"tables": len(tables), "rows": sum(rows)}


def as_postgres(*words: str) -> str:
    """Run a program as PostgreSQL's account. Raises RestoreError with its last line."""
    done = subprocess.run(
        list(words),
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
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise RestoreError(f"the dump does not load: {Path(words[0]).name}: {(lines or ['no message'])[-1][:300]}")
    return done.stdout


# --- the first backup ---------------------------------------------------------------------


def wait_for_a_running_backup(source: str, patience: float) -> None:
    """Wait for a backup that goes on, so that the newest one is tested. Raises RestoreError if it takes too long."""
    deadline = time.monotonic() + patience
    while unit_state(source) == "activating":
        if time.monotonic() > deadline:
            raise RestoreError(f"a backup of {source} goes on for longer than {patience:.0f} s; test again later")
        time.sleep(0.5)


def unit_state(source: str) -> str:
    """What systemd says about the backup's service."""
    ask = ["systemctl", "show", "--property=ActiveState", "--value", f"ksm-backup@{source}.service"]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()


def last_words(source: str) -> str:
    """What the last backup said, if it failed."""
    ask = ["journalctl", "--unit", f"ksm-backup@{source}.service", "--priority=err", "--lines=1", "--output=cat"]
    said = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    return f"; the last one said: {said}" if said else ""


def main(request: str) -> None:
    """Answers the JSON request on standard output."""
    sys.stdout.write(json.dumps(answer(json.loads(request))))
