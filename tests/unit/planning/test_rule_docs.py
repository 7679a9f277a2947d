"""Every rule that the code can report is documented, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from ksm_onboard.declaration.rules import Rule

ROOT = Path(__file__).resolve().parents[3]
RULES = set(get_args(Rule))


def test_documented_rules_are_the_rules_there_are() -> None:
    documented: set[str] = set()
    for row in re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs/reference/rules.md").read_text("utf-8"), re.MULTILINE):
        documented |= set(re.findall(r"`([a-z-]+)`", row))
    assert documented == RULES


def test_every_rule_can_be_reported() -> None:
    """The type checker refuses rules that are not in the list; this finds those that nothing reports."""
    sources = [
        file.read_text(encoding="utf-8") for file in (ROOT / "ksm_onboard").glob("*/*.py") if file.name != "rules.py"
    ]
    in_code = {rule for rule in RULES for source in sources if f'"{rule}"' in source}
    assert in_code == RULES
