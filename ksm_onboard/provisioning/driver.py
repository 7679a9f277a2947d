"""Drives the engine for the command line: one stack, one operation, progress line by line.

It runs the same ``pulumi`` in the same environment as a person would, so both share one
state. What comes on top: it settles what an interrupted run left behind, tells what it is
doing, stops before data are lost, ends cleanly on Ctrl-C, and says in one sentence what went wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

from ksm_onboard.connection import Connection
from ksm_onboard.errors import InterruptedRunError, NotReadyError, OnboardError
from ksm_onboard.planning.risk import Risk, Step, losses, risks
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project
from ksm_onboard.provisioning.approvals import Gate, refuse_losses
from ksm_onboard.provisioning.environment import Engine, engine_environment
from ksm_onboard.provisioning.failures import Diagnostic, explain, is_noise
from ksm_onboard.provisioning.half_made import half_made
from ksm_onboard.provisioning.interrupted import Interrupted, settle
from ksm_onboard.provisioning.policy_events import (
    PoliciesNotRunError,
    PoliciesViolatedError,
    PolicyLog,
    PolicyResult,
)
from ksm_onboard.provisioning.steps import step_of

Operation = Literal["preview", "up", "refresh", "destroy"]

# A fleet shares one vCenter; the engine's own default grows with the machine's cores.
PARALLEL = 8

_JUDGED = ("preview", "up")
_SAYS_IT_WAITS_AFTER_SECONDS = 15
# The engine's words for a protected resource that would go: resource/deploy/step.go and step_generator.go.
_PROTECTED = re.compile(r"it is (?:protected|currently marked for protection)")
_NOT_A_CHANGE = {"same", "read", "read-replacement", "discard", "refresh"}
_DONE = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "replace": "replaced",
    "create-replacement": "created anew",
    "delete-replaced": "removed the old",
    "import": "taken over",
}


@dataclass(frozen=True)
class EngineRun:
    """What a finished run did: resources per engine operation (create, same, …) and how long it took.

    ``policies`` is what the policy pack said; None where the engine asks none (refresh, destroy), and in a preview that
    stops at protected data. ``risks`` is what each change means (a preview's, or those that an up was judged by),
    ``standing`` the ids of what stands, by URN.
    """

    stack: str
    operation: Operation
    counts: Mapping[str, int]
    seconds: float
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    policies: PolicyResult | None = None
    risks: tuple[Risk, ...] = ()
    standing: Mapping[str, str] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    """URNs of what the engine's own protection stops."""

    @property
    def changes(self) -> int:
        """How many resources were (a preview: would be) changed; 0 if nothing was to be done."""
        return sum(count for operation, count in self.counts.items() if operation not in _NOT_A_CHANGE)

    @property
    def unchanged(self) -> int:
        return self.counts.get("same", 0)


@dataclass(frozen=True)
class Driver:
    """The engine on one data centre. Every method raises OnboardError for what a person can put right."""

    project: Project
    connection: Connection
    engine: Engine
    parallel: int = PARALLEL

    def preview(self, stack: str, progress: Progress) -> EngineRun:
        """What ``up`` would do, and what each change means. Changes nothing in the data centre."""
        self._select_or_init(stack)
        return self._run("preview", stack, self._flags(), progress, forgets=False)

    def up(self, stack: str, progress: Progress, gate: Gate = refuse_losses) -> EngineRun:
        """Make the data centre as the stack's plan says, after ``gate`` has judged the preview.

        Raises what ``gate`` raises, with nothing touched, and InterruptedRunError after Ctrl-C; the next run completes
        the work.
        """
        self._select_or_init(stack)
        self._settle(stack, progress)
        seen = self._run("preview", stack, self._flags(), progress)
        gate(stack, seen.risks, seen.standing)
        if not seen.protected:
            return self._carry_out(stack, seen, progress)
        with self._unprotected(stack, seen.protected, progress):
            # What the engine's protection hid before, such as the policies' word, is seen and judged now.
            seen = self._run("preview", stack, self._flags(), progress)
            gate(stack, seen.risks, seen.standing)
            return self._carry_out(stack, seen, progress)

    def _carry_out(self, stack: str, seen: EngineRun, progress: Progress) -> EngineRun:
        """The preview was our own, so the engine need not make another one."""
        flags = ["--yes", "--skip-preview", *self._flags()]
        done = self._run("up", stack, flags, progress, planned=seen.changes)
        return replace(done, risks=seen.risks)

    @contextlib.contextmanager
    def _unprotected(self, stack: str, urns: tuple[str, ...], progress: Progress) -> Iterator[None]:
        """Take the engine's protection from approved resources; whatever is left of them afterwards has it again."""
        for urn in urns:
            progress.line(f"{_label(urn)}: approved, so its protection is taken away for this run")
            self._ask("state", "unprotect", urn, "--yes", "--stack", stack)
        try:
            yield
        finally:
            left = {
                entry["urn"] for entry in ((self.state(stack) or {}).get("deployment") or {}).get("resources") or ()
            }
            for urn in urns:
                if urn in left:
                    self._ask("state", "protect", urn, "--yes", "--stack", stack)

    def _flags(self) -> list[str]:
        return ["--parallel", str(self.parallel)]

    def refresh(self, stack: str, progress: Progress) -> EngineRun:
        """Read the data centre into the stack's state."""
        self._require(stack)
        self._settle(stack, progress)
        return self._run("refresh", stack, ["--yes", "--skip-preview", "--parallel", str(self.parallel)], progress)

    def destroy(self, stack: str, progress: Progress) -> EngineRun:
        """Remove the stack's resources from the data centre, except the protected data disks."""
        self._require(stack)
        self._settle(stack, progress)
        flags = ["--yes", "--skip-preview", "--exclude-protected", "--parallel", str(self.parallel)]
        return self._run("destroy", stack, flags, progress)

    def outputs(self, stack: str) -> dict[str, Any]:
        """The stack's outputs; empty before its first ``up``. Raises NotReadyError if there is no such stack."""
        self._require(stack)
        answer: dict[str, Any] = json.loads(self._ask("stack", "output", "--json", "--stack", stack))
        return answer

    def state(self, stack: str) -> dict[str, Any] | None:
        """What ``pulumi stack export`` says of a stack, secrets encrypted; None if there is no such stack."""
        if stack not in self.stacks():
            return None
        answer: dict[str, Any] = json.loads(self._ask("stack", "export", "--stack", stack))
        return answer

    def stacks(self) -> tuple[str, ...]:
        """The names of all stacks in this data centre's state."""
        return tuple(entry["name"].rsplit("/", 1)[-1] for entry in json.loads(self._ask("stack", "ls", "--json")))

    def _require(self, stack: str) -> None:
        if stack not in self.stacks():
            raise NotReadyError(f"stack '{stack}' is not set up yet", hint=f"set it up first: ksm-onboard up {stack}")

    def _select_or_init(self, stack: str) -> None:
        # Named on every command instead of selected: the selection is shared by all runs of this PULUMI_HOME.
        if stack not in self.stacks():
            self._ask("stack", "init", "--no-select", "--stack", stack)

    def _settle(self, stack: str, progress: Progress) -> None:
        work = Interrupted(
            stack=stack,
            connection=self.connection,
            backend_url=self._environment()["PULUMI_BACKEND_URL"],
            unread=self.connection.state_dir(self.project) / f"unread-{stack}.json",
            ask=self._ask,
        )
        settle(work, progress)

    # --- the engine's process ---------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **engine_environment(self.project, self.connection, self.engine),
            # Without it, previews come as one document at their end instead of event by event.
            "PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true",
        }

    def _command(self, *arguments: str) -> list[str]:
        return [str(self.engine.bin / "pulumi"), *arguments, "--non-interactive", "--color", "never"]

    def _ask(self, *arguments: str, text: str | None = None) -> str:
        """Run a short command and return what it prints."""
        try:
            done = subprocess.run(
                self._command(*arguments),
                cwd=self.project.root,
                env=self._environment(),
                input=text,
                stdin=subprocess.DEVNULL if text is None else None,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise _cannot_start(self.engine, error) from None
        if done.returncode != 0:
            stack = arguments[arguments.index("--stack") + 1] if "--stack" in arguments else ""
            raise explain(stack, self.connection, (), done.stderr or done.stdout)
        return done.stdout

    def _run(
        self,
        operation: Operation,
        stack: str,
        flags: list[str],
        progress: Progress,
        *,
        forgets: bool = True,
        planned: int = 0,
    ) -> EngineRun:
        try:
            return self._run_once(operation, stack, flags, progress, forgets=forgets, planned=planned)
        except _OrphansError as orphans:
            # vCenter has dropped them together with their VMs; only the provider cannot read that.
            for urn in orphans.urns:
                progress.line(f"{_name(urn)}: its VM is gone from vCenter, and with it the override; forgotten")
                self._ask("state", "delete", urn, "--yes", "--stack", stack)
        return self._run_once(operation, stack, flags, progress, forgets=False, planned=planned)

    def _run_once(
        self, operation: Operation, stack: str, flags: list[str], progress: Progress, *, forgets: bool, planned: int = 0
    ) -> EngineRun:
        started = time.monotonic()
        log = _Log(progress, planned=planned)
        with _started(self._command(operation, "--stack", stack, "--json", *flags), self) as process:
            interrupted = _follow(process, log)
        if interrupted:
            raise InterruptedRunError(
                f"{operation} of stack '{stack}' was interrupted; what was finished is recorded"
                + self._half_made(operation, stack),
                hint="run the same command again: it completes the work",
            )
        refused = [finding for finding in log.policies.findings if finding.stops]
        if refused:
            raise PoliciesViolatedError(stack, refused)
        if process.returncode != 0 and log.orphans and forgets:
            raise _OrphansError(log.orphans)
        protected = log.protected if operation == "preview" else ()
        if process.returncode != 0 and not protected:
            error = explain(stack, self.connection, log.errors, process.errors)
            raise type(error)(f"{error}{self._half_made(operation, stack)}", hint=error.hint)
        if operation in _JUDGED and log.policies.result is None and not protected:
            raise PoliciesNotRunError(stack)
        return EngineRun(
            stack=stack,
            operation=operation,
            counts=dict(log.counts),
            seconds=time.monotonic() - started,
            replaced=tuple(sorted(log.names["replace"])),
            deleted=tuple(sorted(log.names["delete"])),
            policies=log.policies.result,
            risks=risks(log.steps),
            standing=dict(log.standing),
            protected=protected,
        )

    def _half_made(self, operation: Operation, stack: str) -> str:
        """What is left half made by a run that has changed something and stopped; empty if nothing is."""
        if operation != "up":
            return ""
        try:
            told = half_made(json.loads(self._ask("stack", "export", "--stack", stack)))
        except (OnboardError, ValueError):
            return ""  # why the run stopped is what matters; a state that cannot be read is part of that
        return "".join(f"\n  {line}" for line in ("half made:", *told)) if told else ""


class _OrphansError(Exception):
    """A run failed on overrides without a VM."""

    def __init__(self, urns: set[str]) -> None:
        super().__init__()
        self.urns = sorted(urns)


class _Process:
    """A running engine: its events, one by one, and its other words."""

    def __init__(self, command: list[str], cwd: Path, environment: Mapping[str, str]) -> None:
        # In a session of its own, so that Ctrl-C reaches the engine once, from us, and not a second
        # time from the terminal: the engine takes the second one as "stop at once".
        self._popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self._other: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(self._popen.stdout, self.lines.put), daemon=True),
            threading.Thread(target=self._read, args=(self._popen.stderr, self._keep), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], take: Any) -> None:
        for line in stream:
            take(line)
        take(None)

    def _keep(self, line: str | None) -> None:
        if line is not None:
            self._other.append(line)

    @property
    def returncode(self) -> int:
        return self._popen.wait()

    @property
    def errors(self) -> str:
        self._readers[1].join()
        return "".join(self._other)

    def interrupt(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGINT)


def _cannot_start(engine: Engine, error: OSError) -> NotReadyError:
    return NotReadyError(
        f"cannot start the engine {engine.bin / 'pulumi'}: {error.strerror}",
        hint="prepare it with: ksm-onboard lab setup",
    )


@contextlib.contextmanager
def _started(command: list[str], driver: Driver) -> Iterator[_Process]:
    try:
        process = _Process(command, driver.project.root, driver._environment())
    except OSError as error:
        raise _cannot_start(driver.engine, error) from None
    try:
        yield process
    finally:
        if process._popen.poll() is None:
            process.interrupt()
            process._popen.wait()


def _follow(process: _Process, log: _Log) -> bool:
    """Read events until the engine ends. True if the person (or the pipeline, by SIGTERM) interrupted it."""
    interruptions = 0

    def on_signal(*_: object) -> None:
        nonlocal interruptions
        interruptions += 1
        process.interrupt()

    with _handling(on_signal):
        told = False
        while True:
            try:
                line = process.lines.get(timeout=_SAYS_IT_WAITS_AFTER_SECONDS)
            except queue.Empty:
                log.still_waiting()
                continue
            if interruptions and not told:
                log.progress.line("interrupted: finishing what is under way (Ctrl-C again stops at once)")
                told = True
            if line is None:
                return interruptions > 0
            log.take(line)


@contextlib.contextmanager
def _handling(handler: Callable[..., None]) -> Iterator[None]:
    """Let ``handler`` take SIGINT and SIGTERM for a while; an exception could strike anywhere, and lose events."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@dataclass
class _Log:
    """What the events have said so far."""

    progress: Progress
    errors: list[Diagnostic] = field(default_factory=list)
    orphans: set[str] = field(default_factory=set)
    """HA overrides that the provider cannot read because their VM was deleted by hand."""
    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, set[str]] = field(default_factory=lambda: {"replace": set(), "delete": set()})
    policies: PolicyLog = field(default_factory=PolicyLog)
    steps: list[Step] = field(default_factory=list)
    """A preview's, as they are announced."""
    standing: dict[str, str] = field(default_factory=dict)
    planned: int = 0
    _finished: int = 0
    _running: dict[str, float] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """One line of the engine's output; what is not an event is left alone."""
        try:
            event = json.loads(line)
        except ValueError:
            return
        for kind, handle in (
            ("resourcePreEvent", self._begun),
            ("resOutputsEvent", self._done),
            ("resOpFailedEvent", self._failed),
            ("diagnosticEvent", self._diagnosed),
            ("summaryEvent", self._summed_up),
            ("policyEvent", self.policies.violated),
            ("policyAnalyzeStackSummaryEvent", self.policies.summed_up),
        ):
            if kind in event:
                handle(event[kind])

    def still_waiting(self) -> None:
        """Say what the engine is busy with, longest first."""
        now = time.monotonic()
        waiting = [f"{_label(urn)} ({now - since:.0f} s)" for urn, since in sorted(self._running.items(), key=_since)]
        if waiting:
            more = f" and {len(waiting) - 3} more" if len(waiting) > 3 else ""
            self.progress.line(f"waiting for {', '.join(waiting[:3])}{more}")

    def _begun(self, event: Mapping[str, Any]) -> None:
        step = event["metadata"]
        if event.get("planning"):
            self._foreseen(step)
        elif _is_change(step):
            self._running[step["urn"]] = time.monotonic()

    def _foreseen(self, metadata: Mapping[str, Any]) -> None:
        if (step := step_of(metadata)) is not None:
            self.steps.append(step)
            if step.id:
                self.standing[step.urn] = step.id

    @property
    def protected(self) -> tuple[str, ...]:
        """What the engine's protection stopped, if nothing else did; whatever that is loses data."""
        stopped = [diagnostic for diagnostic in self.errors if not is_noise(diagnostic.message)]
        if not stopped or not all(_PROTECTED.search(diagnostic.message) for diagnostic in stopped):
            return ()
        gone = {risk.urn for risk in losses(risks(self.steps))}
        return tuple(sorted({step.urn for step in self.steps if step.protected and step.urn in gone}))

    def _done(self, event: Mapping[str, Any]) -> None:
        step = event["metadata"]
        self._running.pop(step["urn"], None)
        if not _is_change(step):
            return
        if step["op"] in self.names:
            self.names[step["op"]].add(_label(step["urn"]))
        if event.get("planning"):
            self.planned += 1
            return
        self._finished += 1
        count = f"{self._finished} of {self.planned}" if self.planned else f"{self._finished}"
        self.progress.line(f"{_DONE.get(step['op'], step['op'])} {_label(step['urn'])} ({count})")

    def _failed(self, event: Mapping[str, Any]) -> None:
        step = event["metadata"]
        self._running.pop(step["urn"], None)
        self.progress.line(f"failed: {_label(step['urn'])}")

    def _diagnosed(self, event: Mapping[str, Any]) -> None:
        if event.get("severity") == "error":
            urn = event.get("urn", "")
            resource = "" if urn.split("::")[2:3] == ["pulumi:pulumi:Stack"] or not urn else _name(urn)
            self.errors.append(Diagnostic(resource, event["message"].strip()))
            if ":HaVmOverride::" in urn and "cannot locate virtual machine" in event["message"]:
                self.orphans.add(urn)

    def _summed_up(self, event: Mapping[str, Any]) -> None:
        # A preview's summary is followed by that of the update itself, which then counts.
        self.counts = Counter(event.get("resourceChanges") or {})


def _since(entry: tuple[str, float]) -> float:
    return entry[1]


def _is_change(step: Mapping[str, Any]) -> bool:
    """Whether an event is about a resource in the data centre, and not one of the engine's own."""
    return step["op"] not in _NOT_A_CHANGE and _type(step["urn"]).startswith("vsphere:")


def _type(urn: str) -> str:
    return urn.split("::")[2].rsplit("$", 1)[-1]


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]


def _label(urn: str) -> str:
    return f"{_type(urn).rsplit(':', 1)[-1]} {_name(urn)}"
