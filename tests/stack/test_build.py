"""What `make stack` promises: it says what it leaves out, leaves nothing half made, and rebuilds only what changed."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stack import programs

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
STACK = ROOT / "collector" / "stack"


@pytest.fixture
def bare(tmp_path):
    """A machine with neither Go nor apt, and a copy of the scripts, so that pins may be changed."""
    shutil.copytree(STACK, tmp_path / "collector" / "stack", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "collector" / "builder.yaml", tmp_path / "collector")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "collector" / "stack" / "recipes.py"
    usual = script.read_text(encoding="utf-8").replace("/usr/local/go", "/nowhere").replace("/usr/lib/go", "/nowhere")
    script.write_text(usual, encoding="utf-8")
    return tmp_path


def run(bare, *arguments, **environ):
    """The script's end there."""
    small = {"PATH": str(bare / "bin"), "HOME": str(bare), "ATTUNE_STACK_HOME": str(bare / "home"), **environ}
    command = [sys.executable, bare / "collector" / "stack" / "build.py", *arguments]
    return subprocess.run(command, env=small, capture_output=True, text=True, check=False, timeout=60)


def script(path: Path, text: str) -> None:
    """A program of a few lines."""
    path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    path.chmod(0o755)


def pretend_go(bare, does: str) -> None:
    """A `go` whose `build` runs these lines, with the path to write to in $out."""
    body = f'case "$1 $2" in "env GOVERSION") echo go1.99.0;; build*) while [ "$1" != -o ]; do shift; done; out=$2; {does};; esac\n'
    script(bare / "bin" / "go", body)
    for tool in ("chmod", "mkdir", "dirname"):
        if not (bare / "bin" / tool).exists():
            (bare / "bin" / tool).symlink_to(shutil.which(tool))


SOUND = 'mkdir -p "$(dirname $out)"; printf "#!/bin/sh\\necho 1.62.0\\n" > "$out"; chmod +x "$out"'


def test_without_go_and_apt_it_says_so(bare):
    """Everything is left out, each with its reason, and that is no failure unless it was required."""
    done = run(bare)
    assert done.returncode == 0
    assert "jaeger: left out: Go is neither on the PATH nor in a usual place" in done.stderr
    assert "redis: left out: apt-get and dpkg-deb are not here" in done.stderr
    assert "0 of 8 parts are there" in done.stderr
    assert run(bare, "--require", "--only", "jaeger").returncode == 1
    assert [path.name for path in (bare / "home").iterdir()] == ["lock"]


def test_a_go_too_old_is_named(bare):
    script(bare / "bin" / "go", 'case "$2" in GOVERSION) echo go1.19.8;; GOTOOLCHAIN) echo local;; esac\n')
    done = run(bare, "--only", "prometheus")
    assert re.search(r"prometheus: left out: Go 1\.26\.\d+ or later is needed, go1\.19\.8 is here", done.stderr)


def test_what_is_made_is_not_made_again(bare):
    """Only a change of what it is made from makes a part anew; `--prune` takes the old one away."""
    pretend_go(bare, SOUND)
    first = run(bare, "--only", "jaeger", "--json")
    assert first.returncode == 0, first.stderr
    (report,) = json.loads(first.stdout)
    assert report["state"] == "made"
    assert report["made_with"] == "go1.99.0"
    made = Path(report["binaries"]["jaeger"])
    assert made.exists()
    script(bare / "bin" / "go", "exit 1\n")
    assert run(bare, "--only", "jaeger").returncode == 0
    with (bare / "collector" / "stack" / "jaeger" / "go.sum").open("a", encoding="utf-8") as pin:
        pin.write("\n")
    before = run(bare, "--list").stdout
    assert "jaeger               1.62.0   not made" in before
    pretend_go(bare, SOUND)
    assert run(bare, "--only", "jaeger", "--prune").returncode == 0
    assert not made.exists()
    assert len(list((bare / "home").glob("jaeger-*"))) == 1


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("echo no such module; exit 1", "ended with 1:\n    no such module"),
        (SOUND.replace("1.62.0", "1.61.0"), "said: '1.61.0'"),
        (SOUND.replace("echo", "exit 3; echo"), "ended with 3"),
    ],
    ids=["does not build", "another version", "does not run"],
)
def test_what_fails_leaves_nothing(bare, does, reason):
    """A part is there when all of it answered, and not before; a failure is told and is the exit status."""
    pretend_go(bare, does)
    done = run(bare, "--only", "jaeger")
    assert done.returncode == 1
    assert "jaeger: FAILED" in done.stderr
    assert reason in done.stderr
    assert [path.name for path in (bare / "home").iterdir()] == ["lock"]


def test_two_runs_do_not_collide(bare):
    """The second waits for the first, and sweeps up what a killed one left."""
    home = bare / "home"
    (home / ".jaeger-left").mkdir(parents=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        small = {"PATH": str(bare / "bin"), "ATTUNE_STACK_HOME": str(home)}
        command = [sys.executable, bare / "collector" / "stack" / "build.py", "--only", "jaeger"]
        second = subprocess.Popen(command, env=small, stderr=subprocess.PIPE, text=True)
        said = [second.stderr.readline(), second.stderr.readline()]
        assert said[1] == "Another run is at work there: waiting for it\n"
        assert second.poll() is None
        assert (home / ".jaeger-left").exists()
    second.communicate(timeout=30)
    assert second.returncode == 0
    assert not (home / ".jaeger-left").exists()


def test_the_collector_is_pinned_as_it_is_described(bare):
    """Each module of builder.yaml, in its version, is in the pin; one that is not stops the build with the remedy."""
    manifest = (ROOT / "collector" / "builder.yaml").read_text(encoding="utf-8")
    pin = (STACK / "otelcol" / "go.mod").read_text(encoding="utf-8")
    wanted = re.findall(r"gomod: (\S+ \S+)", manifest)
    assert len(wanted) == 20
    assert [module for module in wanted if f"\t{module}\n" not in pin] == []
    pretend_go(bare, SOUND)
    changed = manifest.replace("debugexporter v0.159.0", "debugexporter v0.160.0")
    (bare / "collector" / "builder.yaml").write_text(changed, encoding="utf-8")
    assert "run build.py --repin otelcol" in run(bare, "--only", "otelcol").stderr


@pytest.mark.parametrize("pin", sorted(STACK.glob("*/go.mod")), ids=lambda pin: pin.parent.name)
def test_every_module_is_pinned_by_hash(pin):
    """What go.mod requires is in go.sum; nothing is replaced by a folder of one machine."""
    text = pin.read_text(encoding="utf-8")
    sums = (pin.parent / "go.sum").read_text(encoding="utf-8")
    required = re.findall(r"^\t(\S+) (v\S+)", text, re.MULTILINE)
    assert required
    assert [module for module, version in required if f"{module} {version}/go.mod h1:" not in sums] == []
    assert "replace " not in text


def test_a_program_is_found_where_it_was_said(tmp_path):
    """The variable wins over the stack, the stack over the PATH; and on the PATH another version does not count."""
    for name, says in (("mine", "anything"), ("jaeger-all-in-one", "1.62.0")):
        (tmp_path / name).mkdir()
        script(tmp_path / name / name, f"echo {says}\n")
    on_the_path = {"PATH": str(tmp_path / "jaeger-all-in-one"), "ATTUNE_STACK_HOME": str(tmp_path / "stack")}
    assert programs.find("jaeger", on_the_path) == tmp_path / "jaeger-all-in-one" / "jaeger-all-in-one"
    said = {**on_the_path, "JAEGER_BIN": str(tmp_path / "mine" / "mine")}
    assert programs.find("jaeger", said) == tmp_path / "mine" / "mine"
    assert programs.find("jaeger", {**on_the_path, "JAEGER_BIN": str(tmp_path / "nothing")}) is None
    (tmp_path / "old").mkdir()
    script(tmp_path / "old" / "jaeger", "echo 1.20.0\n")
    assert programs.find("jaeger", {**on_the_path, "PATH": str(tmp_path / "old")}) is None


def test_one_word_requires_the_whole_stack(pytester, monkeypatch):
    """ATTUNE_REQUIRE=stack turns every skip for a program of the stack into a failure, and no other."""
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    tests = "".join(
        f"@pytest.mark.needs({name!r})\ndef test_{number}(): ...\n"
        for number, name in enumerate([*sorted(programs.names()), "no-such-program"])
    )
    pytester.makepyfile("import pytest\n" + tests)
    count = len(programs.names())
    for name in programs.names():
        monkeypatch.delenv(programs.variable(name), raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    monkeypatch.setenv("ATTUNE_STACK_HOME", str(pytester.path / "empty"))
    monkeypatch.setenv("PATH", os.devnull)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(skipped=count + 1)
    monkeypatch.setenv("ATTUNE_REQUIRE", "stack")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(errors=count, skipped=1)


def test_a_second_run_takes_a_second(bare):
    """Whatever the machine has: what is there is not even looked into."""
    run(bare)
    began = time.monotonic()
    run(bare)
    assert time.monotonic() - began < 2
