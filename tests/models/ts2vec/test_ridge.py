import numpy as np
import pytest

from forecast.models.ts2vec.ridge import Ridge, choose_alphas

sklearn = pytest.importorskip("sklearn.linear_model", reason="pip install scikit-learn")


@pytest.fixture
def examples():
    random = np.random.default_rng(0)
    x = random.normal(3, 2, (60, 8)) @ random.normal(size=(8, 8))
    y = x @ random.normal(size=(8, 6)) + random.normal(size=(60, 6)) + 5
    return x, y


@pytest.mark.parametrize("alpha", [0.1, 10.0, 1000.0])
def test_a_solution_is_that_of_scikit_learn(examples, alpha):
    x, y = examples
    weight, bias = Ridge.of(x, y).solve(np.full(6, alpha))
    theirs = sklearn.Ridge(alpha=alpha).fit(x, y)
    np.testing.assert_allclose(weight.T, theirs.coef_, rtol=1e-6)
    np.testing.assert_allclose(bias, theirs.intercept_, rtol=1e-6)


def test_each_output_may_have_a_penalty_of_its_own(examples):
    x, y = examples
    weight, _ = Ridge.of(x, y).solve(np.array([0.1, 10, 0.1, 10, 0.1, 10]))
    strong = sklearn.Ridge(alpha=10).fit(x, y)
    np.testing.assert_allclose(weight.T[1::2], strong.coef_[1::2], rtol=1e-6)


def test_fewer_examples_than_columns_have_a_solution():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(4, 30)), random.normal(size=(4, 2))
    weight, _ = Ridge.of(x, y).solve(np.full(2, 0.1))
    np.testing.assert_allclose(weight.T, sklearn.Ridge(alpha=0.1).fit(x, y).coef_, atol=1e-9)


def test_the_penalty_of_each_step_is_the_best_on_windows_held_out():
    """Step 1 follows from the first column; step 2 is noise, best shrunk to nothing."""
    random = np.random.default_rng(0)
    x, held_out = random.normal(size=(40, 10)), random.normal(size=(200, 10))
    y = np.stack([5 * x[:, 0], random.normal(size=40)], axis=1)
    truth = np.stack([5 * held_out[:, 0], random.normal(size=200)], axis=1)
    alphas = choose_alphas(Ridge.of(x, y), held_out, truth, horizon=2)
    assert alphas.tolist() == [0.1, 1000.0]
