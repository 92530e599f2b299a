"""The programs of the stack: what each is made from, and where it stands once `make stack` has made it.

A part is what is built in one go: a program and the tools that come with it. Its place is named after a hash of all that
it is made from, so a changed pin has a new place, and what stands at a place is always whole and always this checkout's.
Nothing is built here and nothing is run: the tests load this file too, to find what is there.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MANIFEST = HERE.parent / "builder.yaml"
OS_RELEASE = Path("/etc/os-release")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """One program: where it comes from, what to ask it, and what a sound one answers."""

    name: str
    source: str  # a Go package, or a file of an unpacked Debian package
    says: str  # a regular expression
    asked: str = "--version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is made in one go: from the Go modules pinned in the folder of its name, or from `packages` of Debian."""

    name: str
    version: str
    binaries: tuple[Binary, ...]
    tags: str = ""
    stamp: str = ""  # the variable that `--version` prints, which a build from modules leaves empty
    packages: tuple[str, ...] = ()

    release: str = ""  # the version's name in the module proxy

    @property
    def pin(self) -> Path:
        """The folder that holds its go.mod and go.sum."""
        return HERE / self.name


COMMON_VERSION = "github.com/prometheus/common/version.Version"


def _of_go(name: str, version: str, release: str, tags: str = "", **packages: str) -> Part:
    suffix = "-oldest" if name.endswith("-oldest") else ""
    says = rf"version {version}\b".replace(".", r"\.")
    binaries = tuple(Binary(name=key + suffix, source=source, says=says) for key, source in packages.items())
    return Part(
        name=name,
        version=version,
        release=release,
        binaries=binaries,
        tags=tags,
        stamp=COMMON_VERSION if release else "",
    )


ALERTMANAGER = "github.com/prometheus/alertmanager/cmd/"
PROMETHEUS = "github.com/prometheus/prometheus/cmd/"

PARTS: tuple[Part, ...] = (
    _of_go("otelcol", "0.159.0", "", otelcol="."),  # its modules are named in builder.yaml
    # Without the tag, a dependency of its service discovery is asked for that modules alone do not give.
    _of_go(
        "prometheus",
        "3.16.0",
        "v0.316.0",  # how a module whose path has no /v3 must be called
        tags="remove_all_sd,netgo",
        prometheus=PROMETHEUS + "prometheus",
        promtool=PROMETHEUS + "promtool",
    ),
    # From 0.34 on its web pages are not in the module, and it does not build without them.
    _of_go(
        "alertmanager",
        "0.31.1",
        "v0.31.1",
        alertmanager=ALERTMANAGER + "alertmanager",
        amtool=ALERTMANAGER + "amtool",
    ),
    Part(
        name="jaeger",
        version="1.62.0",
        release="v1.62.0",
        stamp="github.com/jaegertracing/jaeger/pkg/version.latestVersion",
        binaries=(
            Binary(
                name="jaeger",
                source="github.com/jaegertracing/jaeger/cmd/all-in-one",
                asked="version",
                says=r"1\.62\.0",
            ),
        ),
    ),
    # Debian's 0.25 opens its templates below /usr/share, so it does not run from a private folder: the same release by Go.
    _of_go(
        "alertmanager-oldest",
        "0.25.0",
        "v0.25.0",
        alertmanager=ALERTMANAGER + "alertmanager",
        amtool=ALERTMANAGER + "amtool",
    ),
    Part(
        name="prometheus-oldest",
        version="2.42",
        packages=("prometheus",),
        binaries=(
            Binary(name="prometheus-oldest", source="usr/bin/prometheus", says=r"version 2\.42\."),
            Binary(name="promtool-oldest", source="usr/bin/promtool", says=r"version 2\.42\."),
        ),
    ),
    Part(
        name="redis",
        version="7",
        packages=(
            "redis-server", "redis-tools", "libatomic1", "libcap2", "libgcrypt20", "libgpg-error0", "libjemalloc2",
            "liblz4-1", "liblzf1", "liblzma5", "libssl3", "libsystemd0", "libzstd1",
        ),
        binaries=(
            Binary(name="redis-server", source="usr/bin/redis-server", says=r"v=[78]\."),
            Binary(name="redis-cli", source="usr/bin/redis-cli", says=r"redis-cli [78]\."),
        ),
    ),
    Part(
        name="victoria-metrics",
        version="1",
        packages=("victoria-metrics", "libzstd1"),
        binaries=(
            # Debian's build does not know its own version: that it runs is all it can say.
            Binary(name="victoria-metrics", source="usr/bin/victoria-metrics", says=r"\A\s*\Z|victoria-metrics"),
            Binary(name="vmagent", source="usr/bin/vmagent", says=r"\A\s*\Z|vmagent"),
        ),
    ),
)  # fmt: skip


def inputs(part: Part) -> list[Path]:
    """The files that decide what is built."""
    if part.packages:
        return []
    files = [part.pin / "go.mod", part.pin / "go.sum"]
    if part.name == "otelcol":
        files += [MANIFEST, HERE / "ocb" / "go.mod", HERE / "ocb" / "go.sum"]
    return files


def key(part: Part) -> str:
    """A hash of all that the part is made from: recipe, pins, and the kind of machine."""
    text = [repr(part), sys.platform, platform.machine()]
    if part.packages and OS_RELEASE.exists():
        text += sorted(line for line in OS_RELEASE.read_text().splitlines() if line.startswith(("ID=", "VERSION_ID=")))
    digest = hashlib.sha256("\n".join(text).encode())
    for path in inputs(part):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def home(environ: Mapping[str, str]) -> Path:
    """The folder of the stack: ATTUNE_STACK_HOME, else attune-stack in the user's cache."""
    if said := environ.get("ATTUNE_STACK_HOME"):
        return Path(said).expanduser().absolute()
    cache = environ.get("XDG_CACHE_HOME")
    base = Path(cache) if cache else Path(environ.get("HOME") or Path.home()) / ".cache"
    return base.absolute() / "attune-stack"


def place(part: Part, environ: Mapping[str, str]) -> Path:
    """Where the part stands once it is made; there is nothing half made there."""
    return home(environ) / f"{part.name}-{part.version}-{key(part)}"


def binary(name: str, environ: Mapping[str, str]) -> Path | None:
    """A program of the stack by name, or None where it is not made yet (or there is none of that name)."""
    for part in PARTS:
        if any(found.name == name for found in part.binaries):
            path = place(part, environ) / "bin" / name
            return path if path.exists() else None
    return None
