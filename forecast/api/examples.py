"""Bodies that work as they stand, for the OpenAPI document; a test sends each of them."""

from typing import Any

INTRODUCTION = """\
One REST API for every forecasting model.

Send the key of the deployment as `Authorization: Bearer <key>` or `X-API-Key: <key>`.
Every error is `application/problem+json` with a stable `code` and the `request_id`.
"""

_PARAMETERS: dict[str, Any] = {"horizon": 3, "quantile_levels": [0.1, 0.5, 0.9]}
_TARGET = [12, 15, 14, 19, 22, 18, 17, 16, 20, 21, 24, 25, 21, 20]
_DATES = [f"2026-01-{day:02d}" for day in range(1, 15)]

NATIVE: dict[str, Any] = {
    "inputs": [{"item_id": "store_1", "target": _TARGET, "start": "2026-01-01", "freq": "D"}],
    "parameters": _PARAMETERS,
}
_TABLE: dict[str, Any] = {
    "data": {"date": _DATES, "store": ["store_1"] * 14, "sales": _TARGET},
    "schema": {"timestamp": "date", "item_id": "store", "target": "sales"},
}
_FILE: dict[str, Any] = {
    "data_source_url_or_path": "local://data/sales.csv",
    "data_definition": {"sales": "target"},
}
TABLE: dict[str, Any] = {**_TABLE, "parameters": _PARAMETERS}
NAMED_FILE: dict[str, Any] = {**_FILE, "parameters": {"context_len": 96, "horizon_len": 12}}

FORECASTS: dict[str, Any] = {
    "native": {"summary": "Series inline", "value": NATIVE},
    "table": {"summary": "A table", "value": TABLE},
    "named_file": {"summary": "A file under the data roots", "value": NAMED_FILE},
}
INITIALIZATIONS: dict[str, Any] = {
    "default": {"summary": "The default weights", "value": {}},
    "limits": {
        "summary": "On the CPU, with a default horizon, without waiting",
        "value": {"backend": "cpu", "horizon_len": 24, "wait": False},
    },
}
ALIASES: dict[str, Any] = {
    "promote": {
        "summary": "Let it stand for another version",
        "value": {"version": "v2026-11-21-3f9c2a1", "reason": "a lower error on 2025"},
    },
    "rollback": {
        "summary": "Back to the version before",
        "value": {"rollback": True, "reason": "it is worse on new stores"},
    },
}
_CONFIG: dict[str, Any] = {"horizon": 3, "context_length": 8}
_SERIES: dict[str, Any] = {
    "inputs": [{"target": _TARGET * 3, "start": "2026-01-01", "freq": "D"}],
}
_YEARS: dict[str, Any] = {
    "inputs": [
        {"item_id": "AAPL", "target": _TARGET * 8, "start": "2019-01-04", "freq": "W-FRI"},
    ],
}

TRAININGS: dict[str, Any] = {
    "inline": {
        "summary": "Series inline",
        "value": {**_SERIES, "config": _CONFIG, "validation": {"horizons": 1}},
    },
    "table": {"summary": "A table", "value": {**_TABLE, "config": _CONFIG}},
    "named_file": {
        "summary": "A file under the data roots",
        "value": {**_FILE, "config": _CONFIG},
    },
    "long_file": {
        "summary": "A file of several items under the data roots",
        "value": {
            "data_source_url_or_path": "local://data/stores.csv",
            "schema": _TABLE["schema"],
            "config": _CONFIG,
        },
    },
    "dataset": {
        "summary": "A dataset that was put here",
        "value": {"dataset": "sales", "config": _CONFIG},
    },
    "snapshots": {
        "summary": "The current model, and one of each past year",
        "value": {
            **_YEARS,
            "config": _CONFIG,
            "cutoff": "2020-12-31",
            "snapshots": {"yearly": True, "bootstrap_years": 1},
            "promote": "if_better",
        },
    },
}
BACKTESTS: dict[str, Any] = {
    "rolling": {
        "summary": "Two origins, a week apart",
        "value": {**_SERIES, "horizon": 3, "windows": 2, "step": 7},
    },
    "table": {"summary": "A table", "value": {**_TABLE, "horizon": 2, "windows": 2}},
    "dataset": {
        "summary": "A dataset that was put here",
        "value": {"dataset": "sales", "horizon": 2, "windows": 1},
    },
}
SHORT_TRAININGS: dict[str, Any] = {
    "all": {"summary": "The current model, and one of each past year", "value": {}},
    "current": {
        "summary": "The current model alone",
        "value": {"config": _CONFIG, "snapshots": False},
    },
}
DATASETS: dict[str, Any] = {"table": {"summary": "A table", "value": _TABLE}}


def routed(model_ids: list[str]) -> dict[str, Any]:
    """Show a request that names its model and one to fall back on."""
    names: dict[str, Any] = {"model": model_ids[0]}
    if len(model_ids) > 1:
        names = {"model": model_ids[-1], "fallback": model_ids[:1]}
    return {"fallback": {"summary": "With a fallback", "value": {**names, **NATIVE}}}
