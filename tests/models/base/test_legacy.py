import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from forecast.models.base import legacy
from forecast.models.base.config import (
    LoraConfig,
    ModelConfig,
    NetworkConfig,
    TrainingBackend,
    TrainingMode,
)
from forecast.models.base.model import BaseTimeSeriesModel


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BaseTSFM", BaseTimeSeriesModel),
        ("LoRAConfig", LoraConfig),
        ("TrainingStrategy", TrainingBackend),
    ],
)
def test_an_older_class_is_the_new_one_and_says_its_name(old, new):
    with pytest.warns(DeprecationWarning, match=f"{old} is called {new.__name__} now"):
        assert getattr(legacy, old) is new


def test_an_older_class_can_be_imported_and_used():
    with pytest.warns(DeprecationWarning, match="LoraConfig"):
        from forecast.models.base.legacy import LoRAConfig
    assert LoRAConfig(rank=4).rank == 4


def test_a_name_that_never_was_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'BaseTSFN'"):
        legacy.BaseTSFN  # noqa: B018


@pytest.mark.parametrize(
    ("old", "value", "new", "expected"),
    [
        ("d_model", 64, "hidden_dim", 64),
        ("n_heads", 8, "num_attention_heads", 8),
        ("n_layers", 3, "num_layers", 3),
        ("fp16", True, "use_mixed_precision", True),
        ("fit_strategy", "fine_tune", "training_mode", TrainingMode.FINE_TUNE),
        ("use_cpu", True, "device", "cpu"),
        ("use_cpu", False, "device", "auto"),
    ],
)
def test_an_older_field_sets_the_one_it_became(old, value, new, expected):
    with pytest.warns(DeprecationWarning, match=f"{old} is .*{new}") as said:
        config = NetworkConfig(**{old: value})
    assert getattr(config, new) == expected
    assert [warning.filename for warning in said] == [__file__]  # where to change it
    assert old not in config.model_dump()


def test_the_training_strategy_is_no_longer_a_choice():
    with pytest.warns(DeprecationWarning, match="training_strategy has no effect"):
        config = NetworkConfig(training_strategy=TrainingBackend.TRANSFORMERS)
    assert config == NetworkConfig()


def test_a_document_with_older_fields_is_read_too():
    with pytest.warns(DeprecationWarning, match="n_layers"):
        assert NetworkConfig.model_validate_json('{"n_layers": 5}').num_layers == 5


@pytest.mark.parametrize(
    "values", [{"d_model": 1, "hidden_dim": 2}, {"use_cpu": True, "device": "cpu"}]
)
def test_a_field_under_both_of_its_names_is_refused(values):
    says_so = pytest.warns(DeprecationWarning, match="d_model|use_cpu")
    with says_so, pytest.raises(ValidationError, match="given twice"):
        NetworkConfig(**values)


def test_a_configuration_without_the_field_refuses_its_older_name():
    says_so = pytest.warns(DeprecationWarning, match="d_model")
    with says_so, pytest.raises(ValidationError, match="hidden_dim"):
        ModelConfig(d_model=3)


def test_what_has_a_name_of_today_warns_nobody():
    config = NetworkConfig(hidden_dim=3, device="cpu")
    assert NetworkConfig.model_validate(config) is config
    assert NetworkConfig.model_validate(config.model_dump()) == config


def test_nothing_of_ours_uses_an_older_name():
    root = Path(legacy.__file__).parents[2]
    users = [
        file.name
        for file in root.rglob("*.py")
        if "BaseTSFM" in file.read_text() or "LoRAConfig" in file.read_text()
    ]
    assert users == ["legacy.py"]


def test_the_file_imports_no_model():
    code = "import sys, forecast.models.base.legacy; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
