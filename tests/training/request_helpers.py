"""A family that can do everything, a year-long history, and short ways to ask."""

import json
from dataclasses import replace
from pathlib import Path

from forecast.data.policy import DataPolicy
from forecast.models import MODEL_REGISTRY
from forecast.models.base.config import TrainingConfig
from forecast.models.spec import Capabilities, License
from forecast.training.data import JobData
from forecast.training.datasets import Datasets
from forecast.training.requests import Body, JobReader

ABLE = Capabilities(
    fine_tunable=True,
    trainable=True,
    lora=True,
    past_covariates=True,
    future_covariates=True,
    categorical_covariates=True,
    static_covariates=True,
    multivariate=True,
)
SPEC = replace(
    MODEL_REGISTRY["lstm"],
    config=TrainingConfig,
    weights="hf:org/name",
    capabilities=ABLE,
    distributed=True,
)
CLOSED = replace(SPEC, license=License("CC-BY-NC-4.0", False, "https://example.org"))
CONFIG = {"horizon": 2, "context_length": 3}
INPUT = {
    "target": [0, 1, 2, None, 4, 5, 6, 7, 8, 9],
    "start": "2026-01-01",
    "freq": "D",
    "past_covariates": {"promo": list(range(10)), "kind": list("ababababab")},
    "future_covariates": {"promo": [10, 11]},
    "static_covariates": {"region": "north"},
}
DAYS = [f"2026-01-{day:02d}" for day in range(1, 11)]
TABLE = {
    "data": {"day": DAYS * 2, "shop": ["a"] * 10 + ["b"] * 10, "sales": list(range(20))},
    "schema": {"timestamp": "day", "item_id": "shop", "target": "sales"},
}
CSV = "day,shop,sales\n" + "".join(
    f"{day},{shop},{number}\n" for shop in "ab" for number, day in enumerate(DAYS)
)
WEEKLY = {"target": list(range(6 * 52)), "start": "2016-01-01", "freq": "W-FRI"}  # to December 2021
FORM = "multipart/form-data; boundary=cut"


def form(file: str = CSV, filename: str = "sales.csv", **parts: object) -> bytes:
    """Write a multipart body; what is no text is sent as JSON."""
    head = f'Content-Disposition: form-data; name="file"; filename="{filename}"'
    written = [f"--cut\r\n{head}\r\nContent-Type: text/csv\r\n\r\n{file}\r\n"]
    for name, value in parts.items():
        text = value if isinstance(value, str) else json.dumps(value)
        written.append(f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n')
    return ("".join(written) + "--cut--\r\n").encode()


def body(document: object) -> Body:
    return Body(json.dumps(document).encode())


class Desk:
    """Reads requests as a gateway does, with its datasets in a folder of the test."""

    def __init__(self, folder: Path, default: JobData | None = None) -> None:
        self.policy = DataPolicy(data_roots=(folder / "data",))
        self.datasets = Datasets(folder / "datasets", self.policy)
        self.reader = JobReader(self.policy, self.datasets, (), default)
        self.folder = folder

    def write(self, name: str, text: str) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        (self.folder / "data" / name).write_text(text)

    def train(self, spec=SPEC, skip_snapshots=False, **fields):
        document = {"config": CONFIG} | fields
        if not {"inputs", "data", "dataset", "data_source_url_or_path"} & fields.keys():
            document["inputs"] = [INPUT]
        return self.reader.read_training(body(document), spec, skip_snapshots=skip_snapshots)

    def short(self, spec=SPEC, skip_snapshots=False, **fields):
        return self.reader.read_default_training(body(fields), spec, skip_snapshots=skip_snapshots)

    def backtest(self, spec=SPEC, **fields):
        document = {"horizon": 2} | fields
        if not {"inputs", "data", "dataset", "data_source_url_or_path"} & fields.keys():
            document["inputs"] = [INPUT]
        return self.reader.read_backtest(body(document), spec)
