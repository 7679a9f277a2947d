"""Whether a loss of data is approved: exactly these resources, exactly this step, still in time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from ksm_onboard.declaration.approvals import Approval
from ksm_onboard.planning.risk import Risk


def objections(
    losses: Sequence[Risk], standing: Mapping[str, str], approval: Approval | None, today: date
) -> list[str]:
    """Why ``losses`` may not be carried out, in words; empty if nothing speaks against it.

    ``standing`` are the resources that stand, URN → id. An entry of the approval whose resource does not stand any more
    as it was approved has been used up, by a run that was interrupted for example, and is no objection.
    """
    if not losses:
        return []
    if approval is None:
        return ["nobody has approved it"]
    found = []
    if today > approval.expires:
        found.append(f"the approval by {approval.who} expired on {approval.expires}")
    if today < approval.granted:
        found.append(f"the approval by {approval.who} is dated {approval.granted}, which is still to come")
    approved = {resource.urn: resource for resource in approval.resources}
    for loss in losses:
        entry = approved.get(loss.urn)
        if entry is None:
            found.append(f"the approval by {approval.who} does not name {loss.kind} {loss.name}")
        elif entry.digest != loss.digest:
            found.append(f"what would happen to {loss.kind} {loss.name} is not what {approval.who} approved")
    lost = {loss.urn for loss in losses}
    for urn, entry in approved.items():
        if urn not in lost and standing.get(urn) == entry.id and entry.id:
            name = urn.rsplit("::", 1)[-1]
            found.append(f"the approval by {approval.who} is for other resources, too: nothing happens to {name}")
    return found
