"""The one training loop, on the smallest network that has all that a loop meets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forecast.core.errors import BadData, InvalidRequest, NotTrainable, TrainingFailed
from forecast.core.types import ForecastTask
from forecast.models.base.config import LoraConfig, TrainingMode
from forecast.models.base.saved import Progress
from forecast.models.base.torch.training import Batch, Optimization, rate
from tests.models.base.linear_model import LinearConfig, LinearModel, waves, weights_of

TASK = ForecastTask(horizon=4, quantile_levels=())


def model(**options: Any) -> LinearModel:
    return LinearModel(LinearConfig(**{"device": "cpu", "max_epochs": 3} | options))


def assert_equal(one: LinearModel, other: LinearModel) -> None:
    theirs = weights_of(other)
    for name, weight in weights_of(one).items():
        assert weight.equal(theirs[name]), name


def differ(one: LinearModel, other: LinearModel) -> bool:
    return not weights_of(one)["head.weight"].equal(weights_of(other)["head.weight"])


class Interrupted(Exception):
    pass


class InterruptedAt:
    """A callback that fails like a process that is killed, at the first report of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, progress: Progress) -> None:
        if progress.step >= self.step:
            raise Interrupted


class Recording:
    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.seen: list[Progress] = []

    def __call__(self, progress: Progress) -> bool | None:
        self.seen.append(progress)
        return self.answers.pop(0) if self.answers else None


# What comes of it


def test_it_learns_a_wave_far_better_than_the_last_value_does():
    trained = model(max_epochs=15, hidden_dim=16).fit(waves())
    unseen = waves(4, seed=1)
    error = trained.evaluate(unseen, TASK)["mae"]
    naive = np.mean([np.abs(one.target[:, -4:] - one.target[:, -5:-4]).mean() for one in unseen])
    assert error < 0.1 * naive


def test_the_same_seed_gives_the_same_weights_and_another_gives_others():
    one, same, other = (model(seed=seed, dropout=0.3).fit(waves()) for seed in (1, 1, 2))
    assert_equal(one, same)
    assert differ(one, other)


def test_what_the_process_has_drawn_before_and_draws_after_plays_no_part():
    torch.manual_seed(5)
    expected = torch.rand(3)
    one = model(dropout=0.3).fit(waves())
    torch.manual_seed(5)
    other = model(dropout=0.3).fit(waves())
    assert_equal(one, other)
    assert torch.rand(3).equal(expected)


def test_the_network_is_left_ready_to_forecast():
    trained = model().fit(waves())
    assert not trained.network.training
    assert trained.is_fitted


def test_mixed_precision_changes_nothing_on_the_cpu():
    assert_equal(model(use_mixed_precision=True).fit(waves()), model().fit(waves()))


# When it ends


def test_it_ends_with_the_last_epoch():
    trained = model(max_epochs=2, batch_size=100).fit(waves())
    assert [(entry["epoch"], entry["step"]) for entry in trained.training_history_] == [
        (1, 5),
        (2, 10),
    ]


@pytest.mark.parametrize(("max_epochs", "max_steps", "ended"), [(None, 7, 7), (1, 7, 5), (9, 7, 7)])
def test_it_ends_with_whichever_end_comes_first(max_epochs, max_steps, ended):
    trained = model(max_epochs=max_epochs, max_steps=max_steps, batch_size=100).fit(waves())
    assert trained.training_history_[-1]["step"] == ended


def test_progress_counts_steps_of_all_and_tells_the_losses():
    heard = Recording()
    model(max_epochs=2, batch_size=4).fit(waves(), waves(1), on_progress=heard)
    a_pass = 101  # 4 waves of 101 windows, in batches of 4
    assert [one.step for one in heard.seen] == [50, 100, 101, 150, 200, 202]
    assert {one.of for one in heard.seen} == {2 * a_pass}
    assert [one.epoch for one in heard.seen] == [0, 0, 1, 1, 1, 2]
    assert all(one.loss is not None for one in heard.seen)
    assert [one.validation_loss is not None for one in heard.seen] == [False, False, True] * 2


def test_a_callback_that_says_no_ends_it_at_once_with_the_best_weights_so_far():
    heard = Recording(True, False)
    trained = model(max_epochs=9, batch_size=4).fit(waves(), waves(1), on_progress=heard)
    assert [one.step for one in heard.seen] == [50, 100]
    assert trained.best_metrics_["validation_loss"] == pytest.approx(loss_of(trained, waves(1)))


def loss_of(trained: LinearModel, series: list[Any]) -> float:
    """The loss over all windows of series, by the network as it is."""
    windows = trained._windows(series)
    total = 0.0
    with torch.no_grad():
        for part in windows.batches(trained.config.batch_size):
            batch = Batch.of(part, torch.device("cpu"))
            total += float(trained._training_loss(trained.network, batch)) * len(part.past)
    return total / len(windows)


def test_early_stopping_ends_after_so_many_passes_and_restores_the_best():
    trained = model(max_epochs=200, early_stopping=3, learning_rate=0.3).fit(waves(2), waves(1))
    history = trained.training_history_
    losses = [entry["validation_loss"] for entry in history if "validation_loss" in entry]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 200
    assert trained.best_metrics_ == {"validation_loss": losses[best]}
    assert loss_of(trained, waves(1)) == pytest.approx(losses[best])


def test_fine_tuning_that_makes_nothing_better_keeps_the_weights_it_starts_from():
    good = model(max_epochs=20).fit(waves(3)).model_
    worse = model(training_mode="fine_tune", learning_rate=1.0, max_epochs=2)
    worse.model_ = good
    worse.fit(waves(3), waves(3, seed=1))
    assert worse.training_.length.steps == 0
    assert worse.best_metrics_["validation_loss"] < worse.training_history_[-1]["validation_loss"]
    for name, weight in good.state_dict().items():
        assert weight.equal(worse.model_.state_dict()[name])


def test_without_validation_the_last_weights_are_kept_and_early_stopping_never_ends_it():
    trained = model(max_epochs=4, early_stopping=1).fit(waves())
    assert trained.training_history_[-1]["epoch"] == 4
    assert trained.best_metrics_ == {"loss": trained.training_history_[-1]["loss"]}


# When it fails


class SpoiltModel(LinearModel):
    """Has a loss that is multiplied, at one step, in training or in validation."""

    factor = float("nan")
    at_step = 3
    spoils_validation = False

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        loss = super()._training_loss(network, batch)
        if network.training:
            self.steps = getattr(self, "steps", 0) + 1
        is_due = self.steps >= self.at_step and network.training is not self.spoils_validation
        return loss * self.factor if is_due else loss


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_a_failure_and_names_the_step(factor):
    spoilt = SpoiltModel(model().config)
    spoilt.factor = factor
    with pytest.raises(TrainingFailed, match=r"the loss is (nan|inf) at step 3; try a lower"):
        spoilt.fit(waves())


def test_a_validation_loss_that_is_not_finite_is_a_failure_too():
    spoilt = SpoiltModel(model().config)
    spoilt.spoils_validation = True
    with pytest.raises(TrainingFailed, match="the validation loss is nan"):
        spoilt.fit(waves(), waves(1))


class LastStepModel(LinearModel):
    """Has a finite loss without a finite gradient, at the only step."""

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        loss = super()._training_loss(network, batch)
        return loss + (loss - loss.detach()).sqrt()  # 0, with an infinite slope


def test_weights_that_the_last_step_spoilt_are_a_failure():
    with pytest.raises(TrainingFailed, match="weights are not finite"):
        LastStepModel(model(max_epochs=None, max_steps=1).config).fit(waves())


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2)])
def test_a_failed_training_leaves_the_model_as_it_was(lora):
    spoilt = SpoiltModel.tiny()
    spoilt.config = model(training_mode="fine_tune", lora=lora).config
    spoilt.at_step = 20
    (before,) = spoilt.predict(waves(1), TASK)
    with pytest.raises(TrainingFailed):
        spoilt.fit(waves())
    (after,) = spoilt.predict(waves(1), TASK)
    assert (before.mean == after.mean).all()
    assert not spoilt.is_fitted


def test_an_interrupted_training_leaves_the_model_as_it_was():
    trained = model().fit(waves())
    record = trained.training_
    before = weights_of(trained)
    with pytest.raises(Interrupted):
        trained.fit(waves(seed=3), on_progress=InterruptedAt(1))
    assert trained.training_ is record
    assert all(weight.equal(before[name]) for name, weight in weights_of(trained).items())


def test_series_too_short_to_hold_anything_to_learn_are_refused():
    with pytest.raises(BadData, match="no training window"):
        model().fit([one.last(1) for one in waves()])


def test_a_mode_that_trains_nothing_is_refused():
    with pytest.raises(NotTrainable, match="training_mode zero_shot .* set from_scratch or fine_t"):
        model(training_mode=TrainingMode.ZERO_SHOT).fit(waves())


# The steps themselves


def steps_of(config: LinearConfig, gradient: float, count: int = 1) -> float:
    """How far a weight of 0 is moved by a loss of constant gradient."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimization = Optimization(network, config)
    optimization.plan(count)
    for _ in range(count):
        optimization.step(network.weight.sum() * gradient)
    return -float(network.weight.detach())


def test_a_first_step_of_adam_is_as_long_as_the_learning_rate():
    assert steps_of(LinearConfig(learning_rate=0.01), 3.0) == pytest.approx(0.01, rel=1e-5)


@pytest.mark.parametrize(("limit", "norm"), [(1.0, 1.0), (None, 100.0), (500.0, 100.0)])
def test_gradients_are_clipped_to_the_norm_that_is_set(limit, norm):
    network = nn.Linear(4, 1, bias=False)
    optimization = Optimization(network, LinearConfig(gradient_clip=limit))
    optimization.plan(1)
    seen = []
    optimization.optimizer.register_step_pre_hook(
        lambda *_: seen.append(float(network.weight.grad.norm()))  # type: ignore[union-attr]
    )
    optimization.step((network.weight * torch.full((1, 4), 50.0)).sum())
    assert seen == pytest.approx([norm], rel=1e-4)


def test_the_rate_warms_up_in_equal_steps_and_then_stays():
    shares = [rate(LinearConfig(warmup_steps=4), 10)(step) for step in range(10)]
    assert shares == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]


def test_the_cosine_starts_at_the_whole_rate_and_falls_to_nothing():
    share = rate(LinearConfig(warmup_steps=2, learning_rate_schedule="cosine"), 12)
    shares = [share(step) for step in range(13)]
    assert shares[:3] == [0.5, 1.0, 1.0]
    assert shares[7] == pytest.approx(0.5)
    assert shares[12] == pytest.approx(0)
    assert shares[2:] == sorted(shares[2:], reverse=True)


def test_the_schedule_is_followed_step_by_step():
    network = nn.Linear(1, 1)
    config = LinearConfig(learning_rate=1.0, warmup_steps=2, learning_rate_schedule="cosine")
    optimization = Optimization(network, config)
    optimization.plan(6)
    seen = []
    for _ in range(6):
        seen.append(optimization.learning_rate)
        optimization.step(network(torch.ones(1, 1)).sum())
    assert seen == pytest.approx([rate(config, 6)(step) for step in range(6)])


def test_a_learning_rate_that_is_too_high_does_not_learn_as_one_that_fits():
    losses = [
        model(learning_rate=rate, max_epochs=5).fit(waves()).best_metrics_["loss"]
        for rate in (1e-2, 1e-6)
    ]
    assert losses[0] < 0.1 * losses[1]


# Checkpoints


def resuming(folder: Path, interrupted_at: int, **options: Any) -> tuple[LinearModel, LinearModel]:
    """A training that went through, and one that was interrupted and resumed."""
    options = {"dropout": 0.3, "batch_size": 4, "max_epochs": 3, **options}
    straight = model(**options).fit(waves(), waves(1))
    with pytest.raises(Interrupted):
        model(**options).fit(
            waves(), waves(1), checkpoints=folder, on_progress=InterruptedAt(interrupted_at)
        )
    heard = Recording()
    resumed = model(**options).fit(waves(), waves(1), checkpoints=folder, on_progress=heard)
    assert heard.seen[0].step > 50  # it did not begin again
    return straight, resumed


@pytest.mark.parametrize("interrupted_at", [102, 202, 303])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, interrupted_at):
    straight, resumed = resuming(tmp_path, interrupted_at)
    assert_equal(straight, resumed)
    assert straight.training_history_ == resumed.training_history_
    assert straight.best_metrics_ == resumed.best_metrics_


def test_so_does_one_whose_rate_changes_with_the_steps(tmp_path):
    options = {"learning_rate_schedule": "cosine", "warmup_steps": 150, "early_stopping": 2}
    assert_equal(*resuming(tmp_path, 202, **options))


def test_a_long_pass_is_saved_on_the_way_and_resumed_where_it_was(tmp_path):
    straight, resumed = resuming(
        tmp_path, 550, batch_size=1, use_norm=False, max_epochs=None, max_steps=600
    )
    assert_equal(straight, resumed)
    assert straight.training_history_ == resumed.training_history_


def test_one_that_was_told_to_end_within_a_pass_goes_on_from_there(tmp_path):
    options = {"dropout": 0.3, "batch_size": 4, "max_epochs": 2}
    model(**options).fit(waves(), waves(1), checkpoints=tmp_path, on_progress=Recording(False))
    heard = Recording()
    resumed = model(**options).fit(waves(), waves(1), checkpoints=tmp_path, on_progress=heard)
    assert heard.seen[0].step == 100
    assert_equal(resumed, model(**options).fit(waves(), waves(1)))


def test_one_with_adapters_is_resumed_too(tmp_path):
    def fitted(**how: Any) -> LinearModel:
        tuned = LinearModel.tiny()
        tuned.config = model(lora=LoraConfig(rank=2, dropout=0.2), batch_size=4).config
        return tuned.fit(waves(), **how)

    with pytest.raises(Interrupted):
        fitted(checkpoints=tmp_path, on_progress=InterruptedAt(102))
    assert_equal(fitted(checkpoints=tmp_path), fitted())


def test_a_finished_training_may_be_given_more_epochs(tmp_path):
    model(max_epochs=1).fit(waves(), checkpoints=tmp_path)
    longer = model(max_epochs=3).fit(waves(), checkpoints=tmp_path)
    assert_equal(longer, model(max_epochs=3).fit(waves()))


@pytest.mark.parametrize("change", ["data", "validation", "options", "first weights"])
def test_the_checkpoint_of_another_training_is_refused(tmp_path, change):
    model().fit(waves(), checkpoints=tmp_path)
    other = model(learning_rate=0.5) if change == "options" else model()
    if change == "first weights":
        other.model_ = model(seed=7, max_epochs=1).fit(waves()).model_
    data = waves(seed=1) if change == "data" else waves()
    validation = waves(1) if change == "validation" else None
    with pytest.raises(InvalidRequest, match="holds another training"):
        other.fit(data, validation, checkpoints=tmp_path)


# Learning all of it again


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2)])
def test_a_refit_takes_the_very_steps_that_led_to_the_weights_that_were_kept(lora):
    """On the same data it ends with the same weights, also where a schedule goes on after them."""
    options = {
        "max_epochs": 20, "learning_rate": 0.1, "learning_rate_schedule": "cosine",
        "dropout": 0.2, "batch_size": 16, "early_stopping": 2, "lora": lora,
    }  # fmt: skip
    if lora is not None:
        pytest.importorskip("peft", reason="needs the lora extra")
        options["training_mode"] = TrainingMode.FINE_TUNE
    train = [one.until(90) for one in waves(2)]
    chosen = started(options).fit(train, waves(2), first_validation_steps=[90, 90])
    record = chosen.training_
    assert 0 < record.length.steps < record.length.planned
    again = started(options).refit(train, record)
    assert_equal(again, chosen)
    whole = started(options).refit(waves(2), record)
    assert whole.training_.length == record.length
    assert (whole.training_.refit, whole.training_.metrics) == (True, record.metrics)
    assert whole.training_.num_points == 2 * 120
    theirs = weights_of(chosen)
    assert any(not weight.equal(theirs[name]) for name, weight in weights_of(whole).items())


def started(options: dict[str, Any]) -> LinearModel:
    """What a fit starts from: for adapters, a network that is there already."""
    found = model(**options)
    if found.config.lora is not None:
        found.model_ = LinearModel.tiny().model_
    return found


def test_validation_series_need_their_first_steps_each():
    with pytest.raises(InvalidRequest, match="each validation series"):
        model().fit(waves(2), waves(2), first_validation_steps=[90])
