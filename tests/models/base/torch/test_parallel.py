"""Two processes that torchrun starts, and what each of them ends with."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from forecast.core.errors import InvalidRequest, MissingLibrary
from forecast.models.base.config import DistributedConfig
from forecast.models.base.torch.device import rank, world_size
from forecast.models.base.torch.parallel import DeepSpeed, process_group
from tests.models.base.linear_model import LinearConfig, LinearModel, waves, weights_of
from tests.models.base.torch.parallel_script import SCENARIOS, SharedModel, data

ROOT = Path(__file__).parents[4]
SCRIPT = Path(__file__).with_name("parallel_script.py")
TRAINED = [
    name for name in SCENARIOS if name not in ("spoilt", "first-writes", "stopped", "own-group")
]

Outcomes = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> Outcomes:
    """What both processes ended with, by scenario."""
    folder = tmp_path_factory.mktemp("outcomes")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(SCRIPT), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr
    return {
        name: [torch.load(folder / f"{name}.{rank}.pt") for rank in (0, 1)] for name in SCENARIOS
    }


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", TRAINED)
def test_both_processes_end_with_the_same_whole_network(outcomes, scenario):
    first, second = outcomes[scenario]
    assert distance(first["weights"], second["weights"]) == 0
    assert first["history"] == second["history"]
    for one in (first, second):
        assert one["types"] == "LinearNetwork"
        assert one["trainable"]
        assert {type(weight) for weight in one["weights"].values()} == {torch.Tensor}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [*TRAINED, "spoilt", "first-writes", "own-group"])
def test_no_process_stays_in_a_group(outcomes, scenario):
    assert all(one["left"] for one in outcomes[scenario])


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_learns_of_batches_twice_as_large(outcomes, scenario):
    alone = LinearModel(LinearConfig(use_norm=False, batch_size=16, max_epochs=4, device="cpu"))
    alone.fit(*data(80))
    weights = outcomes[scenario][0]["weights"]
    assert distance(weights, weights_of(alone)) < 1e-4
    untrained = LinearModel(alone.config.model_copy(update={"learning_rate": 1e-12}))
    untrained.fit(*data(80))
    assert distance(weights, weights_of(untrained)) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(outcomes, strategy):
    resumed, straight = outcomes[f"{strategy}-resumed"][0], outcomes[f"{strategy}-uneven"][0]
    assert distance(resumed["weights"], straight["weights"]) == 0
    assert resumed["history"] == straight["history"]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_adapters_are_all_that_is_trained(outcomes, strategy):
    before = weights_of(LinearModel.tiny())
    after = outcomes[f"{strategy}-lora"][0]["weights"]
    changed = {name for name in before if not after[name].equal(before[name])}
    buffers = {name for name in before if "running" in name or "num_batches" in name}
    assert changed - buffers == {"encoder.weight", "head.weight", "head.bias"}


@pytest.mark.slow
def test_a_loss_that_one_process_does_not_find_fails_the_training_of_all(outcomes):
    for one in outcomes["spoilt"]:
        assert one["error"].startswith("TrainingFailed: the loss is nan at step 3")


@pytest.mark.slow
def test_one_process_that_wants_to_end_ends_all_at_the_same_step(outcomes):
    first, second = (one["history"] for one in outcomes["stopped"])
    assert first == second
    assert first[-1]["epoch"] == 2


@pytest.mark.slow
def test_the_first_process_alone_writes_checkpoints(outcomes):
    first, second = outcomes["first-writes"]
    assert first["wrote"]
    assert not second["wrote"]


@pytest.mark.slow
def test_a_checkpoint_that_not_all_processes_see_is_refused_by_all(outcomes):
    for one in outcomes["first-writes"]:
        assert "not the same on every machine" in one["error"]


@pytest.mark.slow
def test_a_script_may_set_the_group_around_training_and_more(outcomes):
    assert [one["ranks"] for one in outcomes["own-group"]] == [0, 1]
    assert {one["device"] for one in outcomes["own-group"]} == {"cpu"}
    weights = outcomes["own-group"][0]["weights"]
    assert distance(weights, outcomes["ddp"][0]["weights"]) == 0


def shared(**options: Any) -> SharedModel:
    return SharedModel(LinearConfig(device="cpu", max_epochs=1, **options))


def test_without_a_configuration_of_it_one_process_trains_alone():
    model, plain = shared(), LinearModel(shared().config)
    for one in (model, plain):
        one.fit(waves())
    assert distance(weights_of(model), weights_of(plain)) == 0


def test_a_process_that_torchrun_did_not_start_is_told_the_command(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidRequest, match="torchrun --nproc-per-node"):
        shared(distributed=DistributedConfig()).fit(waves())


@pytest.fixture
def alone_in_a_group(monkeypatch):
    """The environment of one process, as torchrun sets it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        yield


def test_a_group_is_left_when_what_it_was_for_fails(alone_in_a_group):
    with (
        pytest.raises(ZeroDivisionError),
        process_group(DistributedConfig(), "cpu"),
    ):
        assert torch.distributed.is_initialized()
        assert (rank(), world_size()) == (0, 1)
        raise ZeroDivisionError
    assert not torch.distributed.is_initialized()


def test_deepspeed_is_named_where_it_is_missing(alone_in_a_group, monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(MissingLibrary, match="pip install deepspeed, or choose fsdp"):
        shared(distributed=DistributedConfig(strategy="deepspeed")).fit(waves())
    assert not torch.distributed.is_initialized()


def test_deepspeed_keeps_no_checkpoints_and_says_so(tmp_path):
    assert not DeepSpeed.keeps_checkpoints
    model = shared(distributed=DistributedConfig(strategy="deepspeed"))
    with pytest.raises(InvalidRequest, match="keeps no checkpoints"):
        model.fit(waves(), checkpoints=tmp_path)


def test_a_family_that_trains_in_one_process_refuses_to_share():
    model = LinearModel(LinearConfig(device="cpu", distributed=DistributedConfig()))
    with pytest.raises(InvalidRequest, match="/distributed: this model trains in one process"):
        model.fit(waves())
