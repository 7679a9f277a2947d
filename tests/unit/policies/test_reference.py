"""The reference page says what the rules are. KSM_UPDATE_SNAPSHOTS=1 writes it anew; look at the difference."""

from __future__ import annotations

import os
from pathlib import Path

from ksm_onboard.policies.reference import PAGE, page
from ksm_onboard.policies.rules import RULES

COMMITTED = Path(__file__).resolve().parents[3] / PAGE


def test_the_page_is_that_of_the_rules() -> None:
    if os.environ.get("KSM_UPDATE_SNAPSHOTS"):
        COMMITTED.write_text(page(), encoding="utf-8")
    assert COMMITTED.read_text(encoding="utf-8") == page()


def test_every_rule_has_a_section_of_its_own() -> None:
    headings = [line.removeprefix("## ") for line in page().splitlines() if line.startswith("## ")]
    assert headings == ["What stops a run", *RULES]
