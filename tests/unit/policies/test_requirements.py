"""The list of requirements: complete, and each checked by something that there is."""

from __future__ import annotations

import re
from typing import get_args

from ksm_onboard.policies.catalogue import entries, reason
from ksm_onboard.policies.model import Level
from ksm_onboard.reporting import wording
from ksm_onboard.reporting.baseline import _PLANNED
from ksm_onboard.verifying.audit_report import Area

# As the data centre lists what a toolkit can check: module, numbers, levels other than B.
LISTED = """\
SYS.2.1: A1 A3 A6 A8 A16S A44S A28H A31H A33H A36H
SYS.2.2.3: A4 A5 A9S A13S A17S A19S A20S A23H
SYS.2.3: A1 A4 A5 A6S A19H
SYS.1.1: A6 A9 A10 A19S A23S A28H
SYS.1.3: A8S
SYS.1.2.3: A2
SYS.1.5: A4 A5 A6 A7 A11S A14S A20H
SYS.1.8: A2 A4 A14S A15S A22H A23H
NET.1.1: A4 A5 A6 A10 A15 A21S A24S A28H A29H
NET.3.2: A2 A3 A6 A9 A22S
APP.2.2: A5 A16 A17
APP.3.6: A2
APP.6: A5 A8S A9S A13S
OPS.1.1.1: A5S A6S A8S A10S
OPS.1.1.3: A1 A3 A15 A10S
OPS.1.1.5: A3 A4 A6S
OPS.1.1.6: A4 A10S
OPS.3.2: A2 A4 A5 A6
CON.3: A1 A4 A5 A12 A14 A15
DER.1: A5
DER.4: A10H
INF.2: A2 A3 A8
ORP.4: A1 A2 A4 A22 A23 A21H
"""


def test_every_listed_requirement_is_there_once_with_its_level() -> None:
    listed = {
        f"{module}.{number}": level or "B"
        for line in LISTED.splitlines()
        for module, numbers in [line.split(": ")]
        for number, level in re.findall(r"(A\d+)([SH]?)", numbers)
    }
    assert {id_: entry["level"] for id_, entry in entries().items()} == listed
    assert set(listed.values()) == set(get_args(Level))


def test_each_is_checked_by_something_or_says_why_not() -> None:
    for id_, entry in entries().items():
        by = {"rules", "areas", "machines", "plan"} & entry.keys()
        assert bool(by) != ("unchecked" in entry), id_
        assert entry.keys() <= {"title", "titel", "level", "unchecked", "rules", "areas", "machines", "plan"}, id_
        if "unchecked" in entry:
            assert reason(entry["unchecked"], "en") != reason(entry["unchecked"], "de")
        for area in entry.get("areas", ()):
            Area(area)
        if "plan" in entry:
            assert entry["plan"] in _PLANNED
        for attribute in entry.get("machines", {}).get("attributes", ()):
            family = attribute.partition(" ")[0]
            assert family in wording.ATTRIBUTES or family in wording._FAMILIES, attribute
