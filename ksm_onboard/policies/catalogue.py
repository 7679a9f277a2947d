"""The requirements of BSI IT-Grundschutz that the toolkit knows, and what checks them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

import yaml

from ksm_onboard.policies.model import Requirement

FILE = "requirements.yaml"


@cache
def _content() -> Mapping[str, Any]:
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return MappingProxyType(yaml.load(text, Loader=yaml.CSafeLoader))


def entries() -> Mapping[str, Mapping[str, Any]]:
    """What ``requirements.yaml`` says of every requirement, by its id, in its order."""
    found: Mapping[str, Mapping[str, Any]] = _content()["requirements"]
    return found


def reason(key: str, language: Literal["en", "de"]) -> str:
    """Why a requirement cannot be checked, in words. Raises KeyError for a reason that is not listed."""
    return str(_content()["reasons"][key][language])


def requirements(*ids: str) -> tuple[Requirement, ...]:
    """The requirements of these ids. Raises KeyError for one that is not listed."""
    return tuple(Requirement(id_, entries()[id_]["title"], entries()[id_]["level"]) for id_ in ids)
