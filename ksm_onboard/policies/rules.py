"""All rules of the policy pack."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ksm_onboard.policies import networks, platform, redundancy, storage, tenancy
from ksm_onboard.policies.model import Rule

RULES: Mapping[str, Rule] = MappingProxyType(
    {rule.id: rule for room in (tenancy, networks, redundancy, storage, platform) for rule in room.RULES}
)
"""Every rule by its id, in the order in which they are told."""
