"""What the roles leave on real machines, judged by those who use the services."""

from __future__ import annotations

import json
import socket
import struct
import time

import pytest

from ksm_onboard.lab.hosts import discard_host
from ksm_onboard.verifying.on_host import lookup

from .conftest import CENTRAL, LAB, SERVERS, WORKSTATION, Runs, Site

pytestmark = pytest.mark.lab

HOSTS = (*SERVERS, WORKSTATION)


@pytest.fixture(scope="session", autouse=True)
def _configured(runs: Runs) -> None:
    """Everything here looks at machines that were configured."""


# --- the runs themselves ------------------------------------------------------------------


def test_a_check_run_over_fresh_machines_works_and_announces_changes(runs: Runs) -> None:
    assert runs.check.status == "finished", runs.check.problems
    assert set(runs.check.hosts) == set(HOSTS)
    assert all(host.changed for host in runs.check.hosts.values())


def test_the_first_run_configures_every_machine(runs: Runs) -> None:
    assert runs.converge.status == "finished", runs.converge.problems
    assert runs.converge.hosts[WORKSTATION].applications == (
        "7zip", "ausweisapp", "emra-mv", "firefox-esr", "kartenleser-treiber-linux", "keepassxc", "libreoffice",
        "mv-serviceportal",
    )  # fmt: skip
    assert runs.converge.hosts["gra-app01"].applications == ("nginx",)


def test_the_second_run_changes_nothing(runs: Runs) -> None:
    assert runs.again.status == "finished", runs.again.problems
    assert runs.again.changed == 0


def test_an_unchanged_workplace_is_confirmed_with_one_task(runs: Runs) -> None:
    again = runs.again.hosts[WORKSTATION]
    assert again.confirmed
    assert (again.ok, again.skipped) == (1, 0)
    assert not runs.converge.hosts[WORKSTATION].confirmed
    assert again.applications == runs.converge.hosts[WORKSTATION].applications


def test_a_workplace_that_somebody_changed_is_not_confirmed_but_put_right(site: Site, runs: Runs) -> None:
    assert runs.again.hosts[WORKSTATION].confirmed
    site.on(WORKSTATION, "sudo apt-get -q -y remove 7zip && echo pool evil.example | sudo tee /etc/chrony/chrony.conf")
    put_right = site.configure(limit=WORKSTATION)
    assert put_right.status == "finished", put_right.problems
    assert not put_right.hosts[WORKSTATION].confirmed
    assert "server sn-core01.ksm.internal iburst" in site.on(WORKSTATION, "cat /etc/chrony/chrony.conf")
    assert site.on(WORKSTATION, "dpkg-query -W -f '${db:Status-Abbrev}' 7zip").startswith("ii")
    assert site.configure(limit=WORKSTATION).hosts[WORKSTATION].confirmed


def test_no_secret_is_in_the_runs_folders(site: Site, runs: Runs) -> None:
    secrets = [path.read_text().split()[0] for path in site.secrets.iterdir() if not path.name.endswith(".lock")]
    assert len(secrets) == 5 and all(len(secret) == 32 for secret in secrets)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (site.secrets, *site.secrets.iterdir()))
    kept = "".join(p.read_text() for p in (site.project.state / "lab" / "runs").rglob("*") if p.is_file())
    assert not [secret for secret in secrets if secret in kept]


# --- every machine ------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTS)
def test_nothing_failed_and_nothing_listens_on_an_address_of_all_hosts(site: Site, name: str) -> None:
    assert site.on(name, "systemctl --failed --plain --no-legend") == ""
    # The machine's network is shared, so its processes tell which sockets belong to this host.
    listening = site.on(name, "sudo ss --listening --tcp --udp --numeric --processes --no-header")
    foreign = [line for line in listening.splitlines() if "users:" in line and not _is_own(line, site.address(name))]
    assert foreign == []


def _is_own(line: str, address: str) -> bool:
    return line.split()[4].rsplit(":", 1)[0] == address


def test_machine_baseline(site: Site) -> None:
    settings = site.on(WORKSTATION, "sudo sshd -T -C user=ksm-support,host=x,addr=127.0.0.1").splitlines()
    assert {
        "permitrootlogin no", "passwordauthentication no", "kbdinteractiveauthentication no", "x11forwarding no",
        "allowusers ops", "allowusers ksm-support", "banner /etc/issue",
        "authorizedkeysfile /etc/ssh/authorized_keys_ksm-support",
    } <= set(settings)  # fmt: skip
    assert "support@test" in site.on(WORKSTATION, "cat /etc/ssh/authorized_keys_ksm-support")
    assert "(ALL : ALL) NOPASSWD: ALL" in site.on(WORKSTATION, "sudo -l -U ksm-support")
    assert "Nur für berechtigte Personen" in site.on(WORKSTATION, "cat /etc/issue")
    assert site.on(WORKSTATION, "date +%Z").strip() in ("CET", "CEST")
    assert "server sn-core01.ksm.internal iburst" in site.on(WORKSTATION, "cat /etc/chrony/chrony.conf")
    assert site.on(WORKSTATION, "systemctl is-active apt-daily-upgrade.timer apt-daily.timer").split() == ["active"] * 2
    assert 'Unattended-Upgrade "1"' in site.on(WORKSTATION, "apt-config dump APT::Periodic")
    trusted = "openssl verify -CApath /etc/ssl/certs /usr/local/share/ca-certificates/ksm-root-ca.crt"
    assert site.on(WORKSTATION, trusted).strip().endswith("OK")
    assert site.on(WORKSTATION, "systemctl is-active syslog-ng").strip() == "active"
    site.on(WORKSTATION, "sudo journalctl --flush && test -n \"$(sudo find /var/log/journal -name '*.journal')\"")


def test_a_machine_without_a_clock_says_so(runs: Runs) -> None:
    assert any("no clock of its own" in note for note in runs.converge.hosts[WORKSTATION].notes)


# --- one role each ------------------------------------------------------------------------


def test_workstation_baseline_locks_the_screen_and_users_cannot_change_that(site: Site) -> None:
    dconf = "DCONF_PROFILE=user dconf"
    assert site.on(WORKSTATION, f"{dconf} read /org/gnome/desktop/session/idle-delay").strip() == "uint32 600"
    assert site.on(WORKSTATION, f"{dconf} read /org/gnome/desktop/screensaver/lock-enabled").strip() == "true"
    change = f"{dconf} write /org/gnome/desktop/session/idle-delay 'uint32 0'"
    assert "non-writable" in site.on(WORKSTATION, change, check=False)


def test_dns_server_knows_the_member_and_asks_nobody_else(site: Site) -> None:
    assert _ask(site, "gra-ws0001.grabow.internal", "A") == ("NOERROR", ["10.64.0.21"])
    assert _ask(site, "21.0.64.10.in-addr.arpa", "PTR") == ("NOERROR", ["gra-ws0001.grabow.internal."])
    assert _ask(site, "nobody.grabow.internal", "A") == ("NXDOMAIN", [])
    assert _ask(site, "debian.org", "A") == ("REFUSED", [])


def _ask(site: Site, name: str, kind: str) -> tuple[str, list[str]]:
    program = (
        "import sys, dns.message, dns.query, dns.rcode\n"
        "name, kind, server = sys.argv[1:]\n"
        "answer = dns.query.udp(dns.message.make_query(name, kind), server, timeout=5)\n"
        "print(dns.rcode.to_text(answer.rcode()), *(item.to_text() for rrset in answer.answer for item in rrset))\n"
    )
    site.on("gra-dns01", "python3 -c 'import dns' 2>/dev/null || sudo apt-get -qq install python3-dnspython >/dev/null")
    said = site.on("gra-dns01", f"python3 - {name} {kind} {site.address('gra-dns01')}", stdin=program).split()
    return said[0], said[1:]


def test_each_central_resolver_finds_the_members_names_and_its_own(site: Site) -> None:
    asked = ("gra-file01.grabow.internal", "sn-backup03.ksm.internal", "nobody.grabow.internal", "example.org")
    for server in CENTRAL:
        found = [lookup(site.address(server), name) for name in asked]
        assert found == [["10.64.12.21"], ["10.96.81.13"], [], None], f"{server} answers otherwise"


def test_a_members_name_server_asks_the_central_ones_for_names_of_others(site: Site) -> None:
    assert lookup(site.address("gra-dns01"), "sn-core02.ksm.internal") == ["10.96.0.12"]


def test_each_central_time_server_answers_with_the_time(site: Site) -> None:
    for server in CENTRAL:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.settimeout(20)
            link.connect((site.address(server), 123))
            link.send(b"\x23" + bytes(47))  # RFC 5905: version 4, a client's question
            answer = link.recv(48)
        assert answer[0] & 7 == 4, "it is a server's answer"
        assert answer[0] >> 6 != 3, "its clock is said to be right"
        seconds = struct.unpack(">I", answer[40:44])[0] - 2_208_988_800  # from 1900 to 1970
        assert abs(seconds - time.time()) < 60


def test_file_server_lets_the_takeover_account_write_to_every_share(site: Site) -> None:
    address = site.address("gra-file01")
    [secret] = site.secrets.glob("samba-*")
    login = f"username=uebernahme\npassword={secret.read_text().split()[0]}\n"
    for share in ("verwaltung", "kaemmerei", "bauamt"):
        commands = f"put /etc/hostname {share}.txt; ls"
        listed = site.on("gra-file01", f"smbclient -A /dev/stdin //{address}/{share} -c '{commands}'", stdin=login)
        assert f"{share}.txt" in listed
        owner = site.on("gra-file01", f"sudo stat -c '%U %G %a' /srv/data/{share} /srv/data/{share}/{share}.txt")
        assert owner.splitlines() == [f"root {share} 2770", f"uebernahme {share} 660"]


def test_file_server_refuses_guests_old_protocols_and_missing_signatures(site: Site) -> None:
    address = site.address("gra-file01")
    assert "NT_STATUS_ACCESS_DENIED" in site.on("gra-file01", f"smbclient -N //{address}/bauamt -c ls", check=False)
    wrong = "username=uebernahme\npassword=wrong\n"
    refused = site.on("gra-file01", f"smbclient -A /dev/stdin //{address}/bauamt -c ls", stdin=wrong, check=False)
    assert "NT_STATUS_LOGON_FAILURE" in refused
    old = site.on("gra-file01", f"smbclient -N -m SMB2_10 //{address}/bauamt -c ls", check=False)
    assert "protocol negotiation failed" in old
    assert "server signing = required" in site.on("gra-file01", "testparm -s --section-name=global 2>/dev/null")


def test_print_server_has_the_declared_queues_and_no_other(site: Site) -> None:
    address = site.address("gra-print01")
    ours = {
        "device for rathaus-eg: socket://10.64.13.11:9100",
        "device for rathaus-og: socket://10.64.13.12:9100",
        "device for bauhof: socket://10.64.13.13:9100",
    }
    assert set(site.on("gra-print01", f"lpstat -h {address}:631 -v").splitlines()) == ours
    details = site.on("gra-print01", "LC_ALL=C lpstat -l -p rathaus-eg")
    assert "Description: Kyocera TASKalfa 3554ci" in details and "Location: Rathaus" in details
    site.on("gra-print01", "sudo lpadmin -p stray -v socket://10.64.13.99:9100 -E && sudo lpadmin -p bauhof -L Keller")
    site.on("gra-print01", "sudo cupsreject rathaus-og")
    result = site.configure(limit="gra-print01", tags="print_server")
    assert (result.status, result.changed) == ("finished", 1), result.problems
    assert set(site.on("gra-print01", "lpstat -v").splitlines()) == ours
    assert "Location: Bauhof" in site.on("gra-print01", "LC_ALL=C lpstat -l -p bauhof")
    assert "rathaus-og accepting" in site.on("gra-print01", "LC_ALL=C lpstat -a rathaus-og")


def test_database_standby_follows_the_primary_and_takes_no_writes(site: Site) -> None:
    _sql(site, "gra-db01", "create table if not exists akten (nr int); insert into akten values (1)")
    _wait_for_akten(site, 1)
    refused = _sql(site, "gra-db02", "insert into akten values (2)", check=False)
    assert "read-only transaction" in refused
    assert _sql(site, "gra-db01", "show data_checksums").strip() == "on"


def test_database_owner_logs_in_with_the_generated_password_only(site: Site) -> None:
    [secret] = site.secrets.glob("postgresql-*-owner-fachdaten")
    address = site.address("gra-db01")
    ask = (
        f"read -r PGPASSWORD; export PGPASSWORD; psql -h {address} -U fachdaten -d fachdaten -Atc 'select current_user'"
    )
    assert site.on("gra-db01", ask, stdin=f"{secret.read_text().split()[0]}\n").strip() == "fachdaten"
    assert "password authentication failed" in site.on("gra-db01", ask, stdin="wrong\n", check=False)
    assert site.on("gra-db01", ask.replace("-d fachdaten", "-d postgres"), stdin="wrong\n", check=False)


def test_a_database_server_that_is_built_anew_keeps_its_data(site: Site) -> None:
    _sql(site, "gra-db01", "create table if not exists akten (nr int); insert into akten values (7)")
    discard_host(LAB, "gra-db01")
    site.start("gra-db01")
    result = site.configure(limit="gra-db01")
    assert result.status == "finished", result.problems
    assert "7" in _sql(site, "gra-db01", "select nr from akten").split()
    _sql(site, "gra-db01", "insert into akten values (8)")
    _wait_for_akten(site, 8)


def test_a_cluster_that_is_no_standby_is_never_overwritten(site: Site) -> None:
    cluster = "/srv/postgresql/15/main"
    site.on("gra-db02", f"sudo systemctl stop postgresql@15-main && sudo rm {cluster}/standby.signal")
    site.on("gra-db02", "sudo mv /etc/postgresql/15 /root/config")
    try:
        result = site.configure(limit="gra-db02", tags="database_server")
        assert result.status == "failed"
        assert "holds a cluster of its own" in result.hosts["gra-db02"].problems[0]
    finally:
        site.on(
            "gra-db02", f"sudo mv /root/config /etc/postgresql/15 && sudo -u postgres touch {cluster}/standby.signal"
        )
        site.on("gra-db02", "sudo systemctl start postgresql@15-main")


def _sql(site: Site, host: str, statement: str, *, check: bool = True) -> str:
    return site.on(
        host, "sudo -u postgres psql -d fachdaten -At", stdin=f"\\set ON_ERROR_STOP on\n{statement};\n", check=check
    )


def _wait_for_akten(site: Site, number: int) -> None:
    deadline = time.monotonic() + 30
    while str(number) not in _sql(site, "gra-db02", "select nr from akten", check=False).split():
        assert time.monotonic() < deadline, "the standby does not follow"
        time.sleep(0.5)


def test_web_server_says_who_it_is(site: Site) -> None:
    address = site.address("gra-app01")
    ask = f"import urllib.request; print(urllib.request.urlopen('http://{address}/').read().decode())"
    assert site.on("gra-app01", "python3 -", stdin=ask).strip() == "gra-app01.grabow.internal"


# --- applications -------------------------------------------------------------------------


def _installed(site: Site, package: str) -> bool:
    return site.on(WORKSTATION, f"dpkg-query -W -f '${{db:Status-Abbrev}}' {package}", check=False).startswith("ii")


def test_applications_are_installed_and_recorded(site: Site) -> None:
    assert all(_installed(site, package) for package in ("7zip", "keepassxc", "ausweisapp2", "pcscd"))
    fact = json.loads(site.on(WORKSTATION, "cat /etc/ansible/facts.d/applications.fact"))
    assert fact["applications"]["kartenleser-treiber-linux"] == ["pcscd", "libccid", "pcsc-tools"]


def _with_applications(site: Site, keys: tuple[str, ...], packages: dict[str, tuple[str, ...]]) -> Site:
    member = site.plan.member
    workstations = tuple(
        w.model_copy(update={"applications": keys}) if w.name == WORKSTATION else w for w in member.workstations
    )
    applications = tuple(
        a.model_copy(update={"packages": packages[a.key]}) if a.key in packages else a for a in member.applications
    )
    changed = member.model_copy(update={"workstations": workstations, "applications": applications})
    return Site(
        site.project,
        site.connection,
        site.plan.model_copy(update={"member": changed}),
        site.own,
        site.settings,
        site.records,
    )


def test_a_dropped_application_goes_but_nothing_that_was_there_before(site: Site) -> None:
    # ca-certificates was on the machine before any application asked for it.
    before = _with_applications(site, ("7zip", "keepassxc"), {"7zip": ("7zip", "ca-certificates")})
    assert before.configure(limit=WORKSTATION, tags="applications").status == "finished"
    assert not _installed(site, "ausweisapp2") and _installed(site, "keepassxc")
    after = _with_applications(site, ("keepassxc",), {})
    assert after.configure(limit=WORKSTATION, tags="applications").status == "finished"
    assert not _installed(site, "7zip")
    assert _installed(site, "ca-certificates") and _installed(site, "keepassxc")


def test_a_package_that_does_not_exist_is_named_with_its_application(site: Site) -> None:
    wrong = _with_applications(site, ("7zip", "keepassxc"), {"7zip": ("7zip-that-is-not",)})
    result = wrong.configure(limit=f"{WORKSTATION},gra-app01", tags="applications")
    assert result.status == "failed"
    [problem] = result.problems
    assert WORKSTATION in problem and "7zip-that-is-not" in problem and "catalogue/basis-software.yaml" in problem
    assert result.hosts["gra-app01"].problems == ()
    assert site.configure(limit=WORKSTATION, tags="applications").status == "finished"
    assert _installed(site, "7zip")
