"""The strategy's file: nothing in it can hurt the reader, and nothing in it is lost unseen."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attune.errors import ConfigError, StateError
from attune.models import auth_file
from attune.models.auth_strategy import AuthStrategy, get_auth_strategy

DEFAULTS = AuthStrategy(setup_completed=False)
BROKEN = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe\x00",
    b"NaN",
    b'{"loc_to_tokens_multiplier": Infinity}',
    b'{"metadata": {"x": NaN}}',
    b'{"subscription_tier": "gold"}',
    b'{"default_mode": 7}',
    b'{"small_module_threshold": 9000}',
    b'{"schema": "one"}',
    b"[" * 100_000,
    b'{"small_module_threshold": ' + b"9" * 5000 + b"}",
    b" " * 1_000_001,
]


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "home" / "auth_strategy.json"


def put(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_what_is_saved_is_loaded(file):
    strategy = AuthStrategy("max", "api", 10, 20, 3.5, metadata={"team": ["a", 1, None]})
    assert strategy.save(file) == file
    assert AuthStrategy.load(file) == strategy
    assert json.loads(file.read_text())["schema"] == 1


def test_without_a_path_it_is_the_file_in_the_home():
    assert AuthStrategy("enterprise").save() == Path(os.environ["ATTUNE_HOME"]) / "auth_strategy.json"
    assert get_auth_strategy() == AuthStrategy("enterprise")


def test_only_the_owner_can_read_it_whatever_the_umask(file):
    """0600 in a 0700 directory, also where a wider file was there before."""
    before = os.umask(0)
    try:
        AuthStrategy().save(file)
        file.chmod(0o666)
        AuthStrategy().save(file)
    finally:
        os.umask(before)
    assert mode(file) == 0o600
    assert mode(file.parent) == 0o700


def test_saving_leaves_nothing_else_behind(file):
    AuthStrategy().save(file)
    AuthStrategy("max").save(file)
    assert [each.name for each in file.parent.iterdir()] == ["auth_strategy.json"]


def test_a_missing_file_is_defaults_and_a_warning_that_names_the_remedy(file, caplog):
    assert AuthStrategy.load(file) == DEFAULTS
    assert get_auth_strategy().setup_completed is False
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "attune auth setup" in caplog.text


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_defaults_a_warning_and_is_kept(file, content, caplog):
    """Read: defaults. Saved over: what was there stays as .bak."""
    put(file, content)
    assert AuthStrategy.load(file) == DEFAULTS
    assert "attune auth setup" in caplog.text
    assert file.read_bytes() == content
    AuthStrategy("max").save(file)
    assert AuthStrategy.load(file) == AuthStrategy("max")
    assert auth_file.backup_of(file).read_bytes() == content


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(list(AuthStrategy().to_dict())) | st.text(), inner)
        ),
    ).map(lambda tree: json.dumps(tree).encode())
)
def test_no_bytes_crash_the_reader(tmp_path, content):
    """Any bytes, and any JSON with our own keys in it, load as a strategy that can be used and saved."""
    file = put(tmp_path / "any.json", content)
    strategy = AuthStrategy.load(file)
    strategy.get_recommended_mode(100)
    strategy.save(tmp_path / "again.json")


def test_a_file_that_does_not_say_so_is_not_set_up(file):
    put(file, b'{"subscription_tier": "max"}')
    assert AuthStrategy.load(file) == AuthStrategy("max", setup_completed=False)


def test_a_newer_schema_is_read_as_far_as_it_is_known_and_kept(file, caplog):
    """Its foreign keys and its number survive being saved by us, and the original stays as .bak."""
    newer = {"schema": 7, "subscription_tier": "max", "setup_completed": True, "wallet": {"limit": 3}}
    put(file, json.dumps(newer).encode())
    strategy = AuthStrategy.load(file)
    assert strategy == AuthStrategy("max")
    assert "newer" in caplog.text
    strategy.default_mode = "api"
    strategy.save(file)
    written = json.loads(file.read_text())
    assert (written["schema"], written["wallet"], written["default_mode"]) == (7, {"limit": 3}, "api")
    assert json.loads(auth_file.backup_of(file).read_text()) == newer


def test_a_link_is_followed_on_reading_and_replaced_on_saving(file):
    real = put(file.parent / "real.json", json.dumps(AuthStrategy("max").to_dict()).encode())
    before = real.read_bytes()
    file.symlink_to(real)
    assert AuthStrategy.load(file) == AuthStrategy("max")
    AuthStrategy("free").save(file)
    assert not file.is_symlink()
    assert AuthStrategy.load(file) == AuthStrategy("free")
    assert real.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_does_not_hang_the_reader(file, caplog):
    """Nobody writes to it; reading comes back at once."""
    file.parent.mkdir()
    os.mkfifo(file)
    loaded: list[AuthStrategy] = []
    reader = threading.Thread(target=lambda: loaded.append(AuthStrategy.load(file)), daemon=True)
    reader.start()
    reader.join(5)
    assert loaded == [DEFAULTS]
    assert "regular file" in caplog.text
    AuthStrategy("max").save(file)
    assert AuthStrategy.load(file) == AuthStrategy("max")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_an_endless_device_is_not_read(file, caplog):
    file.parent.mkdir()
    file.symlink_to("/dev/zero")
    assert AuthStrategy.load(file) == DEFAULTS
    assert "regular file" in caplog.text


def test_a_directory_is_no_file(file, caplog):
    file.mkdir(parents=True)
    assert AuthStrategy.load(file) == DEFAULTS
    assert "attune auth setup" in caplog.text


def test_a_dangling_link_and_a_link_to_itself_are_no_file(file):
    file.parent.mkdir()
    file.symlink_to("nowhere")
    assert AuthStrategy.load(file) == DEFAULTS
    file.unlink()
    file.symlink_to(file.name)
    assert AuthStrategy.load(file) == DEFAULTS
    AuthStrategy("max").save(file)
    assert AuthStrategy.load(file) == AuthStrategy("max")


def test_a_file_of_one_megabyte_is_still_read(file):
    content = json.dumps(AuthStrategy("max").to_dict()).encode()
    assert AuthStrategy.load(put(file, content.ljust(1_000_000))) == AuthStrategy("max")


def test_a_directory_that_cannot_be_made_is_a_state_error_that_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="ATTUNE_HOME"):
        AuthStrategy().save(tmp_path / "file" / "auth_strategy.json")


def test_a_failure_while_writing_leaves_the_old_file_and_no_other(file, monkeypatch):
    AuthStrategy("max").save(file)

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StateError, match="No space left"):
        AuthStrategy("free").save(file)
    monkeypatch.undo()
    assert AuthStrategy.load(file) == AuthStrategy("max")
    assert [each.name for each in file.parent.iterdir()] == ["auth_strategy.json"]


@pytest.mark.parametrize(
    "metadata", [{"a": object()}, {"a": float("nan")}, {"a": {1, 2}}], ids=["object", "nan", "set"]
)
def test_metadata_that_json_cannot_hold_is_refused_before_anything_is_written(file, metadata):
    with pytest.raises(ConfigError, match="metadata"):
        AuthStrategy(metadata=metadata).save(file)
    assert not file.exists()


def test_metadata_that_holds_itself_is_refused(file):
    loop: dict = {}
    loop["self"] = loop
    with pytest.raises(ConfigError, match="metadata"):
        AuthStrategy(metadata=loop).save(file)


def test_setting_aside_what_is_not_there_does_nothing(file):
    assert auth_file.set_aside(file) is None
