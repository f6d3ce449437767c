"""`setup.sh` as a stranger meets it: a fresh folder, and what may be wrong there."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

ROOT = Path(__file__).parents[2]
SHELL_FILES = ("setup.sh", ".ci/run", "scripts/check", "scripts/lint", "scripts/pin")
SHELL_FILES += ("scripts/serve", "scripts/test")
PYTHONS = ("python3", "python3.11", "python3.12", "python3.13", "python3.14")


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Copy what set-up needs into a folder with a space in its name, without .venv."""
    folder = tmp_path / "a fresh clone"
    folder.mkdir()
    for name in ("setup.sh", "pyproject.toml", "lock.txt"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    return folder


@pytest.fixture
def setup(fresh: Path):
    """Run the fresh folder's setup.sh; the environment is this one's, less our settings."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return run_setup(fresh, *arguments, **environment)

    return run


def run_setup(
    folder: Path, *arguments: str, timeout: float = 240, **environment: str
) -> subprocess.CompletedProcess:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FORECAST_", "PYTHON"))}
    return subprocess.run(
        [str(folder / "setup.sh"), *arguments],
        env=inherited | environment,
        cwd="/",
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
    )


def is_one_sentence(result: subprocess.CompletedProcess, says: str) -> bool:
    line = result.stderr.strip()
    assert result.returncode == 1, result.stdout + result.stderr
    assert line.startswith("setup.sh: "), line
    assert "\n" not in line
    return re.search(says, line) is not None


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield str(other.getsockname()[1])


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def fake_python(folder: Path, version: str) -> str:
    """Make a PATH on which every Python claims a version, as an old machine's does."""
    folder.mkdir()
    for name in PYTHONS:
        (folder / name).write_text(f"#!/bin/sh\necho {version}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("name", SHELL_FILES)
def test_every_script_parses_and_may_be_run(name):
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / name], check=True)
    assert "set -euo pipefail" in (ROOT / name).read_text()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_verb_and_changes_nothing(setup, fresh, arguments):
    before = sorted(fresh.rglob("*"))
    result = setup(*arguments)
    assert result.returncode == 0
    for verb in ("run-venv", "init", "test", "demo", "stop", "run-docker", "--torch-index"):
        assert verb in result.stdout
    assert sorted(fresh.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["launch"], "no verb 'launch'.*--help"),
        (["run-venv", "sapheneia"], "'sapheneia' is not known"),
        (["demo", "--light"], "--light is of init and run-venv"),
        (["run-venv", "forecast", "web"], "api, ui or all, not 'web'"),
        (["run-docker", "forecast", "web"], "not 'web'"),
        (["init", "--torch-index"], "needs a URL or a name"),
        (["init", "--torch-index", "cu126"], "FORECAST_TORCH_INDEX, which is not set"),
        (["init", "--torch-index=; rm"], "a URL or a name"),
    ],
)
def test_a_wrong_call_is_one_sentence(setup, arguments, says):
    assert is_one_sentence(setup(*arguments), says)


@pytest.mark.parametrize("verb", ["init", "run-venv", "test", "demo"])
def test_an_old_python_is_one_sentence(setup, tmp_path, verb):
    result = setup(verb, PATH=fake_python(tmp_path / "bin", "3.9"))
    assert is_one_sentence(result, "3.11 or newer is needed, but python3 is 3.9")


def test_what_calls_itself_python_and_is_none_is_one_sentence(setup, tmp_path):
    result = setup("init", PATH=fake_python(tmp_path / "bin", "no version"))
    assert is_one_sentence(result, "3.11 or newer is needed, but python3 is not a Python")


@pytest.mark.parametrize("port", ["0", "http", "-1", ""])
def test_a_port_that_is_none_is_one_sentence(setup, port):
    result = setup("run-venv", "forecast", FORECAST_PORT=port or " ")
    assert is_one_sentence(result, "port")


def test_a_port_in_use_is_one_sentence_before_anything_is_installed(setup, fresh, taken_port):
    result = setup("run-venv", "forecast", FORECAST_PORT=taken_port)
    assert is_one_sentence(result, f"port {taken_port} .*another program.*FORECAST_PORT=")
    assert not (fresh / ".venv").exists()


def test_no_network_is_one_sentence_and_the_next_try_begins_anew(setup, fresh):
    offline = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "1",
    }
    for _ in range(2):
        result = setup("init", "forecast", **offline)
        assert is_one_sentence(result, "index cannot be reached; check the network")
    assert not list((fresh / ".venv").glob(".forecast-setup*"))


def test_a_killed_pip_is_one_sentence(setup, tmp_path):
    (tmp_path / "pip.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    result = setup("init", "forecast", PYTHONPATH=str(tmp_path))
    assert is_one_sentence(result, "pip was ended by SIGKILL; the machine may be out of memory")


@pytest.mark.parametrize(
    ("options", "asked"),
    [(["--light"], "{folder}"), ([], "{folder}[models,mlflow,demo]")],
)
def test_a_light_set_up_asks_for_no_extra(setup, fresh, tmp_path, options, asked):
    log = tmp_path / "asked"
    (tmp_path / "pip.py").write_text(
        f"import sys\nprint(*sys.argv[1:], sep='\\n', file=open({str(log)!r}, 'a'))\n"
    )
    setup("init", "forecast", *options, PYTHONPATH=str(tmp_path))
    assert asked.format(folder=fresh) in log.read_text().splitlines()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_light_install_forecasts_without_torch_and_tells_how_to_add_the_rest(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-local", ROOT, clone], check=True)
    settings = {"FORECAST_HOME": str(tmp_path / "home"), "FORECAST_PORT": free_port()}
    try:
        done = run_setup(clone, "run-venv", "forecast", "--light", timeout=1500, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not list((clone / ".venv").glob("lib/python*/site-packages/torch"))
        assert megabytes(clone / ".venv") < 500
        call = re.search(r"^curl (?:.*\n)+?\n", done.stdout, re.MULTILINE)[0]
        for model_id in ("sprout", "statistical"):
            assert '"predictions"' in shell(call.replace("sprout", model_id))
        initialize = call.replace("sprout/inference", "chronos/initialization")
        refused = shell(re.sub(r"-d '.*'", "-d '{}'", initialize, flags=re.DOTALL))
        assert '"missing_library"' in refused
        assert "pip install 'forecast-gateway[chronos]'" in refused
        assert "prophet" not in (tmp_path / "home/gateway.log").read_text()
    finally:
        run_setup(clone, "stop", "forecast", **settings)


def megabytes(folder: Path) -> float:
    files = (file.lstat() for file in folder.rglob("*"))
    return sum(512 * file.st_blocks for file in files) / 2**20


def shell(command: str) -> str:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def test_stop_ends_no_process_that_it_did_not_start(setup, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (home / "gateway.pid").write_text(f"{bystander.pid} 12345 http://127.0.0.1:1\n")
        result = setup("stop", "forecast", FORECAST_HOME=str(home))
        assert result.returncode == 0
        assert "No gateway" in result.stdout
        assert bystander.poll() is None
        bystander.terminate()
    assert not (home / "gateway.pid").exists()


@pytest.mark.parametrize("content", ["", "nonsense\n", "-1 x y\n", "1\n"])
def test_a_broken_pid_file_is_no_gateway(setup, tmp_path, content):
    (tmp_path / "gateway.pid").write_text(content)
    result = setup("stop", "forecast", FORECAST_HOME=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif("SETUP_DONE" not in os.environ, reason="run through ./setup.sh test")
def test_the_gateway_starts_answers_the_printed_call_and_stops(tmp_path):
    home, port = str(tmp_path / "home"), free_port()
    settings = {"FORECAST_HOME": home, "FORECAST_PORT": port}
    settings |= {"FORECAST_PRELOAD": "sprout", "FORECAST_REPLICAS": "1"}
    try:
        first = run_setup(ROOT, "run-venv", "forecast", **settings)
        assert first.returncode == 0, first.stdout + first.stderr
        key = (tmp_path / "home/api_key").read_text().strip()
        assert (tmp_path / "home/api_key").stat().st_mode & 0o777 == 0o600
        assert f"Key: {key}" in first.stdout
        call = re.search(r"^curl (?:.*\n)+?\n", first.stdout, re.MULTILINE)[0]
        answer = shell(call)
        assert '"predictions"' in answer, answer
        again = run_setup(ROOT, "run-venv", "forecast", "ui", **settings)
        assert f"already running at http://127.0.0.1:{port}" in again.stdout
        assert f"http://127.0.0.1:{port}/docs" in again.stdout
        docs = build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/docs", timeout=60)
        with docs:
            assert docs.status == 200
        assert key not in (tmp_path / "home/gateway.log").read_text()
    finally:
        stopped = run_setup(ROOT, "stop", "forecast", **settings)
    assert "Stopped." in stopped.stdout
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))) != 0
