"""Backups of real servers on real repositories: restored and compared, and attacked by those who make them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from ksm_onboard.planning.plan import Plan
from ksm_onboard.progress import Silent
from ksm_onboard.verifying.backups import look_at_backups
from ksm_onboard.verifying.restores import Attempt, Restores, copies_of, restore_test

from .conftest import CENTRAL, OPS, REPOSITORIES, Runs, Site

pytestmark = pytest.mark.lab

FILES, DATABASES = "gra-file01", "gra-db01"
OUTSIDE = "sn-backup03"
REPOSITORY = "/srv/backup/bk-gra-file01/repository"
STRANGE = "Straße mit Leerzeichen 'und Strich'.txt"


@pytest.fixture(scope="module", autouse=True)
def _saved(site: Site, runs: Runs) -> None:
    """Something to lose, and a backup of it."""
    site.on(FILES, "sudo mkdir -p /srv/data/verwaltung && echo Haushalt | sudo tee /srv/data/verwaltung/plan.txt")
    site.on(FILES, f"echo Akte | sudo tee {shlex.quote(f'/srv/data/verwaltung/{STRANGE}')}")
    site.on(FILES, "sudo ln -sfn plan.txt /srv/data/verwaltung/link")
    site.on(FILES, "head -c 400000 /dev/urandom | sudo tee /srv/data/verwaltung/bild.bin | wc -c")
    rows = "drop table if exists sicherung; create table sicherung (nr int); insert into sicherung values (1), (2);"
    site.on(DATABASES, "sudo -u postgres psql -d fachdaten", stdin=rows)
    site.on(FILES, "sudo systemctl start ksm-backup@data")
    site.on(DATABASES, "sudo systemctl start ksm-backup@pgdata")


def restore_tested(site: Site, server: str, *, plan: Plan | None = None, only: str | None = None) -> list[Attempt]:
    wanted = [(b, key) for b, key in copies_of(site.plan) if b.server == server and only in (None, key)]
    return restore_test(
        plan or site.plan,
        site.connection,
        wanted,
        known_hosts=site.known_hosts(),
        now=datetime.now(UTC),
        progress=Silent(),
    )


def problem(site: Site, **changes: Plan) -> str:
    """What the restore test of the file server's copy outside says."""
    [attempt] = restore_tested(site, FILES, only="outside", **changes)
    assert attempt.restored is None
    assert site.on(FILES, "sudo ls -A /srv/data | grep ksm-restore || true") == ""
    return attempt.problem


def restic(site: Site, words: str, *, seconds: int = 60, check: bool = True) -> str:
    """restic on the file server, called as an attacker with all its rights would.

    ``seconds``: what is refused, restic tries again for three quarters of a minute.
    """
    program = f"ssh -F none -i /etc/ksm-backup/ssh_key -o UserKnownHostsFile=/etc/ksm-backup/known_hosts {login(site)}"
    command = (
        f"sudo timeout {seconds} restic -r rclone:x -o rclone.program={shlex.quote(program)}"
        f" --password-file /etc/ksm-backup/passphrase --no-cache {words}"
    )
    return site.on(FILES, command, check=check)


def login(site: Site) -> str:
    return f"bk-gra-file01@{site.address(OUTSIDE)}"


def snapshots(site: Site) -> set[str]:
    return set(site.on(OUTSIDE, f"sudo ls {REPOSITORY}/snapshots").split())


# --- the runs -----------------------------------------------------------------------------


def test_the_repositories_are_configured_and_then_nothing_changes(runs: Runs) -> None:
    for run in (runs.check_repositories, runs.repositories, runs.repositories_again):
        assert run.status == "finished", run.problems
        assert set(run.hosts) == {*REPOSITORIES, *CENTRAL, *OPS}
    assert all(host.changed for host in runs.check_repositories.hosts.values())
    assert runs.repositories_again.changed == 0


@pytest.mark.parametrize("name", REPOSITORIES)
def test_nothing_of_a_repositorys_host_failed(site: Site, name: str) -> None:
    assert site.on(name, "systemctl --failed --plain --no-legend") == ""
    listening = site.on(name, "sudo ss --listening --tcp --udp --numeric --processes --no-header").splitlines()
    own = [line.split()[4] for line in listening if "users:" in line]
    # ssh, and what tells the monitoring how the machine is.
    assert sorted(own) == [f"{site.address(name)}:22", f"{site.address(name)}:9100"]


def test_backups_come_when_they_are_planned(site: Site) -> None:
    planned = {backup.server: backup.schedule for backup in site.plan.member.backups}
    for server, source in ((FILES, "data"), (DATABASES, "pgdata")):
        timer = site.on(server, f"systemctl cat ksm-backup@{source}.timer")
        assert f"OnCalendar={planned[server]}" in timer
        assert site.on(server, f"systemctl is-enabled ksm-backup@{source}.timer").strip() == "enabled"
        assert site.on(server, f"systemctl is-active ksm-backup@{source}.timer").strip() == "active"


def test_only_root_reads_keys_and_passphrases(site: Site) -> None:
    assert site.on(FILES, "sudo stat -c %U:%a /etc/ksm-backup").strip() == "root:700"
    assert site.on(FILES, "sudo stat -c %a /etc/ksm-backup/ssh_key /etc/ksm-backup/passphrase").split() == ["600"] * 2
    assert site.on(OUTSIDE, "sudo stat -c %U:%a /etc/ksm-backup/passphrases").strip() == "root:700"
    assert site.on(OUTSIDE, "sudo stat -c %U:%a /srv/backup/bk-gra-file01").strip() == "bk-gra-file01:700"


# --- restored -----------------------------------------------------------------------------


def test_every_copy_is_restored_and_compared(site: Site) -> None:
    files, databases = restore_tested(site, FILES), restore_tested(site, DATABASES)
    assert [(a.repository, a.problem) for a in (*files, *databases)] == [("section-b", ""), ("outside", "")] * 2
    for attempt in files:
        assert attempt.restored is not None
        assert attempt.restored.files >= 4 and attempt.restored.bytes > 400_000
        assert attempt.restored.snapshot and len(attempt.restored.manifest) == 64
    for attempt in databases:
        assert attempt.restored is not None
        assert attempt.restored.databases["fachdaten"].rows >= 2


def test_the_repositories_say_themselves_how_old_their_newest_backups_are(site: Site) -> None:
    seen = look_at_backups(site.plan, site.connection, Restores(), site.known_hosts(), Silent())
    assert seen.silent == {}
    assert set(seen.newest) == {(server, key) for server in (FILES, DATABASES) for key in ("section-b", "outside")}
    assert all(moment is not None and moment <= datetime.now(UTC) for moment in seen.newest.values())


# --- attacked by the server that backs up -------------------------------------------------


def test_a_server_cannot_delete_its_backups(site: Site) -> None:
    before = snapshots(site)
    assert before
    assert "403 Forbidden" in restic(site, "forget latest", seconds=10, check=False)
    assert before <= snapshots(site)
    assert restore_tested(site, FILES, only="outside")[0].problem == ""


def test_a_server_cannot_overwrite_its_backups(site: Site) -> None:
    """The program that the account runs, with the options that it has there, spoken to without restic."""
    attack = """
import json, runpy, subprocess, sys, time, urllib.error, urllib.request
account = json.load(open("/etc/ksm-backup/accounts/bk-gra-file01.json"))
words = runpy.run_path("/usr/local/lib/ksm-backup/serve")["command"](account)
words[words.index("--stdio")] = f"--addr={sys.argv[1]}:8000"
server = subprocess.Popen(["runuser", "-u", "bk-gra-file01", "--", *words], stderr=subprocess.DEVNULL)
def ask(method, path, body=None):
    request = urllib.request.Request(f"http://{sys.argv[1]}:8000/{path}", data=body, method=method)
    for attempt in range(50):
        try:
            return urllib.request.urlopen(request).status
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            time.sleep(0.2)
try:
    old, new = f"snapshots/{sys.argv[2]}", "snapshots/" + "0" * 64
    print(ask("POST", old, b"x"), ask("DELETE", old), ask("POST", "config", b"x"), ask("DELETE", "config"))
    print(ask("POST", new, b"x"))
finally:
    server.terminate()
"""
    before = snapshots(site)
    told = site.on(OUTSIDE, f"sudo python3 - {site.address(OUTSIDE)} {min(before)}", stdin=attack)
    site.on(OUTSIDE, f"sudo rm {REPOSITORY}/snapshots/{'0' * 64}")
    assert told.split() == ["403", "403", "403", "403", "200"]
    assert restore_tested(site, FILES, only="outside")[0].problem == ""


def test_a_servers_key_opens_no_shell_and_nothing_of_another_server(site: Site) -> None:
    ssh = "-F none -i /etc/ksm-backup/ssh_key -o UserKnownHostsFile=/etc/ksm-backup/known_hosts -o BatchMode=yes"
    before = snapshots(site)
    for attack, typed in (
        (f"ssh {ssh} {login(site)} 'id; rm -rf {REPOSITORY}'", ""),
        (f"sftp {ssh} {login(site)}", "ls\n"),
    ):
        said = site.on(FILES, f"sudo timeout 20 {attack}", stdin=typed, check=False)
        assert "uid=" not in said and "snapshots" not in said
    other = login(site).replace("gra-file01", "gra-db01")
    assert "Permission denied" in site.on(FILES, f"sudo ssh {ssh} {other} id", check=False)
    forwarded = f"sudo timeout 20 ssh {ssh} -o ExitOnForwardFailure=yes -N -R 127.0.0.1:9999:127.0.0.1:22 {login(site)}"
    assert "forwarding failed" in site.on(FILES, forwarded, check=False)
    assert snapshots(site) == before


# --- damaged ------------------------------------------------------------------------------


@contextmanager
def spoilt(site: Site, host: str, path: str, spoil: str) -> Iterator[None]:
    """A file that is spoilt for a while."""
    site.on(host, f"sudo cp -a {path} /root/kept && {spoil}")
    try:
        yield
    finally:
        site.on(host, f"sudo cp -a /root/kept {path} && sudo rm /root/kept")


def largest_pack(site: Site) -> str:
    listed = site.on(OUTSIDE, f"sudo find {REPOSITORY}/data -type f -printf '%s %p\\n' | sort -n | tail -n 1")
    return listed.split()[1]


def test_a_damaged_repository_is_found(site: Site) -> None:
    pack = largest_pack(site)
    damage = f"echo damage | sudo dd of={pack} bs=1 seek=1000 conv=notrunc status=none"
    with spoilt(site, OUTSIDE, pack, damage):
        assert "damaged" in problem(site)
    assert restore_tested(site, FILES, only="outside")[0].problem == ""


def test_a_backup_that_is_missing_in_the_repository_is_found(site: Site) -> None:
    [attempt] = restore_tested(site, FILES, only="outside")
    assert attempt.restored is not None
    [name] = [name for name in snapshots(site) if name.startswith(attempt.restored.snapshot)]
    with spoilt(site, OUTSIDE, f"{REPOSITORY}/snapshots/{name}", f"sudo rm {REPOSITORY}/snapshots/{name}"):
        assert "a backup is missing in it" in problem(site)


def test_a_wrong_passphrase(site: Site) -> None:
    path = "/etc/ksm-backup/passphrase"
    with spoilt(site, FILES, path, f"echo wrong | sudo tee {path}"):
        assert "the passphrase does not open the repository" in problem(site)


def test_a_repositorys_host_that_does_not_answer(site: Site) -> None:
    platform = site.plan.platform
    nobody = tuple(
        s.model_copy(update={"address": s.address + 100}) if s.name == OUTSIDE else s for s in platform.shared_servers
    )
    plan = site.plan.model_copy(update={"platform": platform.model_copy(update={"shared_servers": nobody})})
    assert "the repository's host does not answer" in problem(site, plan=plan)


def test_a_key_that_is_revoked_and_room_that_is_used_up(site: Site) -> None:
    account = "/etc/ksm-backup/accounts/bk-gra-file01.json"
    site.on(OUTSIDE, f'sudo sed -i \'s/"quota_gib": [0-9]*/"quota_gib": 0/\' {account}')
    before = snapshots(site)
    assert "for reading only" in restic(site, "backup /etc/hostname", seconds=10, check=False)
    assert snapshots(site) == before
    assert restore_tested(site, FILES, only="outside")[0].problem == ""
    site.on(OUTSIDE, "sudo rm /etc/ssh/backup_keys/bk-gra-file01")
    assert "does not let this server in" in problem(site)
    result = site.configure(limit=FILES, tags="backup_client")
    assert (result.status, result.changed) == ("finished", 2), result.problems
    site.on(FILES, "sudo systemctl start ksm-backup@data")
    assert len(snapshots(site)) == len(before) + 2
    assert restore_tested(site, FILES, only="outside")[0].problem == ""


# --- deleted on purpose -------------------------------------------------------------------


def test_old_backups_are_deleted_at_the_repository_but_never_while_one_is_of_the_future(site: Site) -> None:
    def saved_at(moment: str) -> str:
        said = restic(site, f"backup --json --tag data,source:data --time '{moment}' /etc/hostname")
        return str(json.loads(said.splitlines()[-1])["snapshot_id"])

    def retention() -> str:
        site.on(OUTSIDE, "sudo systemctl start ksm-backup-retention", check=False)
        return site.on(OUTSIDE, "sudo journalctl -u ksm-backup-retention -n 6 -o cat")

    earlier, later = saved_at("2020-02-02 10:00:00"), saved_at("2020-02-02 11:00:00")
    saved_at("2020-06-01 10:00:00")
    future = saved_at("2099-01-01 10:00:00")
    before = snapshots(site)
    assert "dated in the future" in retention()
    assert snapshots(site) == before
    site.on(OUTSIDE, f"sudo sh -c 'rm {REPOSITORY}/snapshots/{future}*'")
    assert "hang together" in retention()
    left = {snapshot[:8] for snapshot in snapshots(site)}
    assert later in left and earlier not in left
    assert site.on(OUTSIDE, "systemctl is-failed ksm-backup-retention", check=False).strip() == "inactive"
    assert restore_tested(site, FILES, only="outside")[0].problem == ""
