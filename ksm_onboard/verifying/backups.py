"""Whether backups are there, and were restored: seen at the repositories, not at those who make them.

A backup's last file in a repository is written when the backup is complete, and dated by the
repository's own clock. So a server that claims to have backed up, and has not, is found.
"""

from __future__ import annotations

import inspect
import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ksm_onboard.connection import Connection
from ksm_onboard.planning.backup import account_of, repositories_of
from ksm_onboard.planning.plan import Plan, SharedServerPlan
from ksm_onboard.progress import Progress
from ksm_onboard.verifying import on_host
from ksm_onboard.verifying.audit_report import Area
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.host_facts import HostToAsk, asking
from ksm_onboard.verifying.hosts import ANSWER_TIMEOUT_SECONDS, last_line, ssh_command
from ksm_onboard.verifying.restores import Restores, copies_of


class BackupsSeen(BaseModel):
    """What the repositories hold, and what was proven.

    ``newest``: (server, repository) → when its newest backup was complete; None: there is none.
    ``silent``: repository → why its host could not be asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    newest: Mapping[tuple[str, str], datetime | None] = {}
    silent: Mapping[str, str] = {}
    restores: Restores = Restores()


def look_at_backups(
    plan: Plan, connection: Connection, restores: Restores, known_hosts: Path, progress: Progress
) -> BackupsSeen:
    """Ask the repositories' hosts for the newest backup of each of the member's servers."""
    servers_of: dict[str, list[str]] = {}
    for server, keys in repositories_of(plan.member.backups).items():
        for key in keys:
            servers_of.setdefault(key, []).append(server)

    def ask(key: str) -> dict[str, datetime | None] | str:
        host = plan.platform.shared_server(plan.platform.backup_repository(key).server)
        seen = _ask(host, _question(plan, key, servers_of[key]), connection, known_hosts)
        progress.line(f"{host.name}: {seen if isinstance(seen, str) else 'answered'}")
        return seen

    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="repositories") as pool:
        answers = dict(zip(servers_of, pool.map(ask, servers_of), strict=True))
    return BackupsSeen(
        newest={
            (server, key): moment
            for key, answer in answers.items()
            if not isinstance(answer, str)
            for server, moment in answer.items()
        },
        silent={key: answer for key, answer in answers.items() if isinstance(answer, str)},
        restores=restores,
    )


def _question(plan: Plan, key: str, servers: list[str]) -> dict[str, Any]:
    path = plan.platform.backup_repository(key).path
    find = {
        server: ["find", f"{path}/{account_of(server)}/repository/snapshots", "-type", "f", "-printf", "%T@\n"]
        for server in servers
    }
    return asking(find)


def _ask(
    host: SharedServerPlan, question: Mapping[str, Any], connection: Connection, known_hosts: Path
) -> dict[str, datetime | None] | str:
    """Per server its newest backup; or why the host could not be asked."""
    address = connection.guests.reachable_at(host.address)
    command = ssh_command(HostToAsk(name=host.name, kind="server", address=address), connection.guests, known_hosts)
    try:
        done = subprocess.run(
            command,
            input=f"{inspect.getsource(on_host)}\n\nmain({json.dumps(question)!r})\n",
            capture_output=True,
            text=True,
            timeout=ANSWER_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            return last_line(done.stderr) or f"ssh ended with {done.returncode}"
        commands = json.loads(done.stdout)["commands"]
        return {server: newest(commands[server]["out"]) for server in question["commands"]}
    except subprocess.TimeoutExpired:
        return f"no answer within {ANSWER_TIMEOUT_SECONDS} s"
    except (ValueError, KeyError) as error:
        return f"its answer cannot be understood: {last_line(str(error))}"


def newest(moments: str) -> datetime | None:
    """The latest of find's times, one a line in seconds since 1970; None if there is none."""
    return max((datetime.fromtimestamp(float(line), UTC) for line in moments.split()), default=None)


def compare_backups(plan: Plan, seen: BackupsSeen, now: datetime, points: Comparison) -> None:
    """Every copy is younger than its class's RPO, and was restored as a test within the class's interval. Pure."""
    platform = plan.platform
    points.expects(Area.BACKUP, copies_of(plan))
    for backup, key in copies_of(plan):
        backup_class = platform.backup_class(backup.backup_class or "")
        copy = f"{backup.server}: {backup.name} @ {key}"
        host = platform.backup_repository(key).server
        answers = seen.silent.get(key, "yes")
        if points.same(Area.BACKUP, copy, "repository_answers", "yes", answers, how=f"ssh {host}"):
            moment, allowed = seen.newest.get((backup.server, key)), timedelta(hours=backup_class.rpo_hours)
            in_time = moment is not None and now - moment <= allowed
            expected = f"≤ {backup_class.rpo_hours} h"
            found = expected if in_time else _age(moment, now)
            points.same(Area.BACKUP, copy, "newest_backup", expected, found, how=f"ssh {host}: find snapshots")
        proof = seen.restores.proof((backup.server, backup.name, key))
        failure = seen.restores.failure((backup.server, backup.name, key))
        expected = f"≤ {backup_class.restore_test_days} d"
        if failure is not None:
            found = failure.problem
        elif proof is not None and now - proof.at <= timedelta(days=backup_class.restore_test_days):
            found = expected
        else:
            found = _age(proof.at if proof else None, now)
        points.same(Area.BACKUP, copy, "restore_proof", expected, found, how="restore-test")


def _age(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "none"
    hours = (now - moment) / timedelta(hours=1)
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} d"
