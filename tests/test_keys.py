"""A key that nobody gave is made once."""

import multiprocessing
import stat

import pytest

from forecast.keys import kept_key


def test_a_key_is_made_once_and_kept_for_its_owner_only(tmp_path):
    home = tmp_path / "deep" / "home"
    key = kept_key(home)
    assert len(key) >= 40
    assert kept_key(home) == key
    assert stat.S_IMODE((home / "api_key").stat().st_mode) == 0o600


def test_the_log_names_the_file_and_never_the_key(tmp_path, caplog):
    caplog.set_level("INFO")
    key = kept_key(tmp_path)
    assert str(tmp_path / "api_key") in caplog.text
    assert key not in caplog.text


def test_a_key_written_by_hand_is_taken(tmp_path):
    (tmp_path / "api_key").write_text("written-by-hand\n\n")
    assert kept_key(tmp_path) == "written-by-hand"


def test_an_empty_file_is_no_key(tmp_path):
    (tmp_path / "api_key").write_text("\n")
    assert len(kept_key(tmp_path)) >= 40


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_processes_that_start_at_once_agree(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        assert len(set(pool.map(kept_key, [tmp_path] * 8))) == 1
