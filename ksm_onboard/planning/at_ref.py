"""The declarations as they were at a commit of the repository, in a folder of their own."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ksm_onboard.declaration.effective import ARCHETYPES, Archetypes
from ksm_onboard.errors import OnboardError
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project

_ARCHETYPES = "ksm_onboard/declaration/archetypes"
_PATHS = ("stacks", "catalogue", _ARCHETYPES)


@contextmanager
def declarations_at(project: Project, ref: str) -> Iterator[Declarations]:
    """The declarations at the commit that ``ref`` names; the working tree is not touched.

    Raises OnboardError where there is no git repository or no such commit.
    """
    commit = _commit(project, ref)
    there = _git(project, "ls-tree", "--name-only", commit, "--", *_PATHS).decode().split()
    with TemporaryDirectory(prefix="ksm-onboard-") as folder:
        root = Path(folder)
        (root / "stacks").mkdir()
        if there:
            archive = _git(project, "archive", "--format=tar", commit, "--", *there)
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(root, filter="data")
        yield Declarations(Project(root), archetypes_of(Project(root)))


def archetypes_of(project: Project) -> Archetypes:
    """The archetypes of a checkout; where it has none, those of the toolkit that runs."""
    own = project.root / _ARCHETYPES
    return Archetypes(own if own.is_dir() else ARCHETYPES)


def files_changed_since(project: Project, ref: str) -> list[str]:
    """The paths that differ between the commit that ``ref`` names and the working tree, untracked ones with them.

    Raises OnboardError where there is no git repository or no such commit.
    """
    commit = _commit(project, ref)
    tracked = _git(project, "diff", "--name-only", "--no-renames", "--relative", "-z", commit, "--")
    untracked = _git(project, "ls-files", "--others", "--exclude-standard", "-z")
    return sorted({name for name in (tracked + untracked).decode(errors="surrogateescape").split("\0") if name})


def _commit(project: Project, ref: str) -> str:
    commit = _git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").decode().strip()
    if not commit:
        raise OnboardError(f"'{ref}' is no commit of this repository", hint="for example main, HEAD~1 or a tag")
    return commit


def _git(project: Project, *arguments: str) -> bytes:
    command = ["git", "-C", str(project.root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OnboardError(f"git does not answer: {error}", hint="install git, or run this in a clone") from None
    if done.returncode != 0 and arguments[0] != "rev-parse":
        message = done.stderr.decode(errors="replace").strip()
        raise OnboardError(f"git {arguments[0]} failed: {message}", hint="run this in a clone of the repository")
    if done.returncode not in (0, 1) and b"not a git repository" in done.stderr:
        raise OnboardError(f"{project.root} is not a git repository", hint="run this in a clone of the repository")
    return done.stdout
