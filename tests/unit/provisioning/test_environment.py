"""The engine's environment: complete, without secrets, and never against what the person chose."""

from __future__ import annotations

import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ksm_onboard.connection import Connection
from ksm_onboard.errors import NotReadyError
from ksm_onboard.project import Project
from ksm_onboard.provisioning.environment import engine_environment, require_policies, shell_lines


class FakeEngine:
    """Where an engine would be."""

    bin = Path("/engine/bin")

    def environment(self) -> dict[str, str]:
        return {"PULUMI_HOME": "/engine/home", "PATH": "/engine/bin"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "Pulumi.yaml").touch()
    return Project(tmp_path)


def made(project: Project, connection: Connection, **given: str) -> dict[str, str]:
    return engine_environment(project, connection, FakeEngine(), {"PATH": "/usr/bin:/bin", **given})


def test_it_names_everything_and_prepares_it(project: Project, connection: Connection) -> None:
    environment = made(project, connection)
    root = project.root
    assert environment == {
        "PATH": "/engine/bin:/usr/bin:/bin",
        "PULUMI_HOME": "/engine/home",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_BACKEND_URL": f"file://{root}/.state/lab/pulumi",
        "PULUMI_CONFIG_PASSPHRASE_FILE": f"{root}/.state/passphrase",
        "PULUMI_OPTION_POLICY_PACK": f"{root}/policies",
        "SSL_CERT_DIR": f"{root}/.state/lab/trusted:/etc/ssl/certs",
    }
    assert (root / ".state/lab/pulumi").is_dir()
    trusted = list((root / ".state/lab/trusted").iterdir())
    assert [file.read_bytes() for file in trusted] == [Path(str(connection.vcenter.ca_file)).read_bytes()]


def test_no_secret_is_in_it(project: Project, connection: Connection) -> None:
    environment = made(project, connection)
    secrets = {connection.vcenter.password(), (project.state / "passphrase").read_text().strip()}
    assert all(secret and secret not in value for secret in secrets for value in environment.values())


def test_the_passphrase_is_made_once_and_private(project: Project, connection: Connection) -> None:
    made(project, connection)
    file = project.state / "passphrase"
    first = file.read_text()
    made(project, connection)
    assert file.read_text() == first
    assert len(first.strip()) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(project.state.stat().st_mode) == 0o700
    assert [f.name for f in project.state.glob("passphrase*")] == ["passphrase"]


def test_runs_that_start_together_agree_on_one_passphrase(project: Project, connection: Connection) -> None:
    def once(_: int) -> str:
        made(project, connection)
        return (project.state / "passphrase").read_text()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(once, range(32)))) == 1


def test_a_lost_passphrase_is_not_replaced_silently(project: Project, connection: Connection) -> None:
    stacks = project.state / "lab/pulumi/.pulumi/stacks/ksm-onboard"
    stacks.mkdir(parents=True)
    (stacks / "grabow.json").touch()
    with pytest.raises(NotReadyError, match="passphrase of the existing stacks is missing"):
        made(project, connection)
    assert not (project.state / "passphrase").exists()


def test_what_the_person_chose_wins(project: Project, connection: Connection) -> None:
    environment = made(
        project,
        connection,
        PULUMI_BACKEND_URL="s3://ksm-state",
        PULUMI_CONFIG_PASSPHRASE_FILE="/etc/ksm/passphrase",
        SSL_CERT_DIR="/etc/ksm/certs",
        KSM_CONNECTION="/etc/ksm/connection.yaml",
    )
    assert not {"PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE"} & set(environment)
    assert environment["SSL_CERT_DIR"] == f"{project.state}/lab/trusted:/etc/ksm/certs"
    assert environment["KSM_CONNECTION"] == "/etc/ksm/connection.yaml"
    assert not (project.state / "passphrase").exists()


def test_a_passphrase_in_the_environment_wins_too(project: Project, connection: Connection) -> None:
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in made(project, connection, PULUMI_CONFIG_PASSPHRASE="x")


def test_what_we_printed_for_one_data_centre_does_not_stick_to_the_next(
    project: Project, connection: Connection
) -> None:
    lab = made(project, connection)
    real = made(project, connection.model_copy(update={"name": "schwerin"}), **lab)
    assert real["PULUMI_BACKEND_URL"] == f"file://{project.root}/.state/schwerin/pulumi"


def test_printing_it_twice_adds_nothing(project: Project, connection: Connection) -> None:
    first = made(project, connection)
    assert made(project, connection, **first) == first


def test_a_missing_ca_is_named(project: Project, connection: Connection, tmp_path: Path) -> None:
    vcenter = connection.vcenter.model_copy(update={"ca_file": tmp_path / "nowhere.pem"})
    with pytest.raises(NotReadyError, match=r"nowhere\.pem"):
        made(project, connection.model_copy(update={"vcenter": vcenter}))


def test_a_shell_reads_exactly_what_was_meant() -> None:
    awkward = {"A": "plain", "B": "with space; $(false) 'quoted'"}
    script = "\n".join([*shell_lines(awkward), 'printf "%s\\n" "$A" "$B"'])
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(awkward.values())


def test_other_policy_packs_run_beside_ours(project: Project, connection: Connection) -> None:
    ours = f"{project.root}/policies"
    assert made(project, connection, PULUMI_OPTION_POLICY_PACK=ours)["PULUMI_OPTION_POLICY_PACK"] == ours
    chosen = made(project, connection, PULUMI_OPTION_POLICY_PACK='"/a,b",/c')["PULUMI_OPTION_POLICY_PACK"]
    assert chosen == f'"/a,b",/c,{ours}'


def test_a_program_without_the_policy_pack_is_refused(project: Project, connection: Connection) -> None:
    require_policies(project, made(project, connection))
    require_policies(project, made(project, connection, PULUMI_OPTION_POLICY_PACK='"/a,b",/c'))
    for packs in ({}, {"PULUMI_OPTION_POLICY_PACK": ""}, {"PULUMI_OPTION_POLICY_PACK": "/elsewhere"}):
        with pytest.raises(NotReadyError, match="without the policy pack"):
            require_policies(project, packs)
