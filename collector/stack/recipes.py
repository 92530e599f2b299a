"""How a part of the stack is made: by Go from pinned modules, or unpacked from Debian's packages.

A recipe fills a folder of its own and touches nothing else but the caches of Go and a private folder for apt. It neither
knows where the folder will stand in the end nor whether it is needed. Which registry answers is the environment's affair
(GOPROXY, apt's sources). Where the tool itself is missing it says so with `Missing`; where the tool failed, with `Failed`.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from shelf import MANIFEST, Binary, Part

Say = Callable[[str], None]

JOBS = "2"  # packages compiled at a time: a laptop stays usable
BEAT_S = 15.0  # a line of progress at least this often, seconds
ANSWER_S = 30.0  # how long a program may take to say its version, seconds
MODULES = ("-mod=readonly", "-buildvcs=false", "-trimpath", "-p", JOBS)


class Missing(Exception):  # noqa: N818 - the two are read side by side: missing, failed
    """This machine lacks the tool that the recipe starts with."""


class Failed(Exception):  # noqa: N818 - as above
    """The tool was there and did not do it; the text ends with its last words."""


def make(part: Part, folder: Path, say: Say) -> str:
    """Make the part in an empty folder, see that each program answers, and tell what it was made with."""
    made_with = _unpack(part, folder, say) if part.packages else _build(part, folder, say)
    for binary in part.binaries:
        verify(binary, folder / "bin" / binary.name)
    return made_with


def verify(binary: Binary, path: Path) -> None:
    """Run the program and look at what it says of itself; Failed where it is not what it should be."""
    try:
        done = subprocess.run(
            [path, binary.asked],
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{binary.name} does not run: {error}") from error
    said = done.stdout + done.stderr
    if done.returncode or not re.search(binary.says, said):
        raise Failed(f"{binary.name} {binary.asked} ended with {done.returncode} and said: {said.strip()[:300]!r}")


def _build(part: Part, folder: Path, say: Say) -> str:
    go = _go(part)
    environ = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    source = folder / "source"
    shutil.copytree(part.pin, source)
    if part.name == "otelcol":
        _generate(part, go, source, environ, say)
    stamp = f" -X {part.stamp}={part.version}" if part.stamp else ""
    tags = ["-tags", part.tags] if part.tags else []
    for binary in part.binaries:
        command = [go, "build", "-v", *MODULES, *tags, f"-ldflags=-s -w{stamp}"]
        command += ["-o", str(folder / "bin" / binary.name), binary.source]
        _run(command, source, environ, functools.partial(_compiled, say, binary.name))
    shutil.rmtree(source)
    return _output([go, "env", "GOVERSION"])


def _compiled(say: Say, name: str, packages: int) -> None:
    say(f"{name}: {packages} packages compiled")


def _generate(part: Part, go: str, source: Path, environ: dict[str, str], say: Say) -> None:
    """Let OpenTelemetry's builder write the collector's main package; the versions stay those of our pin."""
    builder = source.parent / "ocb"
    if strayed := sorted(set(components()) - set(_required(part.pin / "go.mod"))):
        raise Failed(f"{MANIFEST.name} asks for what the pin does not hold: {strayed[0]}; run build.py --repin otelcol")
    say("building the builder (ocb)")
    shutil.copytree(part.pin.parent / "ocb", source.parent / "ocb-source")
    package = "go.opentelemetry.io/collector/cmd/builder"
    _run([go, "build", *MODULES, "-o", str(builder), package], source.parent / "ocb-source", environ)
    shutil.copy(MANIFEST, source.parent / MANIFEST.name)
    command = [str(builder), f"--config={MANIFEST.name}", "--skip-get-modules", "--skip-compilation"]
    _run(command, source.parent, environ)
    for path in (source.parent / "_build").glob("*.go"):
        shutil.copy(path, source)
    for name in ("ocb-source", "_build"):
        shutil.rmtree(source.parent / name)
    builder.unlink()
    (source.parent / MANIFEST.name).unlink()


def components() -> list[str]:
    """Each module and version that builder.yaml names."""
    return re.findall(r"^ *- gomod: (\S+ \S+)$", MANIFEST.read_text(encoding="utf-8"), re.MULTILINE)


def _required(module_file: Path) -> list[str]:
    return re.findall(r"^\s*(\S+ v\S+)", module_file.read_text(encoding="utf-8"), re.MULTILINE)


def _go(part: Part) -> str:
    usual = [Path(root, "bin", "go") for root in (os.environ.get("GOROOT"), "/usr/local/go", "/usr/lib/go") if root]
    go = shutil.which("go") or next((str(path) for path in usual if path.exists()), None)
    if go is None:
        raise Missing("Go is neither on the PATH nor in a usual place")
    asked = re.search(r"^go (\S+)", (part.pin / "go.mod").read_text(), re.MULTILINE)
    wanted = asked[1] if asked else "1"
    have = _output([go, "env", "GOVERSION"])
    if _numbers(have) < _numbers(wanted) and _output([go, "env", "GOTOOLCHAIN"]) == "local":
        raise Missing(f"Go {wanted} or later is needed, {have} is here")
    return go


def _unpack(part: Part, folder: Path, say: Say) -> str:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Missing("apt-get and dpkg-deb are not here: this part is taken from Debian's packages")
    downloads, root, lib = folder / "downloads", folder / "root", folder / "lib"
    for path in (downloads, root, lib, folder / "bin"):
        path.mkdir()
    say(f"asking apt for {', '.join(part.packages)}")
    _download(part, folder / "apt", downloads)
    names = {}
    for package in downloads.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(package), str(root)], downloads, dict(os.environ))
        name, version, _ = package.name.split("_")
        names[name] = f"{name} {version.replace('%3a', ':')}"
    for library in root.glob("**/lib/*/lib*.so*"):
        shutil.copy(library, lib / library.name)
    for binary in part.binaries:
        _place(binary, root, folder)
    for path in (downloads, root, folder / "apt"):
        shutil.rmtree(path)
    return ", ".join(names[name] for name in part.packages)


def _download(part: Part, apt: Path, downloads: Path) -> None:
    """Fetch the packages by the machine's own lists; where those are missing or out of date, by lists of our own."""
    for path in (apt / "lists" / "partial", apt / "cache" / "archives" / "partial"):
        path.mkdir(parents=True)
    environ = {**os.environ, "LC_ALL": "C"}
    private = ["-o", f"Dir::Cache={apt / 'cache'}"]
    if os.geteuid() == 0:
        private += ["-o", "APT::Sandbox::User=root"]  # else the download itself runs as a user who may not write here
    try:
        _run(["apt-get", *private, "download", *part.packages], downloads, environ)
    except Failed:
        private += ["-o", f"Dir::State::lists={apt / 'lists'}"]
        # A source that does not answer is no matter, as long as another has the packages: the download will tell.
        subprocess.run(["apt-get", *private, "update"], capture_output=True, check=False, env=environ)
        _run(["apt-get", *private, "download", *part.packages], downloads, environ)


def _place(binary: Binary, root: Path, folder: Path) -> None:
    """Put one program of a package into bin, with its libraries beside it if it brought any."""
    path = folder / "bin" / binary.name
    if not any((folder / "lib").iterdir()):
        shutil.copy(root / binary.source, path)
        return
    inner = folder / "libexec" / Path(binary.source).name
    inner.parent.mkdir(exist_ok=True)
    shutil.copy(root / binary.source, inner)
    path.write_text(
        "#!/bin/sh\n"
        'here=$(dirname "$(readlink -f "$0")")/..\n'
        'LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n'
        "export LD_LIBRARY_PATH\n"
        f'exec "$here/libexec/{inner.name}" "$@"\n'
    )
    path.chmod(0o755)


def _run(command: list[str], folder: Path, environ: dict[str, str], tell: Callable[[int], None] | None = None) -> None:
    """Run to the end; while it runs, tell now and then how many lines it has printed. Stopped with us, never left behind."""
    log = folder / "log"
    with log.open("w", encoding="utf-8", errors="replace") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            heard = time.monotonic()
            while process.poll() is None:
                time.sleep(0.05)
                if tell and time.monotonic() - heard >= BEAT_S:
                    heard = time.monotonic()
                    tell(len(log.read_text(errors="replace").splitlines()))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        last = "\n    ".join(log.read_text(errors="replace").splitlines()[-8:])
        raise Failed(f"{' '.join(map(str, command[:2]))} ended with {process.returncode}:\n    {last}")
    log.unlink()


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
