"""What goes wrong between a gateway and its children, and that all capacity comes back."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from forecast.core.errors import DeadlinePassed, HostUnavailable
from forecast.models import MODEL_REGISTRY
from forecast.serving.channel import NotConnected, RemoteHost
from forecast.serving.children import ChildHost
from forecast.serving.hosts import Answer, Call, Operation
from tests.serving.test_children import BODY, eventually, is_running, options

SPEC = MODEL_REGISTRY["sprout"]
LATE_S = 1.0  # enough for a call to reach its host, and never answered in time
STANDIN = Path(__file__).with_name("standin_host.py")


def infer(host: ChildHost, *, within_s: float = 60.0, body: bytes = BODY) -> "asyncio.Task[Answer]":
    until = time.monotonic() + within_s
    return asyncio.ensure_future(host.call(Call(Operation.INFERENCE, body, until=until)))


async def all_up(host: ChildHost) -> None:
    await eventually(lambda: all(child.is_up for child in host.children))


def pids_of(host: ChildHost) -> list[int | None]:
    return [child.pid for child in host.children]


def real(folder: Path, **changes: object) -> ChildHost:
    return ChildHost(SPEC, options(folder, **changes))


def standins(folder: Path, **changes: object) -> ChildHost:
    """Make a host whose children start at once; what they do first is in a file of the folder."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {STANDIN} {folder} "$@"\n')
    python.chmod(0o755)
    return ChildHost(SPEC, options(folder, python=str(python), **changes))


@pytest.mark.parametrize(("make", "replicas"), [(standins, 1), (real, 2)])
def test_a_refused_connection_loses_no_process(tmp_path, make, replicas):
    async def live() -> None:
        host = make(tmp_path, replicas=replicas)
        await host.start()
        try:
            await all_up(host)
            before = pids_of(host)
            first = host.children[0]
            socket = first._place.socket
            aside = socket.rename(socket.with_name("aside"))
            socket.touch()  # whoever connects to what is no socket is refused
            calls = [infer(host) for _ in range(2 * replicas)]
            await eventually(lambda: not first.is_up)
            if replicas > 1:
                assert {(await call).status for call in calls} == {200}
            else:
                assert not all(call.done() for call in calls)
            aside.rename(socket)
            assert {(await call).status for call in calls} == {200}
            await all_up(host)
            answer = await host.call(Call(Operation.INITIALIZATION, b"{}"))
            assert answer.status == 200
            assert pids_of(host) == before
        finally:
            await host.close()

    asyncio.run(live())


OUT_OF_FILES = """
import asyncio, os, resource, sys
from forecast.models import MODEL_REGISTRY
from forecast.serving.channel import NotConnected, RemoteHost
from forecast.serving.children import ChildHost
from forecast.serving.hosts import Call, Operation
from forecast.serving.supervisor import ChildOptions

async def main():
    spec = MODEL_REGISTRY["sprout"]
    environment = dict(os.environ)
    host = ChildHost(spec, ChildOptions(sys.executable, replicas=2, environment=environment))
    await host.start()
    while not all(child.is_up for child in host.children):
        await asyncio.sleep(0.02)
    pids = [child.pid for child in host.children]
    call = Call(Operation.INFERENCE, sys.argv[1].encode())
    await host.call(call)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no file can be opened any more
    calls = [asyncio.ensure_future(host.call(call)) for _ in range(8)]
    while any(child.is_up for child in host.children):
        await asyncio.sleep(0.02)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {(await one).status for one in calls} == {200}
    while not all(child.is_up for child in host.children):
        await asyncio.sleep(0.02)
    assert pids == [child.pid for child in host.children]
    await host.close()

asyncio.run(main())
"""


def test_a_gateway_without_free_file_handles_gets_all_its_replicas_back(tmp_path):
    environment = {**os.environ, "FORECAST_HOME": str(tmp_path)}
    command = [sys.executable, "-c", OUT_OF_FILES, BODY.decode()]
    subprocess.run(command, env=environment, check=True, timeout=280)


def test_a_stopped_host_keeps_no_caller_and_answers_once_it_goes_on(tmp_path):
    async def live() -> None:
        host = standins(tmp_path)
        await host.start()
        try:
            await all_up(host)
            (pid,) = pids_of(host)
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(DeadlinePassed, match="gave no answer"):
                await infer(host, within_s=LATE_S)
            with pytest.raises(DeadlinePassed, match="started or loaded"):
                await infer(host, within_s=LATE_S)
            os.kill(pid, signal.SIGCONT)
            assert (await infer(host)).status == 200
            assert pids_of(host) == [pid]
        finally:
            await host.close()

    asyncio.run(live())


def test_a_replica_that_fails_to_load_once_is_loaded_by_itself(tmp_path):
    unnamed = orjson.dumps({"inputs": [{"target": [1, 2, 3, 4]}]})

    async def live() -> None:
        host = real(tmp_path, replicas=2)
        await host.start()
        try:
            await all_up(host)
            failing = host.children[1]
            os.kill(failing.pid, signal.SIGSTOP)
            call = Call(Operation.INITIALIZATION, b'{"horizon_len": 5}')
            loading = asyncio.ensure_future(host.call(call))
            await eventually(lambda: failing.channel.outstanding == 1)
            os.kill(failing.pid, signal.SIGKILL)
            assert (await loading).status == 200
            await all_up(host)
            for child in host.children:
                answer = await child.channel.forward(Call(Operation.INFERENCE, unnamed))
                assert len(orjson.loads(answer.body)["predictions"][0]["mean"]) == 5
        finally:
            await host.close()

    asyncio.run(live())


def test_a_restarted_process_is_loaded_again_however_often_that_fails(tmp_path):
    async def live() -> None:
        host = standins(tmp_path)
        await host.start()
        try:
            await all_up(host)
            assert (await host.call(Call(Operation.INITIALIZATION, b""))).status == 200
            (tmp_path / "unloadable").touch()
            (child,) = host.children
            os.kill(child.pid, signal.SIGKILL)
            await eventually(lambda: child.trouble is not None)
            with pytest.raises(HostUnavailable, match="could not load its weights again"):
                await infer(host)
            failed = await host.call(Call(Operation.INITIALIZATION, b"{}"))  # reaches the process
            assert failed.status == 502
            (tmp_path / "unloadable").unlink()
            await all_up(host)
            assert (await infer(host)).status == 200
        finally:
            await host.close()

    asyncio.run(live())


@pytest.mark.parametrize("first", ["sleep", "silent"])
def test_a_process_that_hangs_at_its_start_is_replaced(tmp_path, first):
    (tmp_path / "first").write_text(first)

    async def live() -> None:
        host = standins(tmp_path, start_s=3.0)
        await host.start()
        try:
            await eventually(lambda: not (tmp_path / "first").exists())
            (hanging,) = pids_of(host)
            await all_up(host)
            assert (await infer(host)).status == 200
            assert pids_of(host) != [hanging]
            assert not is_running(hanging)
        finally:
            await host.close()

    asyncio.run(live())


def test_a_process_that_stops_answering_is_replaced(tmp_path):
    async def live() -> None:
        host = standins(tmp_path, start_s=3.0)
        await host.start()
        try:
            await all_up(host)
            (stopped,) = pids_of(host)
            os.kill(stopped, signal.SIGSTOP)
            with pytest.raises(DeadlinePassed):
                await infer(host, within_s=0.1)
            assert (await infer(host)).status == 200
            assert pids_of(host) != [stopped]
            assert not is_running(stopped)
        finally:
            await host.close()

    asyncio.run(live())


def test_every_replica_whose_start_fails_is_started_again(tmp_path):
    async def live() -> None:
        host = standins(tmp_path, replicas=2)
        python = Path(host._options.python)
        aside = python.rename(tmp_path / "aside")
        await host.start()
        try:
            await eventually(lambda: all(child.trouble for child in host.children))
            with pytest.raises(HostUnavailable, match="did not start"):
                await infer(host)
            status = orjson.loads((await host.call(Call(Operation.STATUS))).body)
            assert (status["model_status"], "did not start" in status["details"]) == ("error", True)
            aside.rename(python)
            await all_up(host)
        finally:
            await host.close()

    asyncio.run(live())


def test_a_shutdown_ends_a_process_that_does_not_answer(tmp_path):
    async def live() -> None:
        host = standins(tmp_path, stop_s=0.2)
        await host.start()
        try:
            await all_up(host)
            (stopped,) = pids_of(host)
            os.kill(stopped, signal.SIGSTOP)
            assert (await host.call(Call(Operation.SHUTDOWN))).status == 200
            assert not is_running(stopped)
        finally:
            await host.close()

    asyncio.run(live())


def test_a_machine_elsewhere_that_says_nothing_keeps_no_caller():
    async def live() -> None:
        silence = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await silence.wait()
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        host = RemoteHost(SPEC, f"http://127.0.0.1:{port}", api_key="key")
        await host.start()
        with pytest.raises(DeadlinePassed, match="gave no answer"):
            await host.call(Call(Operation.INFERENCE, BODY, until=time.monotonic() + LATE_S))
        silence.set()
        await host.close()
        server.close()
        await server.wait_closed()
        await host.start()
        with pytest.raises(NotConnected):
            await host.call(Call(Operation.INFERENCE, BODY, until=time.monotonic() + 20))
        await host.close()

    asyncio.run(live())
