"""The module for print queues: what it reads from CUPS's own words."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

MODULE = Path(__file__).resolve().parents[3] / "roles/print_server/library/cups_queues.py"

DEVICES = """\
device for bauhof: socket://10.64.13.13:9100
device for rathaus-eg: socket://10.64.13.11:9100
device for rathaus-og: ipp://10.64.13.12/ipp/print
"""
DETAILS = """\
printer bauhof is idle.  enabled since Sun Nov 22 20:32:31 2026
	Form mounted:
	Content types: any
	Description: Kyocera ECOSYS P3260dn
	Location: Bauhof, Raum für Pläne
	Connection: direct
printer rathaus-eg disabled since Sun Nov 22 20:32:31 2026 -
	Paused
	Description: rathaus-eg
	Location: {nothing}
printer rathaus-og now printing rathaus-og-1.  enabled since Sun Nov 22 20:32:32 2026
	Description: Kyocera: Obergeschoss
	Location: Rathaus
"""
DETAILS = DETAILS.format(nothing="")
ACCEPTING = """\
bauhof accepting requests since Sun Nov 22 20:32:31 2026
rathaus-eg accepting requests since Sun Nov 22 20:32:31 2026
rathaus-og not accepting requests since Sun Nov 22 20:32:32 2026 -
	Rejecting Jobs
"""


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cups_queues", MODULE)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_queues_are_read_from_lpstat(module: ModuleType) -> None:
    assert module.parse_queues(DEVICES, DETAILS, ACCEPTING) == {
        "bauhof": {
            "device_uri": "socket://10.64.13.13:9100",
            "description": "Kyocera ECOSYS P3260dn",
            "location": "Bauhof, Raum für Pläne",
            "ready": True,
        },
        "rathaus-eg": {
            "device_uri": "socket://10.64.13.11:9100",
            "description": "rathaus-eg",
            "location": "",
            "ready": False,
        },
        "rathaus-og": {
            "device_uri": "ipp://10.64.13.12/ipp/print",
            "description": "Kyocera: Obergeschoss",
            "location": "Rathaus",
            "ready": False,
        },
    }


def test_a_server_without_queues_has_none(module: ModuleType) -> None:
    assert module.parse_queues("", "", "") == {}


def test_a_queue_without_description_is_described_by_its_name_as_cups_does(module: ModuleType) -> None:
    declared = {"name": "bauhof", "device_uri": "socket://10.0.0.1", "description": "", "location": "", "driver": "raw"}
    assert module.wanted_queue(declared)["description"] == "bauhof"
