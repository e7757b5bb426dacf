"""What every command shares: the application, options, printing and exit codes.

JSON goes to standard output, progress and errors to standard error. Exit codes: 0 done, 1 failed,
2 bad input, 3 some variants failed and the rest are ranked, 4 a gate or regression failed.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console, RenderableType

from prunebench import __version__
from prunebench.common.errors import EXIT_FAILED, InputError, PrunebenchError
from prunebench.config.loading import ENV_PREFIX, Config, load_config, parse_overrides
from prunebench.steps.events import Event, Stage
from prunebench.steps.signals import INTERRUPTED, ending_on_signals

PIPED_WIDTH = 112  # Columns the tables are laid out for, used where standard output is no terminal.
app = typer.Typer(
    name="prunebench",
    help="Which pruned YOLO do I ship on this CPU, and is the difference real?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings that win over the file, such as prune.target=2x retrain.epochs=20.",
        show_default=False,
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with the configuration.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Trained checkpoint (.pt) or network (.yaml).")
]
DataOption = Annotated[
    str | None, typer.Option("--data", "-d", help="Data YAML, 'scenes' or 'neontrees'.")
]
OutOption = Annotated[str | None, typer.Option("--out", "-o", help="Folder for runs.")]
DataDirOption = Annotated[Path, typer.Option(help="Folder for built-in data.")]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="PRUNEBENCH_HISTORY", help="History: sqlite:///, postgresql://."),
]
RunsOption = Annotated[
    Path, typer.Option("--out", "-o", envvar="PRUNEBENCH_OUT", help="Folder of runs.")
]
StoreOption = Annotated[
    str, typer.Option("--store", envvar="PRUNEBENCH_STORE", help="file:///folder, s3://bucket.")
]
StrictOption = Annotated[
    bool | None, typer.Option("--strict/--no-strict", help="Refuse to rank a noisy run.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def run_app(application: typer.Typer) -> None:
    """Run a command line and turn every expected error into its sentence and exit code.

    Ctrl-C and SIGTERM end it within seconds, with a sentence that says how to go on.
    """
    with ending_on_signals(_tell_interrupted):
        try:
            application()
        except PrunebenchError as error:
            tell(f"prunebench: {_variable_of(error)}{error}")
            sys.exit(error.exit_code)
        except OSError as error:
            # A disk, a network or a permission; it says of which file.
            tell(f"prunebench: {error}")
            sys.exit(EXIT_FAILED)
        except SystemExit as ended:
            # Typer makes this of a KeyboardInterrupt.
            if ended.code == INTERRUPTED:
                _tell_interrupted()
            raise


@functools.cache
def _tell_interrupted() -> None:
    """Say once how to go on."""
    again = shlex.join(["prunebench", *sys.argv[1:]])
    tell(f"prunebench: interrupted; the same command goes on where it stopped: {again}")


def _variable_of(error: PrunebenchError) -> str:
    """ "PRUNEBENCH_OUT=" where what an error begins with was said by that variable alone."""
    where = getattr(error, "where", None)
    if where is None or any(where in argument for argument in sys.argv):
        return ""
    named = (name for name, value in os.environ.items() if value == where)
    return next((f"{name}=" for name in named if name.startswith(ENV_PREFIX)), "")


def tell(sentence: str) -> None:
    """Print a sentence on standard error."""
    Console(stderr=True).print(sentence, markup=False, highlight=False, soft_wrap=True)


def config_from(
    config: Path | None, flags: Mapping[str, Any], overrides: Sequence[str] | None = None
) -> Config:
    """The configuration of a command: its file, then flags that were given, then ``overrides``."""
    given = {key: value for key, value in flags.items() if value is not None}
    typed = parse_overrides(overrides or ())
    # Every option is named as the last part of its key; an override wins over it.
    options = {key: f"--{key.rpartition('.')[2]}" for key in given if key not in typed}
    return load_config(config, overrides={**given, **typed}, options=options)


def show_stage(event: Event) -> None:
    """Print what begins now on standard error, of a step's events."""
    if isinstance(event, Stage):
        typer.echo(event.what, err=True)


def show(result: Any, *views: RenderableType, as_json: bool) -> None:
    """Print a result on standard output: as JSON, or as it is for people."""
    if as_json:
        plain = to_jsonable_python(result)
        sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    console.print(*views, sep="\n")


def existing_run(run: Path) -> Path:
    """An existing run folder as an absolute path; InputError where there is none."""
    if not run.is_dir():
        raise InputError("no such run folder", where=run, fix="give the folder of a run")
    return run.resolve()
