"""The comment on a merge request: what it says, and that no name of a declaration becomes markup."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ksm_onboard.planning.affected import Side, affected
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.planning.sides import Change, side
from ksm_onboard.project import Project
from ksm_onboard.reporting.comment import ArrayLeft, Cost, Previews, SectionLost, cost_of, escaped, render_comment
from tests.unit.conftest import ROOT

TEMPLATES = ROOT / "templates"
_MARKDOWN = MarkdownIt("gfm-like", {"linkify": False}).enable("table")


@pytest.fixture(scope="module")
def before(plan: Plan) -> Side:
    declarations = Declarations(Project(ROOT))
    return Side({"grabow": plan}, declarations.platform_plan(), declarations.own_plan())


def change(before: Side, after: Plan | None, *files: str, ref: str = "main") -> Change:
    now = Side({"grabow": after} if after else {}, before.platform, before.own)
    return Change(ref, before, now, affected(before, now, files, PLATFORM))


def larger(plan: Plan, **fields: Any) -> Plan:
    """Grabow with 4 GiB more memory and 2 vCPU more on its file server, whose data disk has 1 TiB more."""
    server = plan.member.server("gra-file01")
    (disk,) = server.disks
    grown = server.model_copy(
        update={
            "cpus": server.cpus + 2,
            "memory_mib": server.memory_mib + 4096,
            "disks": (disk.model_copy(update={"size_gib": disk.size_gib + 1024}),),
        }
    )
    servers = tuple(grown if s.name == "gra-file01" else s for s in plan.member.servers)
    return plan.model_copy(update={"member": plan.member.model_copy(update={"servers": servers, **fields})})


def render(given: Change, previews: Previews | None = None) -> str:
    sections = [SectionLost("A", 100, 7, 50, 20)]
    return render_comment(TEMPLATES, given, previews or {}, sections, [ArrayLeft("sn-local-a01", 2048, 512)])


PREVIEW: dict[str, Any] = {
    "stack": "grabow",
    "risk": "data-loss",
    "changes": [
        {"risk": "data-loss", "text": "the data disk gra-file01-data is deleted"},
        {"risk": "disruptive", "text": "the VM gra-file01 has to be restarted (memory)"},
    ],
    "unchanged": 60,
    "objections": ["nobody has approved it"],
    "policies": {
        "passed": 17,
        "advice": [{"rule": "alike-apart", "message": "gra-x: alone\nmore"}],
        "waived": [],
    },
}


def test_everything_that_somebody_who_decides_needs(before: Side, plan: Plan) -> None:
    said = render(change(before, larger(plan)), {"grabow": PREVIEW})
    assert "| grabow | changed | data-loss | +2 | +4 | +1.00 |" in said
    assert "| **total** | | | +2 | +4 | +1.00 |" in said
    assert "- gives gra-file01 12 GiB of memory instead of 8" in said
    assert "What the data centre would do: 2 changes, 1 data-loss, 1 disruptive, 0 harmless." in said
    assert "- **data-loss**: the data disk gra-file01-data is deleted" in said
    assert "- **not approved**: nobody has approved it" in said
    assert "Policies: 17 fulfilled, 1 advice, 0 waived." in said
    assert r"- advice: \[alike-apart\] gra-x: alone" in said
    assert "| A | 7 | 100 | 20 | 50 |" in said
    assert "| sn-local-a01 | 0.50 | 2.00 |" in said


def test_what_was_not_previewed_is_said_and_no_class_is_claimed(before: Side, plan: Plan) -> None:
    for previews, why in (
        ({}, "there is no preview of it"),
        ({"grabow": {"error": "no data centre"}}, "no data centre"),
    ):
        said = render(change(before, larger(plan)), previews)
        assert "| grabow | changed | not known |" in said
        assert f"**Not previewed:** {why}. Risk class and policies are not known." in said
        assert "harmless" not in said


def test_a_member_that_is_removed_gives_back_what_it_took(before: Side, plan: Plan) -> None:
    cost = cost_of(plan.member)
    said = render(change(before, None))
    assert f"| grabow | removed | not known | -{cost.vcpus} | -{cost.memory_gib} |" in said
    assert "- **removes** removes Stadt Grabow: 12 VMs" in said


def test_costs_of_a_side_that_cannot_be_planned_are_not_told_as_a_difference(before: Side) -> None:
    now = Side({"grabow": None}, before.platform, before.own)
    said = render(Change("main", before, now, affected(before, now, (), PLATFORM)))
    assert "| grabow | changed | not known | +0 | +0 | +0.00 |" in said


def test_nothing_changes(before: Side, plan: Plan) -> None:
    said = render(change(before, plan))
    assert "Nothing that is planned or configured changes." in said
    assert "| A | 7 | 100 | 20 | 50 |" in said


def test_what_may_be_is_told_apart_from_what_is(before: Side, plan: Plan) -> None:
    said = render(change(before, plan, "roles/site.yml"))
    assert r"(roles/site.yml\) \(possibly; named to be on the safe side\)" in said
    assert "|schwerin|" in said.replace(" ", "")


def test_costs_add_up(plan: Plan) -> None:
    one = cost_of(plan.member)
    assert one.vcpus == sum(server.cpus for server in plan.member.servers)
    assert one + one - one == one
    assert cost_of(None) == Cost()


# --- hostile names ------------------------------------------------------------------------

HOSTILE = (
    "[click](https://evil.invalid)",
    "![x](https://evil.invalid/pixel.png)",
    "<img src=x onerror=alert(1)>",
    "</details><script>alert(1)</script>",
    "**bold** _it_ ~~gone~~ `code`",
    "a | b | c",
    "line\n\n# heading\n- item\n/approve\n",
    "\u2028/merge",
    "&lt;b&gt; &#64;all",
    "https://evil.invalid www.evil.invalid",
    "$`x`$ {{ 7*7 }} {% raw %}",
    "\\[x\\](y)",
)


def shown(markdown: str) -> tuple[str, set[str]]:
    """The text that people see, and the kinds of markup in it."""
    tokens = _MARKDOWN.parse(markdown)
    inline = [child for token in tokens for child in token.children or ()]
    text = "".join(child.content for child in inline if child.type == "text")
    return text, {token.type for token in (*tokens, *inline)}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text(before: Side, plan: Plan, name: str) -> None:
    said = render(change(before, larger(plan, name=name), ref=name), {"grabow": {"error": name}})
    harmless = render(change(before, larger(plan, name="x"), ref="x"), {"grabow": {"error": "x"}})
    assert shown(said)[1] == shown(harmless)[1]
    assert said.count("\n") == harmless.count("\n")
    assert not [line for line in said.splitlines() if line.startswith("/")]


@given(st.text(max_size=60))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    seen, kinds = shown(f"x{escaped(text)}x")
    assert kinds - {"text_special"} == {"paragraph_open", "inline", "paragraph_close", "text"}
    letters = [letter for letter in text if letter.isalnum()]
    assert [letter for letter in seen[1:-1] if letter.isalnum()] == letters


@pytest.mark.parametrize("text", ["@all", "#12", "!7", "~bug", "%3", "deadbeef1", "https://x", "www.x.de"])
def test_nothing_becomes_a_reference(text: str) -> None:
    assert "\u200b" in escaped(text)
    assert escaped(text).replace("\u200b", "").replace("\\", "") == text


def test_the_whole_verbund_can_be_told() -> None:
    """With everything that is declared here as new."""
    now = side(Declarations(Project(ROOT)))
    empty = Side({}, now.platform, now.own)
    said = render(Change("nothing", empty, now, affected(empty, now, (), PLATFORM)))
    assert all(f"## {key}" in said for key in now.members)
