"""The Pulumi program: plans become vSphere resources. It decides nothing."""

from __future__ import annotations

import os

import pulumi

from ksm_onboard.connection import Connection, connection_file, load_connection
from ksm_onboard.declaration.findings import DeclarationRefusedError, relative
from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.onboarding.lab_room import require_room_for
from ksm_onboard.planning.load import PLATFORM, load_own, load_plan, load_platform
from ksm_onboard.planning.plan import Plan
from ksm_onboard.project import Project, find_project
from ksm_onboard.provisioning.customisation import Customisation
from ksm_onboard.provisioning.data_centre import vcenter_provider
from ksm_onboard.provisioning.environment import require_policies
from ksm_onboard.provisioning.growth import DiskGrowth
from ksm_onboard.provisioning.member import MemberStack
from ksm_onboard.provisioning.own_machines import OwnMachines
from ksm_onboard.provisioning.platform import PlatformIds, PlatformStack


def main() -> None:
    """Build the stack that the engine asks for: the platform, or the member of that name."""
    project = find_project()
    require_policies(project, os.environ)
    stack = pulumi.get_stack()
    connection = load_connection(connection_file(project))
    customisation = Customisation(project.templates, connection.guests.user, connection.guests.public_key())
    growth, options = DiskGrowth(connection), pulumi.ResourceOptions(providers=[vcenter_provider(connection)])
    built: list[PlatformStack | OwnMachines | MemberStack]
    if stack == PLATFORM:
        platform = PlatformStack(load_platform(project), options)
        built = [platform]
        if (own := load_own(project)) is not None:
            require_room(project, connection, own)
            built.append(OwnMachines(own, platform, customisation, growth, options))
    else:
        plan = load_plan(project, stack)
        require_room(project, connection, plan)
        shared = pulumi.StackReference(f"{pulumi.get_organization()}/{pulumi.get_project()}/{PLATFORM}")
        built = [MemberStack(plan, PlatformIds.of(shared), customisation, growth, options)]
    for part in built:
        for name, value in part.outputs().items():
            pulumi.export(name, value)


def require_room(project: Project, connection: Connection, plan: Plan) -> None:
    """In the lab every VM is a real host: a run that this machine cannot carry is stopped, a preview says so."""
    try:
        require_room_for(project, connection, plan, configured=False)
    except NotReadyError as refused:
        if not pulumi.runtime.is_dry_run():
            raise
        pulumi.log.warn(f"{refused}: this can be looked at, but not brought up here")


def explained(error: OnboardError) -> str:
    """The error as the engine shows it: every finding with its place, and what to do."""
    lines = [str(error)]
    if isinstance(error, DeclarationRefusedError):
        root = find_project().root
        for finding in error.findings:
            place = f"{relative(finding.place.file, root)}:{finding.place.line}:{finding.place.column}"
            lines.append(f"  {place}: {finding.message}")
            lines += [f"    allowed: {finding.allowed}"] if finding.allowed else []
            lines += [f"    {finding.hint}"] if finding.hint else []
    if error.hint:
        lines.append(error.hint)
    return "\n".join(lines)


try:
    main()
except OnboardError as refused:
    raise pulumi.RunError(explained(refused)) from None
