"""From ansible-runner's events to results and lines for people."""

from __future__ import annotations

from typing import Any

from ksm_onboard.configuring.events import MAX_MESSAGE, Tally
from tests.unit.told import Told


def tally(*events: tuple[str, dict[str, Any]]) -> tuple[Tally, list[str]]:
    heard = Told()
    counted = Tally(heard)
    for kind, data in events:
        counted.add({"event": kind, "event_data": data})
    return counted, heard.lines


def task(name: str, role: str = "file_server") -> tuple[str, dict[str, Any]]:
    return "playbook_on_task_start", {"task": name, "name": f"{role} : {name}", "role": role}


def on(kind: str, host: str, **res: Any) -> tuple[str, dict[str, Any]]:
    return f"runner_on_{kind}", {"host": host, "res": res, "task_action": "ansible.builtin.apt"}


STATS = {"ok": {"a": 5, "b": 4}, "changed": {"a": 2}, "failures": {}, "dark": {}, "skipped": {"a": 1}}


def test_figures_and_applications_are_those_that_ansible_reports() -> None:
    stats = {**STATS, "artifact_data": {"applications": {"a": ["7zip"]}}}
    counted, _ = tally(task("Install"), on("ok", "a"), on("ok", "b"), ("playbook_on_stats", stats))
    assert counted.complete
    results = counted.results()
    assert (results["a"].ok, results["a"].changed, results["a"].skipped) == (5, 2, 1)
    assert results["a"].applications == ("7zip",)
    assert results["b"].applications == ()


def test_a_stopped_run_still_tells_how_far_each_host_came() -> None:
    counted, _ = tally(task("Install"), on("start", "a"), on("ok", "a", changed=True), on("start", "b"))
    assert not counted.complete
    assert counted.results()["a"].changed == 1
    assert counted.results()["b"].ok == 0
    assert counted.waiting() == "still at task 1: file_server: Install; waiting for b"


def test_changes_are_told_once_per_task_with_the_hosts() -> None:
    hosts = ["h1", "h2", "h3", "h4", "h5", "h6"]
    _, lines = tally(task("Install"), *(on("ok", h, changed=True) for h in hosts), task("Serve"), on("ok", "h1"))
    assert lines == ["task 1: file_server: Install: changed on h1, h2, h3, h4 and 2 more"]


def test_a_failure_names_host_task_and_reason() -> None:
    failed = on("failed", "a", msg="non-zero return code", stderr="disk   full\n")
    counted, lines = tally(task("Install"), failed, ("playbook_on_stats", {**STATS, "failures": {"a": 1}}))
    assert counted.results()["a"].problems == ("a: file_server: Install: non-zero return code: disk full",)
    assert lines == ["a: file_server: Install: non-zero return code: disk full"]


def test_a_failing_loop_tells_what_its_items_said() -> None:
    item = ("runner_item_on_failed", {"host": "a", "res": {"msg": "/srv/data is not mounted"}})
    whole = on("failed", "a", msg="One or more items failed")
    counted, _ = tally(task("Check"), item, whole, ("playbook_on_stats", {**STATS, "failures": {"a": 1}}))
    assert counted.results()["a"].problems == ("a: file_server: Check: /srv/data is not mounted",)


def test_a_failure_that_the_role_put_right_is_no_problem() -> None:
    counted, _ = tally(task("Try"), on("failed", "a", msg="no"), ("playbook_on_stats", {**STATS, "rescued": {"a": 1}}))
    assert counted.results()["a"].problems == ()


def test_an_ignored_failure_is_no_problem() -> None:
    ignored = ("runner_on_failed", {"host": "a", "res": {"msg": "no"}, "ignore_errors": True})
    counted, lines = tally(task("Try"), ignored, ("playbook_on_stats", STATS))
    assert counted.results() == {} and lines == []


def test_an_unreachable_host_is_told_and_the_others_count() -> None:
    gone = on("unreachable", "b", msg="Connection refused")
    stats = {**STATS, "dark": {"b": 1}}
    counted, lines = tally(task("Install"), on("ok", "a"), gone, ("playbook_on_stats", stats))
    assert counted.results()["b"].problems == ("b: cannot be reached: Connection refused",)
    assert counted.results()["b"].unreachable == 1
    assert counted.results()["a"].problems == ()
    assert lines == ["b: cannot be reached: Connection refused"]


def test_secret_results_stay_secret() -> None:
    censored = on("failed", "a", censored="the output has been hidden", msg="hidden")
    counted, _ = tally(task("Set the password"), censored, ("playbook_on_stats", {**STATS, "failures": {"a": 1}}))
    assert "details are secret" in counted.results()["a"].problems[0]


def test_endless_messages_are_cut() -> None:
    counted, _ = tally(
        task("x"), on("failed", "a", msg="y" * 9999), ("playbook_on_stats", {**STATS, "failures": {"a": 1}})
    )
    assert len(counted.results()["a"].problems[0]) < MAX_MESSAGE + 50


def test_what_a_role_tells_is_kept_as_a_note() -> None:
    told = ("runner_on_ok", {"host": "a", "res": {"msg": "no clock here"}, "task_action": "ansible.builtin.debug"})
    counted, _ = tally(task("Tell"), told, told, ("playbook_on_stats", STATS))
    assert counted.results()["a"].notes == ("no clock here",)
