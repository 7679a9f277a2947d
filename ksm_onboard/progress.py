"""How long work tells what it is doing. Library code reports; only the command line prints."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress of long work. Implementations must be quick and thread-safe."""

    def step(self, title: str) -> None:
        """A new step begins; the one before it has ended well."""

    def line(self, text: str) -> None:
        """Something worth knowing happened within the step."""


class Silent:
    """Says nothing; for tests and for callers that only want the result."""

    def step(self, title: str) -> None:  # noqa: ARG002
        return

    def line(self, text: str) -> None:  # noqa: ARG002
        return
