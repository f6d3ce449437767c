"""Hosts in processes of their own, killed and restarted for real."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from forecast.core.errors import HostUnavailable, MissingLibrary, ModelNotReady
from forecast.models import MODEL_REGISTRY
from forecast.serving.children import ChildHost
from forecast.serving.hosts import Answer, Call, Operation
from forecast.serving.supervisor import ChildOptions
from tests.serving.stored import filled

PATIENCE_S = 90.0
BODY = json.dumps(
    {
        "inputs": [{"target": [1, 2, 3, 4, 5, 6, 7, 8]}],
        "parameters": {"horizon": 2, "quantile_levels": [0.5]},
    }
).encode()


def options(home: Path, **changes: object) -> ChildOptions:
    environment = {**os.environ, "FORECAST_HOME": str(home), "FORECAST_LOCAL_ROOTS": str(home)}
    fields = {"python": sys.executable, "environment": environment, "restart_pause_s": 0.05}
    return ChildOptions(**(fields | changes))


@asynccontextmanager
async def running(model_id: str, chosen: ChildOptions):
    host = ChildHost(MODEL_REGISTRY[model_id], chosen)
    await host.start()
    try:
        yield host
    finally:
        await host.close()


async def call(host: ChildHost, operation: str, body: bytes = b"") -> Answer:
    return await host.call(Call(Operation(operation), body))


async def status(host: ChildHost) -> str:
    return json.loads((await call(host, "status")).body)["model_status"]


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether the process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_model_without_weights_answers_at_once_and_gives_its_memory_back(tmp_path):
    async def live() -> None:
        async with running("sprout", options(tmp_path)) as host:
            assert await status(host) in ("initializing", "ready")
            answer = await call(host, "inference", BODY)
            assert answer.status == 200, answer.body
            assert await status(host) == "ready"
            (pid,) = host.pids
            assert (await call(host, "shutdown")).status == 200
            assert not is_running(pid)
            assert await status(host) == "uninitialized"
            with pytest.raises(ModelNotReady):
                await call(host, "inference", BODY)
            assert (await call(host, "initialization")).status == 200
            assert (await call(host, "inference", BODY)).status == 200
        assert host.pids == []

    asyncio.run(live())


def test_a_killed_child_comes_back_with_its_weights(tmp_path):
    MODEL_REGISTRY["sprout"].model_class().tiny().save_model(tmp_path / "made-up")
    weights = json.dumps({"source": f"local:{tmp_path / 'made-up'}"}).encode()

    async def live() -> None:
        async with running("sprout", options(tmp_path)) as host:
            assert (await call(host, "shutdown")).status == 200
            with pytest.raises(ModelNotReady):
                await call(host, "inference", BODY)
            loaded = await call(host, "initialization", weights)
            assert loaded.status == 200, loaded.body
            before = await call(host, "inference", BODY)
            (pid,) = host.pids
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: bool(host.pids) and host.pids != [pid])
            after = await call(host, "inference", BODY)
            predictions = [json.loads(one.body)["predictions"] for one in (before, after)]
            assert predictions[0] == predictions[1]

    asyncio.run(live())


def test_a_call_in_flight_when_the_child_dies_is_told_so(tmp_path):
    long = json.dumps(
        {
            "inputs": [
                {"item_id": str(n), "target": [(7 * n + 13 * t) % 97 for t in range(600)]}
                for n in range(400)
            ],
            "parameters": {
                "horizon": 24,
                "model_options": {"model": "auto_arima", "season_length": 24},
            },
        }
    ).encode()

    async def live() -> None:
        async with running("statistical", options(tmp_path)) as host:
            await call(host, "inference", BODY)
            in_flight = asyncio.create_task(call(host, "inference", long))
            await eventually(lambda: host.children[0].channel.outstanding == 1)
            os.kill(host.pids[0], signal.SIGKILL)
            with pytest.raises(HostUnavailable, match="try again"):
                await in_flight
            await eventually(lambda: not host.children[0].is_up)
            assert (await call(host, "inference", BODY)).status == 200

    asyncio.run(live())


def test_replicas_share_the_requests_and_outlive_each_other(tmp_path):
    MODEL_REGISTRY["sprout"].model_class().tiny().save_model(tmp_path / "made-up")
    weights = json.dumps({"source": f"local:{tmp_path / 'made-up'}"}).encode()

    async def live() -> None:
        async with running("sprout", options(tmp_path, replicas=2)) as host:
            assert (await call(host, "initialization", weights)).status == 200
            first, second = host.pids
            os.kill(first, signal.SIGKILL)
            await eventually(lambda: first not in host.pids)
            assert second in host.pids
            answers = await asyncio.gather(*(call(host, "inference", BODY) for _ in range(8)))
            assert {answer.status for answer in answers} == {200}

    asyncio.run(live())


def test_an_environment_that_is_not_installed_is_told_with_the_command(tmp_path):
    async def live() -> None:
        async with running("chronos", options(tmp_path, python=str(tmp_path / "none"))) as host:
            with pytest.raises(MissingLibrary, match="install it with"):
                await call(host, "initialization")

    asyncio.run(live())


def test_a_host_whose_library_is_not_installed_is_not_started_and_says_what_to_install(tmp_path):
    spec = replace(MODEL_REGISTRY["prophet"], library="a_library_nobody_has")
    host = ChildHost(spec, options(tmp_path))

    async def live() -> None:
        await host.start()
        told = json.loads((await call(host, "status")).body)
        assert told["model_status"] == "uninitialized"
        assert "pip install 'forecast-gateway[prophet]'" in told["details"]
        assert all(child.pid is None for child in host.children)
        for operation in ("inference", "initialization"):
            with pytest.raises(MissingLibrary, match="pip install"):
                await call(host, operation, BODY)
        await host.close()

    asyncio.run(live())


def test_an_interpreter_that_ends_at_once_is_told_at_once(tmp_path):
    async def live() -> None:
        async with running("chronos", options(tmp_path, python="/bin/false")) as host:
            with pytest.raises(HostUnavailable, match="did not start"):
                await call(host, "initialization")

    asyncio.run(live())


GATEWAY = """
import asyncio, os, sys
from pathlib import Path
from forecast.models import MODEL_REGISTRY
from forecast.serving.children import ChildHost
from forecast.serving.hosts import Call, Operation
from forecast.serving.supervisor import ChildOptions
from tests.serving.stored import filled

async def main():
    host = ChildHost(
        MODEL_REGISTRY["sprout"],
        ChildOptions(python=sys.executable, environment=dict(os.environ)),
    )
    await host.start()
    await host.call(Call(Operation.INFERENCE, sys.argv[1].encode()))
    print(host.pids[0], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_children_end_when_their_gateway_is_killed(tmp_path):
    environment = {**os.environ, "FORECAST_HOME": str(tmp_path)}
    gateway = subprocess.Popen(
        [sys.executable, "-c", GATEWAY, BODY.decode()],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with gateway:
        assert gateway.stdout is not None
        pid = int(gateway.stdout.readline())
        assert is_running(pid)
        gateway.kill()
        asyncio.run(eventually(lambda: not is_running(pid)))


def test_each_replica_finds_the_version_of_a_date_by_itself(tmp_path):
    store = filled(tmp_path)
    series = {"target": list(range(60)), "start": "2020-12-01", "freq": "D"}
    parameters = {"horizon": 2, "as_of": "2020-12-31", "strict": False}
    body = json.dumps({"inputs": [series], "parameters": parameters}).encode()
    sha256 = store.model("lstm").get("snapshot_2020-12-31").sha256

    async def live() -> None:
        async with running("lstm", options(tmp_path, replicas=2)) as host:
            answer = await call(host, "initialization", b'{"backend": "cpu"}')
            assert answer.status == 200, answer.body
            table = Call(Operation.INFERENCE, body, accept="text/csv")
            for child in host.children:
                answer = await child.channel.forward(table)
                assert answer.status == 200, answer.body
                assert answer.headers["X-Forecast-Version"] == "snapshot_2020-12-31"
                assert answer.headers["X-Forecast-Cutoff"] == "2020-12-31"
                assert answer.headers["X-Forecast-SHA256"] == sha256
            plain = await call(host, "inference", BODY)
            assert json.loads(plain.body)["model"]["version"] == "v1.0"

    asyncio.run(live())
