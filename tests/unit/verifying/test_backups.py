"""Backups as the audit sees them, the proofs that are kept, and what a server finds when it restores."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.plan import Plan
from ksm_onboard.verifying import restore_on_host
from ksm_onboard.verifying.backups import newest
from ksm_onboard.verifying.restore_on_host import RestoreError
from ksm_onboard.verifying.restores import (
    Attempt,
    Restores,
    copies_of,
    load_restores,
    request,
    save_restores,
    unproven,
    with_attempts,
)

from .conftest import NOW, proof

COPY = ("gra-file01", "data", "outside")

World = Any


def told(world: World) -> list[tuple[str, str, str, str]]:
    return [(d.object, d.attribute, d.expected, d.found) for d in world.report.differences]


def with_restores(world: World, restores: Restores) -> World:
    return replace(world, backups=world.backups.model_copy(update={"restores": restores}))


def failed(server: str, source: str, repository: str, problem: str) -> Attempt:
    return proof(server, source, repository, restored=None, problem=problem)


# --- the audit ----------------------------------------------------------------------------


def test_a_backup_that_is_too_old_or_missing_is_a_difference(world: World) -> None:
    newest = dict(world.backups.newest)
    newest["gra-file01", "outside"] = NOW - timedelta(hours=26)
    newest["gra-db01", "section-b"] = None
    spoilt = replace(world, backups=world.backups.model_copy(update={"newest": newest}))
    assert told(spoilt) == [
        ("gra-file01: data @ outside", "newest_backup", "≤ 24 h", "26.0 h"),
        ("gra-db01: pgdata @ section-b", "newest_backup", "≤ 4 h", "none"),
    ]


def test_no_copy_goes_without_a_restore_test(world: World) -> None:
    spoilt = with_restores(world, Restores())
    copies = copies_of(world.plan)
    assert len(copies) == 6
    assert [row[:2] for row in told(spoilt)] == [
        (f"{backup.server}: {backup.name} @ {key}", "restore_proof") for backup, key in copies
    ]


def test_a_proof_grows_old_and_a_later_failure_outweighs_it(world: World) -> None:
    proofs = [p for p in world.backups.restores.proofs if p.copy_key not in (COPY, ("gra-db01", "pgdata", "outside"))]
    proofs += [proof(*COPY), proof("gra-db01", "pgdata", "outside", at=NOW - timedelta(days=31))]
    restores = Restores(proofs=tuple(proofs), failures=(failed(*COPY, "the repository is damaged"),))
    assert told(with_restores(world, restores)) == [
        ("gra-file01: data @ outside", "restore_proof", "≤ 90 d", "the repository is damaged"),
        ("gra-db01: pgdata @ outside", "restore_proof", "≤ 30 d", "31 d"),
    ]
    assert [(b.server, key) for b, key in unproven(world.plan, restores, NOW)] == [
        ("gra-file01", "outside"),
        ("gra-db01", "outside"),
    ]


def test_a_repository_that_does_not_answer(world: World) -> None:
    seen = {copy: moment for copy, moment in world.backups.newest.items() if copy[1] != "outside"}
    backups = world.backups.model_copy(update={"newest": seen, "silent": {"outside": "Connection refused"}})
    assert {row[1:] for row in told(replace(world, backups=backups))} == {
        ("repository_answers", "yes", "Connection refused")
    }


def test_the_newest_of_finds_times() -> None:
    assert newest("1700000000.5\n1700000009.25\n3\n") == datetime.fromtimestamp(1700000009.25, UTC)
    assert newest("") is None


# --- what is kept -------------------------------------------------------------------------


def test_a_failure_leaves_the_proof_and_a_success_takes_the_failure_away(tmp_path: Path) -> None:
    after = with_attempts(Restores(proofs=(proof(*COPY),)), [failed(*COPY, "key revoked")])
    assert after.proof(COPY) == proof(*COPY)
    assert after.failure(COPY) == failed(*COPY, "key revoked")
    save_restores(after, tmp_path)
    assert load_restores(tmp_path) == after
    later = proof(*COPY, at=NOW)
    assert with_attempts(after, [later]) == Restores(proofs=(later,))


def test_kept_proofs_that_cannot_be_read(tmp_path: Path) -> None:
    assert load_restores(tmp_path) == Restores()
    (tmp_path / "restores.json").write_text("{")
    with pytest.raises(NotReadyError) as caught:
        load_restores(tmp_path)
    assert "restores.json" in str(caught.value)


def test_a_server_is_asked_for_its_own_copies_only(world: World, plan: Plan) -> None:
    wanted = [(b, key) for b, key in copies_of(plan) if b.server == "gra-db01"]
    [source] = request(wanted, plan, world.connection)["sources"]
    assert (source["name"], source["kind"], source["path"]) == ("pgdata", "databases", "/srv/postgresql")
    assert source["repositories"]["outside"] == {"account": "bk-gra-db01", "address": "127.96.81.13", "port": 22}


# --- on the server ------------------------------------------------------------------------


def manifest(**files: str) -> dict[str, Any]:
    entries = {name: [len(text), hashlib.sha256(text.encode()).hexdigest()] for name, text in files.items()}
    return {"files": entries, "changed": []}


def test_restored_files_are_compared_with_the_list(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    (tmp_path / "link").symlink_to("a")
    saved = manifest(a="one", link="a")
    assert restore_on_host.compare_files(tmp_path, saved) == 2
    (tmp_path / "new").write_text("came while the backup was made")
    assert restore_on_host.compare_files(tmp_path, saved) == 2


def test_missing_and_changed_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("other")
    with pytest.raises(RestoreError) as caught:
        restore_on_host.compare_files(tmp_path, manifest(a="one", b="two"))
    assert "1 files are missing (b)" in str(caught.value)
    assert "1 files have another content (a)" in str(caught.value)


def test_files_that_changed_while_they_were_saved_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    saved = manifest(a="one", log="first") | {"changed": ["log"]}
    assert restore_on_host.compare_files(tmp_path, saved) == 1


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("rclone: bk-x@127.0.0.1: Permission denied (publickey).", "does not let this server in"),
        ("Fatal: wrong password or no key found", "passphrase does not open"),
        ("rclone: Host key verification failed.", "another host key"),
        ("ciphertext verification failed", "damaged"),
        ("Fatal: something nobody has seen before", "something nobody has seen before"),
    ],
)
def test_what_restic_and_ssh_say_is_put_into_words(line: str, meaning: str) -> None:
    assert meaning in restore_on_host.meaning(f"first line\n{line}\n")


def test_a_disk_without_room_is_told_before_it_is_full(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="has no room"):
        restore_on_host.require_room(tmp_path, 2**60)
