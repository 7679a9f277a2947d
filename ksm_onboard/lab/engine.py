"""The Pulumi engine: the official one where it is installed, otherwise our build of the same sources.

The build is made of pinned Go modules (``lab/engine``, ``lab/provider``), once, into the cache.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ksm_onboard.errors import NotReadyError, OnboardError
from ksm_onboard.lab import commands
from ksm_onboard.lab.cache import built_once, key_of
from ksm_onboard.lab.language_host import EXECUTOR_VARIABLE
from ksm_onboard.progress import Progress
from ksm_onboard.project import Project, cache_dir

PLUGIN = "vsphere"
PLUGIN_VERSION = "4.18.2"
"""Must be the version of the Python package pulumi_vsphere, by which the engine pairs both."""

_OLDEST_CLI = (3, 200)
_CLI_MODULE = "github.com/pulumi/pulumi/pkg/v3"
_SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
_EXECUTOR = "pulumi-language-python-exec"
_PYTHON_VARIABLE = "KSM_ONBOARD_PYTHON"
_RECIPE = "1"

# Serves all checkouts that share the cache: each names its own Python.
_LANGUAGE_HOST = """\
#!/bin/sh
# Generated. The language host runs in the checkout's own Python.
here=$(dirname "$0")
{executor_variable}="$here/{executor}" exec "${{{python_variable}:-{python}}}" -m ksm_onboard.lab.language_host "$@"
"""


@dataclass(frozen=True)
class Engine:
    """A Pulumi CLI with its vSphere plugin and its Python language host."""

    pulumi: Path
    home: Path
    """PULUMI_HOME: where its plugins are."""
    version: str
    official: bool

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self.pulumi.parent

    def environment(self) -> dict[str, str]:
        """What makes plain ``pulumi`` this engine. ``PATH`` is to be put before the present one."""
        shared = {"PATH": str(self.pulumi.parent), "PULUMI_HOME": str(self.home)}
        if self.official:
            return shared
        return shared | {_PYTHON_VARIABLE: sys.executable, "PULUMI_SKIP_UPDATE_CHECK": "true"}


def ensure_engine(project: Project, progress: Progress) -> Engine:
    """The engine to use, built first if this machine has none.

    Raises NotReadyError if Go is missing, OnboardError if the build fails.
    """
    official, why_not = find_official()
    if official:
        progress.line(f"using the installed Pulumi {official.version} at {official.pulumi}")
        return official
    folder = _built_engine_folder(project)
    if not folder.is_dir():
        progress.line(f"no installed Pulumi can be used: {why_not}")

    def build(unfinished: Path) -> None:
        _build_engine(project, unfinished, progress)

    built_once(folder, build, progress, "build the Pulumi engine from its Go modules (once; about ten minutes)")
    return _built_engine(folder)


def find_engine(project: Project) -> Engine:
    """The engine as it is. Raises NotReadyError if it has yet to be built."""
    official, _ = find_official()
    if official:
        return official
    folder = _built_engine_folder(project)
    if not folder.is_dir():
        raise NotReadyError("the Pulumi engine is not built yet", hint="run: make setup")
    return _built_engine(folder)


def find_official() -> tuple[Engine | None, str]:
    """An installed Pulumi that fits, or the reason why there is none."""
    found = shutil.which("pulumi", path=_path_without_cache())
    if found is None:
        return None, "there is none on PATH"
    pulumi = Path(found)
    try:
        version = commands.output([str(pulumi), "version"]).strip()
    except OnboardError as error:
        return None, str(error)
    number = re.match(r"v3\.(\d+)\.", version)
    if not number or (3, int(number[1])) < _OLDEST_CLI:
        return None, f"{pulumi} is {version}, but 3.{_OLDEST_CLI[1]} or a later 3.x is needed"
    if not (pulumi.resolve().parent / "pulumi-language-python").exists():
        return None, f"{pulumi} has no pulumi-language-python beside it"
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    plugin = home / "plugins" / f"resource-{PLUGIN}-v{PLUGIN_VERSION}" / f"pulumi-resource-{PLUGIN}"
    if not plugin.exists():
        return None, f"its plugin {PLUGIN} {PLUGIN_VERSION} is not in {home} (pulumi plugin install resource …)"
    return Engine(pulumi, home, version.removeprefix("v"), official=True), ""


def ensure_vcenter(project: Project, progress: Progress) -> Path:
    """The vCenter simulator's program, built first if this machine does not have it yet."""
    source = project.root / "lab" / "vcenter"
    folder = cache_dir() / f"vcenter-{_key_of_sources(source)}"

    def build(unfinished: Path) -> None:
        _go_build(source, unfinished / "vcenter", ".", progress)

    return built_once(folder, build, progress, "build the vCenter simulator (once; about one minute)") / "vcenter"


def _built_engine_folder(project: Project) -> Path:
    keys = (_key_of_sources(project.root / "lab" / part) for part in ("engine", "provider"))
    return cache_dir() / f"engine-{key_of(_RECIPE, *keys)}"


def _built_engine(folder: Path) -> Engine:
    about = json.loads((folder / "engine.json").read_text())
    return Engine(folder / "bin" / "pulumi", folder / "home", about["version"], official=False)


def _build_engine(project: Project, folder: Path, progress: Progress) -> None:
    """Everything into ``folder``, which may be renamed afterwards: nothing in it holds its path."""
    source = project.root / "lab" / "engine"
    programs, home = folder / "bin", folder / "home"
    version = _module(source, _CLI_MODULE, "{{.Version}}")
    stamp = f"-X {_SDK_MODULE}/go/common/version.Version={version}"
    _go_build(source, programs / "pulumi", f"{_CLI_MODULE}/cmd/pulumi", progress, linker_flags=f"-s -w {stamp}")
    executor = Path(_module(source, _SDK_MODULE, "{{.Dir}}"), "python", "cmd", _EXECUTOR)
    shutil.copyfile(executor, programs / _EXECUTOR)
    host = programs / "pulumi-language-python"
    host.write_text(
        _LANGUAGE_HOST.format(
            executor_variable=EXECUTOR_VARIABLE,
            executor=_EXECUTOR,
            python_variable=_PYTHON_VARIABLE,
            python=sys.executable,
        )
    )
    host.chmod(0o755)
    plugin = folder / "build" / f"pulumi-resource-{PLUGIN}"
    _go_build(project.root / "lab" / "provider", plugin, ".", progress, linker_flags="-s -w")
    commands.run(
        [str(programs / "pulumi"), *("plugin", "install", "resource", PLUGIN, PLUGIN_VERSION, "--file"), str(plugin)],
        progress=progress,
        environment={"PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
    )
    shutil.rmtree(folder / "build")
    (folder / "engine.json").write_text(json.dumps({"version": version.removeprefix("v")}) + "\n")


def _go_build(source: Path, target: Path, package: str, progress: Progress, *, linker_flags: str = "-s -w") -> None:
    progress.line(f"go build {package if package != '.' else source.name}")
    commands.run(
        [
            *("go", "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"),
            *(f"-ldflags={linker_flags}", "-o", str(target), package),
        ],
        folder=source,
        progress=progress,
        environment={"GOWORK": "off"},
        worth_showing=_every_hundredth_package(),
    )


class _every_hundredth_package:  # noqa: N801 - used like a function
    """Shows of thousands of compiled packages only now and then how many there were."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, line: str) -> str | None:
        if line.startswith("go: downloading"):
            return line
        self._count += 1
        return f"{self._count} packages compiled, now {line}" if self._count % 100 == 0 else None


def _module(source: Path, module: str, template: str) -> str:
    """What ``go list`` says about a pinned module, which is in the module cache after a build."""
    return commands.output(["go", "list", "-mod=readonly", "-m", "-f", template, module], folder=source).strip()


def _key_of_sources(source: Path) -> str:
    """Changes with the pins, our sources, or Go."""
    if shutil.which("go") is None:
        raise NotReadyError("Go is not installed", hint="install Go 1.26 or newer, so that `go version` works")
    if not (source / "go.mod").is_file():
        raise NotReadyError(f"{source} has no go.mod", hint="is this checkout complete? git status")
    files = sorted(file for file in source.rglob("*") if file.is_file() and _is_input(file))
    parts = [part for file in files for part in (str(file.relative_to(source)), file.read_bytes())]
    return key_of(commands.output(["go", "version"], folder=source), *parts)


def _is_input(file: Path) -> bool:
    """Embedded files count, tests and texts don't."""
    return not (file.name.endswith("_test.go") or file.suffix == ".md" or "testdata" in file.parts)


def _path_without_cache() -> str:
    """PATH without the engines that we built ourselves."""
    cache = cache_dir()
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if entry and cache not in Path(entry).parents)
