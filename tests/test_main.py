"""The gateway and its hosts as processes: started, stopped, killed, and set wrongly."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

LISTENS = re.compile(r"listens on \S+ port (\d+)")
PATIENCE_S = 90
SERIES = {"inputs": [{"target": [1, 2, 3, 4, 5, 6, 7, 8]}], "parameters": {"horizon": 2}}


class Process:
    """A process of ours; its log ends when it and all its children have ended."""

    def __init__(self, *command: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={"PATH": os.environ["PATH"], "FORECAST_ADDRESS": "127.0.0.1", **environment},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def listening(self) -> str:
        """Read the log up to the line that tells where it listens."""
        for line in self._process.stderr:
            self.lines.append(line)
            if "listens on" in line:
                return line
        pytest.fail(f"it ended before it listened: {self.log}")

    def url(self) -> str:
        return f"http://127.0.0.1:{LISTENS.search(self.listening())[1]}"

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def close_input(self) -> None:
        self._process.stdin.close()

    def ended(self) -> int:
        """Wait until this process and all its children have ended; pytest's limit bounds it."""
        self.lines.extend(self._process.stderr)
        return self._process.wait(PATIENCE_S)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self.ended()
        self._process.stdin.close()
        self._process.stderr.close()


@contextmanager
def running(*command: str, **environment: str) -> Iterator[Process]:
    process = Process(*command, **environment)
    try:
        yield process
    finally:
        process.end()


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@contextmanager
def gateway(home: Path, **environment: str) -> Iterator[Process]:
    settings = {"FORECAST_HOME": str(home), "FORECAST_MODELS": "sprout"}
    settings |= {"FORECAST_REPLICAS": "1"} | environment
    with running("forecast.main", "--port", "0", **settings) as process:
        yield process


def client(url: str, key: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, headers={"X-API-Key": key}, timeout=PATIENCE_S)


def test_a_gateway_makes_its_key_forecasts_through_a_child_and_ends_with_it(home):
    with gateway(home, FORECAST_LOG_FORMAT="json") as process:
        url = process.url()
        file = home / "api_key"
        key = file.read_text().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with client(url, key) as http:
            answer = http.post("/forecast/v1/sprout/inference", json=SERIES)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["predictions"][0]["mean"]) == 2
            assert http.get("/forecast/v1/sprout/status").json()["model_status"] == "ready"
        assert httpx2.get(f"{url}/forecast/v1/models", timeout=60).status_code == 401
        process.signal(signal.SIGTERM)
        process.ended()
    assert str(file) in process.log
    assert key not in process.log
    assert "Traceback" not in process.log


def test_a_gateway_that_is_killed_leaves_no_host_behind(home):
    with gateway(home, FORECAST_API_KEY="key-of-the-test") as process:
        with client(process.url(), "key-of-the-test") as http:
            assert http.post("/forecast/v1/sprout/inference", json=SERIES).status_code == 200
        process.signal(signal.SIGKILL)
        assert process.ended() == -signal.SIGKILL
    assert "the parent process is gone" in process.log


def test_one_process_is_enough_and_preloaded_models_make_it_ready(home):
    with gateway(
        home,
        FORECAST_API_KEY="key-of-the-test, another-key",
        FORECAST_INLINE="all",
        FORECAST_WORKERS="0",
        FORECAST_PRELOAD="sprout",
        FORECAST_ALIASES='{"default": "sprout"}',
        FORECAST_TYPO="1",
    ) as process:
        with client(process.url(), "another-key") as http:
            answer = http.post("/forecast/v1/forecast", json={"model": "default", **SERIES})
            assert answer.status_code == 200, answer.text
            assert http.get("/health/ready").json()["checks"]["model:sprout"]["ok"]
        process.signal(signal.SIGINT)
        assert process.ended() == 0
    assert "FORECAST_TYPO sets nothing" in process.log
    assert not (home / "api_key").exists()


def test_a_container_holds_the_model_of_its_name_and_asks_for_the_key(home):
    settings = {
        "FORECAST_HOME": str(home),
        "FORECAST_API_KEY": "key-of-the-test",
        "MODEL_NAME": "sprout",
        "MODEL_PORT": "0",
    }
    with running("forecast.main", **settings) as process:
        url = process.url()
        with client(url, "key-of-the-test") as http:
            answer = http.post("/forecast/v1/sprout/inference", json=SERIES)
            assert answer.status_code == 200, answer.text
            assert list(http.get("/models").json()["models"]) == ["sprout"]
            assert http.get("/health/ready").status_code == 200
        assert httpx2.get(f"{url}/forecast/v1/sprout/status", timeout=60).status_code == 401
        process.signal(signal.SIGTERM)
        process.ended()


def test_a_host_on_a_socket_needs_no_key_but_the_right_user_and_ends_with_its_parent(tmp_path):
    path = tmp_path / "host.sock"
    command = ("forecast.host", "sprout", "--socket", str(path), "--exit-with-parent")
    with running(*command, FORECAST_HOME=str(tmp_path / "home")) as process:
        process.listening()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        transport = httpx2.HTTPTransport(uds=str(path))
        with httpx2.Client(transport=transport, base_url="http://host", timeout=PATIENCE_S) as http:
            assert http.post("/forecast/v1/sprout/inference", json=SERIES).status_code == 200
        process.close_input()
        process.ended()
    assert not (tmp_path / "home" / "api_key").exists()


WRONG_SETTINGS = [
    ({"FORECAST_PORT": "http"}, "FORECAST_PORT"),
    ({"FORECAST_PORT": "70000"}, "FORECAST_PORT"),
    ({"FORECAST_HOSTS": "{"}, "hosts"),
    ({"FORECAST_HOSTS": '{"chronos": "ftp://x"}'}, "http"),
    ({"FORECAST_HOSTS": '{"nope": "http://x"}'}, "FORECAST_HOSTS names nope"),
    ({"FORECAST_MODELS": "statistical,nope"}, "FORECAST_MODELS names nope"),
    ({"FORECAST_INLINE": "nope"}, "FORECAST_INLINE names nope"),
    ({"FORECAST_ALIASES": '{"a": "nope"}'}, "FORECAST_ALIASES names nope"),
    ({"FORECAST_API_KEY": "s3cr3t"}, "FORECAST_API_KEY"),
    ({"MODEL_NAME": "nope"}, "nope"),
    ({"FORECAST_ADDRESS": "256.0.0.1"}, "cannot listen on 256.0.0.1"),
]
TRY_EACH = """
import json, os, sys
from forecast.main import main
right = dict(os.environ)
for wrong in json.loads(sys.argv[1]):
    os.environ.clear()
    os.environ.update(right | wrong)
    try:
        main([])
    except SystemExit as ended:
        print(ended.code, "end of a try", sep="\\n", file=sys.stderr, flush=True)
"""


def test_a_wrong_setting_is_one_sentence_and_no_traceback(home):
    tried = subprocess.run(
        [sys.executable, "-c", TRY_EACH, json.dumps([wrong for wrong, _ in WRONG_SETTINGS])],
        env={"PATH": os.environ["PATH"], "FORECAST_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = tried.stderr.split("end of a try\n")
    assert told.pop() == ""
    for (wrong, says), log in zip(WRONG_SETTINGS, told, strict=True):
        assert says in log.splitlines()[-1], (wrong, log)
        assert "Traceback" not in log
        assert "s3cr3t" not in log


def test_a_port_in_use_is_one_sentence(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = ("forecast.main", "--port", str(port))
        with running(*command, FORECAST_HOME=str(home)) as process:
            assert process.ended() == 1
    assert f"port {port}: address already in use" in process.log
    assert "Traceback" not in process.log


def test_the_version_is_told(capfd):
    subprocess.run([sys.executable, "-m", "forecast.main", "--version"], check=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capfd.readouterr().out)
