"""The host whose model lives in children of this process."""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson

from forecast.core.errors import MissingLibrary, ModelBusy, ModelNotReady
from forecast.models.spec import ModelSpec
from forecast.serving.channel import NotConnected
from forecast.serving.hosts import Answer, Call, Operation
from forecast.serving.supervisor import Child, ChildOptions, Place

log = logging.getLogger(__name__)


class ChildHost:
    """Children of this process that hold one model, each on a Unix socket of its own.

    They start with the first initialization, or at once for a model without weights, and
    end with the shutdown: the memory goes back to the machine.
    """

    def __init__(self, spec: ModelSpec, options: ChildOptions) -> None:
        self.spec = spec
        self._options = options
        self._folder: Path | None = None
        self._children: Sequence[Child] = ()
        self._background: asyncio.Task[None] | None = None
        self._is_wanted = spec.is_ready_at_once
        self._is_initializing = False

    @property
    def children(self) -> Sequence[Child]:
        """The processes, whether they run or not."""
        return self._children

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that run."""
        return [child.pid for child in self._children if child.is_up and child.pid is not None]

    async def start(self) -> None:
        """Make ready; children of a model without weights start in the background."""
        # A short path of our own: a Unix socket's may have no more than 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="forecast-"))
        count = min(self._options.replicas, self.spec.max_replicas)
        board = self._folder / "cores"
        board.write_bytes(bytes(count))
        self._children = [
            Child(self.spec, Place(board, slot), self._options) for slot in range(count)
        ]
        if self._is_wanted:
            self._background = asyncio.create_task(self._start_children())

    async def call(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            HostUnavailable: no child answers.
            ModelNotReady: the model was not initialized.
            ModelBusy: it is being initialized already.
            MissingLibrary: the interpreter of its environment is not there.
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
        if self._background is not None:
            self._background.cancel()
        await asyncio.gather(*(child.close() for child in self._children))
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _start_children(self) -> None:
        results = await asyncio.gather(
            *(child.start() for child in self._children), return_exceptions=True
        )
        for error in results:
            if isinstance(error, BaseException):
                log.error("the host of %s did not start: %s", self.spec.model_id, error)

    async def _initialize(self, call: Call) -> Answer:
        self._check_interpreter()
        if self._is_initializing:
            raise ModelBusy(f"{self.spec.model_id} is being loaded; try again later")
        self._is_initializing = self._is_wanted = True
        try:
            answers = await asyncio.gather(*(child.initialize(call) for child in self._children))
        finally:
            self._is_initializing = False
        return max(answers, key=lambda answer: answer.status)

    def _check_interpreter(self) -> None:
        if not Path(self._options.python).exists():
            raise MissingLibrary(
                f"the environment of {self.spec.model_id} is not installed;"
                f" {self.spec.how_to_install}"
            )

    async def _infer(self, call: Call) -> Answer:
        child = await self._least_busy()
        try:
            return await child.channel.forward(call)
        except NotConnected:
            child.lost()
        return await (await self._least_busy()).channel.forward(call)

    async def _least_busy(self) -> Child:
        """Choose the child with the fewest requests; wait for one that is starting."""
        if not self._is_wanted:
            raise ModelNotReady(
                f"{self.spec.model_id} is uninitialized;"
                f" load it with POST /forecast/v1/{self.spec.model_id}/initialization"
            )
        up = [child for child in self._children if child.is_up]
        if not up:
            await self._children[0].start()
            return self._children[0]
        return min(up, key=lambda child: child.channel.outstanding)

    async def _status(self, call: Call) -> Answer:
        """Show the child that has furthest to go."""
        up = [child for child in self._children if child.is_up]
        if not up:
            state = "initializing" if self._is_wanted else "uninitialized"
            return Answer(200, orjson.dumps(_NO_CHILD | {"model_status": state}))
        answers = await asyncio.gather(*(child.channel.forward(call) for child in up))
        return max(answers, key=_to_go)

    async def _shutdown(self, call: Call) -> Answer:
        up = [child for child in self._children if child.is_up]
        answers = await asyncio.gather(*(child.channel.forward(call) for child in up))
        if any(answer.status >= 300 for answer in answers):
            return max(answers, key=lambda answer: answer.status)
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
