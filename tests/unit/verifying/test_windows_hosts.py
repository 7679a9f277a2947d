"""What Windows workstations answer is understood, and silence is told apart from emptiness."""

from __future__ import annotations

import json

from ksm_onboard.verifying.host_facts import HostSilent
from ksm_onboard.verifying.windows_hosts import TIME, WindowsFacts, results_by_host, understand

SYSTEM = {"ansible_facts": {"ansible_distribution": "Microsoft Windows 11", "ansible_hostname": "GRA-WS0007"}}


def test_answers_are_found_behind_ansibles_warnings() -> None:
    tasks = [{"task": {"name": "system"}, "hosts": {"gra-ws0007": SYSTEM}}]
    output = "[WARNING]: something\n" + json.dumps({"plays": [{"tasks": tasks}]})
    assert results_by_host(output) == {"gra-ws0007": {"system": SYSTEM}}


def test_a_host_that_has_nothing_yet_is_not_silent() -> None:
    registry = {"results": [{"item": TIME, "exists": False}]}
    facts = understand("gra-ws0007", {"system": SYSTEM, "packages": {"failed": True}, "registry": registry})
    assert isinstance(facts, WindowsFacts)
    assert (facts.host_name, facts.packages, facts.registry, facts.simulated) == ("gra-ws0007", {}, {TIME: {}}, False)


def test_a_host_that_cannot_be_reached_is_silent_and_says_why() -> None:
    silent = understand("gra-ws0007", {"system": {"unreachable": True, "msg": "Task failed:\n timed out"}})
    assert silent == HostSilent(name="gra-ws0007", reason="Task failed: timed out")
    assert isinstance(understand("gra-ws0007", {}), HostSilent)


def test_a_simulation_is_known_as_one() -> None:
    facts = understand("gra-ws0007", {"system": {**SYSTEM, "simulated": True}})
    assert isinstance(facts, WindowsFacts) and facts.simulated
