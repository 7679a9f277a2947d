"""``ksm-onboard``: the commands, as thin as they can be. Exit codes: docs/reference/exit-codes.md."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import typer

from ksm_onboard.cli import allocation, declarations, explaining, flow, lab, new_member, schema, takeover, terminal
from ksm_onboard.declaration.findings import DeclarationRefusedError
from ksm_onboard.errors import ExitCode, OnboardError
from ksm_onboard.project import find_project

app = typer.Typer(
    name="ksm-onboard",
    help="Onboards whole administrations into the data centre, from one declaration per member.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check")(declarations.check)
app.command("plan")(declarations.plan)
app.command("allocate")(allocation.allocate)
app.command("explain")(explaining.explain)
app.command("diff")(explaining.diff)
app.command("new")(new_member.new)
app.command("schema")(schema.schema)
app.command("import")(takeover.import_exports)
for command in (flow.up, flow.configure, flow.verify, flow.report, flow.onboard, flow.status, flow.env):
    app.command(command.__name__)(command)
app.add_typer(lab.app, name="lab")


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
