"""The directory behind an onboarded Grabow: who logs in at its workplace, and what two controllers are good for.

Runs before the other tests of the shared Grabow, which take it apart; afterwards everything is in its place again.
No declaration holds people: their accounts are made here.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from ksm_onboard.verifying import on_host as by_hand

from .conftest import Checkout, address, delete_vm, on_host

pytestmark = pytest.mark.lab

FIRST, SECOND, WORKPLACE = "10.96.0.21", "10.96.0.22", "10.64.0.21"
NAMES = {FIRST: "sn-dc01", SECOND: "sn-dc02"}
DOMAIN = "ad.ksm.internal"
REALM = DOMAIN.upper()
BASE = "DC=ad,DC=ksm,DC=internal"
SUPPORT = "ksm-workplace-support"
GIVEN_UP_SECONDS = 600.0
"""Until something that was awaited counts as never happening; controllers look at each other every 15 seconds."""


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + GIVEN_UP_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def create(checkout: Checkout, controller: str, name: str, *groups: str, unit: str = "grabow") -> str:
    """An account in a member's unit; returns its password, which is never an argument of a program."""
    password = f"Pw-{secrets.token_hex(10)}"
    within = f"--userou='OU=Users,OU={unit},OU=Members'"
    on_host(checkout, controller, f"sudo samba-tool user create {name} {within}", stdin=f"{password}\n{password}\n")
    for group in groups:
        on_host(checkout, controller, f"sudo samba-tool group addmembers {group} {name}")
    return password


def knows(checkout: Checkout, controller: str, name: str) -> bool:
    return name in on_host(checkout, controller, "sudo samba-tool user list").split()


def ticket(checkout: Checkout, controller: str, name: str, password: str) -> bool:
    said = on_host(
        checkout, controller, f"kinit {name}@{REALM} && klist; kdestroy -q", stdin=f"{password}\n", check=False
    )
    return f"krbtgt/{REALM}" in said


def log_in(checkout: Checkout, user: str, password: str, command: str = "true") -> str:
    """What a login shell of ``user`` prints at the workplace; PAM asks for the password on a terminal."""
    program = (
        "import os, pty\n"
        f"user, password, command = {(user, password, command)!r}\n"
        "pid, terminal = pty.fork()\n"
        "if pid == 0:\n"
        "    os.execvp('su', ['su', '--login', user, '--command', command])\n"
        "said = b''\n"
        "try:\n"
        "    while b'assword: ' not in said:\n"
        "        said += os.read(terminal, 4096)\n"
        "    os.write(terminal, password.encode() + b'\\n')\n"
        "    while part := os.read(terminal, 4096):\n"
        "        said += part\n"
        "except OSError:\n"
        "    pass\n"
        "print(said.decode(), 'status', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    return on_host(checkout, WORKPLACE, "python3 -", stdin=program)


def logs_in(checkout: Checkout, user: str, password: str) -> bool:
    return "status 0" in log_in(checkout, user, password)


@pytest.fixture(scope="module")
def people(checkout: Checkout, onboarded: dict[str, Any]) -> dict[str, str]:
    """Passwords: anna and otto are the Bauamt's, sven the support's, chef administers, fritz is another member's."""
    on_host(checkout, FIRST, "sudo samba-tool ou create OU=elsewhere,OU=Members")
    on_host(checkout, FIRST, "sudo samba-tool ou create OU=Users,OU=elsewhere,OU=Members")
    on_host(checkout, FIRST, "sudo samba-tool group add els-users --groupou=OU=elsewhere,OU=Members")
    return {
        "anna": create(checkout, FIRST, "anna", "gra-department-bauamt"),
        "otto": create(checkout, FIRST, "otto", "gra-department-bauamt"),
        "sven": create(checkout, FIRST, "sven", SUPPORT),
        "chef": create(checkout, FIRST, "chef", "gra-admins"),
        "fritz": create(checkout, FIRST, "fritz", "els-users", unit="elsewhere"),
    }


def test_an_account_of_the_member_logs_in_and_gets_a_home_folder(checkout: Checkout, people: dict[str, str]) -> None:
    said = log_in(checkout, "anna", people["anna"], "id -Gn; pwd; stat -c %a .")
    assert "gra-department-bauamt" in said and "gra-users" in said
    assert "/home/anna" in said and "700" in said and "status 0" in said
    assert not logs_in(checkout, "anna", "wrong")


def test_an_account_of_another_member_is_refused_though_it_is_one_of_the_directory(
    checkout: Checkout, people: dict[str, str]
) -> None:
    assert ticket(checkout, FIRST, "fritz", people["fritz"])
    assert not logs_in(checkout, "fritz", people["fritz"])


def test_only_the_support_group_may_use_sudo(checkout: Checkout, people: dict[str, str]) -> None:
    assert logs_in(checkout, "sven", people["sven"])
    assert "(ALL : ALL) ALL" in on_host(checkout, WORKPLACE, "sudo sudo -l -U sven")
    assert "not allowed to run sudo" in on_host(checkout, WORKPLACE, "sudo sudo -l -U anna", check=False)


def test_servers_log_in_too_those_in_the_dmz_have_no_account(checkout: Checkout, people: dict[str, str]) -> None:
    computers = on_host(checkout, FIRST, "sudo samba-tool computer list").split()
    assert {"GRA-FILE01$", "GRA-DB01$", "GRA-WS0001$"} <= set(computers)
    assert not [name for name in computers if name.startswith("GRA-WEB")]
    shown = on_host(checkout, SECOND, "sudo samba-tool computer show gra-ws0001")
    assert f"OU=Computers,OU=grabow,OU=Members,{BASE}" in shown
    assert "gra-department-bauamt" in on_host(checkout, "10.64.12.21", "id -Gn anna")


@pytest.mark.parametrize(("made_at", "seen_at"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_what_is_changed_at_one_controller_is_seen_at_the_other(
    checkout: Checkout, people: dict[str, str], made_at: str, seen_at: str
) -> None:
    name = f"of-{NAMES[made_at]}"
    password = create(checkout, made_at, name)
    until(lambda: knows(checkout, seen_at, name), f"{seen_at} does not know {name}")
    until(lambda: ticket(checkout, seen_at, name, password), f"{seen_at} does not let {name} in")
    assert not ticket(checkout, seen_at, name, "wrong")


def test_a_member_s_administrators_rule_over_its_own_unit_only(checkout: Checkout, people: dict[str, str]) -> None:
    login, new = f"{people['chef']}\n", f"Pw-{secrets.token_hex(10)}"
    tool = f"samba-tool {{}} -H ldap://sn-dc01.{DOMAIN} --username=chef"

    def as_chef(words: str, stdin: str = login) -> str:
        return on_host(checkout, FIRST, tool.format(words), stdin=stdin, check=False)

    def refused(words: str) -> bool:
        return "insufficient" in as_chef(words).lower()

    until(lambda: ticket(checkout, FIRST, "chef", people["chef"]), "chef cannot log in")
    made = as_chef(f"user create neu {new} --userou=OU=Users,OU=grabow,OU=Members")
    assert "added successfully" in made, made
    joined = as_chef("group addmembers gra-department-bauamt neu")
    assert "Added members" in joined, joined
    assert logs_in(checkout, "neu", new)
    assert refused(f"user create fremd {new} --userou=OU=Users,OU=elsewhere,OU=Members")
    assert refused("group addmembers gra-admins neu")
    assert refused(f"group addmembers {SUPPORT} neu")
    assert refused(f"user setpassword fritz --newpassword={new}")
    assert "Deleted user neu" in as_chef("user delete neu")


def test_the_join_account_joins_computers_of_its_member_and_does_nothing_else(
    checkout: Checkout, people: dict[str, str]
) -> None:
    secret = checkout.state / "secrets" / "grabow" / "directory-gra-join"
    assert secret.stat().st_mode & 0o077 == 0
    login = f"{secret.read_text().split()[0]}\n"
    tool = f"samba-tool {{}} -H ldap://sn-dc01.{DOMAIN} --username=gra-join"
    unit = "OU=Computers,OU=grabow,OU=Members"
    on_host(checkout, FIRST, f"{tool.format('computer create probe1')} --computerou={unit}", stdin=login)
    on_host(checkout, FIRST, tool.format("computer delete probe1"), stdin=login)
    for attempt in (
        f"{tool.format('computer create probe2')} --computerou=OU=Members",
        tool.format("computer create probe3"),
        tool.format("user create probe4 Pw-1234-5678-abcd"),
        tool.format(f"group addmembers {SUPPORT} gra-join"),
    ):
        told = on_host(checkout, FIRST, attempt, stdin=login, check=False)
        assert "insufficient" in told.lower(), (attempt, told)


def test_passwords_must_be_long_and_guessing_locks_the_account(checkout: Checkout, people: dict[str, str]) -> None:
    short = on_host(checkout, FIRST, "sudo samba-tool user create kurz", stdin="Kurz-1\nKurz-1\n", check=False)
    assert "too short" in short
    shown = on_host(checkout, SECOND, "sudo samba-tool domain passwordsettings show")
    for line in (
        "Minimum password length: 12",
        "Account lockout threshold (attempts): 10",
        "Maximum password age (days): 0",
    ):
        assert line in shown


@pytest.mark.parametrize("controller", NAMES)
def test_controllers_listen_on_their_own_address_and_show_a_certificate_of_the_authority(
    checkout: Checkout, people: dict[str, str], controller: str
) -> None:
    listening = on_host(checkout, controller, "sudo ss --listening --tcp --udp --numeric --processes --no-header")
    assert on_host(checkout, controller, "systemctl --failed --plain --no-legend") == ""
    own = [line for line in listening.splitlines() if "users:" in line]
    assert own and {line.split()[4].rsplit(":", 1)[0] for line in own} == {address(controller)}
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{address(controller)}:636", "-verify_return_error",
         "-CAfile", str(checkout.state / "tls" / "ca.pem"), "-verify_hostname", f"{NAMES[controller]}.{DOMAIN}"],
        input="", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr


def test_the_members_name_servers_find_the_controllers_by_the_central_resolvers(
    checkout: Checkout, people: dict[str, str]
) -> None:
    for server in ("10.64.12.11", "10.64.12.12", "10.96.0.11", "10.96.0.12"):
        assert by_hand.lookup(address(server), DOMAIN) == [address(FIRST), address(SECOND)], server


def test_group_policies_that_are_edited_at_the_first_controller_reach_the_second(
    checkout: Checkout, people: dict[str, str]
) -> None:
    folder = f"/var/lib/samba/sysvol/{DOMAIN}/scripts"
    on_host(checkout, FIRST, f"echo Hinweis | sudo tee {folder}/hinweis.txt")
    on_host(checkout, SECOND, "sudo systemctl start ksm-sysvol")
    assert on_host(checkout, SECOND, f"sudo cat {folder}/hinweis.txt").strip() == "Hinweis"
    on_host(checkout, FIRST, f"sudo rm {folder}/hinweis.txt")
    on_host(checkout, SECOND, "sudo systemctl start ksm-sysvol && sudo samba-tool ntacl sysvolcheck")
    assert "hinweis" not in on_host(checkout, SECOND, f"sudo ls {folder}")


def test_with_one_controller_lost_somebody_new_still_logs_in(checkout: Checkout, people: dict[str, str]) -> None:
    on_host(checkout, FIRST, "sudo systemctl stop samba-ad-dc")
    try:
        # Never logged in before at this workplace: nothing that is cached can answer.
        password = create(checkout, SECOND, "lisa", "gra-users")
        until(lambda: logs_in(checkout, "lisa", password), "nobody can log in")
    finally:
        on_host(checkout, FIRST, "sudo systemctl start samba-ad-dc")
    until(lambda: knows(checkout, FIRST, "lisa"), f"{FIRST} came back and does not know lisa")


def test_with_both_lost_only_those_log_in_who_did_before(checkout: Checkout, people: dict[str, str]) -> None:
    until(lambda: logs_in(checkout, "anna", people["anna"]), "anna cannot log in")
    for controller in NAMES:
        on_host(checkout, controller, "sudo systemctl stop samba-ad-dc")
    try:
        until(lambda: logs_in(checkout, "anna", people["anna"]), "anna cannot log in without a controller")
        assert not logs_in(checkout, "anna", "wrong")
        assert not logs_in(checkout, "otto", people["otto"])
    finally:
        for controller in NAMES:
            on_host(checkout, controller, "sudo systemctl start samba-ad-dc")
    until(lambda: logs_in(checkout, "otto", people["otto"]), "the controllers are back and nobody new can log in")


def domain_sid(checkout: Checkout) -> str:
    shown = on_host(checkout, SECOND, "sudo samba-tool computer show gra-ws0001 --attributes objectSid")
    return next(line for line in shown.splitlines() if line.startswith("objectSid:")).rsplit("-", 1)[0]


def test_a_controller_that_is_made_anew_joins_and_does_not_found_a_second_domain(
    checkout: Checkout, people: dict[str, str]
) -> None:
    before = domain_sid(checkout)
    delete_vm(checkout, "sn-dc01")
    brought_back = checkout.ksm("up", "schwerin")
    assert brought_back.returncode == 0, brought_back.stderr
    configured = checkout.ksm("configure", "schwerin", "--limit", "sn-dc01")
    assert configured.returncode == 0, configured.stderr
    # The member's inventory knows hosts by their keys, and this one has a new one.
    assert checkout.ksm("configure", "grabow", "--tags", "none").returncode == 0
    assert knows(checkout, FIRST, "anna")
    assert domain_sid(checkout) == before
    looked = checkout.ksm(
        "configure", "schwerin", "--limit", "sn-dc01", "--tags", "directory_server", "--check", "--json"
    )
    assert looked.returncode == 0, looked.stderr
    assert {host["changed"] for host in json.loads(looked.stdout)["hosts"].values()} == {0}
    assert "sn-dc02" in on_host(checkout, SECOND, "sudo samba-tool fsmo show").lower()
    password = f"Pw-{secrets.token_hex(10)}\n"

    # New objects need numbers, which the holder of one of the roles gives out.
    def made() -> bool:
        told = on_host(checkout, FIRST, "sudo samba-tool user create renate", stdin=password * 2, check=False)
        return "added successfully" in told

    until(made, "no account can be made")
    until(lambda: knows(checkout, SECOND, "renate"), f"{SECOND} does not know renate")


def test_dumps_of_the_directory_can_be_opened_and_the_audit_asks_both_controllers(
    checkout: Checkout, people: dict[str, str]
) -> None:
    done = checkout.ksm("restore-test", "schwerin", "--json")
    assert done.returncode == 0, done.stderr
    tests = json.loads(done.stdout)
    assert sorted((test["server"], test["repository"]) for test in tests) == [
        ("sn-dc01", "outside"), ("sn-dc01", "section-b"), ("sn-dc02", "outside"), ("sn-dc02", "section-a"),
    ]  # fmt: skip
    # The administrator, the guest, krbtgt, the controllers and machines: there is more than a bare domain in each.
    assert all(test["restored"]["accounts"] > 10 for test in tests), tests
    until(lambda: checkout.ksm("verify", "schwerin").returncode == 0, "the audit finds something")
    on_host(checkout, SECOND, "sudo systemctl stop samba-ad-dc")
    try:
        found = checkout.ksm("verify", "schwerin", "--json")
        assert found.returncode == 4, found.stderr
        named = {(d["object"], d["attribute"]) for d in json.loads(found.stdout)["differences"]}
        assert ("sn-dc02", "unit samba-ad-dc.service") in named
    finally:
        on_host(checkout, SECOND, "sudo systemctl start samba-ad-dc")


def test_a_machine_that_is_dropped_leaves_nothing_behind_and_can_come_back(
    checkout: Checkout, people: dict[str, str]
) -> None:
    play = (".venv/bin/ansible-playbook", "-i", "inventories/grabow", "roles/site.yml", "-l", "gra-ws0001")
    left = checkout.run(*play, "--tags", "directory_client", "-e", "directory_client_state=left")
    assert left.returncode == 0, left.stdout[-3000:]
    assert "no such user" in on_host(checkout, WORKPLACE, "id anna", check=False)
    files = "/etc/krb5.keytab /etc/sssd /etc/sudoers.d/directory /var/lib/sss /usr/share/pam-configs/ksm-directory-home"
    assert on_host(checkout, WORKPLACE, f"sudo ls -d {files} 2>/dev/null || true") == ""
    assert on_host(checkout, WORKPLACE, "grep -lE 'sss|mkhomedir' /etc/pam.d/* /etc/nsswitch.conf || true") == ""
    assert DOMAIN not in on_host(checkout, WORKPLACE, "cat /etc/hosts")
    shown = "sudo samba-tool computer show gra-ws0001"
    until(lambda: "Unable to find" in on_host(checkout, SECOND, shown, check=False), "its account is still there")
    back = checkout.ksm("configure", "grabow", "--limit", "gra-ws0001", "--full")
    assert back.returncode == 0, back.stderr
    until(lambda: logs_in(checkout, "anna", people["anna"]), "anna cannot log in again")
