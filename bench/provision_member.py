"""How long provisioning a member with 40 VMs takes, as ratios measured side by side on one lab vCenter in one run.

``pulumi up``, ``up`` and ``preview`` without changes, and ``destroy``, of

1. the member as it is always provisioned: our program and the policy pack;
2. the same resources asked for by a program that only reads them from a file, without policies: what is left is engine,
   provider and vCenter. The difference is our program and the policy pack;
3. the same resources as HCL by terraform, with the same provider code, where there is a terraform binary; our limit
   is 1.5 times its time. Its datastores are made before it is measured, because the provider cannot plan disks on
   datastores that don't exist: that favours terraform. Without a binary nothing is measured, and that is said.

vCenter's guests are stand-ins that answer at once. Judged is processor time of the command and everything it starts,
which other work on the machine hardly touches; the simulated vCenter's is not in it. Prints a table and writes JSON
with ``--json FILE``. Exit code 1: a limit is broken.

    .venv/bin/python -m bench.provision_member [--vms 40] [--rounds 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lab_site import ROOT, LabSite, lab_site
from bench.same_resources import Resource, as_replay, as_terraform, resources_of
from ksm_onboard.progress import Silent

MEMBER = "member"
AT_ONCE = 8
LIMIT_TERRAFORM = 1.5
NO_TERRAFORM = "not measured: no terraform found"
PHASES = ("up", "up without changes", "preview without changes", "destroy")
_PROVIDER_MODULE = "github.com/hashicorp/terraform-provider-vsphere"


@dataclass(frozen=True)
class Spent:
    """Seconds: on the clock, and of processors."""

    clock: float
    processor: float


Phases = dict[str, Spent]


def spent(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Spent:
    """Run a command. Raises SystemExit with all that it said if it fails: what did nothing is not measured."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False)
    clock, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return Spent(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def best(rounds: Sequence[Phases]) -> Phases:
    """Of every phase the round that needed the least processor time."""
    return {phase: min((one[phase] for one in rounds), key=lambda s: s.processor) for phase in PHASES}


# --- Pulumi -----------------------------------------------------------------------------------


def by_pulumi(folder: Path, stack: str, environment: Mapping[str, str], protected: bool) -> Phases:
    """All phases of a stack that is not up; nothing of it is left."""

    def pulumi(*arguments: str) -> Spent:
        command = ["pulumi", *arguments, "--stack", stack, "--non-interactive", "--color", "never"]
        return spent(command, folder, environment)

    at_once = ("--parallel", str(AT_ONCE))
    measured = {
        "up": pulumi("up", "--yes", "--skip-preview", *at_once),
        "up without changes": pulumi("up", "--yes", "--skip-preview", "--expect-no-changes", *at_once),
        "preview without changes": pulumi("preview", "--expect-no-changes", *at_once),
    }
    if protected:
        pulumi("state", "unprotect", "--all", "--yes")
    return {**measured, "destroy": pulumi("destroy", "--yes", "--skip-preview", *at_once)}


def replay_of(site: LabSite, state: Mapping[str, Any], folder: Path) -> tuple[Path, dict[str, str]]:
    """A project that asks for the same resources without our program, and the environment to run it in."""
    shutil.copytree(ROOT / "bench" / "replay", folder, ignore=shutil.ignore_patterns("__pycache__"))
    project = {
        "name": "replay",
        "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}},
        "options": {"refresh": "always"},
    }
    (folder / "Pulumi.yaml").write_text(json.dumps(project))
    (folder / "resources.json").write_text(json.dumps(as_replay(resources_of(state["deployment"]["resources"]))))
    (folder / "backend").mkdir()
    [provider] = [r for r in state["deployment"]["resources"] if r["type"] == "pulumi:providers:vsphere"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
    ours = {key: value for key, value in site.environment().items() if key != "PULUMI_OPTION_POLICY_PACK"}
    environment = {
        **inherited,
        **ours,
        "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
        "VSPHERE_SERVER": site.vcenter.server,
        "VSPHERE_USER": site.vcenter.user,
        "BENCH_PASSWORD_FILE": str(site.vcenter.folder / "password"),
        "BENCH_PLUGIN": str(provider["inputs"]["version"]),
        "BENCH_RESOURCES": str(folder / "resources.json"),
    }
    spent(["pulumi", "stack", "init", "replay", "--non-interactive"], folder, environment)
    return folder, environment


# --- terraform --------------------------------------------------------------------------------


def by_terraform(terraform: str, site: LabSite, resources: Sequence[Resource], folder: Path) -> Phases:
    """All phases of the same resources by terraform, with a provider that is built from the same module."""
    folder.mkdir()
    provider = folder / "provider"
    provider.mkdir()
    built = ["go", "build", "-o", str(provider / "terraform-provider-vsphere"), _PROVIDER_MODULE]
    spent(built, ROOT / "lab" / "provider", os.environ)
    configuration = as_terraform(resources, site.vcenter.server, site.vcenter.user)
    (folder / "main.tf.json").write_text(json.dumps(configuration, indent=2))
    overrides = (
        f'provider_installation {{\n  dev_overrides {{ "hashicorp/vsphere" = "{provider}" }}\n  direct {{}}\n}}\n'
    )
    (folder / "terraform.rc").write_text(overrides)
    environment = {
        **os.environ,
        "TF_CLI_CONFIG_FILE": str(folder / "terraform.rc"),
        "VSPHERE_PASSWORD": (site.vcenter.folder / "password").read_text().strip(),
        "SSL_CERT_FILE": str(site.vcenter.ca_file),
        "CHECKPOINT_DISABLE": "1",
    }

    def run(*arguments: str) -> Spent:
        command = [terraform, *arguments, "-input=false", "-no-color", f"-parallelism={AT_ONCE}"]
        return spent(command, folder, environment)

    # Terraform always plans first, and in a plan the provider refuses disks on datastores that are not there yet. So
    # they are there beforehand: time that ours spends and terraform is spared.
    stores = configuration["resource"]["vsphere_nas_datastore"]
    run("apply", "-auto-approve", *(f"-target=vsphere_nas_datastore.{name}" for name in stores))
    return {
        "up": run("apply", "-auto-approve"),
        "up without changes": run("apply", "-auto-approve"),
        # Exit code 2 would be changes, which fails as it does with Pulumi.
        "preview without changes": run("plan", "-detailed-exitcode"),
        "destroy": run("destroy", "-auto-approve"),
    }


# --- the run ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What each did; ``terraform`` is None where there is no such binary."""

    ours: Phases
    bare: Phases
    terraform: Phases | None
    resources: int


def measure(vms: int, rounds: int, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Everything, on one vCenter; who is compared takes turns."""
    terraform = shutil.which("terraform")
    ours: list[Phases] = []
    bare: list[Phases] = []
    theirs: list[Phases] = []
    (folder / "site").mkdir()
    with lab_site(folder / "site", "bench", {MEMBER: vms}) as site:
        site.driver.up(MEMBER, Silent())
        state = site.driver.state(MEMBER)
        assert state is not None  # noqa: S101 - it was brought up a line ago
        resources = resources_of(state["deployment"]["resources"])
        environment = {**os.environ, **site.environment()}
        site.pulumi("state", "unprotect", "--all", "--yes", "--stack", MEMBER)
        site.pulumi("destroy", "--yes", "--skip-preview", "--stack", MEMBER)
        replay, replay_environment = replay_of(site, state, folder / "replay")
        for number in range(1, rounds + 1):
            tell(f"round {number}: our program with the policy pack")
            ours.append(by_pulumi(site.project.root, MEMBER, environment, protected=True))
            tell(f"round {number}: engine and provider alone")
            bare.append(by_pulumi(replay, "replay", replay_environment, protected=False))
            if terraform:
                tell(f"round {number}: terraform")
                theirs.append(by_terraform(terraform, site, resources, folder / f"terraform-{number}"))
    return Outcome(best(ours), best(bare), best(theirs) if theirs else None, len(resources))


def report(outcome: Outcome) -> tuple[list[str], list[str]]:
    """The lines to print, and the limits that are broken."""
    lines = [f"{'':26}{'ours':>16}{'engine alone':>16}{'share of ours':>16}{'terraform':>16}{'ratio':>8}"]
    broken = []
    for phase in PHASES:
        ours, bare = outcome.ours[phase], outcome.bare[phase]
        share = 1 - bare.processor / ours.processor
        line = f"{phase:26}{_seconds(ours):>16}{_seconds(bare):>16}{share:>15.0%} "
        if outcome.terraform is not None:
            theirs = outcome.terraform[phase]
            ratio = ours.processor / theirs.processor
            line += f"{_seconds(theirs):>16}{ratio:>8.2f}"
            if ratio > LIMIT_TERRAFORM:
                broken.append(f"{phase}: {ratio:.2f} times terraform, at most {LIMIT_TERRAFORM:g} are allowed")
        lines.append(line)
    if outcome.terraform is None:
        lines.append(f"terraform: {NO_TERRAFORM}")
    lines.append("processor seconds (seconds on the clock)")
    return lines, broken


def _seconds(spent_: Spent) -> str:
    return f"{spent_.processor:.1f} ({spent_.clock:.1f})"


def figures(outcome: Outcome, about: Mapping[str, Any]) -> dict[str, Any]:
    """The same for machines."""

    def plain(phases: Phases | None) -> dict[str, Any] | str:
        return NO_TERRAFORM if phases is None else {phase: vars(one) for phase, one in phases.items()}

    return {
        **about,
        "resources": outcome.resources,
        "ours": plain(outcome.ours),
        "engine_alone": plain(outcome.bare),
        "terraform": plain(outcome.terraform),
    }


def main() -> int:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description="Measures provisioning a member as ratios.")
    arguments.add_argument("--vms", type=int, default=40, help="VMs of the member, at least 8")
    arguments.add_argument("--rounds", type=int, default=1, help="runs of each, of which the best counts")
    arguments.add_argument("--json", type=Path, help="write the figures there, too")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tell = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
        outcome = measure(chosen.vms, chosen.rounds, Path(folder), tell)
    lines, broken = report(outcome)
    print(f"{chosen.vms} VMs, {outcome.resources} resources, best of {chosen.rounds} round(s), {AT_ONCE} at once\n")
    print("\n".join(lines))
    if chosen.json:
        about = {"vms": chosen.vms, "rounds": chosen.rounds}
        chosen.json.write_text(json.dumps(figures(outcome, about), indent=2) + "\n", encoding="utf-8")
    for what in broken:
        print(f"limit broken: {what}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
