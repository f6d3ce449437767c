"""TimeGPT (Garza et al. 2023, arXiv:2310.03589) through the `nixtla` client."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import SecretStr
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.saved import OnProgress, Progress, TrainingResult
from forecast.models.timegpt.frames import tables_of
from forecast.models.timegpt.remote import check_key, connect, our_errors
from forecast.models.timegpt.spec import BASE_URL, SPEC, TimeGPTConfig

WEIGHTS_FILE = "model.safetensors"  # holds no weights but the name of the remote ones
MEAN = "TimeGPT"
_ID = "finetuned_model_id"


class TimeGPTModel(BaseTimeSeriesModel):
    """Asks the service; holds no weights, only the name of those that were tuned over there."""

    spec = SPEC
    config: TimeGPTConfig

    def __init__(self, config: TimeGPTConfig | None = None) -> None:
        super().__init__(config)
        self.finetuned_model_id = self.config.finetuned_model_id
        self._client = connect(self.config)

    @classmethod
    def load_model(cls, path: Path | None, **overrides: Any) -> Self:
        """Connect, and ask whether the key is good.

        Raises:
            ModelNotReady, RemoteUnauthorized: there is no key, or the service refuses it.
            RemoteUnavailable: the service does not answer.
        """
        model = super().load_model(path, **overrides)
        check_key(model._client)
        return model

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        answers: dict[int, Forecast] = {}
        by_freq: dict[object, list[int]] = {}
        for position, series in enumerate(batch):
            known = series.start is not None and series.freq is not None
            by_freq.setdefault(series.freq if known else None, []).append(position)
        for positions in by_freq.values():
            asked = self._ask([batch[position] for position in positions], task)
            answers.update(zip(positions, asked, strict=True))
        return [answers[position] for position in range(len(batch))]

    def _ask(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast series of one frequency in one request."""
        tables = tables_of(batch, task.horizon)
        shape = (len(batch), task.horizon)
        with our_errors():
            answer = self._client.forecast(
                df=tables.past,
                X_df=tables.future,
                h=task.horizon,
                freq=tables.freq,
                level=_intervals(task.quantile_levels),
                hist_exog_list=tables.past_only or None,
                categorical_exog_list=tables.categorical or None,
                clean_ex_first=self.config.clean_ex_first,
                model=self.config.remote_model,
                finetuned_model_id=self.finetuned_model_id,
            )
            mean = answer[MEAN].to_numpy(float).reshape(shape)
            quantiles = np.empty((len(task.quantile_levels), *shape))
            for row, level in enumerate(task.quantile_levels):
                quantiles[row] = _quantile(answer, level).reshape(shape)
        return [
            Forecast(mean[[n]], quantiles[None, :, n], task.quantile_levels)
            for n in range(len(batch))
        ]

    def _fit(
        self,
        train: Sequence[Series],
        validation: Sequence[Series] | None,  # noqa: ARG002 -- the service keeps its own
        on_progress: OnProgress,
        checkpoints: Path | None,  # noqa: ARG002 -- nothing is learned here
    ) -> TrainingResult:
        """Tune over there; the service says nothing of how it goes until it is done."""
        if train[0].past_covariates:
            raise InvalidRequest("timegpt is fine-tuned on targets alone; leave out covariates")
        if len({one.freq for one in train}) > 1:
            raise InvalidRequest("timegpt is fine-tuned on series of one frequency")
        steps = self.config.finetune_steps
        tables = tables_of(train, 1)
        on_progress(Progress(step=0, of=steps))
        with our_errors():
            self.finetuned_model_id = self._client.finetune(
                tables.past,
                freq=tables.freq,
                finetune_steps=steps,
                finetune_depth=self.config.finetune_depth,
                finetune_loss=self.config.finetune_loss,
                finetuned_model_id=self.finetuned_model_id,
                model=self.config.remote_model,
            )
        on_progress(Progress(step=steps, of=steps))
        return TrainingResult()

    def _save_model_weights(self, path: Path) -> None:
        named = (self.finetuned_model_id or "").encode()
        save_file({_ID: np.frombuffer(named, dtype=np.uint8)}, path / WEIGHTS_FILE)

    def _load_model_weights(self, path: Path) -> None:
        try:
            named = load_file(path / WEIGHTS_FILE)[_ID].tobytes().decode()
        except (OSError, KeyError, UnicodeDecodeError, SafetensorError) as error:
            raise BadData(f"{WEIGHTS_FILE} cannot be read") from error
        self.finetuned_model_id = self.config.finetuned_model_id or named or None

    @classmethod
    def tiny(cls, base_url: str = BASE_URL, api_key: str = "no-key") -> Self:
        """Make an instance for the service at an address; nothing is sent yet."""
        return cls(TimeGPTConfig(device="cpu", base_url=base_url, api_key=SecretStr(api_key)))


def _intervals(levels: Sequence[float]) -> list[float] | None:
    """Name the central intervals, in percent, that have the quantiles as their ends."""
    return sorted({_percent(level) for level in levels} - {0.0}) or None


def _percent(level: float) -> float:
    return round(abs(100 - 200 * level), 4)


def _quantile(answer: pd.DataFrame, level: float) -> FloatArray:
    """Read the end of an interval [N * H]; the median is the point forecast, as the client has it.

    Raises:
        KeyError: the service left it out.
    """
    percent = _percent(level)
    if percent == 0:
        return answer[MEAN].to_numpy(float)
    start = f"{MEAN}-{'lo' if level < 0.5 else 'hi'}-"
    for name in answer.columns:
        if name.startswith(start) and abs(float(name.removeprefix(start)) - percent) < 1e-4:
            return answer[name].to_numpy(float)
    raise KeyError(f"{start}{percent:g}")
