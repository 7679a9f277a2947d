"""How long ``check`` takes, as ratios measured side by side in one run.

1. ``check`` of the whole Verbund against merely loading the same files with PyYAML's C loader and
   the csv module: at most 4 times.
2. ``check`` of ten times the members against once the members: at most 11 times. Both are generated:
   copies of the declared members with other keys, names, serial numbers and networks, and with
   allocation records of their own, on a platform of the fitting size.
3. ``plan`` of the largest member, reported only.

Everything runs in this process, warmed up, but reads every file anew and begins with empty caches. Measured
is processor time, which other work on the machine hardly touches; what is compared takes turns, and the best
of several runs counts. Prints a table and writes JSON with ``--json FILE``. Exit code 1: a limit is broken.

    .venv/bin/python bench/check_declarations.py [--rounds 9] [--json FILE]
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from ksm_onboard.declaration import source
from ksm_onboard.declaration.devices import device_file
from ksm_onboard.declaration.effective import ARCHETYPES
from ksm_onboard.declaration.record import write_record
from ksm_onboard.planning.allocating import new_records
from ksm_onboard.planning.load import PLATFORM, Declarations
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[1]
TIMES = 10
LIMIT_LOADING = 4.0
LIMIT_GROWTH = 11.0


@dataclass(frozen=True)
class Measured:
    """One comparison: seconds of the best run of both, their ratio, and what it may be at most."""

    what: str
    seconds: float
    against: str
    against_seconds: float
    limit: float | None

    @property
    def ratio(self) -> float:
        return self.seconds / self.against_seconds

    @property
    def holds(self) -> bool:
        return self.limit is None or self.ratio <= self.limit


def best_of(rounds: int, *runs: Callable[[], object]) -> list[float]:
    """The best time of each of ``runs``, which take turns after a warm-up."""
    best = [float("inf")] * len(runs)
    for number in range(rounds + 1):
        for position, run in enumerate(runs):
            gc.collect()
            began = time.process_time()
            run()
            if number > 0:
                best[position] = min(best[position], time.process_time() - began)
    return best


def files_of(project: Project) -> list[Path]:
    """Every file that a check of all members reads."""
    stacks = project.stacks
    members = [f for f in sorted(stacks.glob("*.yaml")) if not f.name.startswith("Pulumi.")]
    kinds = {load(f)["member"]["kind"] for f in members if f.stem != PLATFORM}
    archetypes = [ARCHETYPES / f"{name}.yaml" for name in (*sorted(kinds), "profiles")]
    lists = sorted(stacks.glob("*.devices.csv"))
    return [
        *members,
        *sorted(stacks.glob("allocations/*.yaml")),
        *sorted(project.catalogue.glob("*.yaml")),
        *archetypes,
        *lists,
    ]


def load(file: Path) -> Any:
    """What a program would do that only wants the data."""
    if file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as lines:
            return list(csv.reader(lines, delimiter=";"))
    return yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def check(project: Project) -> Callable[[], object]:
    return lambda: afresh(project).findings()


def afresh(project: Project) -> Declarations:
    """As a new process would begin: without what is remembered of scalars read before."""
    source._plain.cache_clear()
    return Declarations(project)


def require_no_errors(project: Project) -> None:
    errors = [f for f in Declarations(project).findings() if f.severity == "error"]
    if errors:
        sys.exit(f"{project.root}: {len(errors)} errors, the first at {errors[0].place}: {errors[0].message}")


# --- many members -------------------------------------------------------------------------


class Copies:
    """Makes valid copies of members: what must be unique in the Verbund is given out anew."""

    def __init__(self) -> None:
        self._shorts = count()
        self._macs = count(1)
        self._networks = int(IPv4Address("100.64.0.0"))

    def write(self, declared: Project, key: str, number: int, stacks: Path) -> str:
        """Write copy ``number`` of the member ``key``; returns its key."""
        data = load(declared.stacks / f"{key}.yaml")
        fresh, old_short = f"{key}-{number}"[-40:].strip("-"), data["member"]["short"]
        short = self._short()
        domain = f"c{number}.{data['member']['dns_domain']}"
        data["member"] |= {"key": fresh, "short": short, "dns_domain": domain}
        data["networks"] = self._networks_of(data.get("networks") or {})
        for table in ("zones", "servers", "printers"):
            data[table] = {name: _without_pins(entry) for name, entry in (data.get(table) or {}).items()}
        data["devices"] = [
            {**row, "hostname": _renamed(row["hostname"], old_short, short), "mac": self._mac()}
            for row in data.get("devices") or ()
        ]
        said = {name: value for name, value in data.items() if value not in ({}, [])}
        (stacks / f"{fresh}.yaml").write_text(
            yaml.safe_dump(said, allow_unicode=True, sort_keys=False), encoding="utf-8"
        )
        if (listed := device_file(declared.stacks, key)).exists():
            self._write_devices(load(listed), device_file(stacks, fresh), old_short, short, number)
        return fresh

    def _write_devices(self, rows: Sequence[list[str]], file: Path, old: str, short: str, number: int) -> None:
        header, *devices = rows
        with file.open("w", encoding="utf-8", newline="") as lines:
            out = csv.DictWriter(lines, header, delimiter=";", lineterminator="\n")
            out.writeheader()
            for cells in devices:
                row = dict(zip(header, cells, strict=True))
                row["hostname"] = _renamed(row["hostname"], old, short)
                if row.get("serial"):
                    row["serial"] += f"-{number}"
                if row.get("mac"):
                    row["mac"] = self._mac()
                out.writerow(row)

    def _short(self) -> str:
        number = next(self._shorts)
        return "".join(chr(ord("a") + number // power % 26) for power in (676, 26, 1))

    def _mac(self) -> str:
        number = next(self._macs)
        return "02:" + ":".join(f"{number >> shift & 0xFF:02x}" for shift in (32, 24, 16, 8, 0))

    def _networks_of(self, networks: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in networks.items() if key not in ("block", "vlan_base")}
        for legacy in (kept.get("legacy") or {}).values():
            if not legacy.get("quarantine"):
                size = IPv4Network(legacy["cidr"]).num_addresses
                self._networks += -self._networks % size
                legacy["nat"] = str(IPv4Network((self._networks, 33 - size.bit_length())))
                self._networks += size
        return kept


def _without_pins(entry: Any) -> Any:
    pins = ("address", "cidr", "vlan")
    return {key: value for key, value in entry.items() if key not in pins} if isinstance(entry, dict) else entry


def _renamed(host: str, old: str, short: str) -> str:
    return f"{short}-{host.removeprefix(f'{old}-')}"[:15]


def generate(declared: Project, folder: Path, times: int) -> Project:
    """A project in ``folder`` with ``times`` copies of every member of ``declared``, on a platform of that size."""
    project = Project(folder)
    project.stacks.mkdir(parents=True)
    project.catalogue.symlink_to(declared.catalogue.resolve())
    shared = load(declared.stacks / f"{PLATFORM}.yaml")
    for array in shared["arrays"].values():
        array["capacity_gib"] *= times
    for resource in ("cpu_cores", "memory_gib"):
        shared["hypervisor"][resource] *= times
    for licence in shared.get("licences", {}).values():
        licence["seats"] *= times
    written = yaml.safe_dump(shared, allow_unicode=True, sort_keys=False)
    (project.stacks / f"{PLATFORM}.yaml").write_text(written, encoding="utf-8")
    copies = Copies()
    for number in range(times):
        for key in Declarations(declared).member_keys:
            copies.write(declared, key, number, project.stacks)
    for change in new_records(Declarations(project)):
        write_record(project.stacks, change.member, change.after)
    require_no_errors(project)
    return project


# --- the run ------------------------------------------------------------------------------


def measure(rounds: int, folder: Path) -> tuple[list[Measured], dict[str, Any]]:
    """All comparisons, and what was measured on."""
    verbund = Project(ROOT)
    require_no_errors(verbund)
    files = files_of(verbund)
    declared = Declarations(verbund)
    devices = {key: len(member.devices.rows) for key, member in declared.members.items()}
    largest = max(devices, key=lambda key: devices[key])
    loading, checking, planning = best_of(
        rounds, lambda: [load(f) for f in files], check(verbund), lambda: afresh(verbund).plan(largest)
    )
    once, many = generate(verbund, folder / "once", 1), generate(verbund, folder / "many", TIMES)
    check_once, check_many = best_of(max(3, rounds // 2), check(once), check(many))
    results = [
        Measured("check of the Verbund", checking, "loading the same files", loading, LIMIT_LOADING),
        Measured(f"check of {TIMES} times the members", check_many, "of the members once", check_once, LIMIT_GROWTH),
        Measured(f"plan of {largest}", planning, "loading all files", loading, None),
    ]
    about = {
        "members": len(devices),
        "devices": sum(devices.values()),
        "files": len(files),
        "largest": {"member": largest, "devices": devices[largest]},
        "python": platform.python_version(),
        "rounds": rounds,
    }
    return results, about


def main() -> int:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description="Measures check and plan as ratios.")
    arguments.add_argument("--rounds", type=int, default=9, help="runs of each, of which the best counts")
    arguments.add_argument("--json", type=Path, help="write the figures there, too")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results, about = measure(chosen.rounds, Path(folder))
    print(f"{about['members']} members, {about['devices']} devices in lists, {about['files']} files; ", end="")
    print(f"best of {about['rounds']} runs\n")
    for result in results:
        limit = f"at most {result.limit:g}" if result.limit else "no limit"
        print(f"{result.what:32} {result.seconds * 1000:9.1f} ms")
        print(f"  {result.against:30} {result.against_seconds * 1000:9.1f} ms   ratio {result.ratio:5.2f}  ({limit})")
    if chosen.json:
        figures = [{**asdict(result), "ratio": result.ratio, "holds": result.holds} for result in results]
        chosen.json.write_text(json.dumps({**about, "results": figures}, indent=2) + "\n", encoding="utf-8")
    broken = [result.what for result in results if not result.holds]
    for what in broken:
        print(f"limit broken: {what}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
