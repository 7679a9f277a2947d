"""The project's own modules (``roles/windows_workstation/library``), as their documentation states."""

from __future__ import annotations

from typing import Any, Final

from ksm_onboard.lab.windows.modules.answering import Answer, FailedError, Situation

_DEFENDER_DEFAULTS: Final = {
    "real_time_protection": True,
    "cloud_protection": "advanced",
    "sample_submission": "safe",
    "potentially_unwanted": "disabled",
    "signature_update_hours": 0,
    "excluded_paths": [],
}


def _printers(situation: Situation, arguments: dict[str, Any]) -> Answer:
    there = situation.machine.printers
    wanted = {entry["name"]: entry for entry in arguments["printers"]}
    before = {name: dict(entry) for name, entry in sorted(there.items())}
    ours = {name for name, entry in there.items() if entry["managed"]}
    foreign = sorted(wanted.keys() & there.keys() - ours)
    if foreign:
        raise FailedError(f"printers that somebody else has set up have the same names: {', '.join(foreign)}")
    removed = sorted(ours - wanted.keys()) if arguments["remove_dropped"] else []
    for name in removed:
        del there[name]
    for name, entry in wanted.items():
        there[name] = {"url": entry["url"], "location": entry["location"] or "", "managed": True}
    after = {name: dict(entry) for name, entry in sorted(there.items())}
    return {
        "changed": before != after,
        "added": sorted(after.keys() - before.keys()),
        "removed": removed,
        "updated": sorted(name for name in after.keys() & before.keys() if before[name] != after[name]),
        **situation.shown(before, after),
    }


def _defender(situation: Situation, arguments: dict[str, Any]) -> Answer:
    before = {**_DEFENDER_DEFAULTS, **situation.machine.defender}
    wanted = {name: value for name, value in arguments.items() if value is not None}
    if "excluded_paths" in wanted:
        wanted["excluded_paths"] = sorted(set(wanted["excluded_paths"]))
    after = {**before, **wanted}
    situation.machine.defender = after
    return {"changed": before != after, "settings": after, **situation.shown(before, after)}


def _bitlocker(situation: Situation, arguments: dict[str, Any]) -> Answer:
    drive = arguments["drive"].upper()
    volume = situation.machine.volumes.get(drive)
    if volume is None:
        raise FailedError(f"there is no drive {drive}")
    before = volume.model_dump()
    if volume.protection == "off":
        volume.protection = "on"
        volume.method = volume.method or arguments["method"]
        volume.protectors = ["RecoveryPassword", "Tpm"]
    after = volume.model_dump()
    return {"changed": before != after, "drive": drive, **before, **situation.shown(before, after)} | (
        {} if situation.check_mode else after
    )


MODULES: Final = {"ksm_printers": _printers, "ksm_defender": _defender, "ksm_bitlocker": _bitlocker}
