"""`metier`: the list of commands. Each lives in a file of its own and imports what it needs when it is called."""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from metier.cli.advise import advise
from metier.cli.augment import augment
from metier.cli.bases import bases
from metier.cli.boundary import INTERRUPTED, Boundary, Interrupts, interrupted
from metier.cli.calibrate import calibrate
from metier.cli.compare import compare
from metier.cli.doctor import doctor
from metier.cli.evaluate import evaluate
from metier.cli.export import export
from metier.cli.frontier import frontier
from metier.cli.gate import gate
from metier.cli.init import init
from metier.cli.options import LAID_OVER, SETTINGS_HELP, AsJson
from metier.cli.plan import plan
from metier.cli.prepare import prepare
from metier.cli.promote import promote, rollback
from metier.cli.protect import protect
from metier.cli.prove import prove
from metier.cli.report import report
from metier.cli.rollout import rollout
from metier.cli.run import run
from metier.cli.schema import schema
from metier.cli.serve import audit, key, serve
from metier.cli.sweep import sweep
from metier.cli.synthesise import synthesise
from metier.cli.train import train
from metier.cli.verify import verify
from metier.cli.versions import card, diff, verify_version, versions
from metier.core.pages import use_huge_pages

_START, _STAGES, _LOOK = "Start here", "One stage at a time", "Look and compare"
_VERSIONS, _SERVE = "Versions", "Serve"

app = typer.Typer(
    name="metier",
    help="Give a general language model a trade: prepare, train, evaluate and prove a fine-tune.",
    epilog="Start with `metier init my-task`, then `cd my-task` and `metier run`.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(rich_help_panel=_START)(init)
app.command(rich_help_panel=_START, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(run)
app.command(rich_help_panel=_START)(doctor)
for _stage in (prepare, augment, synthesise, bases, advise, plan, sweep, train, evaluate, prove, report):
    app.command(rich_help_panel=_STAGES, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(_stage)
for _registered in (promote, rollback, versions, diff, card, verify_version):
    app.command(rich_help_panel=_VERSIONS)(_registered)
app.command(rich_help_panel=_SERVE, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(serve)
app.command(rich_help_panel=_SERVE, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(rollout)
app.command(rich_help_panel=_SERVE, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(calibrate)
app.command(rich_help_panel=_SERVE)(key)
app.command(rich_help_panel=_SERVE, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(export)
app.command(rich_help_panel=_SERVE)(audit)
app.command(rich_help_panel=_LOOK, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(verify)
app.command(rich_help_panel=_LOOK, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(compare)
app.command(rich_help_panel=_LOOK, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(gate)
app.command(rich_help_panel=_LOOK, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(frontier)
app.command(rich_help_panel=_LOOK, context_settings=LAID_OVER, epilog=SETTINGS_HELP)(protect)
app.command(rich_help_panel=_LOOK)(schema)


@app.callback(invoke_without_command=True)
def metier(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", metavar="", help="Print the version and end.")] = False,
    json: AsJson = False,
) -> None:
    """Print the version, or the help when no command is given."""
    if version:
        from metier.cli.version import show_version

        show_version(as_json=json)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
    if json:  # said before the command, it is meant for the command
        context.default_map = {context.invoked_subcommand: {"json": True}}


def main() -> None:
    """Run the command line; ends the program with the exit codes of `core.errors`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign shows another, not a traceback
    Interrupts().listen()
    use_huge_pages()
    as_json = "--json" in sys.argv[1:]
    with Boundary(as_json=as_json):
        code = app(standalone_mode=False, prog_name="metier")
    if code == INTERRUPTED:
        code = interrupted(as_json=as_json)
    raise SystemExit(code or 0)
