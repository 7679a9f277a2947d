"""What is said to the lab's vCenter when something shall fail, and what is made of its answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ksm_onboard.errors import NotReadyError
from ksm_onboard.lab.losses import Control, Datastore, Host, LabFailureError, Link, Losable, Section

REST: dict[str, Any] = {"settled": True, "lost": [], "hosts": [], "datastores": [], "machines": []}


class Vcenter:
    """Answers every command the same and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {"ok": REST}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rw") as lines:
                line = lines.readline()
                if not line:
                    return
                self.asked.append(json.loads(line))
                lines.write(json.dumps(self.answer) + "\n")

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
        self._thread.join()
        self._listener.close()


@pytest.fixture
def vcenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vcenter]:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    running = Vcenter(Path("control"))
    yield running
    running.close()


@pytest.mark.parametrize(
    ("what", "spelled"),
    [
        (Section("A"), {"section": "A"}),
        (Host("sn-esx-a01"), {"host": "sn-esx-a01"}),
        (Datastore("sn-mirror01"), {"datastore": "sn-mirror01"}),
        (Link("sn-esx-a01", "uplink1"), {"link": {"host": "sn-esx-a01", "uplink": "uplink1"}}),
    ],
)
def test_everything_that_can_be_lost_is_spelled(vcenter: Vcenter, what: Losable, spelled: dict[str, Any]) -> None:
    control = Control(vcenter.path)
    control.lose(what)
    control.restore(what)
    assert vcenter.asked == [{"lose": spelled}, {"restore": spelled}]


def test_a_refusal_is_an_error_of_its_own(vcenter: Vcenter) -> None:
    vcenter.answer = {"error": 'there is no section "C"'}
    with pytest.raises(LabFailureError, match='no section "C"'):
        Control(vcenter.path).lose(Section("C"))


def test_unrest_is_not_waited_for_forever(vcenter: Vcenter) -> None:
    vcenter.answer = {"ok": REST | {"settled": False}}
    with pytest.raises(LabFailureError, match="come to rest"):
        Control(vcenter.path).settled(within=0.0)


def test_no_vcenter_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="nothing answers"):
        Control(tmp_path / "none").state()
