"""`attune telemetry`: what is set up on this machine, and whether a reader finds what attune sends.

Each command is a plain function that returns its exit status (0 done, 1 not in order, 2 usage). It makes no file, starts
no thread and changes nothing. What is checked, and what to do about it, is `telemetry/verify.py`'s to know.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from attune.errors import AttuneError, ConfigError

if TYPE_CHECKING:
    from attune.calls.settings import Settings
    from attune.models.performance import TelemetryReader

DONE, NOT_IN_ORDER, USAGE = 0, 1, 2
_DEADLINE_S: Final = 30.0
_ENDPOINTS: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)  # fmt: skip

app = typer.Typer(help="What is told and read back, and whether it arrives.", no_args_is_help=True)


def show_status(reader: str | None = None, *, as_json: bool) -> int:
    """Print where things are, how large they are, and what each reader brings now. 1 if a reader cannot read."""
    with _told() as failed:
        settings = _settings()
        found = _described(settings, reader)
        if as_json:
            _emit(found)
        else:
            _print_status(found)
        if any(it["error"] for it in found["readers"]):
            return NOT_IN_ORDER
    return failed[0] if failed else DONE


def show_findings(reader: str | None = None, *, as_json: bool) -> int:
    """Print what was looked for in each reader and what to do where it is not there. 1 if something is missing."""
    with _told() as failed:
        told = [_verified(one) for one in _readers(_settings(), reader)]
        if as_json:
            _emit(told[0] if reader is not None else told)
        else:
            for it in told:
                _print_findings(it)
            if not told:
                sys.stdout.write(
                    "No reader is set up, and there are no files. Call attune.telemetry.setup() where models are called,\n"
                    "or name a reader: attune telemetry verify --from promql+http://HOST:9090\n"
                )
        if not told or not all(it["ok"] for it in told):
            return NOT_IN_ORDER
    return failed[0] if failed else DONE


def _settings() -> Settings:
    from attune.calls.settings import from_code

    return from_code({}, os.environ, Path.cwd())


def _readers(settings: Settings, said: str | None) -> Iterator[TelemetryReader]:
    """The readers that a process started here would read, or the one that was named; each is closed after its turn."""
    from attune.telemetry import from_text

    texts: Sequence[str] = (said,) if said is not None else settings.readers or ()
    if said is None and settings.readers is None and (settings.home / "telemetry").is_dir():
        texts = (f"file:{settings.home / 'telemetry'}",)
    for text in texts:
        reader = from_text(text)
        try:
            yield reader
        finally:
            reader.close()


def _described(settings: Settings, said: str | None) -> dict[str, Any]:
    home = settings.home
    files = sorted(path for path in (home / "telemetry").glob("*") if path.is_file())
    store = home / "state.db"
    return {
        "mode": settings.mode,
        "home": str(home),
        "home_exists": home.is_dir(),
        "state": settings.state,
        "state_db": _sized(store) if store.is_file() else None,
        "otlp_endpoint": {name: _bare(os.environ[name]) for name in _ENDPOINTS if os.environ.get(name)},
        "files": [_sized(path) for path in files],
        "readers": [_polled(reader) for reader in _readers(settings, said)],
    }


def _bare(endpoint: str) -> str:
    """An address without user, password and query."""
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def _sized(path: Path) -> dict[str, Any]:
    about = path.stat()
    return {"path": str(path), "bytes": about.st_size, "age_s": round(max(0.0, time.time() - about.st_mtime), 1)}


def _polled(reader: TelemetryReader) -> dict[str, Any]:
    """What one poll brings: figures, and the error where it fails."""
    facts: dict[str, Any] = {
        "name": reader.name, "scope": reader.scope, "series": 0, "attempts": 0, "age_s": None, "complete": False,
        "warnings": [], "sparse": [], "error": None,
    }  # fmt: skip
    try:
        batch = reader.poll(None, _DEADLINE_S)
    except (AttuneError, OSError) as error:
        return {**facts, "error": str(error) if isinstance(error, AttuneError) else type(error).__name__}
    tallies = [row.tally for row in batch.rows]
    age = max(0.0, time.time() - batch.watermark_ns / 1e9) if batch.watermark_ns else None
    return {
        **facts,
        "series": len({row.series for row in batch.rows}),
        "attempts": sum(it.answers + it.failures + it.failures_open + it.neutral for it in tallies),
        "age_s": None if age is None else round(age, 1),
        "complete": batch.complete,
        "warnings": list(batch.warnings),
        "sparse": ["/".join(series) for series in getattr(reader, "sparse", ())],
    }


def _verified(reader: TelemetryReader) -> dict[str, Any]:
    from attune.telemetry.verify import verify

    findings = verify(reader)
    return {"reader": reader.name, "ok": all(it.ok for it in findings), "findings": [asdict(it) for it in findings]}


def _print_status(found: dict[str, Any]) -> None:
    console = Console()
    table = Table("what", "value", title="Telemetry on this machine", title_justify="left")
    store, files = found["state_db"], found["files"]
    table.add_row("home", escape(found["home"]) + ("" if found["home_exists"] else " (not there yet)"))
    table.add_row("mode, state", f"{found['mode']}, {found['state']}")
    table.add_row("state.db", "-" if store is None else f"{store['bytes']:,} bytes, written {store['age_s']:.0f} s ago")
    size = sum(it["bytes"] for it in files)
    table.add_row("OTLP files", f"{len(files)}, {size:,} bytes" if files else "-")
    for name, value in found["otlp_endpoint"].items():
        table.add_row(name, escape(value))
    console.print(table)
    readers = Table("reader", "scope", "series", "attempts", "newest", "state", title="Readers", title_justify="left")
    for it in found["readers"]:
        age = "-" if it["age_s"] is None else f"{it['age_s']:.0f} s ago"
        readers.add_row(
            escape(it["name"]), it["scope"], str(it["series"]), str(it["attempts"]), age, escape(_state(it))
        )
    if found["readers"]:
        console.print(readers)
    else:
        console.print("No reader is set up, and there are no files: decisions rest on this machine's state.db alone.")


def _state(it: dict[str, Any]) -> str:
    if it["error"]:
        return str(it["error"])
    rare = f"{len(it['sparse'])} series are too rare to rely on" if it["sparse"] else ""
    return "; ".join(filter(None, [*it["warnings"], rare])) or ("well" if it["complete"] else "not all read yet")


def _print_findings(told: dict[str, Any]) -> None:
    console = Console()
    console.print(f"{told['reader']}", markup=False, highlight=False)
    for it in told["findings"]:
        console.print(
            f"  {'ok     ' if it['ok'] else 'MISSING'}  {it['what']}: {it['seen']}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        if it["remedy"]:
            console.print(f"           {it['remedy']}", markup=False, highlight=False, soft_wrap=True)


def _emit(facts: Any) -> None:
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


@contextmanager
def _told() -> Iterator[list[int]]:
    """Turn a person's mistake into a line and an exit status."""
    failed: list[int] = []
    try:
        yield failed
    except (AttuneError, OSError) as error:
        text = str(error) if isinstance(error, AttuneError) else f"{type(error).__name__}: {error.filename}"
        Console(stderr=True).print(
            f"attune telemetry: {text}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        failed.append(USAGE if isinstance(error, ConfigError) else NOT_IN_ORDER)


Json = Annotated[bool, typer.Option("--json", help="Plain JSON on stdout.")]
From = Annotated[
    str | None, typer.Option("--from", help="Look at this reader instead: file:PATH, promql+http://HOST:9090")
]


@app.command("status")
def _status(*, as_json: Json = False, reader: From = None) -> None:
    """What is set up here, and what each reader brings."""
    raise typer.Exit(show_status(reader, as_json=as_json))


@app.command("verify")
def _verify(*, as_json: Json = False, reader: From = None) -> None:
    """Which metric or label is missing, and what to do about it."""
    raise typer.Exit(show_findings(reader, as_json=as_json))
