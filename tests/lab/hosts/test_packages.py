"""Packages reach hosts through the machine's one cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ksm_onboard.lab.guest_driver import write_guest_driver
from ksm_onboard.lab.hosts import list_hosts
from ksm_onboard.lab.packages import acquire_apt_proxy, release_apt_proxy
from ksm_onboard.progress import Silent
from ksm_onboard.project import cache_dir

from .conftest import LAB, Site

pytestmark = pytest.mark.lab

PACKAGE = "hello"


def test_a_package_is_downloaded_once_for_all_hosts(site: Site) -> None:
    settings = replace(site.settings, apt_proxy=acquire_apt_proxy(LAB, Silent()))
    write_guest_driver(site.driver, settings)
    log = next(iter((cache_dir() / "apt/log").glob("apt-cacher.log")), None)
    before = log.stat().st_size if log else 0
    for number in (1, 2):
        site.start(f"h{number}", f"10.1.1.{number}")
    for host in list_hosts(LAB):
        site.ssh(host, f"sudo apt-get install -y -q {PACKAGE}")
        assert site.ssh(host, "hello") == "Hello, world!"
    release_apt_proxy(LAB)
    log = cache_dir() / "apt/log/apt-cacher.log"
    with log.open() as file:
        file.seek(before)
        served = [line.split("|") for line in file if f"/{PACKAGE}_" in line]
    assert [fields[1] for fields in served].count("O") >= 2, "both hosts got it from the cache"
    assert [fields[1] for fields in served].count("I") <= 1, "and the cache fetched it at most once"


def test_the_cache_is_shared_and_ends_with_its_last_user() -> None:
    first = acquire_apt_proxy("hosts-test-a", Silent())
    assert acquire_apt_proxy("hosts-test-b", Silent()) == first
    release_apt_proxy("hosts-test-a")
    assert acquire_apt_proxy("hosts-test-b", Silent()) == first
    release_apt_proxy("hosts-test-b")
    assert not Path("/run/ksm-onboard/.packages/users/hosts-test-b").exists()
