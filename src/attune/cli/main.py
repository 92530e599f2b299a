"""`attune`: the commands put together, and a person's mistake turned into one line and exit status 2.

Knows which commands there are, and nothing of what they do; what they need is loaded when they run.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from attune.cli import auth, routes, telemetry
from attune.cli.demo.command import demo

app = typer.Typer(
    help="Routes, guards and measures LLM calls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(auth.app, name="auth")
app.add_typer(routes.app, name="routes")
app.add_typer(telemetry.app, name="telemetry")
app.command("demo")(demo)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"attune {version('attune-models')}\n")
        raise typer.Exit


@app.callback()
def _root(
    *, version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False
) -> None:
    """Routes, guards and measures LLM calls."""


def main() -> None:
    """The program `attune`. Exits with the command's status: 0 done, 1 not in order, 2 usage."""
    from attune.errors import AttuneError, ConfigError

    try:
        app(prog_name="attune")
    except AttuneError as error:
        sys.stderr.write(f"attune: {error}\n")
        sys.exit(2 if isinstance(error, ConfigError) else 1)


if __name__ == "__main__":
    main()
