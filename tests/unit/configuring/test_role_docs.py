"""A role's README and its defaults tell what its argument specification says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ksm_onboard.configuring.role_docs import render_readme, roles

ROOT = Path(__file__).resolve().parents[3]
ROLES = roles(ROOT / "roles")


def test_every_role_has_a_specification() -> None:
    assert [role.name for role in ROLES] == sorted(p.parent.name for p in (ROOT / "roles").glob("*/tasks"))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_readme_is_the_generated_one(role: Path) -> None:
    """If this fails: python -m ksm_onboard.configuring.role_docs"""
    assert (role / "README.md").read_text() == render_readme(role)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_the_specified_ones(role: Path) -> None:
    options = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    assert defaults == {name: option["default"] for name, option in options.items() if not option.get("required")}
    assert all(name.startswith(f"{role.name}_") for name in options)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_uses_no_variable_of_another(role: Path) -> None:
    others = [f"{other.name}_" for other in ROLES if other != role]
    texts = "".join(p.read_text() for p in role.rglob("*") if p.suffix in (".yml", ".j2"))
    # The name of a role may end like another's: windows_applications.
    texts = texts.replace(f"{role.name}_", "")
    assert not [prefix for prefix in others if f" {prefix}" in texts or f"_{prefix}" in texts]
