"""Pulumi's language host for Python programs, where the official one cannot be had.

The engine starts it as ``pulumi-language-python <engine address>``, reads the port it serves on from
its first line of output, and then asks it over gRPC (``pulumirpc.LanguageRuntime``) to run programs and
policy packs. What a program prints is inherited: the engine shows this process's output as messages.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

EXECUTOR_VARIABLE = "KSM_ONBOARD_PYTHON_EXEC"
"""Names Pulumi's own script that sets up the SDK's runtime and then runs the program."""

_SAID_IT_ITSELF = 32
"""With this exit code the executor has already told the user what went wrong."""

_LARGEST_MESSAGE = 400 * 1024 * 1024
"""Bytes; the engine's own limit for its gRPC messages."""

_GRACE = 5.0
"""Seconds a program gets to end after SIGTERM."""


class ProgramError(Exception):
    """The program cannot be run as its project asks; the text is for the user."""


@dataclass(frozen=True)
class Interpreter:
    """The Python that a project's ``runtime.options`` ask for."""

    python: Path
    environment: Path | None
    """The virtual environment's folder; None for the Python that runs this host."""

    @classmethod
    def of(cls, root: Path, options: Mapping[str, Any]) -> Interpreter:
        """Raises ProgramError for options that this host does not honour, or a missing environment."""
        toolchain = options.get("toolchain", "pip")
        if toolchain != "pip":
            raise ProgramError(f"runtime.options.toolchain is {toolchain!r}; this language host only knows 'pip'")
        name = options.get("virtualenv")
        if not name:
            return cls(Path(sys.executable), None)
        folder = root / str(name)
        python = folder / "bin" / "python"
        if not python.exists():
            raise ProgramError(
                f"the project's virtual environment {folder} (runtime.options.virtualenv) does not exist, "
                "or is not one: create it with `make setup`"
            )
        return cls(python, folder)

    def activated(self, base: Mapping[str, str]) -> dict[str, str]:
        """``base`` with this interpreter's environment activated in it."""
        result = {key: value for key, value in base.items() if key != "PYTHONHOME"}
        if self.environment:
            result["VIRTUAL_ENV"] = str(self.environment)
            result["PATH"] = f"{self.environment / 'bin'}{os.pathsep}{base.get('PATH', os.defpath)}"
        return result

    def site_packages(self) -> list[Path]:
        if self.environment is None:
            return [Path(sysconfig.get_path("purelib"))]
        return sorted(self.environment.glob("lib/python3.*/site-packages"))


class Programs:
    """The programs that are running, so that none outlives this host."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def start(self, arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, **options)
        with self._lock:
            self._running.add(process)
        return process

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ask the program to end, and make it if it does not."""
        if process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()

    def end_all(self) -> None:
        with self._lock:
            running = list(self._running)
        for process in running:
            self.end(process)


class PythonLanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Answers what the engine asks of a language host; what is left out, gRPC calls unimplemented."""

    def __init__(self, engine_address: str, executor: Path) -> None:
        self._engine_address = engine_address
        self._executor = executor
        self.programs = Programs()

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        self._engine_address = request.engine_address or self._engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        return plugin_pb2.PluginInfo(version=metadata.version("pulumi"))

    def About(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        interpreter = _interpreter(request.info, context)
        version = subprocess.run(
            [interpreter.python, "--version"], capture_output=True, text=True, check=False
        ).stdout.split()[-1]
        return language_pb2.AboutResponse(executable=str(interpreter.python), version=version)

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The resource plugins that the installed SDK packages name, so that a missing one is found at once."""
        packages = [
            plugin_pb2.PackageDependency(
                name=plugin["name"],
                kind="resource",
                version=f"v{plugin['version'].removeprefix('v')}",
                server=plugin.get("server", ""),
            )
            for plugin in required_plugins(_interpreter(request.info, context).site_packages())
        ]
        return language_pb2.GetRequiredPackagesResponse(packages=packages)

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        """Superseded by GetRequiredPackages; old engines may still ask."""
        return language_pb2.GetRequiredPluginsResponse()

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        paths = [str(path) for path in _interpreter(request.info, context).site_packages()]
        found = {package.metadata["Name"]: package.version for package in metadata.distributions(path=paths)}
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=found[name]) for name in sorted(found)]
        )

    def InstallDependencies(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802, ARG002
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "this language host installs nothing; run `make setup` instead")
        yield  # makes this the stream that the protocol wants

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run a program to its end."""
        try:
            interpreter = Interpreter.of(Path(request.info.root_directory), _options(request.info))
        except ProgramError as error:
            return language_pb2.RunResponse(error=str(error))
        environment = interpreter.activated(os.environ) | {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        arguments = [
            *(str(interpreter.python), "-u", str(self._executor)),
            *program_arguments(request, self._engine_address),
        ]
        process = self.programs.start(arguments, env=environment, cwd=request.pwd or None)
        context.add_callback(lambda: self.programs.end(process))
        status = self.programs.wait(process)
        if status == _SAID_IT_ITSELF:
            return language_pb2.RunResponse(bail=True)
        if status < 0:
            return language_pb2.RunResponse(error=f"the program was ended by {signal.Signals(-status).name}")
        return language_pb2.RunResponse(error=f"the program ended with exit code {status}" if status else "")

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        """Run a plugin that is written in Python, for example a policy pack, passing on what it says."""
        interpreter = _interpreter(request.info, context)
        process = self.programs.start(
            [str(interpreter.python), "-u", request.info.program_directory, *request.args],
            env=interpreter.activated(dict(entry.split("=", 1) for entry in request.env)),
            cwd=request.pwd or None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        context.add_callback(lambda: self.programs.end(process))
        for field, chunk in _said(process):
            if field == "stdout":
                yield language_pb2.RunPluginResponse(stdout=chunk)
            else:
                yield language_pb2.RunPluginResponse(stderr=chunk)
        yield language_pb2.RunPluginResponse(exitcode=self.programs.wait(process))

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802, ARG002
        self.programs.end_all()
        return empty_pb2.Empty()


def required_plugins(site_packages: Sequence[Path]) -> list[dict[str, str]]:
    """What the ``pulumi-plugin.json`` of each installed SDK package says."""
    found = []
    for folder in site_packages:
        for file in sorted(folder.glob("*/pulumi-plugin.json")):
            plugin = json.loads(file.read_text())
            if plugin.get("resource") and plugin.get("name") and plugin.get("version"):
                found.append(plugin)
    return found


def program_arguments(request: Any, engine_address: str) -> list[str]:
    """Arguments of the executor for a ``RunRequest``."""
    flags = {
        "monitor": request.monitor_address,
        "engine": engine_address,
        "project": request.project,
        "stack": request.stack,
        "pwd": request.pwd,
        "root_directory": request.info.root_directory,
        "organization": request.organization,
        "dry_run": "true" if request.dryRun else "",
        "parallel": str(request.parallel),
    }
    named = [part for name, value in flags.items() if value for part in (f"--{name}", value)]
    return [*named, str(Path(request.info.program_directory, request.info.entry_point)), *request.args]


def serve(engine_address: str, executor: Path) -> None:
    """Serve until the engine ends us, or is gone."""
    host = PythonLanguageHost(engine_address, executor)
    options = [("grpc.max_receive_message_length", _LARGEST_MESSAGE)]
    # A policy pack occupies a worker for as long as it lives.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=options)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    engine = os.getppid()  # before the engine goes on: it may be gone a moment later
    print(port, flush=True)  # noqa: T201 - how the engine learns the port
    while not stopped.wait(1.0):
        if os.getppid() != engine:
            break
    host.programs.end_all()
    server.stop(grace=1.0).wait()


def main(arguments: Sequence[str]) -> int:
    """The program: the engine passes its address, and options which this host has no use for."""
    addresses = [argument for argument in arguments if not argument.startswith("-")]
    executor = Path(os.environ.get(EXECUTOR_VARIABLE, ""))
    if not addresses or not executor.is_file():
        print(  # noqa: T201
            f"pulumi-language-python is started by the Pulumi engine, with {EXECUTOR_VARIABLE} set", file=sys.stderr
        )
        return 2
    serve(addresses[0], executor)
    return 0


def _options(info: Any) -> dict[str, Any]:
    return json_format.MessageToDict(info.options) if info.HasField("options") else {}


def _interpreter(info: Any, context: grpc.ServicerContext) -> Interpreter:
    """As in ``Interpreter.of``, but what is wrong becomes the call's failure."""
    try:
        return Interpreter.of(Path(info.root_directory), _options(info))
    except ProgramError as error:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        raise  # abort does not return


def _said(process: subprocess.Popen[bytes]) -> Iterator[tuple[str, bytes]]:
    """What a process writes to its two outputs, as it comes, until both are closed."""
    pieces: queue.Queue[tuple[str, bytes]] = queue.Queue()

    def read(field: str, stream: Any) -> None:
        while chunk := stream.read1(65536):
            pieces.put((field, chunk))
        pieces.put((field, b""))

    open_streams = {"stdout": process.stdout, "stderr": process.stderr}
    for field, stream in open_streams.items():
        threading.Thread(target=read, args=(field, stream), daemon=True).start()
    while open_streams:
        field, chunk = pieces.get()
        if chunk:
            yield field, chunk
        else:
            open_streams.pop(field)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
