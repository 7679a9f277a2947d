"""Where the project's folders are.

The root is the nearest folder, from the current one upward, that holds ``Pulumi.yaml``,
just as git finds its repository: a copy of the tree is a project of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ksm_onboard.errors import NotReadyError


@dataclass(frozen=True)
class Project:
    """The folders of one checkout."""

    root: Path

    @property
    def stacks(self) -> Path:
        return self.root / "stacks"

    @property
    def catalogue(self) -> Path:
        return self.root / "catalogue"

    @property
    def roles(self) -> Path:
        return self.root / "roles"

    @property
    def inventories(self) -> Path:
        return self.root / "inventories"

    @property
    def templates(self) -> Path:
        return self.root / "templates"

    @property
    def policies(self) -> Path:
        return self.root / "policies"

    @property
    def state(self) -> Path:
        """Everything the toolkit writes for itself; ignored by git."""
        return self.root / ".state"

    @property
    def venv_bin(self) -> Path:
        return self.root / ".venv" / "bin"


def find_project(start: Path | None = None) -> Project:
    """The project that ``start`` (by default the current folder) lies in.

    Raises NotReadyError where no folder upward holds a ``Pulumi.yaml``.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "Pulumi.yaml").is_file():
            return Project(folder)
    raise NotReadyError(
        f"no project here: neither {here} nor a folder above it holds a Pulumi.yaml",
        hint="change into a checkout of the onboarding toolkit and run the command again",
    )


def cache_dir() -> Path:
    """Where built engines, base images and downloaded packages are kept between checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ksm-onboard"
