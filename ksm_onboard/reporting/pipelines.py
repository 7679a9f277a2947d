"""Pipeline files: the same jobs for GitLab and GitHub. Pure, but for reading the templates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

import jinja2


class System(StrEnum):
    """Where pipelines run."""

    GITLAB = "gitlab"
    GITHUB = "github"


FILES: Final = {System.GITLAB: Path(".gitlab-ci.yml"), System.GITHUB: Path(".github/workflows/onboarding.yml")}
_TEMPLATES: Final = {System.GITLAB: "gitlab.yml.j2", System.GITHUB: "github.yml.j2"}


@dataclass(frozen=True)
class Job:
    """One command. ``when``: on a merge request, after the merge, every night. ``writes``: what is kept of it.

    ``always``: also after an earlier job has failed. ``approval``: somebody has to start it.
    """

    key: str
    when: Literal["change", "merge", "nightly"]
    arguments: str
    writes: str = ""
    always: bool = False
    approval: bool = False

    @property
    def command(self) -> str:
        return f".venv/bin/ksm-onboard {self.arguments}"

    @property
    def stage(self) -> str:
        return self.key


_FROM: Final = '--from "$KSM_FROM"'
JOBS: Final = (
    Job("affected", "change", f"affected {_FROM}"),
    Job("check", "change", "check"),
    Job("plan", "change", f"ci plan {_FROM} --to pipeline/plans", "pipeline/plans/"),
    Job("preview", "change", f"ci preview {_FROM} --to pipeline/previews", "pipeline/previews/"),
    Job(
        "comment",
        "change",
        f"comment {_FROM} --previews pipeline/previews --output pipeline/comment.md",
        "pipeline/comment.md",
        always=True,
    ),
    Job("up", "merge", f"ci up {_FROM}"),
    Job("servers", "merge", f"ci servers {_FROM}"),
    Job("waves", "merge", f"ci waves {_FROM}", approval=True),
    Job("verify", "merge", f"ci verify {_FROM} --to pipeline/reports", "pipeline/reports/"),
    Job("nightly", "nightly", "ci nightly --to pipeline/nightly", "pipeline/nightly/"),
)

# Jobs of GitHub run beside each other unless they wait; steps of one job follow each other and share its files.
_CONDITIONS: Final = {
    "change": "github.event_name == 'pull_request' && "
    "github.event.pull_request.head.repo.full_name == github.repository",
    "merge": "github.event_name == 'push'",
    "nightly": "github.event_name == 'schedule'",
}
_GROUPS: Final = (
    ("change", ("affected", "check", "plan", "preview", "comment")),
    ("up", ("up", "servers")),
    ("waves", ("waves",)),
    ("verify", ("verify",)),
    ("nightly", ("nightly",)),
)
_AFTER: Final = {"up": "", "waves": "up", "verify": "up", "change": "", "nightly": ""}


def render_pipeline(templates: Path, system: System) -> str:
    """The pipeline file of that system."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates / "ci"),
        undefined=jinja2.StrictUndefined,
        # Both systems use curly braces themselves.
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML from constants of this module
    )
    jobs = {job.key: job for job in JOBS}
    groups = [
        (
            name,
            jobs[keys[0]].when,
            _CONDITIONS[jobs[keys[0]].when],
            any(jobs[key].approval for key in keys),
            [jobs[key] for key in keys],
        )
        for name, keys in _GROUPS
    ]
    return environment.get_template(_TEMPLATES[system]).render(
        jobs=JOBS, stages=[job.stage for job in JOBS], groups=groups, previous=_AFTER
    )
