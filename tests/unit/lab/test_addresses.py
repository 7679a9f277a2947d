"""Declared and loopback addresses."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksm_onboard.connection import GuestAccess
from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.lab.addresses import loopback_address
from ksm_onboard.lab.layout import LabPlaces, check_host_name


@pytest.mark.parametrize(
    ("declared", "shift", "reachable"),
    [("10.64.12.11", 0, "127.64.12.11"), ("10.64.12.11", 128, "127.192.12.11"), ("10.127.0.1", 128, "127.255.0.1")],
)
def test_the_second_octet_is_shifted(declared: str, shift: int, reachable: str) -> None:
    assert loopback_address(IPv4Address(declared), shift) == IPv4Address(reachable)


@pytest.mark.parametrize(("declared", "shift"), [("192.168.1.1", 0), ("10.128.0.1", 128), ("11.0.0.1", 0)])
def test_other_addresses_are_refused(declared: str, shift: int) -> None:
    with pytest.raises(OnboardError, match=declared):
        loopback_address(IPv4Address(declared), shift)


@given(st.ip_addresses(v=4), st.integers(0, 128))
def test_the_connection_says_the_same_and_without_a_shift_nothing_is_mapped(address: IPv4Address, shift: int) -> None:
    def answer(ask: Callable[[], IPv4Address]) -> IPv4Address | str:
        try:
            return ask()
        except NotReadyError as error:
            return str(error)

    guests = GuestAccess(private_key_file=Path("key"), loopback_shift=shift)
    assert answer(lambda: guests.reachable_at(address)) == answer(lambda: loopback_address(address, shift))
    assert GuestAccess(private_key_file=Path("key")).reachable_at(address) == address


@pytest.mark.parametrize("name", ["", "Lab", "1lab", ".packages", "a/b", "a" * 33])
def test_a_lab_needs_a_plain_name(name: str) -> None:
    with pytest.raises(OnboardError):
        LabPlaces(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "../x", "a" * 64, "a b"])
def test_a_host_needs_a_host_name(name: str) -> None:
    with pytest.raises(OnboardError):
        check_host_name(name)
