"""The approval of a loss of data: ``stacks/approvals/<stack>.yaml``. Read and written here only.

People review and commit it. ``ksm-onboard approve`` writes it from the preview as it is then: nobody types digests.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, StringConstraints, model_validator

from ksm_onboard.atomic import write_atomically
from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.declaration.load import load_file
from ksm_onboard.declaration.models import Declared

LONGEST_DAYS = 14
"""An approval is for one change that is about to be made; a decision of its own, no figure from outside."""

_HEADER = """\
# A loss of data that is approved: exactly these resources, as the preview showed them. It ends once the preview shows
# something else, and with the day on which it expires. Written by `ksm-onboard approve`; reviewed like any change.
"""

Text = Annotated[str, StringConstraints(min_length=3, max_length=500, strip_whitespace=True)]


class ApprovedResource(Declared):
    """One resource whose data may go: its URN, its id in vCenter, and the digest of what happens to it."""

    urn: Annotated[str, StringConstraints(pattern=r"^urn:pulumi:\S+$", max_length=1000)] = Field(
        description="the resource's URN"
    )
    id: Annotated[str, StringConstraints(max_length=500)] = Field(description="its id when it was approved")
    what: str = Field(description="what happens to it, in words; only for people")
    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")] = Field(
        description="of what the preview said would happen to it"
    )


class Approval(Declared):
    """Somebody takes responsibility for the loss of what these resources hold."""

    who: Text = Field(description="name of the person who answers for it")
    why: Text = Field(description="the reason")
    granted: date = Field(description="the day")
    expires: date = Field(description=f"the last day on which it counts, at most {LONGEST_DAYS} days after")
    resources: Annotated[tuple[ApprovedResource, ...], Field(min_length=1)] = Field(description="exactly these")

    @model_validator(mode="after")
    def _soon(self) -> Self:
        if not 0 <= (self.expires - self.granted).days <= LONGEST_DAYS:
            raise ValueError(f"expires must lie 0 to {LONGEST_DAYS} days after granted")
        return self


def approval_file(stacks: Path, stack: str) -> Path:
    """Where the approval for a stack lies."""
    return stacks / "approvals" / f"{stack}.yaml"


def load_approval(stacks: Path, stack: str) -> Approval | None:
    """The approval for a stack; None if there is none.

    Raises DeclarationRefusedError if it cannot be read: one that nobody can read approves nothing.
    """
    file = approval_file(stacks, stack)
    if not os.path.lexists(file):
        return None
    loaded = load_file(file, Approval)
    if loaded.content is None or loaded.findings:
        raise DeclarationRefusedError(list(loaded.findings))
    return loaded.content


def write_approval(stacks: Path, stack: str, approval: Approval) -> Path:
    """Write it, in place of an earlier one. Raises OSError if that is not possible."""
    file = approval_file(stacks, stack)
    text = yaml.safe_dump(approval.model_dump(mode="json"), allow_unicode=True, sort_keys=False, width=120)
    write_atomically(file, _HEADER + text)
    return file
