"""The cluster with one fire section lost: what no longer fits is told, with the members that need most."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ksm_onboard.declaration.findings import Finding
from ksm_onboard.planning.load import Declarations
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[3]


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    file.write_text(text.replace(old, new), encoding="utf-8")


def found(checkout: Project, rule: str) -> list[Finding]:
    return [finding for finding in Declarations(checkout).findings() if finding.rule == rule]


@pytest.fixture
def platform(checkout: Project) -> Path:
    return checkout.stacks / "schwerin.yaml"


# Grabow: 84 GiB and 34 processors in 12 servers. The database's standby, 16 GiB and 4 processors, is bound to
# section B and lost with it; without section A everything has to fit into what is left, with 24 GiB and
# 20 processors of the platform's own VMs.
@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("cpu_cores: 64, cpu_mhz: 2800, memory_gib: 28", False),  # 4 hosts x 28 x 95 % = 106 GiB
        ("cpu_cores: 64, cpu_mhz: 2800, memory_gib: 29", True),  # 110 GiB
    ],
)
def test_memory_of_the_section_that_is_left(checkout: Project, platform: Path, host: str, fits: bool) -> None:
    change(platform, "cpu_cores: 64, cpu_mhz: 2800, memory_gib: 1024", host)
    assert [f.rule for f in found(checkout, "capacity-memory")] == ([] if fits else ["capacity-memory"])


def test_what_is_missing_is_told_in_figures(checkout: Project, platform: Path) -> None:
    change(platform, "memory_gib: 1024", "memory_gib: 28")
    [finding] = found(checkout, "capacity-memory")
    assert "lacks 2 GiB of memory: 108 GiB are needed, 106 are there (4 hosts, 5 % kept free)" in finding.message
    assert finding.hint is not None and "largest: grabow 84 GiB" in finding.hint
    assert finding.place.file == platform
    assert "memory_gib: 28" in platform.read_text("utf-8").splitlines()[finding.place.line - 1]


@pytest.mark.parametrize(("reserves", "fits"), [("vcpus_per_core: 13", False), ("vcpus_per_core: 14", True)])
def test_processors_of_the_section_that_is_left(checkout: Project, platform: Path, reserves: str, fits: bool) -> None:
    change(platform, "cpu_cores: 64", "cpu_cores: 1")
    change(platform, "vcpus_per_core: 6", reserves)
    assert bool(found(checkout, "capacity-cpu")) is not fits


@pytest.mark.parametrize(("each", "fits"), [(50, True), (52, False)])
def test_what_fits_by_its_sum_needs_a_host_too(
    checkout: Project, platform: Path, grabow: Path, each: int, fits: bool
) -> None:
    """Five servers of half a host or a little more, on the four hosts of 100 GiB that are left."""
    change(platform, "memory_gib: 1024", "memory_gib: 106")  # 100 GiB with 5 % kept free
    servers = f"servers:\n  x: {{count: 5, role: application, zone: application, cpus: 1, memory_gib: {each}}}\n"
    change(grabow, "departments:", f"compute: {{memory_gib: 900}}\n\n{servers}\ndepartments:")
    told = found(checkout, "capacity-packing")
    assert [f.severity for f in told] == ([] if fits else ["warning"])
    assert all("no single host has room for gra-x05 (52 GiB)" in f.message for f in told)
    assert found(checkout, "capacity-memory") == []


# The database's standby keeps 100 GiB of data in section B, on a datastore of 150 GiB.
@pytest.mark.parametrize(("capacity", "fits"), [(186, False), (188, True)])
def test_every_array_keeps_its_reserve(checkout: Project, platform: Path, capacity: int, fits: bool) -> None:
    change(platform, "sections: [B]\n    capacity_gib: 10240", f"sections: [B]\n    capacity_gib: {capacity}")
    assert ["the array sn-local-b01 lacks 2 GiB" in f.message for f in found(checkout, "capacity-storage")] == (
        [] if fits else [True]
    )


def test_growth_that_is_declared_counts_before_it_is_given_out(checkout: Project, platform: Path) -> None:
    """One disk of 100 TiB more than the array of its tier holds: told at the array, with what is missing."""
    change(
        checkout.stacks / "grabow.yaml",
        "departments:",
        "servers:\n  file01: {disks: {data: {size_gib: 40000}}}\n\ndepartments:",
    )
    [finding] = found(checkout, "capacity-storage")
    assert "sn-mirror01 lacks 9290 GiB" in finding.message
    assert finding.hint is not None and "grabow 50250 GiB" in finding.hint


def test_the_three_largest_members_are_named(tmp_path: Path) -> None:
    """All members of this repository, on hosts that are far too small."""
    for folder in ("stacks", "catalogue"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("Pulumi.*", "__pycache__"))
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    change(tmp_path / "stacks" / "schwerin.yaml", "memory_gib: 1024", "memory_gib: 64")
    [finding] = found(Project(tmp_path), "capacity-memory")
    assert finding.hint is not None
    order = [finding.hint.find(key) for key in ("ludwigslust-parchim", "schwerin-stadt", "stadtwerke")]
    assert -1 < order[0] < order[1] < order[2]
    assert "grabow" not in finding.hint


def test_a_wrong_figure_of_the_platform_is_the_only_finding(checkout: Project, platform: Path) -> None:
    change(platform, "cpu_cores: 64, cpu_mhz: 2800, memory_gib: 1024", "cpu_cores: viele, cpu_mhz: 2800, memory_gib: x")
    assert {f.rule for f in Declarations(checkout).findings()} == {"wrong-type"}
