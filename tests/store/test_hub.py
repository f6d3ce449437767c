import hashlib
import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from forecast.core.errors import (
    Forbidden,
    InvalidRequest,
    SourceUnavailable,
    UnknownSource,
    UnsupportedFormat,
)
from forecast.store.hub_settings import HubSettings
from tests.fakes.checkpoint import CHECKPOINT, TAKEN, WEIGHTS, names_below, safetensors
from tests.fakes.hub import LAST_MODIFIED, FakeHub

REPO = "org/tiny"
NEWER = CHECKPOINT | {"model.safetensors": safetensors(2.0)}


@pytest.fixture
def commit(hub: FakeHub) -> str:
    return hub.add(REPO, CHECKPOINT)


@pytest.fixture
def resolve(make_resolver):
    """Resolve as a process started anew would: nothing is remembered but the cache."""

    def resolve_anew(source: str, **settings: object):
        return make_resolver(**settings).resolve(source, model_id="chronos")

    return resolve_anew


@pytest.fixture
def endpoint_that_refuses() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_checkpoint_comes_with_the_commit_and_digest_that_were_used(resolve, commit):
    resolved = resolve(f"hf:{REPO}")
    assert resolved.source == f"hf:{REPO}@{commit}"
    assert resolved.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert (resolved.path / "model.safetensors").read_bytes() == WEIGHTS


def test_the_day_by_which_a_commit_was_published_is_kept_for_when_the_hub_is_not_asked(
    resolve, commit, hub
):
    asked = resolve(f"hf:{REPO}")
    assert asked.published_at == datetime.fromisoformat(LAST_MODIFIED)
    hub.requests.clear()
    assert resolve(f"hf:{REPO}@{commit}").published_at == asked.published_at
    assert resolve(f"hf:{REPO}", hf_offline=True).published_at == asked.published_at
    assert hub.requests == []


def test_nothing_that_can_hold_a_pickle_or_code_is_downloaded(resolve, commit, hub):
    assert names_below(resolve(f"hf:{REPO}").path) == TAKEN
    asked = " ".join(hub.requests)
    assert not any(name in asked for name in CHECKPOINT.keys() - TAKEN)


@pytest.mark.parametrize("revision", ["", "@main"])
def test_main_stays_at_the_commit_of_its_first_use(resolve, hub, commit, revision):
    resolve(f"hf:{REPO}{revision}")
    hub.add(REPO, NEWER)
    again = resolve(f"hf:{REPO}{revision}")
    assert again.source == f"hf:{REPO}@{commit}"
    assert (again.path / "model.safetensors").read_bytes() == WEIGHTS


def test_naming_the_newer_commit_moves_on_and_leaves_the_pin(resolve, hub, commit):
    resolve(f"hf:{REPO}")
    newer = hub.add(REPO, NEWER)
    moved = resolve(f"hf:{REPO}@{newer}")
    assert moved.source == f"hf:{REPO}@{newer}"
    assert (moved.path / "model.safetensors").read_bytes() == NEWER["model.safetensors"]
    assert resolve(f"hf:{REPO}").source == f"hf:{REPO}@{commit}"


def test_a_branch_that_is_named_moves_with_its_hub(resolve, hub, commit):
    hub.add(REPO, CHECKPOINT, revision="stable")
    assert resolve(f"hf:{REPO}@stable").source == f"hf:{REPO}@{commit}"
    newer = hub.add(REPO, NEWER, revision="stable")
    assert resolve(f"hf:{REPO}@stable").source == f"hf:{REPO}@{newer}"


def test_a_pinned_checkpoint_in_the_cache_asks_the_hub_nothing(resolve, hub, commit):
    resolve(f"hf:{REPO}")
    hub.requests.clear()
    resolve(f"hf:{REPO}")
    resolve(f"hf:{REPO}@{commit}")
    assert hub.requests == []


@pytest.mark.parametrize("revision", ["", "@stable"])
def test_a_cached_checkpoint_loads_while_the_hub_is_down(resolve, hub, commit, revision):
    hub.add(REPO, CHECKPOINT, revision="stable")
    endpoint = hub.endpoint
    before = resolve(f"hf:{REPO}{revision}")
    hub.stop()
    assert resolve(f"hf:{REPO}{revision}", hf_endpoint=endpoint) == before


def test_a_cached_checkpoint_loads_while_the_hub_fails(resolve, hub, commit):
    before = resolve(f"hf:{REPO}@main")
    hub.repositories[REPO].status = 503
    assert resolve(f"hf:{REPO}@main") == before


def test_offline_asks_nothing_and_finds_what_another_program_cached(resolve, hub, commit, tmp_path):
    from huggingface_hub import snapshot_download

    shared = tmp_path / "shared"
    snapshot_download(REPO, endpoint=hub.endpoint, cache_dir=shared, token=False)
    hub.requests.clear()
    resolved = resolve(f"hf:{REPO}", hf_offline=True, hf_cache=shared)
    assert resolved.source == f"hf:{REPO}@{commit}"
    assert hub.requests == []


def test_a_download_cut_short_is_completed_the_next_time(resolve, hub, commit, tmp_path):
    folder = resolve(f"hf:{REPO}").path
    (folder / "model.safetensors").resolve().unlink()
    (folder / "model.safetensors").unlink()
    assert (resolve(f"hf:{REPO}").path / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("settings", [{}, {"hf_offline": True}])
def test_half_a_checkpoint_is_not_taken_for_one_while_the_hub_is_down(
    resolve, hub, commit, settings
):
    endpoint = hub.endpoint
    (resolve(f"hf:{REPO}").path / "model.safetensors").unlink()
    hub.stop()
    with pytest.raises(SourceUnavailable, match="not whole in the cache"):
        resolve(f"hf:{REPO}", hf_endpoint=endpoint, **settings)


def test_weights_that_arrive_corrupt_are_refused_and_fetched_anew(resolve, hub, commit):
    hub.repositories[REPO].corrupt = True
    with pytest.raises(SourceUnavailable, match="checksum"):
        resolve(f"hf:{REPO}@{commit}")
    hub.repositories[REPO].corrupt = False
    assert (resolve(f"hf:{REPO}@{commit}").path / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("hf:org/nothing", UnknownSource, "no hf:org/nothing"),
        (f"hf:{REPO}@v9", UnknownSource, "no revision"),
        (f"hf:{REPO}@{'0' * 40}", UnknownSource, "no revision"),
        ("hf:org/pickled", UnsupportedFormat, "safetensors"),
        ("hf:org/gated", Forbidden, "accept its terms"),
        ("hf:org/broken", SourceUnavailable, "does not answer"),
        ("hf:org/closed", Forbidden, "check the token"),
        ("hf:org/a--b", InvalidRequest, "not the name"),
    ],
)
def test_what_the_hub_refuses_is_said_plainly(resolve, hub, commit, source, error, says):
    hub.add("org/pickled", {"config.json": b"{}", "pytorch_model.bin": b"\x80"})
    for repo in ("org/gated", "org/broken", "org/closed"):
        hub.add(repo, CHECKPOINT)
    hub.repositories["org/gated"].gated = True
    hub.repositories["org/broken"].status = 500
    hub.repositories["org/closed"].status = 403
    with pytest.raises(error, match=says):
        resolve(source)


def test_a_token_opens_a_gated_repository_and_is_never_shown(resolve, hub, commit, caplog):
    hub.repositories[REPO].gated = True
    caplog.set_level(logging.DEBUG)
    assert resolve(f"hf:{REPO}", hf_token=hub.token).source == f"hf:{REPO}@{commit}"
    with pytest.raises(Forbidden) as refused:
        resolve(f"hf:{REPO}@stable", hf_token="hf_wrong_but_secret")
    told = caplog.text + str(refused.value) + repr(HubSettings(hf_token=hub.token))
    assert [secret for secret in (hub.token, "hf_wrong_but_secret") if secret in told] == []


def test_a_hub_that_is_not_there_is_asked_once_and_without_retries(
    resolve, endpoint_that_refuses, caplog
):
    caplog.set_level(logging.WARNING)
    with pytest.raises(SourceUnavailable, match="check the network"):
        resolve(f"hf:{REPO}", hf_endpoint=endpoint_that_refuses)
    assert "Retry" not in caplog.text


def test_two_first_uses_at_once_agree_on_the_commit(resolve, hub, commit, tmp_path):
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: resolve(f"hf:{REPO}"), range(4)))
    assert {answer.source for answer in answers} == {f"hf:{REPO}@{commit}"}
    pins = json.loads((tmp_path / "cache/pins.json").read_text())
    assert pins == {f"{hub.endpoint}/{REPO}@main": commit}


def test_a_broken_file_of_pins_is_said_rather_than_ignored(resolve, commit, tmp_path):
    resolve(f"hf:{REPO}")
    (tmp_path / "cache/pins.json").write_text("{")
    with pytest.raises(SourceUnavailable, match=r"pins\.json"):
        resolve(f"hf:{REPO}")
