"""The calls of docs/as-of.md, run as they stand against a store with three snapshots."""

import shutil
from pathlib import Path

import pytest

from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from tests.api.serving import KEY, running
from tests.docs.commands import commands_of, run
from tests.serving.stored import filled, host_of

PAGE = Path(__file__).parents[2] / "docs" / "as-of.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_call_of_the_page_does_what_the_page_says(tmp_path):
    host = host_of(filled(tmp_path), tmp_path)
    options = ApiOptions(version="1", api_keys=(KEY,))
    with running(create_app({"lstm": host}, options)) as url:
        printed = run(commands_of(PAGE), url, tmp_path)
    loaded, past, refused, named, again, status = filter(None, printed.splitlines())
    assert '"source":"store:v1.0"' in loaded
    assert '"version":"snapshot_2020-12-31"' in past
    assert '"timestamps":["2021-01-01","2021-01-02"]' in past
    assert "dropped 4 steps after 2020-12-31 of 'store_1'" in past
    assert '"code":"looks_ahead"' in refused
    assert "2021-12-31, after 2020-06-08" in refused
    assert '"version":"snapshot_2020-12-31"' in named
    assert "the model is ready" in again
    assert '"version":"v1.0"' in status
