"""What the toolkit tells a person (and a pipeline) when it cannot go on.

Every error a user can cause is an ``OnboardError``: one message that says what is
wrong and where, a hint that says what to do, and an exit code. The command line
prints it without a traceback. Anything else that escapes is a defect of ours.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of ``ksm-onboard``, for pipelines. Documented in docs/reference/exit-codes.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DECLARATION_REFUSED = 3
    DIFFERENCES = 4
    NOT_READY = 5
    NOT_APPROVED = 6
    INTERRUPTED = 130


class OnboardError(Exception):
    """Something a person can put right.

    ``hint`` says what to do next. ``exit_code`` is what the process ends with.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class NotReadyError(OnboardError):
    """The surroundings are missing: no data centre connection, no engine, wrong password."""

    exit_code = ExitCode.NOT_READY


class InterruptedRunError(OnboardError):
    """The person (or the pipeline) stopped the run."""

    exit_code = ExitCode.INTERRUPTED
