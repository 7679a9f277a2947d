"""The requirements of BSI IT-Grundschutz that the toolkit knows, and what checks them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from ksm_onboard.policies.model import Requirement

FILE = "requirements.yaml"


@cache
def entries() -> Mapping[str, Mapping[str, Any]]:
    """Everything that ``requirements.yaml`` says, by the requirement's id, in its order."""
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return MappingProxyType(yaml.load(text, Loader=yaml.CSafeLoader))


def requirements(*ids: str) -> tuple[Requirement, ...]:
    """The requirements of these ids. Raises KeyError for one that is not listed."""
    return tuple(Requirement(id_, entries()[id_]["title"], entries()[id_]["level"]) for id_ in ids)
