"""The service behind TimeGPT on loopback, for the real client: it forecasts by season.

    with FakeTimeGPT(key="nixak-of-the-test") as service:
        NixtlaClient(api_key=service.key, base_url=service.url).forecast(...)

It speaks `GET /validate_api_key`, `GET /model_params`, `POST /v2/forecast` and
`POST /v2/finetune`. A forecast repeats the last season; covariates known ahead move it by
least squares; its quantiles are those of the steps from one season to the next, so they are
not symmetric. A model fine-tuned here adds `TUNED_SHIFT`, so that one sees it answer.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np
import zstandard

SEASONS = {"D": 7, "h": 24, "MS": 12, "ME": 12, "B": 5}
INPUT_SIZE, HORIZON = 96, 48
TUNED_SHIFT = 1000.0


class FakeTimeGPT:
    """The server. `bodies` holds what was posted, `paths` what was asked.

    Attributes:
        refusal: answer every POST with this (status, body, headers) instead; None to work.
        answers: while it is clear, a POST is not answered.
    """

    def __init__(self, key: str = "nixak-key-of-the-test") -> None:
        self.key = key
        self.paths: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.tuned: set[str] = set()
        self.refusal: tuple[int, Any, dict[str, str]] | None = None
        self.answers = Event()
        self.answers.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering: the next request finds the port closed."""
        self.answers.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    @contextmanager
    def refusing(self, status: int, body: Any = None, **headers: str) -> Iterator[None]:
        """Refuse every POST for a while."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.refusal = (status, body if body is not None else {"detail": "refused"}, named)
        try:
            yield
        finally:
            self.refusal = None

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.bodies.append(body)
        if path == "/v2/finetune":
            name = body["output_model_id"] or f"tuned-{len(self.tuned)}"
            self.tuned.add(name)
            return 200, {"finetuned_model_id": name}
        tuned = body.get("finetuned_model_id")
        if tuned and tuned not in self.tuned:
            return 404, {"detail": f"no fine-tuned model {tuned}"}
        return 200, forecast(body, TUNED_SHIFT if tuned else 0.0)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                self.get(service)

            def do_POST(self) -> None:
                self.post(service)

        return Handler


class _Handler(BaseHTTPRequestHandler):
    def get(self, service: FakeTimeGPT) -> None:
        url = urlsplit(self.path)
        service.paths.append(url.path)
        if self.headers["Authorization"] != f"Bearer {service.key}":
            self._send(401, {"detail": "this key is not valid"})
        elif url.path == "/validate_api_key":
            self._send(200, {"detail": "this key is valid"})
        elif url.path == "/model_params" and {"model", "freq"} <= set(parse_qs(url.query)):
            self._send(200, {"detail": {"input_size": INPUT_SIZE, "horizon": HORIZON}})
        else:
            self._send(404, {"detail": "nothing here"})

    def post(self, service: FakeTimeGPT) -> None:
        service.paths.append(self.path)
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "zstd":
            sent = zstandard.ZstdDecompressor().decompressobj().decompress(sent)
        service.answers.wait(60)
        if service.refusal is not None:
            self._send(*service.refusal)
        elif self.headers["Authorization"] != f"Bearer {service.key}":
            self._send(401, {"detail": "this key is not valid"})
        elif self.path in ("/v2/forecast", "/v2/finetune"):
            self._send(*service.answer(self.path, json.loads(sent)))
        else:
            self._send(404, {"detail": "nothing here"})

    def _send(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        with suppress(ConnectionError):  # a client that gave up is gone
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent; `FakeTimeGPT.paths` is the log."""


def forecast(body: dict[str, Any], shift: float) -> dict[str, Any]:
    """Answer `/v2/forecast`; series lie one after the other in flat lists."""
    series, horizon = body["series"], body["h"]
    percents = sorted(set(body["level"] or ()))
    mean: list[float] = []
    intervals: dict[str, list[float]] = {f"{s}-{p:g}": [] for s in ("lo", "hi") for p in percents}
    start = 0
    for number, size in enumerate(series["sizes"]):
        past = np.array(series["y"][start : start + size], dtype=float)
        ahead = slice(number * horizon, (number + 1) * horizon)
        moved = _effect(series, slice(start, start + size), ahead)
        path, steps = _seasonal(past - moved[:size], SEASONS.get(body["freq"], 1), horizon)
        path = path + moved[size:] + shift
        mean += path.tolist()
        for percent in percents:
            for side, level in (("lo", 50 - percent / 2), ("hi", 50 + percent / 2)):
                spread = np.percentile(steps, level)
                intervals[f"{side}-{percent:g}"] += (path + spread).tolist()
        start += size
    return {"mean": mean, "intervals": intervals or None, "weights_x": None}


def _seasonal(past: Any, season: int, horizon: int) -> tuple[Any, Any]:
    """Repeat the last season; and list the steps from each season to the next."""
    last = past[-season:]
    steps = past[season:] - past[:-season] if len(past) > season else np.zeros(1)
    return np.resize(last, horizon), steps


def _effect(series: dict[str, Any], past: slice, ahead: slice) -> Any:
    """How much the covariates known ahead move the past and the future [T + H]."""
    known = series["X_future"] or []
    length = (past.stop - past.start) + (ahead.stop - ahead.start)
    if not known:
        return np.zeros(length)
    columns = []
    for row, future in enumerate(known):
        values = [*series["X"][row][past], *future[ahead]]
        if row in series.get("categorical_exog", ()):
            kinds = sorted(set(values))
            columns += [[float(value == kind) for value in values] for kind in kinds[1:]]
        else:
            columns.append(values)
    table = np.column_stack([np.ones(length), *np.array(columns, dtype=float)])
    size = past.stop - past.start
    target = np.array(series["y"][past], dtype=float)
    weights = np.linalg.lstsq(table[:size], target, rcond=None)[0]
    weights[0] = 0.0
    return table @ weights
