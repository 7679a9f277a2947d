"""What is read from this machine: apt's sources and settings, cgroups, mounts, memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab import preflight, prerequisites
from ksm_onboard.lab.base_image import carried_over_apt_settings, find_sources
from ksm_onboard.lab.cgroups import Hierarchies, find_hierarchies
from ksm_onboard.lab.mounts import _unescape
from ksm_onboard.lab.packages import machine_proxy

ARCHIVE = "http://archive.example/debian/"
TARGETS = f"""\
{ARCHIVE}|bookworm|main|Debian|bookworm
{ARCHIVE}|bookworm-updates|main|Debian|bookworm-updates
http://archive.example/security/|bookworm-security|main|Debian|bookworm-security
http://archive.example/security/|bookworm-security|main|Debian|bookworm-security
{ARCHIVE}|bookworm-backports|main|Debian Backports|bookworm-backports
https://vendor.example/|stable|main|Vendor|stable
{ARCHIVE}|trixie|main|Debian|trixie
"""


def test_the_base_image_takes_debians_own_archives_with_updates_and_security() -> None:
    assert [source.suite for source in find_sources(TARGETS)] == ["bookworm", "bookworm-security", "bookworm-updates"]


def test_every_source_is_verified_against_debians_keyring() -> None:
    assert all("[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" in s.line() for s in find_sources(TARGETS))


@pytest.mark.parametrize("targets", ["", f"{ARCHIVE}|trixie|main|Debian|trixie\n"])
def test_a_machine_without_debian_12_is_refused(targets: str) -> None:
    with pytest.raises(NotReadyError, match="bookworm"):
        find_sources(targets)


def test_only_settings_that_reach_package_servers_are_carried_over() -> None:
    dump = """\
Acquire "";
Acquire::AllowInsecureRepositories "1";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy::archive.example "DIRECT";
Acquire::https::Verify-Peer "false";
Acquire::Check-Date "false";
Acquire::Retries "3";
"""
    assert carried_over_apt_settings(dump) == (
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::http::Proxy::archive.example "DIRECT";',
        'Acquire::Check-Date "false";',
        'Acquire::Retries "3";',
    )


def test_the_package_cache_goes_through_the_machines_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://environment.example")
    assert machine_proxy('Acquire::http::Proxy "http://proxy.example:3128";\n') == "http://proxy.example:3128"
    assert machine_proxy('Acquire::http::Proxy "";\n') == "http://environment.example"
    monkeypatch.delenv("http_proxy")
    assert machine_proxy('Acquire::http::Proxy "DIRECT";\n') is None


UNIFIED = "30 25 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """\
26 25 0:24 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
27 26 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
28 26 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
29 26 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_cgroups_are_found_on_debians_default_and_on_hybrid_machines() -> None:
    assert find_hierarchies(UNIFIED) == Hierarchies(Path("/sys/fs/cgroup"))
    assert find_hierarchies(HYBRID) == Hierarchies(Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"))


def test_a_machine_without_cgroup_v2_is_refused() -> None:
    with pytest.raises(NotReadyError, match="cgroup v2"):
        find_hierarchies("27 26 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n")


def test_mount_points_with_blanks_are_read_right() -> None:
    assert _unescape(r"/run/a\040b\134c") == "/run/a b\\c"


def test_memory_is_what_programs_could_still_use() -> None:
    assert preflight.available_memory_mib("MemTotal: 9999999 kB\nMemAvailable:  2097152 kB\n") == 2048


def test_everything_missing_is_named_at_once_with_the_line_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_present", lambda command: command in (None, "dot"))
    monkeypatch.setattr(preflight, "available_memory_mib", lambda: 100)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotReadyError) as caught:
        preflight.check_machine(shift=0, hosts=10)
    for said in ("root", "mmdebstrap", "systemd-nspawn", "apt-cacher-ng", "100 MiB of free memory"):
        assert said in str(caught.value)
    assert caught.value.hint is not None
    assert "apt-get install" in caught.value.hint
    assert "systemd-container" in caught.value.hint
    assert "graphviz" not in caught.value.hint


def test_the_sshd_of_hosts_moves_to_another_port_where_22_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "can_bind", lambda _, port: port != 22)
    for check in ("_rights", "_programs", "_kernel"):
        monkeypatch.setattr(preflight, check, list)
    monkeypatch.setattr(preflight, "_space", lambda _: [])
    machine = preflight.check_machine(shift=0, hosts=1)
    assert machine.ssh_port == 2222
    assert any("22" in warning for warning in machine.warnings)


def test_nothing_is_installed_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuse:
        def step(self, title: str) -> None:
            raise AssertionError(title)

        def line(self, text: str) -> None:
            raise AssertionError(text)

    monkeypatch.setattr(prerequisites, "missing_prerequisites", list)
    assert prerequisites.install_prerequisites(Refuse()) == []
