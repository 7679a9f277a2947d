"""Whether machines' logs arrive and whether they are watched: seen at those who collect, not at those who send.

Every machine that is asked anything writes one line into its log, with a mark that nobody can know before. A log
collector that has it in the folder of that machine got it from there, over the way that all other lines take.
"""

from __future__ import annotations

import inspect
import json
import subprocess
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from ksm_onboard.connection import Connection
from ksm_onboard.planning.monitoring import targets
from ksm_onboard.planning.plan import CentralServerPlan, Plan, ServerPlan, WorkstationPlan
from ksm_onboard.progress import Progress
from ksm_onboard.verifying import on_watcher
from ksm_onboard.verifying.audit_report import Area, Reason
from ksm_onboard.verifying.comparison import Comparison
from ksm_onboard.verifying.host_facts import HostFacts, HostToAsk
from ksm_onboard.verifying.hosts import ANSWER_TIMEOUT_SECONDS, last_line, ssh_command

LOGS: Final = "/srv/logs"
PROMETHEUS_PORT: Final = 9090
WITHIN_SECONDS: Final = 90
"""How long a line may be on its way, or a target be looked at for the first time: both come back from an outage by
themselves, and an audit may follow one."""


class WatchersSeen(BaseModel):
    """What log collectors and monitoring machines told.

    ``logs``: collector → full names of machines whose line arrived; ``targets``: monitoring machine → full name of a
    target → its health; ``silent``: machine → why it could not be asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    logs: Mapping[str, frozenset[str]] = {}
    targets: Mapping[str, Mapping[str, str]] = {}
    silent: Mapping[str, str] = {}


@dataclass(frozen=True)
class Sent:
    """What should have arrived: ``mark``, in the logs of ``machines`` (full names)."""

    mark: str
    machines: tuple[str, ...]


def look_at_watchers(
    plan: Plan, connection: Connection, sent: Sent, known_hosts: Path, progress: Progress
) -> WatchersSeen:
    """Ask every log collector for what was sent, and every monitoring machine for its targets."""
    platform = plan.platform
    collectors, monitoring = platform.central_servers("log-collector"), platform.central_servers("monitoring")
    watched = [target.fqdn for target in targets(plan)]

    def ask(server: CentralServerPlan) -> dict[str, Any] | str:
        request: dict[str, Any] = {"within_seconds": WITHIN_SECONDS}
        if server in collectors and sent.machines:
            request["logs"] = {
                "folder": f"{LOGS}/{plan.member.key}",
                "machines": list(sent.machines),
                "mark": sent.mark,
            }
        if server in monitoring and watched:
            address = connection.guests.reachable_at(server.address)
            request["targets"] = {
                "machines": watched,
                "url": f"https://{address}:{PROMETHEUS_PORT}/api/v1/targets?state=active",
                "ca_file": "/usr/local/share/ca-certificates/ksm-root-ca.crt",
                "certificate_file": "/etc/prometheus/machine.pem",
                "key_file": "/etc/prometheus/machine.key",
            }
        seen = _ask(server, request, connection, known_hosts)
        progress.line(f"{server.name}: {seen if isinstance(seen, str) else 'answered'}")
        return seen

    servers = tuple(dict.fromkeys((*collectors, *monitoring)))
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="watchers") as pool:
        answers = dict(zip((server.name for server in servers), pool.map(ask, servers), strict=True))
    told = {name: answer for name, answer in answers.items() if not isinstance(answer, str)}
    return WatchersSeen(
        logs={name: frozenset(answer["arrived"]) for name, answer in told.items() if "arrived" in answer},
        targets={name: answer["targets"] for name, answer in told.items() if "targets" in answer},
        silent={name: answer for name, answer in answers.items() if isinstance(answer, str)},
    )


def _ask(
    server: CentralServerPlan, request: Mapping[str, Any], connection: Connection, known_hosts: Path
) -> dict[str, Any] | str:
    address = connection.guests.reachable_at(server.address)
    command = ssh_command(HostToAsk(name=server.name, kind="server", address=address), connection.guests, known_hosts)
    try:
        done = subprocess.run(
            command,
            input=f"{inspect.getsource(on_watcher)}\n\nmain({json.dumps(request)!r})\n",
            capture_output=True,
            text=True,
            timeout=2 * WITHIN_SECONDS + ANSWER_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            return last_line(done.stderr) or f"ssh ended with {done.returncode}"
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return "no answer in time"
    except ValueError as error:
        return f"its answer cannot be understood: {last_line(str(error))}"
    return answer if isinstance(answer, dict) else "its answer cannot be understood"


def compare_watchers(
    plan: Plan, seen: WatchersSeen, answered: Iterable[str], absent: Collection[str], points: Comparison
) -> None:
    """Every machine that ``answered`` is heard by every collector, every target up at every monitoring machine. Pure.

    What is ``absent`` is not expected anywhere.
    """
    platform, member = plan.platform, plan.member
    names = set(answered)
    machines: tuple[ServerPlan | WorkstationPlan, ...] = (*member.servers, *member.workstations)
    linux = [machine for machine in machines if machine.platform == "linux"]
    for collector in platform.central_servers("log-collector"):
        _answers(collector.name, seen, points)
        for machine in linux:
            attribute, where = f"log_received {collector.name}", f"ssh {collector.name}: {LOGS}/{member.key}"
            if collector.name in seen.silent and machine.name in names:
                points.gap(Area.MACHINES, machine.name, attribute, Reason.SILENT)
            elif machine.name in names:
                arrived = machine.fqdn in seen.logs.get(collector.name, frozenset())
                points.same(Area.MACHINES, machine.name, attribute, "yes", "yes" if arrived else "no", how=where)
    watched = {target.name: target for target in targets(plan)}
    for server in platform.central_servers("monitoring"):
        _answers(server.name, seen, points)
        for name, target in watched.items():
            attribute = f"monitored {server.name}"
            if server.name in seen.silent:
                points.gap(Area.MACHINES, name, attribute, Reason.SILENT)
            elif name not in absent:
                health = seen.targets.get(server.name, {}).get(target.fqdn, "unknown")
                points.same(Area.MACHINES, name, attribute, "up", health, how=f"ssh {server.name}: Prometheus")
    if platform.central_servers("monitoring"):
        for machine in member.servers:
            if machine.name not in watched and machine.platform == "linux":
                points.gap(Area.MACHINES, machine.name, "monitored", Reason.NOT_REACHABLE)
    if platform.central_servers("log-collector"):
        for workstation in member.workstations:
            if workstation.platform == "windows" and workstation.name in names:
                points.gap(Area.MACHINES, workstation.name, "log_received", Reason.NOT_ON_WINDOWS)


def _answers(name: str, seen: WatchersSeen, points: Comparison) -> None:
    points.same(Area.MACHINES, name, "answers", "yes", seen.silent.get(name, "yes"), how="ssh")


def senders_of(plan: Plan, answers: Iterable[object]) -> tuple[str, ...]:
    """The full names of the machines that answered, and so wrote the mark into their logs."""
    names = {answer.name for answer in answers if isinstance(answer, HostFacts)}
    machines: tuple[ServerPlan | WorkstationPlan, ...] = (*plan.member.servers, *plan.member.workstations)
    return tuple(machine.fqdn for machine in machines if machine.name in names)
