"""What is known of workplaces survives whoever kills us, torn lines included."""

from __future__ import annotations

from pathlib import Path

from ksm_onboard.configuring.events import Tally
from ksm_onboard.configuring.journal import FILE, Entry, Journal, WaveEntry, Withheld
from ksm_onboard.planning.waves import Standing
from ksm_onboard.progress import Silent


def test_the_last_line_about_a_workplace_holds_and_others_read_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(WaveEntry(wave="pilot", event="begun"))
    journal.add(Entry(host="ws1", state="failed", reason="no room"))
    journal.add(Entry(host="ws1", state="done", installed={"app": {"hello": "1", "git": None}}))
    journal.add(Withheld(application="app", hosts=("ws1", "ws2"), withheld=True))
    journal.add(Withheld(application="app", hosts=("ws2",), withheld=False))
    again = Journal(tmp_path)
    assert again.standings() == {"ws1": Standing("done", "", ("app",))}
    assert again.hosts["ws1"].versions == {}
    assert set(again.begun) == {"pilot"}
    assert again.withheld_from("ws1") == {"app"}
    assert again.withheld_from("ws2") == frozenset()


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    Journal(tmp_path).add(Entry(host="ws1", state="done"))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"kind":"host","host":"ws2","sta')
    Journal(tmp_path).add(Entry(host="ws3", state="off", reason="timed out"))
    assert {name: entry.state for name, entry in Journal(tmp_path).hosts.items()} == {"ws1": "done", "ws3": "off"}
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def event(kind: str, **data: object) -> dict[str, object]:
    return {"event": kind, "event_data": {"host": "ws1", **data}}


def entries(*events: dict[str, object]) -> list[tuple[str, str]]:
    kept: list[Entry] = []
    tally = Tally(Silent(), kept.append)
    for one in events:
        tally.add(one)
    return [(entry.state, entry.reason) for entry in kept]


def test_a_machine_that_is_off_has_not_failed_but_one_with_another_key_has() -> None:
    off = event("runner_on_unreachable", res={"msg": "Failed to connect: ssh: connect: Connection timed out"})
    other = event("runner_on_unreachable", res={"msg": "Host key verification failed."})
    refused = event("runner_on_unreachable", res={"msg": "ops@127.0.0.1: Permission denied (publickey)"})
    assert [state for state, _ in entries(off, other, refused)] == ["off", "failed", "failed"]


def test_done_is_only_who_says_so_at_the_end_or_is_confirmed_at_the_beginning() -> None:
    installed = {"app": {"hello": "1"}}
    looked = event("runner_on_ok", task_action="desired_state", res={"confirmed": False, "installed": installed})
    confirmed = event("runner_on_ok", task_action="desired_state", res={"confirmed": True, "installed": installed})
    recorded = event("runner_on_ok", task_action="desired_state", res={"recorded": {}, "installed": installed})
    assert entries(looked, event("runner_on_ok", task_action="apt", res={})) == []
    assert entries(confirmed) == [("done", "")]
    assert entries(looked, recorded) == [("done", "")]
    lacking = event("runner_on_failed", res={"msg": "the machine lacks app", "installed": {"app": {"hello": None}}})
    assert entries(looked, lacking)[0][0] == "failed"
