"""What status and protocol say of a workplace: what it told, against what is declared now."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from ksm_onboard.configuring.journal import Entry, Installed
from ksm_onboard.planning.plan import MemberPlan, Plan
from ksm_onboard.planning.workplace_status import WorkplaceStatus, workplace_statuses
from ksm_onboard.reporting.wording import workplace_state

NAME = "gra-ws0001"


def whole(member: MemberPlan) -> Installed:
    """Everything that can be on the workplace, installed."""
    given = next(machine for machine in member.workstations if machine.name == NAME).applications
    parts = {a.key: a.packages or ((a.url,) if a.url else ()) for a in member.applications if a.key in given}
    return {key: dict.fromkeys(names, "1") for key, names in parts.items()}


def status(plan: Plan, *entries: Entry, withheld: dict[str, set[str]] | None = None) -> WorkplaceStatus:
    told = {entry.host: entry for entry in entries}
    found = workplace_statuses(plan.member, told, withheld or {}, simulated_platforms=("windows",))
    assert [one.name for one in found] == [machine.name for machine in plan.member.workstations]
    return next(one for one in found if one.name == NAME)


def test_a_workplace_of_which_nothing_is_known_is_due(plan: Plan) -> None:
    unknown = status(plan)
    assert (unknown.state, unknown.since, unknown.checked) == ("due", None, False)
    assert unknown.due
    assert workplace_state(unknown, ZoneInfo("Europe/Berlin")) == "fällig, noch nicht eingerichtet"


def test_done_is_done_until_something_else_is_declared(plan: Plan) -> None:
    installed = whole(plan.member)
    done = status(plan, Entry(host=NAME, state="done", checked=True, installed=installed))
    assert (done.state, done.due, done.reason) == ("done", (), "")
    assert "libreoffice 1" in workplace_state(done, ZoneInfo("Europe/Berlin"))
    assert "am Gerät nachgeprüft" in workplace_state(done, ZoneInfo("Europe/Berlin"))
    assert done.stand_ins == ("quba-viewer",)
    assert "quba-viewer 1 (Platzhalter)" in workplace_state(done, ZoneInfo("Europe/Berlin"))
    less = {key: parts for key, parts in installed.items() if key != "libreoffice"}
    due = status(plan, Entry(host=NAME, state="done", installed=less))
    assert (due.state, due.due, due.reason) == ("due", ("libreoffice",), "declared since: libreoffice")


def test_what_was_taken_back_is_neither_due_nor_installed(plan: Plan) -> None:
    back = status(
        plan, Entry(host=NAME, state="done", installed=whole(plan.member)), withheld={"libreoffice": {NAME, "x"}}
    )
    assert back.withheld == ("libreoffice",)
    assert back.state == "done"
    assert "libreoffice" not in back.installed


def test_a_failure_keeps_its_reason_and_names_what_is_missing(plan: Plan) -> None:
    parts = whole(plan.member) | {"libreoffice": {"libreoffice": None}}
    failed = status(plan, Entry(host=NAME, state="failed", reason="disk full", installed=parts))
    assert (failed.state, failed.reason, failed.due) == ("failed", "disk full", ("libreoffice",))
    assert "libreoffice" not in failed.installed
    assert workplace_state(failed, ZoneInfo("Europe/Berlin")).endswith(": disk full")


def test_windows_is_told_to_be_simulated_where_it_is(plan: Plan) -> None:
    windows = [machine.name for machine in plan.member.workstations if machine.platform == "windows"]
    found = workplace_statuses(plan.member, {}, {}, simulated_platforms=("windows",))
    assert windows
    assert {one.name for one in found if one.simulated} == set(windows)
