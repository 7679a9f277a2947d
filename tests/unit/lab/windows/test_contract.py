"""Arguments are judged by documentation and source. What a module does not take is refused, with everything at once."""

import pytest

from ksm_onboard.lab.windows.powershell import UNKNOWN, hash_with, syntax_errors
from tests.unit.lab.windows.conftest import MSI, PRODUCT, Call

REGEDIT = {"path": "HKLM:\\SOFTWARE\\Policies\\Test", "name": "Level", "data": 1, "type": "dword"}


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("ansible.windows.win_regedit", {**REGEDIT, "colour": "red"}, "unknown parameters: colour"),
        ("ansible.windows.win_regedit", {**REGEDIT, "type": "word"}, "value of type must be one of"),
        ("ansible.windows.win_regedit", {"name": "x"}, "missing required arguments: path"),
        ("ansible.windows.win_regedit", {**REGEDIT, "delete_key": "perhaps"}, "delete_key"),
        ("ansible.windows.win_timezone", {}, "missing required arguments: timezone"),
        (
            "ansible.windows.win_audit_policy_system",
            {"category": "System", "subcategory": "Logon", "audit_type": ["success"]},
            "mutually exclusive",
        ),
        ("ansible.windows.win_audit_policy_system", {"audit_type": ["success"]}, "one of the following is required"),
        ("ansible.windows.win_certificate_store", {"state": "present"}, "state is present but all of the following"),
        ("ansible.windows.win_certificate_store", {"state": "absent"}, "any of the following"),
        ("ansible.windows.win_package", {"path": MSI, "creates_version": "1"}, "creates_version"),
        ("ansible.windows.win_package", {"path": MSI, "provider": "dpkg"}, "value of provider must be one of"),
        (
            "chocolatey.chocolatey.win_chocolatey_source",
            {"name": "x", "source": "https://x", "source_username": "u"},
            "required together",
        ),
        # Modules without a spec in their source are judged by their documentation.
        ("community.windows.win_firewall_rule", {"name": "x", "localports": "22"}, "unknown parameters: localports"),
        ("community.windows.win_firewall_rule", {"name": "x", "direction": "up"}, "value of direction must be one of"),
        ("community.windows.win_scheduled_task", {}, "missing required arguments: name"),
    ],
)
def test_a_wrong_argument_is_refused(call: Call, module: str, arguments: dict[str, object], said: str) -> None:
    answer = call(module, **arguments)
    assert answer["failed"] is True
    assert answer["msg"].startswith("simulated Windows: refused:")
    assert said in answer["msg"]


def test_everything_that_is_wrong_is_told_at_once(call: Call) -> None:
    message = call("ansible.windows.win_regedit", name="x", type="word", colour="red")["msg"]
    assert all(part in message for part in ("path", "word", "colour"))


def test_a_module_that_is_not_simulated_is_refused(call: Call) -> None:
    answer = call("ansible.windows.win_share", name="x", path="C:\\x")
    assert answer["failed"] is True
    assert "refused: the module ansible.windows.win_share is not simulated" in answer["msg"]


def test_an_argument_that_is_documented_but_not_simulated_fails(call: Call) -> None:
    answer = call("ansible.windows.win_package", path=MSI, product_id=PRODUCT, log_path="C:\\x.log")
    assert answer["failed"] is True
    assert "not simulated: log_path" in answer["msg"]


def test_aliases_and_types_are_those_of_the_module(call: Call) -> None:
    # ``key`` and ``entry`` are aliases, "1" is a number.
    assert call("ansible.windows.win_regedit", key="HKLM:\\SOFTWARE\\T", entry="A", data="1", type="dword")["changed"]
    answer = call("ansible.windows.win_reg_stat", path="HKLM:\\SOFTWARE\\T", name="A")
    assert (answer["exists"], answer["value"], answer["type"]) == (True, 1, "REG_DWORD")


def test_literals_are_read_and_the_rest_stays_unknown() -> None:
    source = b"""$spec = @{
        options = @{ a = @{ type = 'str'; choices = 'x', "y" }; b = @{ type = $kind; default = 7 } }
        mutually_exclusive = @(, @('a', 'b'))  # one pair
        required_if = @(@("a", "x", @("b"), $true), @("a", "y", @("b")))
    }"""
    assert hash_with(source, "options") == {
        "options": {"a": {"type": "str", "choices": ["x", "y"]}, "b": {"type": UNKNOWN, "default": 7}},
        "mutually_exclusive": [["a", "b"]],
        "required_if": [["a", "x", ["b"], True], ["a", "y", ["b"]]],
    }


def test_syntax_errors_are_found() -> None:
    assert syntax_errors(b"if ($a) {\n  Get-Item 'x'\n}\n") == ()
    assert syntax_errors(b"if ($a) {\n  Get-Item 'x'\n") != ()
