"""Restore tests of everything that a plan backs up, a member's or the data centre's own."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from ksm_onboard.connection import Connection
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.plan import Plan
from ksm_onboard.progress import Progress
from ksm_onboard.verifying.restores import (
    Attempt,
    copies_of,
    load_restores,
    restore_test,
    save_restores,
    unproven,
    with_attempts,
)


def prove_restores(
    plan: Plan,
    connection: Connection,
    *,
    known_hosts: Path,
    reports: Path,
    servers: Collection[str] | None,
    only_due: bool,
    progress: Progress,
) -> list[Attempt]:
    """Restore the newest backup of every copy into a scratch folder and compare it; proofs are kept in ``reports``.

    ``servers`` limits it to these, ``only_due`` to copies without a valid proof. Raises OnboardError for a server
    that is not backed up.
    """
    before, now = load_restores(reports), datetime.now(UTC)
    wanted = unproven(plan, before, now) if only_due else copies_of(plan)
    if servers is not None:
        known = {backup.server for backup, _ in copies_of(plan)}
        if unknown := sorted(set(servers) - known):
            raise OnboardError(
                f"nothing of {', '.join(unknown)} is backed up",
                hint=f"servers of {plan.member.key} that are: {', '.join(sorted(known)) or 'none'}",
            )
        wanted = tuple((backup, key) for backup, key in wanted if backup.server in servers)
    progress.step(f"restore test of {len(wanted)} copies")
    attempts = restore_test(plan, connection, wanted, known_hosts=known_hosts, now=now, progress=progress)
    save_restores(with_attempts(before, attempts), reports)
    return attempts
