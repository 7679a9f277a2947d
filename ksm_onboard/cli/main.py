"""``ksm-onboard``: the commands, as thin as they can be. Exit codes: docs/reference/exit-codes.md."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from ksm_onboard.cli import terminal
from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.project import find_project

# Where each command is defined, in the order of the help text.
_COMMANDS = {
    "check": "declarations:check",
    "plan": "declarations:plan",
    "allocate": "allocation:allocate",
    "explain": "explaining:explain",
    "diff": "explaining:diff",
    "affected": "affected:affected",
    "firewall": "firewall:firewall",
    "new": "new_member:new",
    "schema": "schema:schema",
    "catalogue": "catalogue:app",
    "licences": "licences:licences",
    "import": "takeover:import_exports",
    "comment": "comment:comment",
    "preview": "preview:preview",
    "approve": "preview:approve",
    "up": "flow:up",
    "configure": "flow:configure",
    "restore-test": "flow:restore_test",
    "verify": "flow:verify",
    "report": "flow:report",
    "baseline": "baseline:baseline",
    "onboard": "flow:onboard",
    "status": "flow:status",
    "drill": "drilling:drill",
    "depot": "depot:app",
    "ci": "pipeline:app",
    "env": "flow:env",
    "lab": "lab:app",
}


class _OnDemand(MutableMapping[str, Any]):
    """The commands by name, each imported when it is asked for: ``check`` need not wait for the engine's library."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module, _, attribute = _COMMANDS[name].partition(":")
            self._made[name] = _command(name, getattr(import_module(f"ksm_onboard.cli.{module}"), attribute))
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


def _command(name: str, defined: Any) -> Any:
    """A function, or a group of commands, as a command of that name."""
    app = typer.Typer(add_completion=False, context_settings=_CONTEXT)
    if isinstance(defined, typer.Typer):
        app.add_typer(defined, name=name)
        return typer.main.get_group(app).commands[name]
    app.command(name)(defined)
    return typer.main.get_command(app)


class _Commands(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _OnDemand()

    def list_commands(self, _context: Any) -> list[str]:
        return list(self.commands)


_CONTEXT = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="ksm-onboard",
    cls=_Commands,
    help="Onboards whole administrations into the data centre, from one declaration per member.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)


@app.callback()
def _options() -> None:
    # There are none; the callback tells Typer that this is a group, though it knows no command of it yet.
    pass


def main() -> NoReturn:
    """Run the command line; turn what a person can put right into one message and an exit code."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        app(standalone_mode=True)
    except DeclarationRefusedError as refused:
        terminal.print_findings(refused.findings, find_project().root)
        terminal.print_error(refused)
        sys.exit(refused.exit_code)
    except OnboardError as error:
        terminal.print_error(error)
        sys.exit(error.exit_code)
    except SystemExit as end:
        # Typer turns Ctrl-C into this exit code without a word.
        if end.code == ExitCode.INTERRUPTED:
            terminal.err.print("[yellow]interrupted[/]; run the same command again: it goes on from there")
        raise
    sys.exit(ExitCode.OK)


if __name__ == "__main__":
    main()
