"""The steps that the engine would take, read from a preview's events.

Source: github.com/pulumi/pulumi, sdk/go/common/apitype/events.go (StepEventMetadata); values that are not known yet
and secrets are written there as constants, so nothing secret passes through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ksm_onboard.planning.risk import Step

_PROVIDERS = "vsphere:"


def step_of(metadata: Mapping[str, Any]) -> Step | None:
    """The step that a ``resourcePreEvent`` announces; None if it is about nothing in vCenter."""
    urn = str(metadata["urn"])
    if not urn.split("::")[2].rsplit("$", 1)[-1].startswith(_PROVIDERS):
        return None
    before, after = metadata.get("old") or {}, metadata.get("new") or {}
    return Step(
        urn=urn,
        operation=str(metadata["op"]),
        id=str(before.get("id") or ""),
        changed=_properties(metadata.get("diffs")),
        replaced_by=_properties(metadata.get("keys")),
        before={**(before.get("outputs") or {}), **(before.get("inputs") or {})},
        after=after.get("inputs") or {},
        protected=bool(before.get("protect")),
        stays_protected=bool(after.get("protect")),
        retained=bool(before.get("retainOnDelete")),
    )


def _properties(paths: list[str] | None) -> frozenset[str]:
    """The resource's own properties that ``paths`` lie in."""
    return frozenset(path.partition(".")[0].partition("[")[0] for path in paths or ())
