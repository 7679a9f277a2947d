"""Stops a run that would lose data, unless exactly that is approved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

from ksm_onboard.declaration.approvals import load_approval
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.planning.approving import objections
from ksm_onboard.planning.risk import Risk, losses

Gate = Callable[[str, tuple[Risk, ...], Mapping[str, str]], None]
"""Judges a preview: the stack, its risks, and what stands (URN → id). Raises NotApprovedError to stop the run."""


class NotApprovedError(OnboardError):
    """A run would lose data, and nobody has approved exactly that. Nothing was touched."""

    exit_code = ExitCode.NOT_APPROVED

    def __init__(self, stack: str, lost: tuple[Risk, ...], why: list[str]) -> None:
        said = "\n".join(f"  {risk.text}" for risk in lost)
        super().__init__(
            f"stack '{stack}' would lose data, and nothing was touched:\n{said}\n" + "\n".join(why),
            hint="undo it in the declaration; or, if the data may go: ksm-onboard approve "
            f"{stack} --who NAME --why REASON, have stacks/approvals/{stack}.yaml reviewed, and run this again",
        )


def refuse_losses(stack: str, found: tuple[Risk, ...], _standing: Mapping[str, str]) -> None:
    """Lets nothing pass that loses data."""
    if lost := losses(found):
        raise NotApprovedError(stack, lost, ["nobody has approved it"])


def approved_only(stacks: Path, today: Callable[[], date] = date.today) -> Gate:
    """Lets pass what ``stacks/approvals/`` approves on that day."""

    def gate(stack: str, found: tuple[Risk, ...], standing: Mapping[str, str]) -> None:
        lost = losses(found)
        if lost and (why := objections(lost, standing, load_approval(stacks, stack), today())):
            raise NotApprovedError(stack, lost, why)

    return gate
