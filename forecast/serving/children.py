"""The host whose model lives in children of this process."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from forecast.core.errors import (
    DeadlinePassed,
    HostUnavailable,
    MissingLibrary,
    ModelBusy,
    ModelNotReady,
)
from forecast.models.spec import ModelSpec
from forecast.serving.channel import NotConnected
from forecast.serving.hosts import Answer, Call, Operation
from forecast.serving.supervisor import Child, ChildOptions, Place, Pulse


class ChildHost:
    """Children of this process that hold one model, each on a Unix socket of its own.

    They start with the first initialization, or at once for a model that is ready at once and
    whose library is installed, and end with the shutdown: the memory goes back to the machine.
    """

    def __init__(self, spec: ModelSpec, options: ChildOptions) -> None:
        self.spec = spec
        self._options = options
        self._folder: Path | None = None
        self._children: Sequence[Child] = ()
        self._changed = Pulse()
        self._is_wanted = spec.is_ready_at_once and self._lacks is None
        self._is_initializing = False

    @property
    def _lacks(self) -> str | None:
        """What is to be installed first, in words."""
        if not Path(self._options.python).exists():
            return (
                f"the environment of {self.spec.model_id} is not installed;"
                f" {self.spec.how_to_install}"
            )
        is_ours = self._options.python == sys.executable
        return self.spec.missing_library if is_ours else None

    @property
    def children(self) -> Sequence[Child]:
        """The processes, whether they run or not."""
        return self._children

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that take calls."""
        return [child.pid for child in self._up if child.pid is not None]

    @property
    def _up(self) -> list[Child]:
        return [child for child in self._children if child.is_up]

    async def start(self) -> None:
        """Make ready; children of a model without weights start in the background."""
        # A short path of our own: a Unix socket's may have no more than 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="forecast-"))
        count = min(self._options.replicas, self.spec.max_replicas)
        board = self._folder / "cores"
        board.write_bytes(bytes(count))
        self._children = [
            Child(self.spec, Place(board, slot), self._options, self._changed)
            for slot in range(count)
        ]
        if self._is_wanted:
            for child in self._children:
                child.start()

    async def call(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            HostUnavailable: no child answers.
            DeadlinePassed: none did in time.
            ModelNotReady: the model was not initialized.
            ModelBusy: it is being initialized already.
            MissingLibrary: the interpreter of its environment, or its library, is not there.
        """
        if call.operation is Operation.INITIALIZATION:
            return await self._initialize(call)
        if call.operation is Operation.INFERENCE:
            return await self._infer(call)
        if call.operation is Operation.SHUTDOWN:
            return await self._shutdown(call)
        return await self._status(call)

    async def close(self) -> None:
        """End the children."""
        self._is_wanted = False
        await asyncio.gather(*(child.close() for child in self._children))
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _initialize(self, call: Call) -> Answer:
        if lacks := self._lacks:
            raise MissingLibrary(lacks)
        if self._is_initializing:
            raise ModelBusy(f"{self.spec.model_id} is being loaded; try again later")
        self._is_initializing = self._is_wanted = True
        try:
            return await self._initialized(call)
        finally:
            self._is_initializing = False

    async def _initialized(self, call: Call) -> Answer:
        """Have every child load the model; those that fail where others succeed try again."""
        answers = await asyncio.gather(
            *(child.initialize(call) for child in self._children), return_exceptions=True
        )
        pairs = list(zip(self._children, answers, strict=True))
        loaded = [one for one in answers if isinstance(one, Answer) and one.status < 300]
        if loaded:
            for child, answer in pairs:
                if not isinstance(answer, Answer) or answer.status >= 300:
                    child.adopt(call)
            return loaded[0]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return max((one for one in answers if isinstance(one, Answer)), key=lambda one: one.status)

    async def _infer(self, call: Call) -> Answer:
        delay = f"{self.spec.model_id} was being started or loaded"
        while True:
            child = await call.within(self._least_busy(), delay)
            try:
                return await child.channel.forward(call)
            except NotConnected:
                child.doubt()
            except (DeadlinePassed, HostUnavailable):
                child.doubt()
                raise

    async def _least_busy(self) -> Child:
        """Choose the child with the fewest requests; wait for one while any may come up."""
        while True:
            if not self._is_wanted:
                if self.spec.is_ready_at_once and (lacks := self._lacks):
                    raise MissingLibrary(lacks)
                raise ModelNotReady(
                    f"{self.spec.model_id} is uninitialized;"
                    f" load it with POST /forecast/v1/{self.spec.model_id}/initialization"
                )
            if self._up:
                return min(self._up, key=lambda child: child.channel.outstanding)
            if all(child.trouble for child in self._children):
                raise self._children[0].unavailable()
            await self._changed.wait()

    async def _status(self, call: Call) -> Answer:
        """Show the child that has furthest to go."""
        answers = await asyncio.gather(*(self._status_of(child, call) for child in self._up))
        known = [answer for answer in answers if answer is not None]
        return max(known, key=_to_go) if known else self._status_without_child()

    async def _status_of(self, child: Child, call: Call) -> Answer | None:
        try:
            return await child.channel.forward(call)
        except HostUnavailable:
            child.doubt()
            return None

    def _status_without_child(self) -> Answer:
        troubles = [child.trouble for child in self._children]
        state = "initializing" if self._is_wanted else "uninitialized"
        details = self._lacks
        if self._is_wanted and all(troubles):
            state, details = "error", f"its host {troubles[0]}; the gateway's log says why"
        return Answer(200, orjson.dumps(_NO_CHILD | {"model_status": state, "details": details}))

    async def _shutdown(self, call: Call) -> Answer:
        """Let the children answer what waits; one that cannot is ended all the same."""
        patient = replace(call, until=time.monotonic() + self._options.stop_s)
        answers = await asyncio.gather(
            *(child.channel.forward(patient) for child in self._up), return_exceptions=True
        )
        refusals = [one for one in answers if isinstance(one, Answer) and one.status >= 300]
        if refusals:
            return max(refusals, key=lambda answer: answer.status)
        self._is_wanted = False
        await asyncio.gather(*(child.stop() for child in self._children))
        document = {"message": "the model is unloaded", "model_status": "uninitialized"}
        return Answer(200, orjson.dumps(document))


_NO_CHILD: dict[str, str | None] = dict.fromkeys(
    ("details", "source", "version", "device", "loaded_at")
)
_STATES = ("ready", "uninitialized", "initializing", "error")


def _to_go(answer: Answer) -> int:
    """Rank an answer about the status: the further from ready, the higher."""
    if answer.status != 200:
        return len(_STATES)
    return _STATES.index(orjson.loads(answer.body)["model_status"])
