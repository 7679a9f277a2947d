"""Every rule that the code can report is documented, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_documented_rules_are_the_rules_in_force() -> None:
    sources = [
        file.read_text(encoding="utf-8")
        for room in ("declaration", "planning")
        for file in (ROOT / "ksm_onboard" / room).glob("*.py")
    ]
    in_code: set[str] = set()
    for source in sources:
        in_code |= set(re.findall(r'rule="([a-z-]+)"', source))
        in_code |= set(re.findall(r'rule="[a-z-]+" if \w+ else "([a-z-]+)"', source))
        in_code |= set(re.findall(r'(?:scope\.unknown|refuse|Finding)\(\s*f?"([a-z-]+)"', source))
        in_code |= set(re.findall(r'^    "[a-z_0-9]+": "([a-z]+-[a-z-]+)",$', source, re.MULTILINE))
        in_code |= {f"{what}-unknown" for what in re.findall(r'\("([a-z]+)", group\.\1, declared', source)}
    in_code.add("wrong-type")
    documented: set[str] = set()
    for row in re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs/reference/rules.md").read_text("utf-8"), re.MULTILINE):
        documented |= set(re.findall(r"`([a-z-]+)`", row))
    assert documented == in_code
