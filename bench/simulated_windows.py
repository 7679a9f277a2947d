"""How long a run over many SIMULATED Windows workstations takes: first run and the one after it.

    .venv/bin/python bench/simulated_windows.py [NUMBER, default 300]

The work of the Windows machines is not in it, only Ansible's own and the simulation's.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from ksm_onboard.certificates import machine_certificates_dir
from ksm_onboard.configuring.inventory import render_inventory, secrets_dir, simulated_windows_dir, write_inventory
from ksm_onboard.configuring.run import configure
from ksm_onboard.connection import Connection
from ksm_onboard.lab.certificates import ensure_certificates, ensure_ssh_key
from ksm_onboard.lab.windows.machine import Hosts, Offers
from ksm_onboard.onboarding.lab_world import windows_offers
from ksm_onboard.planning.load import Declarations
from ksm_onboard.progress import Silent
from ksm_onboard.project import Project

ROOT = Path(__file__).resolve().parents[1]


def main(number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("roles", ".venv", "ansible.cfg", "Pulumi.yaml", "ksm_onboard"):
            (root / name).symlink_to(ROOT / name)
        ensure_ssh_key(root / "ops", "ops@bench")
        ensure_certificates(root / "tls", "bench")
        connection = Connection.model_validate(
            {
                "name": "lab",
                "simulated": True,
                "vcenter": {"server": "127.0.0.1:1", "user": "nobody", "password_file": root / "none"},
                "guests": {"private_key_file": root / "ops", "loopback_shift": 64},
                "trust": {"root_ca_file": root / "tls" / "ca.pem"},
                "windows": {},
            }
        )
        plan = Declarations(Project(ROOT)).plan("grabow")
        pattern = [w for w in plan.member.workstations if w.platform == "windows"]
        many = tuple(pattern[i % len(pattern)].model_copy(update={"name": f"bench-{i:04}"}) for i in range(number))
        plan = plan.model_copy(update={"member": plan.member.model_copy(update={"workstations": many})})
        project = Project(root)
        hosts = Hosts(simulated_windows_dir(project, connection))
        hosts.create([w.name for w in many])
        hosts.set_offers(Offers(chocolatey=windows_offers(plan.member)))
        shared = [server.name for server in plan.platform.shared_servers]
        shared += [server.name for server in plan.platform.all_central_servers]
        files = render_inventory(
            plan,
            connection,
            outputs={"servers": {s.name: {"address": str(s.address)} for s in plan.member.servers}},
            host_keys=dict.fromkeys(shared, "ssh-ed25519 AAAA"),
            secrets=secrets_dir(project, connection, "grabow"),
            machine_certificates=machine_certificates_dir(project, connection),
        )
        write_inventory(project, "grabow", files)
        cores = os.cpu_count() or 1
        for title in ("first run", "second run"):
            begun, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            result = configure(project, connection, "grabow", progress=Silent(), limit="windows_workstations")
            seconds = time.monotonic() - begun
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
            tasks = sum(h.ok + h.skipped + h.failed for h in result.hosts.values())
            print(
                f"{title}: {result.status}, {number} simulated workstations in {seconds:.0f} s "
                f"({number / seconds * 60 / cores:.1f} per minute and core, {cpu:.0f} s processor time, load "
                f"{os.getloadavg()[0]:.1f}), {tasks / number:.0f} results, {result.changed / number:.0f} changes each"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
