"""Components built without an engine: every resource and look-up they ask for is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.rpc import deserialize_properties

from ksm_onboard.connection import Connection, GuestAccess, Trust, VCenterAccess
from ksm_onboard.planning.plan import Plan
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.provisioning.data_centre import vcenter_provider
from ksm_onboard.provisioning.growth import DiskGrowth
from ksm_onboard.provisioning.member import MemberStack
from ksm_onboard.provisioning.platform import PlatformIds, PlatformStack

ROOT = Path(__file__).resolve().parents[3]
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGrabow ops@ksm"


@dataclass
class Made:
    """A resource as the engine would be asked for it."""

    type: str
    name: str
    inputs: dict[str, Any]
    provider: str | None
    protect: bool
    ignore_changes: tuple[str, ...]
    delete_before_replace: bool
    parent: str
    import_id: str
    retain_on_delete: bool
    urn: str = ""
    parent_urn: str = ""
    refers: dict[str, frozenset[str]] = field(default_factory=dict)
    """Per property, the URNs of the resources that its value comes from."""


class Monitor(MockMonitor):
    """Sees requests in full: the SDK's mocks are not told of protection, ignored changes and parents."""

    mocks: Recorder

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the name of the gRPC call
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type == "pulumi:pulumi:Stack":
            return answer
        self.mocks.made.append(
            Made(
                type=request.type,
                name=request.name,
                inputs=dict(deserialize_properties(request.object)),
                provider=request.provider or None,
                protect=request.protect,
                ignore_changes=tuple(request.ignoreChanges),
                delete_before_replace=request.deleteBeforeReplace,
                parent=request.parent.rsplit("::", 1)[-1],
                urn=answer.urn,
                parent_urn=request.parent,
                refers={name: frozenset(found.urns) for name, found in request.propertyDependencies.items()},
                import_id=request.importId,
                retain_on_delete=request.retainOnDelete,
            )
        )
        return answer


@dataclass
class Recorder(pulumi.runtime.Mocks):
    """Answers for vCenter, and keeps what it was asked."""

    platform_outputs: dict[str, Any] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    called: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ == "pulumi:pulumi:StackReference":
            return args.name, {"name": args.name, "outputs": self.platform_outputs}
        outputs = dict(args.inputs)
        if args.typ == "vsphere:index/virtualMachine:VirtualMachine":
            outputs |= {"uuid": f"{args.name}.uuid", "moid": f"{args.name}.moid", "defaultIpAddress": "192.0.2.1"}
        return f"{args.name}.id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        self.called.append((args.token, dict(args.args)))
        name = args.args["name"]
        answer = {**args.args, "id": f"{name}.id"}
        if args.token.endswith(":getComputeCluster"):
            answer["resourcePoolId"] = f"{name}.root-pool"
        if args.token.endswith(":getVirtualMachine"):
            answer |= {"uuid": f"{name}.uuid", "guestId": "debian12_64Guest", "firmware": "efi", "scsiType": "pvscsi"}
        return answer, []

    def of(self, kind: str) -> dict[str, Made]:
        """The recorded resources of a type (its last part), by their vSphere name where they have one."""
        chosen = [made for made in self.made if made.type.rsplit(":", 1)[-1] == kind]
        named = {str(made.inputs.get("name", made.name)): made for made in chosen}
        assert len(named) == len(chosen), f"two resources of type {kind} have one name"
        return named


@pytest.fixture(scope="session")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Connection:
    """A data centre with its files, none of which is ever contacted."""
    tmp_path = tmp_path_factory.mktemp("data-centre")
    (tmp_path / "vcenter-password").write_text("correct horse\n")
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return Connection(
        name="lab",
        simulated=True,
        vcenter=VCenterAccess(
            server="vcenter.invalid",
            user="svc@vsphere.local",
            password_file=tmp_path / "vcenter-password",
            ca_file=tmp_path / "ca.pem",
        ),
        guests=GuestAccess(private_key_file=tmp_path / "ops_ed25519"),
        trust=Trust(root_ca_file=tmp_path / "ca.pem"),
    )


def use(recorder: Recorder) -> None:
    """Let programs talk to ``recorder`` instead of an engine."""
    pulumi.runtime.set_mocks(recorder, project="ksm-onboard", stack="grabow", preview=False, monitor=Monitor(recorder))


def built(recorder: Recorder, make: Callable[[], PlatformStack | MemberStack]) -> dict[str, Any]:
    """Run ``make`` as a program, wait for all it asked for, and return the component's outputs as plain data."""
    use(recorder)
    seen: dict[str, Any] = {}

    def keep(outputs: dict[str, Any]) -> None:
        seen.update(outputs)

    # Resources of this shape finish only when the event loop runs: the decorator runs it until nothing is left.
    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> pulumi.Output[None]:
        return pulumi.Output.from_input(make().outputs()).apply(keep)

    program()
    assert seen, "the component's outputs were never resolved, so nothing would have been tested"
    return seen


@pytest.fixture(scope="session")
def platform(plan: Plan, connection: Connection) -> tuple[Recorder, dict[str, Any]]:
    """The platform stack, recorded, and its outputs."""
    recorder = Recorder()

    def make() -> PlatformStack:
        return PlatformStack(plan.platform, pulumi.ResourceOptions(providers=[vcenter_provider(connection)]))

    return recorder, built(recorder, make)


@pytest.fixture(scope="session")
def member(
    plan: Plan, connection: Connection, platform: tuple[Recorder, dict[str, Any]]
) -> tuple[Recorder, dict[str, Any]]:
    """Grabow's stack on that platform, recorded, and its outputs."""
    recorder = Recorder(platform_outputs=platform[1])

    def make() -> MemberStack:
        return MemberStack(
            plan,
            PlatformIds.of(pulumi.StackReference("organization/ksm-onboard/schwerin")),
            Customisation(ROOT / "templates", "ops", PUBLIC_KEY),
            DiskGrowth(connection),
            pulumi.ResourceOptions(providers=[vcenter_provider(connection)]),
        )

    return recorder, built(recorder, make)
