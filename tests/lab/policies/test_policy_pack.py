"""The policy pack under the real engine: every run is judged, a violating one refused before anything is made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import yaml

from ksm_onboard.declaration.approvals import Approval, ApprovedResource, write_approval
from ksm_onboard.errors import NotReadyError
from ksm_onboard.planning.risk import Risk, losses
from ksm_onboard.policies.rules import RULES
from ksm_onboard.progress import Silent
from ksm_onboard.provisioning.approvals import NotApprovedError, approved_only
from ksm_onboard.provisioning.policy_events import PoliciesViolatedError
from tests.lab.policies.conftest import Site
from tests.lab.vcenter.door import Door

pytestmark = pytest.mark.lab

# A network that everybody may listen to, in a VLAN that another one has already.
ROGUE = """\
    if stack == "grabow":
        import pulumi_vsphere
        pulumi_vsphere.DistributedPortGroup(
            "rogue", name="rogue", vlan_id=1210, allow_promiscuous=True, allow_forged_transmits=False,
            distributed_virtual_switch_uuid=built[0]._centre.switch_id(), opts=pulumi.ResourceOptions(parent=built[0]),
        )
"""


@pytest.fixture
def edited(site: Site) -> Iterator[Site]:
    """The site, whose files are as they were when the test is over."""
    files = [*site.project.stacks.glob("*.*"), *site.project.policies.glob("*.*")]
    before = {file: file.read_bytes() for file in files if file.is_file()}
    yield site
    for file, content in before.items():
        file.write_bytes(content)


def declare(file: Path, **changes: object) -> None:
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}, allow_unicode=True))


def break_the_program(site: Site) -> None:
    program = site.project.stacks / "__main__.py"
    before, after = program.read_text().split("    for part in built:")
    program.write_text(f"{before}{ROGUE}    for part in built:{after}")


def test_a_violating_program_is_refused_before_anything_is_made(edited: Site) -> None:
    break_the_program(edited)
    with pytest.raises(PoliciesViolatedError) as refused:
        edited.driver.up("grabow", Silent())
    said = str(refused.value)
    assert "[network-own-vlan] rogue: shares VLAN 1210 with grabow-clients" in said or (
        "[network-own-vlan] grabow-clients: shares VLAN 1210 with rogue" in said
    )
    assert "[network-closed] rogue: VMs may listen to each other's traffic" in said
    assert "[network-closed] rogue: VMs may change their hardware address" in said
    assert "forged" not in said
    assert "BSI IT-Grundschutz 2023: SYS.1.5.A4 (B) network" in said
    assert "what to do: set all three to false on the port group itself" in said
    with Door(edited.vcenter) as door:
        assert not [name for name in door.machines() if name.startswith("gra-")]


def test_plain_pulumi_is_refused_too(edited: Site) -> None:
    break_the_program(edited)
    done = edited.pulumi("preview", "-s", "grabow")
    assert done.returncode != 0
    assert re.search(r"\[mandatory\].*network-closed .*rogue", done.stdout), done.stdout
    assert "what to do: set all three to false" in done.stdout


def test_without_the_pack_the_program_does_not_run(site: Site) -> None:
    done = site.pulumi("preview", "-s", "grabow", PULUMI_OPTION_POLICY_PACK="")
    assert done.returncode != 0
    assert 'eval "$(ksm-onboard env)"' in done.stdout + done.stderr


@pytest.mark.parametrize("damage", ["no such module", "gone"])
def test_a_pack_that_cannot_start_stops_the_run(edited: Site, damage: str) -> None:
    if damage == "gone":
        (edited.project.policies / "PulumiPolicy.yaml").unlink()
    else:
        (edited.project.policies / "__main__.py").write_text("import no_such_module\n")
    with pytest.raises(NotReadyError, match="policy pack does not start"):
        edited.driver.up("grabow", Silent())


def test_a_declaration_that_asks_for_more_protection_than_its_storage_has_is_refused(edited: Site) -> None:
    platform = edited.project.stacks / "schwerin.yaml"
    tiers = yaml.safe_load(platform.read_text())["storage_tiers"]
    # The platform's own VMs, which are judged like the member that needs most, lie on another one.
    tiers["gold-mirrored"]["encrypted"] = False
    declare(platform, storage_tiers=tiers)
    edited.driver.up("schwerin", Silent())
    needs = {"confidentiality": "very-high", "integrity": "high", "availability": "normal"}
    declare(edited.project.stacks / "grabow.yaml", protection=needs)
    with pytest.raises(PoliciesViolatedError) as refused:
        edited.driver.preview("grabow", Silent())
    said = str(refused.value)
    assert "[storage-encrypted] gra-file01: disk1 lies on tier 'gold-mirrored', which is not encrypted" in said
    assert "SYS.1.8.A23 (H) encryption" in said
    assert said.count("[storage-encrypted]") == 2
    # What is only advice for less need does not stop the run.
    declare(edited.project.stacks / "grabow.yaml", protection={**needs, "confidentiality": "high"})
    policies = edited.driver.preview("grabow", Silent()).policies
    assert policies
    assert [finding.rule for finding in policies.advice] == ["storage-encrypted"] * 2


def test_what_is_declared_passes_every_rule(site: Site) -> None:
    platform = site.driver.up("schwerin", Silent()).policies
    assert platform
    assert not platform.findings
    member = site.driver.up("grabow", Silent()).policies
    assert member
    assert not member.findings
    assert platform.passed + member.passed >= len(RULES) - 4
    again = site.driver.up("grabow", Silent())
    assert again.policies == member
    assert again.changes == 0


# --- a loss of data, after everything stands ----------------------------------------------

WITHOUT_FILE_SERVER = """\
        require_room(project, connection, plan)
        without = plan.member.model_copy(update={
            "servers": tuple(s for s in plan.member.servers if s.name != "gra-file01"),
            "placements": tuple(
                p.model_copy(update={"servers": tuple(n for n in p.servers if n != "gra-file01")})
                for p in plan.member.placements
            ),
        })
        plan = plan.model_copy(update={"member": without})
"""


def approve(site: Site, lost: tuple[Risk, ...], **changes: object) -> None:
    resources = tuple(ApprovedResource(urn=r.urn, id=r.id, what=r.text, digest=r.digest) for r in lost)
    today = date.today()
    approval = Approval(who="Erika Muster", why="moved elsewhere", granted=today, expires=today, resources=resources)
    write_approval(site.project.stacks, "grabow", approval.model_copy(update=changes))


def test_a_loss_of_data_is_stopped_until_exactly_that_is_approved(edited: Site) -> None:
    """Needs what the test before has brought up."""
    program, gate = edited.project.stacks / "__main__.py", approved_only(edited.project.stacks)
    line = "        require_room(project, connection, plan)\n"
    before, after = program.read_text().split("        plan = load_plan(project, stack)\n" + line)
    program.write_text(f"{before}        plan = load_plan(project, stack)\n{WITHOUT_FILE_SERVER}{after}")
    with pytest.raises(NotApprovedError) as refused:
        edited.driver.up("grabow", Silent(), gate)
    assert "the data disk gra-file01-data is deleted with everything on it" in str(refused.value)
    assert "the VM gra-file01 is deleted with its own disks (disk0)" in str(refused.value)
    assert "nobody has approved it" in str(refused.value)
    lost = losses(edited.driver.preview("grabow", Silent()).risks)
    assert {(risk.kind, risk.name) for risk in lost} == {
        ("VirtualDisk", "gra-file01-data"),
        ("VirtualMachine", "gra-file01"),
    }
    approve(edited, tuple(risk for risk in lost if risk.kind == "VirtualMachine"))
    with pytest.raises(NotApprovedError, match="does not name VirtualDisk gra-file01-data"):
        edited.driver.up("grabow", Silent(), gate)
    with Door(edited.vcenter) as door:
        assert "gra-file01" in door.machines()
    approve(edited, lost)
    run = edited.driver.up("grabow", Silent(), gate)
    assert set(run.deleted) >= {"VirtualDisk gra-file01-data", "VirtualMachine gra-file01"}
    with Door(edited.vcenter) as door:
        assert "gra-file01" not in door.machines()
    assert edited.driver.up("grabow", Silent(), gate).changes == 0
