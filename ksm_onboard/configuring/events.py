"""From ansible-runner's stream of events to a result and to progress that people can read.

Nothing here waits or does I/O: events go in, counts and lines come out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ksm_onboard.configuring.journal import Entry, Installed
from ksm_onboard.configuring.results import HostResult
from ksm_onboard.progress import Progress

Event = Mapping[str, Any]

RECORDING_TASK: Final = "desired_state"
"""The action by which a workplace tells how it stands, at its beginning and at its end."""
WINDOWS_IS_DONE: Final = ("windows_applications", "ansible.builtin.set_stats")
"""The last task of the role that ends every run over a Windows workstation; what is there is asked afterwards."""

OFF: Final = ("timed out", "Connection refused", "No route to host", "Network is unreachable", "Connection reset")
"""What ssh says of a machine that is switched off. Anything else, such as another host key, is a failure."""

SHOWN_HOSTS: Final = 4
MAX_MESSAGE: Final = 1500
"""Characters; package managers write novels."""

_COUNTERS: Final = {
    "ok": "ok",
    "changed": "changed",
    "failed": "failures",
    "unreachable": "dark",
    "skipped": "skipped",
}


@dataclass
class _Host:
    problem: str = ""
    unreachable: bool = False
    confirmed: bool = False
    installed: Installed = field(default_factory=dict)
    simulated: bool = False
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTERS, 0))


class Tally:
    """Adds up the events of one run."""

    def __init__(self, progress: Progress, keep: Callable[[Entry], None] = lambda _: None) -> None:
        """``keep`` is told at once how each workplace came out, and again should that change."""
        self._progress = progress
        self._keep = keep
        self._hosts: dict[str, _Host] = {}
        self._items: dict[str, list[str]] = {}
        self._stats: Event | None = None
        self._task = ""
        self._task_number = 0
        self._changed: list[str] = []
        self._waiting: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether Ansible came to its own end and reported its figures."""
        return self._stats is not None

    def add(self, event: Event) -> None:
        """Take one event. Kinds that are of no interest here are passed over."""
        handler = getattr(self, f"_on_{event.get('event', '')}", None)
        if handler is not None:
            handler(event.get("event_data") or {})

    def waiting(self) -> str:
        """What the run waits for just now, for people who see nothing moving."""
        if not self._waiting:
            return f"still at task {self._task_number}: {self._task}" if self._task else "starting Ansible"
        return f"still at task {self._task_number}: {self._task}; waiting for {_names(sorted(self._waiting))}"

    def results(self) -> dict[str, HostResult]:
        """What each host did, so far or finally."""
        applications = (self._stats or {}).get("artifact_data", {}).get("applications", {})
        return {name: self._result(name, host, applications) for name, host in sorted(self._hosts.items())}

    def _result(self, name: str, host: _Host, applications: Mapping[str, list[str]]) -> HostResult:
        if self._stats is None:
            counts = host.counts
        else:
            counts = {ours: int((self._stats.get(theirs) or {}).get(name, 0)) for ours, theirs in _COUNTERS.items()}
        # A failure that the role itself put right counts as rescued, and is no problem.
        wrong = bool(host.problem) and bool(counts["failed"] or counts["unreachable"])
        return HostResult(
            **counts,
            problems=(host.problem,) if wrong else (),
            notes=tuple(host.notes),
            applications=tuple(sorted(host.installed)) or tuple(applications.get(name, ())),
            confirmed=host.confirmed,
            simulated=host.simulated,
        )

    # --- one method per kind of event; the names are ansible-runner's -----------------------

    def _on_playbook_on_task_start(self, data: Event) -> None:
        self._tell_changes()
        self._task_number += 1
        role = data.get("role")
        self._task = f"{role}: {data.get('name') or data.get('task')}" if role else str(data.get("task", ""))
        self._task = self._task.replace(f"{role}: {role} : ", f"{role}: ")
        self._waiting = set()
        self._items = {}

    _on_playbook_on_handler_task_start = _on_playbook_on_task_start

    def _on_runner_on_start(self, data: Event) -> None:
        self._host(data)
        self._waiting.add(data["host"])

    def _on_runner_on_ok(self, data: Event) -> None:
        host = self._done(data)
        host.counts["ok"] += 1
        self._label(host, data)
        if (data.get("res") or {}).get("changed"):
            host.counts["changed"] += 1
            self._changed.append(data["host"])
        if data.get("task_action") == "ansible.builtin.debug":
            self._note(data)
        if data.get("task_action") == RECORDING_TASK:
            self._told(data, host)
        if (data.get("role"), data.get("task_action")) == WINDOWS_IS_DONE:
            self._keep(Entry(host=data["host"], state="done"))

    def _told(self, data: Event, host: _Host) -> None:
        res = data.get("res") or {}
        if "confirmed" in res and not res["confirmed"]:
            return
        host.confirmed = bool(res.get("confirmed"))
        host.installed = res.get("installed") or {}
        self._keep(Entry(host=data["host"], state="done", confirmed=host.confirmed, installed=host.installed))

    def _on_runner_item_on_ok(self, data: Event) -> None:
        if data.get("task_action") == "ansible.builtin.debug":
            self._note(data)

    def _on_runner_on_skipped(self, data: Event) -> None:
        self._done(data).counts["skipped"] += 1

    def _on_runner_item_on_failed(self, data: Event) -> None:
        self._items.setdefault(data["host"], []).append(_message(data.get("res") or {}))

    def _on_runner_on_failed(self, data: Event) -> None:
        if data.get("ignore_errors"):
            return
        host = self._done(data)
        host.counts["failed"] += 1
        self._label(host, data)
        items = self._items.get(data["host"])
        text = "; ".join(items) if items else _message(data.get("res") or {})
        host.problem = text if text.startswith(f"{data['host']}: ") else f"{data['host']}: {self._task}: {text}"
        self._progress.line(host.problem)
        res = data.get("res") or {}
        self._keep(Entry(host=data["host"], state="failed", reason=host.problem, installed=res.get("installed") or {}))

    def _on_runner_on_unreachable(self, data: Event) -> None:
        host = self._done(data)
        host.counts["unreachable"] += 1
        why = _message(data.get("res") or {})
        host.problem = f"{data['host']}: cannot be reached: {why}"
        self._progress.line(host.problem)
        off = any(words in why for words in OFF)
        self._keep(Entry(host=data["host"], state="off" if off else "failed", reason=host.problem))

    def _on_playbook_on_stats(self, data: Event) -> None:
        self._tell_changes()
        self._waiting = set()
        self._stats = data

    # ---------------------------------------------------------------------------------------

    def _host(self, data: Event) -> _Host:
        return self._hosts.setdefault(data["host"], _Host())

    def _done(self, data: Event) -> _Host:
        self._waiting.discard(data["host"])
        return self._host(data)

    def _label(self, host: _Host, data: Event) -> None:
        result = data.get("res") or {}
        answers = [result, *(item for item in result.get("results") or () if isinstance(item, dict))]
        host.simulated |= any(answer.get("simulated") is True for answer in answers)

    def _note(self, data: Event) -> None:
        message = (data.get("res") or {}).get("msg")
        notes = self._host(data).notes
        if isinstance(message, str) and message not in notes and not message.startswith("All items"):
            notes.append(message)

    def _tell_changes(self) -> None:
        if self._changed:
            self._progress.line(f"task {self._task_number}: {self._task}: changed on {_names(sorted(self._changed))}")
        self._changed = []


def _names(hosts: list[str]) -> str:
    shown = ", ".join(hosts[:SHOWN_HOSTS])
    more = len(hosts) - SHOWN_HOSTS
    return f"{shown} and {more} more" if more > 0 else shown


def _message(res: Event) -> str:
    """The readable part of a task's result."""
    if res.get("censored"):
        return "failed; the details are secret. Run ansible-playbook for this host by hand to see more"
    parts = [str(res.get(key, "")).strip() for key in ("msg", "stderr", "module_stderr")]
    text = ": ".join(dict.fromkeys(part for part in parts if part))
    text = " ".join((text or "failed without saying why").split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 2] + " …"
