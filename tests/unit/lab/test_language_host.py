"""The language host, over its real protocol."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from ksm_onboard.lab.language_host import EXECUTOR_VARIABLE, Interpreter, ProgramError, required_plugins

EXECUTOR = """\
import json, os, signal, sys, time
what = sys.argv[-1]
with open(os.path.join(os.path.dirname(__file__), "seen.json"), "w") as file:
    json.dump({"argv": sys.argv[1:], "pid": os.getpid(), "config": os.environ["PULUMI_CONFIG"],
               "venv": os.environ.get("VIRTUAL_ENV"), "python": sys.executable}, file)
if what == "sleep":
    time.sleep(600)
sys.exit(int(what))
"""


@pytest.fixture
def executor(tmp_path: Path) -> Path:
    file = tmp_path / "executor.py"
    file.write_text(EXECUTOR)
    return file


@pytest.fixture
def process(executor: Path) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-m", "ksm_onboard.lab.language_host", "127.0.0.1:1"],
        env=os.environ | {EXECUTOR_VARIABLE: str(executor)},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield started
    started.kill()
    started.wait()


@pytest.fixture
def host(process: subprocess.Popen[str]) -> Iterator[Any]:
    assert process.stdout is not None
    with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
        yield language_pb2_grpc.LanguageRuntimeStub(channel)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a virtual environment that is this Python."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "stacks").mkdir()
    return tmp_path


def info(project: Path, **options: str) -> Any:
    found = language_pb2.ProgramInfo(
        root_directory=str(project), program_directory=str(project / "stacks"), entry_point="."
    )
    found.options.update(options)
    return found


def run(host: Any, project: Path, what: str, **options: str) -> Any:
    return host.Run(
        language_pb2.RunRequest(
            project="p", stack="s", pwd=str(project), args=[what], config={"p:key": "value"}, parallel=4, dryRun=True,
            monitor_address="127.0.0.1:2", info=info(project, **options),
        )
    )  # fmt: skip


def seen(project: Path) -> dict[str, Any]:
    file = project / "seen.json"
    deadline = time.monotonic() + 20
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, "the program never started"
        time.sleep(0.02)
    return dict(json.loads(file.read_text()))


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_a_program_runs_in_the_projects_environment(host: Any, project: Path) -> None:
    answer = run(host, project, "0", virtualenv=".venv")
    assert (answer.error, answer.bail) == ("", False)
    found = seen(project)
    assert found["venv"] == str(project / ".venv")
    assert found["python"] == str(project / ".venv/bin/python")
    assert found["config"] == '{"p:key": "value"}'
    assert found["argv"][-2:] == [str(project / "stacks"), "0"]
    flags = dict(zip(found["argv"][:-2:2], found["argv"][1:-2:2], strict=True))
    assert flags["--engine"] == "127.0.0.1:1"
    assert flags["--monitor"] == "127.0.0.1:2"
    assert (flags["--dry_run"], flags["--parallel"]) == ("true", "4")


def test_an_error_that_was_told_already_is_not_told_again(host: Any, project: Path) -> None:
    answer = run(host, project, "32")
    assert (answer.error, answer.bail) == ("", True)


def test_any_other_failure_is_told(host: Any, project: Path) -> None:
    assert "exit code 3" in run(host, project, "3").error


def test_a_missing_environment_is_named_with_what_helps(host: Any, project: Path) -> None:
    error = run(host, project, "0", virtualenv="nowhere").error
    assert str(project / "nowhere") in error
    assert "make setup" in error
    with pytest.raises(grpc.RpcError) as caught:
        host.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest(info=info(project, virtualenv="nowhere")))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_cancelling_ends_the_program(host: Any, project: Path) -> None:
    answers: list[Any] = []
    running = threading.Thread(target=lambda: answers.append(run(host, project, "sleep")))
    running.start()
    pid = seen(project)["pid"]
    host.Cancel(empty_pb2.Empty())
    running.join(10)
    assert gone(pid)
    assert "SIGTERM" in answers[0].error


def test_no_program_outlives_the_host(process: subprocess.Popen[str], host: Any, project: Path) -> None:
    def until_the_host_ends() -> None:
        with contextlib.suppress(grpc.RpcError):  # the answer may or may not still get through
            run(host, project, "sleep")

    running = threading.Thread(target=until_the_host_ends, daemon=True)
    running.start()
    pid = seen(project)["pid"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert gone(pid)


def test_the_host_ends_with_the_engine(executor: Path) -> None:
    starts_a_host = (
        "import subprocess, sys, time\n"
        "host = subprocess.Popen([sys.executable, '-m', 'ksm_onboard.lab.language_host', '127.0.0.1:1'],"
        " stdout=subprocess.PIPE)\n"
        "host.stdout.readline()\n"
        "print(host.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    engine = subprocess.Popen(
        [sys.executable, "-c", starts_a_host],
        env=os.environ | {EXECUTOR_VARIABLE: str(executor)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout is not None
    host = int(engine.stdout.readline())
    assert Path(f"/proc/{host}").exists()
    engine.kill()
    engine.wait()
    assert gone(host)


def test_a_plugins_words_and_exit_code_are_passed_on(host: Any, project: Path) -> None:
    (project / "stacks/__main__.py").write_text(
        "import os, sys\nprint('to', sys.argv[1], os.environ['X'])\nprint('wrong', file=sys.stderr)\nsys.exit(7)\n"
    )
    pieces = list(
        host.RunPlugin(
            language_pb2.RunPluginRequest(pwd=str(project), args=["engine"], env=["X=a=b"], info=info(project))
        )
    )
    assert b"".join(piece.stdout for piece in pieces) == b"to engine a=b\n"
    assert b"".join(piece.stderr for piece in pieces) == b"wrong\n"
    assert pieces[-1].exitcode == 7


def test_installing_is_refused_with_what_to_do_instead(host: Any, project: Path) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(host.InstallDependencies(language_pb2.InstallDependenciesRequest(info=info(project))))
    assert "make setup" in str(caught.value.details())


def test_required_plugins_come_from_the_installed_sdks(tmp_path: Path) -> None:
    for name, text in {
        "pulumi_vsphere": '{"resource": true, "name": "vsphere", "version": "4.18.2"}',
        "pulumi_none": '{"resource": false, "name": "none", "version": "1.0.0"}',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pulumi-plugin.json").write_text(text)
    assert [plugin["name"] for plugin in required_plugins([tmp_path])] == ["vsphere"]


def test_other_toolchains_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="poetry"):
        Interpreter.of(tmp_path, {"toolchain": "poetry"})


def test_it_says_who_starts_it(executor: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ksm_onboard.lab.language_host"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "started by the Pulumi engine" in done.stderr
