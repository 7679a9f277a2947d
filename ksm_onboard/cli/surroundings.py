"""What a command works on: the project, the data centre, the engine."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ksm_onboard.connection import CONNECTION_VARIABLE, Connection, connection_file, load_connection
from ksm_onboard.lab.engine import Engine, find_engine
from ksm_onboard.onboarding.shared_machines import SharedMachines
from ksm_onboard.onboarding.steps import Onboarding
from ksm_onboard.planning.load import Declarations
from ksm_onboard.planning.plan import Plan
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project, find_project
from ksm_onboard.provisioning.environment import engine_environment


@dataclass(frozen=True)
class Surroundings:
    """A project, the data centre in force, and the engine that works on it."""

    project: Project
    connection: Connection
    engine: Engine

    def onboarding(self, plan: Plan, progress: Progress) -> Onboarding:
        return Onboarding(self.project, self.connection, self.engine, plan, progress)

    def environment(self) -> dict[str, str]:
        """What plain pulumi needs."""
        return {**self.engine.environment(), **engine_environment(self.project, self.connection, self.engine)}


def find_surroundings() -> Surroundings:
    """Raises NotReadyError if there is no connection to a data centre, or no engine."""
    project = find_project()
    return Surroundings(project, load_connection(connection_file(project)), find_engine(project))


def shared_machines(progress: Progress) -> SharedMachines:
    """The data centre's own machines, as the platform's declaration plans them."""
    surroundings = find_surroundings()
    declarations = Declarations(surroundings.project)
    return SharedMachines(
        surroundings.project,
        surroundings.connection,
        surroundings.engine,
        declarations.platform_plan(),
        declarations.own_plan(),
        progress,
    )


def planned(member: str) -> Plan:
    """The member's plan; refused declarations are refused before anything else is looked at."""
    return Declarations(find_project()).plan(member)


def in_the_lab() -> bool:
    """Whether commands work on the lab: nobody named another data centre."""
    return not os.environ.get(CONNECTION_VARIABLE)
