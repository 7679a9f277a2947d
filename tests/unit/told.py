"""A progress that keeps what it is told."""

from __future__ import annotations


class Told:
    """Steps and lines in their order; a step is marked with ``#``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, title: str) -> None:
        self.lines.append(f"# {title}")

    def line(self, text: str) -> None:
        self.lines.append(text)
