"""`attune auth`: show, write, set aside and apply the auth strategy.

Each command is a plain function that returns its exit status (0 done, 1 not in order, 2 usage); the typer app only hands
it the flags. JSON for programs goes to stdout alone. Without a terminal nothing is asked and nothing waits. Decides
nothing about billing: that is `models/auth_strategy.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from attune.errors import AttuneError, ConfigError, StateError
from attune.models.auth_fields import AuthMode, SubscriptionTier
from attune.models.auth_file import backup_of, is_there, locate, set_aside
from attune.models.auth_strategy import AuthStrategy, read_strategy
from attune.models.code_size import count_lines_of_code, get_module_size_category

DONE, NOT_IN_ORDER, USAGE = 0, 1, 2

app = typer.Typer(help="How calls are billed: plan, mode, and what a module would cost.", no_args_is_help=True)


def cmd_auth_status(args: Any = None) -> int:
    """Show the saved strategy. 0 if setup is complete, 1 if the file is missing, broken or incomplete.

    `args`: None, an object with a `json` attribute, or a list of flags (`["--json"]`).
    """
    return show_status(as_json=bool(_flag(args, "json", default=False)))


def cmd_auth_setup(args: Any = None) -> int:
    """Write the strategy, asking only on a terminal. `args`: None, or an object with `tier`, `mode`, `yes`, …"""
    names = ("tier", "mode", "small", "medium", "tokens_per_line", "prefer_subscription")
    return write_setup(
        {name: _flag(args, name, default=None) for name in names}, yes=bool(_flag(args, "yes", default=False))
    )


def cmd_auth_reset(args: Any = None) -> int:
    """Set the file aside as `.bak`. `args`: None, an object with `yes` or `confirm`, or a list of flags."""
    return set_strategy_aside(yes=any(_flag(args, name, default=False) for name in ("yes", "confirm")))


def cmd_auth_recommend(args: Any = None) -> int:
    """Recommend a mode for one file. `args`: an object with `file` (and `json`), or the path itself."""
    file = args if isinstance(args, (str, Path)) else _flag(args, "file", default=None)
    if file is None:
        return _usage("name a file: attune auth recommend FILE")
    return recommend_for(Path(file), as_json=bool(_flag(args, "json", default=False)))


def show_status(*, as_json: bool) -> int:
    """Print what is saved, and what is wrong with it."""
    path = locate()
    strategy, problem = read_strategy(path)
    there = is_there(path)
    configured = there and strategy.setup_completed
    status = DONE if configured and problem is None else NOT_IN_ORDER
    facts = {
        **strategy.to_dict(),
        "configured": configured,
        "config_file": str(path),
        "file_exists": there,
        "problem": problem,
    }
    if as_json:
        _emit(facts)
        return status
    console = Console()
    table = Table("field", "value", title="Auth strategy", title_justify="left")
    for name, value in facts.items():
        if name not in ("schema", "problem"):
            table.add_row(name, escape(value if isinstance(value, str) else json.dumps(value)))
    console.print(table)
    if problem is not None:
        console.print(escape(problem), style="yellow", soft_wrap=True)
    elif not configured:
        console.print("Setup is not complete. Run `attune auth setup`.", style="yellow")
    return status


def write_setup(given: Mapping[str, Any], *, yes: bool) -> int:
    """Write a strategy from flags, from what is saved already, and from answers where somebody is there to give them."""
    path = locate()
    saved, problem = read_strategy(path)
    known = saved.setup_completed and problem is None
    choices = {name: value for name, value in given.items() if value is not None}
    enough = choices if known else "tier" in choices
    if not (yes or enough or _attended()):
        tiers = "|".join(SubscriptionTier)
        return _usage(
            f"no terminal to ask on. Give --tier {tiers} (and --mode {'|'.join(AuthMode)}), or --yes for the defaults."
        )
    with _told() as failed:
        if not yes and _attended():
            choices = _ask(saved, choices)
        _apply(saved, choices)
        saved.setup_completed = True
        saved.save(path)
    if failed:
        return failed[0]
    console = Console()
    console.print(f"Saved {escape(str(path))}", soft_wrap=True)
    if problem is not None and is_there(backup_of(path)):
        console.print(f"What was there is kept as {escape(str(backup_of(path)))}", soft_wrap=True)
    if saved.default_mode is AuthMode.SUBSCRIPTION:
        console.print(
            "The executor cannot use a subscription yet: in this mode it answers with an error, and bills nothing."
        )
    return DONE


def set_strategy_aside(*, yes: bool) -> int:
    """Keep the file as `.bak`, so that defaults are in force; asks first only where somebody can answer."""
    path = locate()
    console = Console()
    if not is_there(path):
        console.print(f"Nothing to reset: there is no {escape(str(path))}", soft_wrap=True)
        return DONE
    kept = None
    with _told() as failed:
        if not yes and _attended() and not typer.confirm(f"Set {path} aside?"):
            console.print("Left as it was.")
            return NOT_IN_ORDER
        try:
            kept = set_aside(path)
        except OSError as error:
            raise StateError(f"{path} could not be moved ({error.strerror or error}).") from error
    if failed:
        return failed[0]
    console.print(f"Reset. What was there is kept as {escape(str(kept))}", soft_wrap=True)
    console.print("Run `attune auth setup` to choose anew.")
    return DONE


def recommend_for(file: Path, *, as_json: bool) -> int:
    """Print the mode for one module, and what one request with it would cost."""
    if not file.is_file():
        return _usage(f"there is no file {str(file)!r}.")
    strategy, problem = read_strategy()
    with _told() as failed:
        lines = count_lines_of_code(file)
        estimate = strategy.estimate_cost(lines)
        facts = {
            "file": str(file),
            "lines_of_code": lines,
            "size": get_module_size_category(lines),
            "recommended_mode": strategy.get_recommended_mode(lines).value,
            "estimate": estimate,
            "problem": problem,
        }
    if failed:
        return failed[0]
    if as_json:
        _emit(facts)
    else:
        _describe(facts, estimate, problem)
    return DONE


def _describe(facts: Mapping[str, Any], estimate: Mapping[str, Any], problem: str | None) -> None:
    console = Console()
    cost = estimate["monetary_cost"]
    told = "unknown" if cost is None else f"${cost:.6f}"
    fits = {True: "yes", False: "no", None: "unknown"}[estimate["fits_in_context"]]
    console.print(
        f"{facts['file']}: {facts['lines_of_code']:,} lines of code, {facts['size']}", markup=False, soft_wrap=True
    )
    console.print(f"Recommended mode: [bold]{facts['recommended_mode']}[/bold]")
    console.print(f"About {estimate['tokens_used']:,} tokens, {told} a request; fits into one request: {fits}")
    console.print(f"Supposed: {json.dumps(estimate['assumptions'])}", style="dim", markup=False, soft_wrap=True)
    if problem is not None:
        console.print(problem, style="yellow", markup=False, soft_wrap=True)


def _apply(strategy: AuthStrategy, choices: Mapping[str, Any]) -> None:
    fields = {
        "tier": "subscription_tier",
        "mode": "default_mode",
        "small": "small_module_threshold",
        "medium": "medium_module_threshold",
        "tokens_per_line": "loc_to_tokens_multiplier",
        "prefer_subscription": "prefer_subscription",
    }
    for name, value in choices.items():
        setattr(strategy, fields[name], value)


def _ask(saved: AuthStrategy, choices: Mapping[str, Any]) -> dict[str, Any]:
    answers = dict(choices)
    if "tier" not in answers:
        answers["tier"] = _choose("Your Claude plan", SubscriptionTier, saved.subscription_tier)
    if "mode" not in answers:
        answers["mode"] = _choose("How to bill (auto: by the size of the module)", AuthMode, saved.default_mode)
    return answers


def _choose(question: str, words: type[SubscriptionTier | AuthMode], default: str) -> str:
    from rich.prompt import Prompt

    return Prompt.ask(question, choices=[word.value for word in words], default=str(default), case_sensitive=False)


def _attended() -> bool:
    """Whether somebody can be asked: both ends of the conversation are terminals."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _flag(args: Any, name: str, *, default: Any) -> Any:
    if isinstance(args, (list, tuple)):
        return f"--{name}" in args or default
    return getattr(args, name, default)


def _emit(facts: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


@contextmanager
def _told() -> Iterator[list[int]]:
    """Turn what a person typed wrongly, or a file that cannot be used, into a line and an exit status."""
    failed: list[int] = []
    try:
        yield failed
    except ConfigError as error:
        failed.append(_usage(str(error)))
    except AttuneError as error:
        failed.append(_not_in_order(str(error)))
    except (EOFError, KeyboardInterrupt, typer.Abort):
        failed.append(_not_in_order("stopped; nothing was changed."))


def _usage(message: str) -> int:
    Console(stderr=True).print(f"attune auth: {message}", style="red", markup=False, soft_wrap=True)
    return USAGE


def _not_in_order(message: str) -> int:
    Console(stderr=True).print(f"attune auth: {message}", style="red", markup=False, soft_wrap=True)
    return NOT_IN_ORDER


Json = Annotated[bool, typer.Option("--json", help="Plain JSON on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "--confirm", "-y", help="Ask nothing.")]


@app.command("status")
def _status(*, as_json: Json = False) -> None:
    """Show the saved strategy; exit status 1 if there is none, or it is broken."""
    raise typer.Exit(show_status(as_json=as_json))


@app.command("setup")
def _setup(
    *,
    tier: Annotated[str | None, typer.Option(help="Your Claude plan: free, pro, max, enterprise, api_only.")] = None,
    mode: Annotated[str | None, typer.Option(help="subscription, api or auto.")] = None,
    small: Annotated[int | None, typer.Option(help="Modules under so many lines are small.")] = None,
    medium: Annotated[int | None, typer.Option(help="Modules under so many lines are medium.")] = None,
    tokens_per_line: Annotated[float | None, typer.Option(help="Tokens per line of code, for estimates.")] = None,
    prefer_subscription: Annotated[bool | None, typer.Option(help="For modules of medium size.")] = None,
    yes: Yes = False,
) -> None:
    """Choose plan and mode; without a terminal, by flags alone."""
    given = {
        "tier": tier,
        "mode": mode,
        "small": small,
        "medium": medium,
        "tokens_per_line": tokens_per_line,
        "prefer_subscription": prefer_subscription,
    }
    raise typer.Exit(write_setup(given, yes=yes))


@app.command("reset")
def _reset(*, yes: Yes = False) -> None:
    """Set the saved strategy aside as .bak; without a terminal, without a question."""
    raise typer.Exit(set_strategy_aside(yes=yes))


@app.command("recommend")
def _recommend(file: Path, *, as_json: Json = False) -> None:
    """Recommend a mode for one source file."""
    raise typer.Exit(recommend_for(file, as_json=as_json))
