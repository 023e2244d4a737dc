import numpy as np
import pytest

from agentsched.core.call import ModelCall
from agentsched.core.forecast import LEVELS
from agentsched.errors import ConfigError
from agentsched.forecast.features import packed_features
from agentsched.forecast.network_inputs import GENERATED_AT, INPUTS, network_inputs
from agentsched.forecast.quantile_net import ExpertMixture, QuantileNet
from agentsched.training.examples import ExampleBook, Examples
from agentsched.training.weight_files import load_weights, save_weights


def call(step: str = "s", **more: object) -> ModelCall:
    return ModelCall("c", "r", "w", step, 0, "m", **more)  # type: ignore[arg-type]


def net(rng: np.random.Generator, width: int = 6) -> QuantileNet:
    shapes = ((INPUTS, width), (width,), (width, width), (width,), (width, 32), (32,))
    return QuantileNet(*(rng.normal(0.0, 0.5, shape) for shape in shapes))


def experts(rng: np.random.Generator, count: int = 3) -> ExpertMixture:
    shapes = ((INPUTS, count), (count,), (INPUTS, count * 32), (count * 32,))
    return ExpertMixture(np.ones(INPUTS), *(rng.normal(0.0, 0.5, shape) for shape in shapes))


def book(count: int = 600) -> Examples:
    """Plans of about 300 tokens and answers of about 20, told apart by the step and by a word of the prompt."""
    rng, made = np.random.default_rng(1), ExampleBook()
    for k in range(count):
        long = bool(rng.integers(2))
        asked = call("plan" if k % 2 and long else "s", features=packed_features("plan it" if long else "one word"))
        made.add(asked, [("s", 10)], None, int((300 if long else 20) * np.exp(0.2 * rng.standard_normal())) + 1)
    return made.examples()


# -- inputs and serving ----------------------------------------------------------------------------------------------


def test_inputs_tell_calls_apart():
    plain = network_inputs(call(), [], None)
    assert plain.shape == (INPUTS,)
    for other in (
        network_inputs(call("t"), [], None),
        network_inputs(call(), [("s", 10)], None),
        network_inputs(call(), [], 10),
        network_inputs(call(), [], None, generated=10),
        network_inputs(call(features=packed_features("hello")), [], None),
        network_inputs(call(max_tokens=5, input_tokens=9), [], None),
    ):
        assert (plain != other).any()
    assert network_inputs(call(), [], None, generated=10)[GENERATED_AT] == pytest.approx(np.log1p(10) / 10)
    answers = [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    assert (network_inputs(call(), answers, None) == network_inputs(call(), answers[1:], None)).all()
    assert np.isfinite(network_inputs(call("\ud800"), [("\udfff", 0)], 0)).all()


@pytest.mark.parametrize("make", [net, experts])
def test_whatever_the_weights_quantiles_ascend_and_are_tokens(make):
    rng = np.random.default_rng(2)
    for scale in (0.1, 1.0, 30.0):
        values = make(rng).predict(scale * rng.normal(size=INPUTS)).values
        assert (np.diff(values) >= 0).all()
        assert (values >= 0).all()
        assert np.isfinite(values).all()


def test_wrong_weights_are_refused():
    made = net(np.random.default_rng(3))
    with pytest.raises(ConfigError, match=r"weights\.first: wrong shape"):
        QuantileNet(made.first[1:], made.first_bias, made.second, made.second_bias, made.last, made.last_bias)
    with pytest.raises(ConfigError, match=r"weights\.last_bias: not a finite number"):
        QuantileNet(made.first, made.first_bias, made.second, made.second_bias, made.last, made.last_bias * np.nan)


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [net, experts])
def test_weights_survive_a_file(tmp_path, make):
    made = make(np.random.default_rng(4))
    save_weights(tmp_path / "w.npz", made)
    read = load_weights(tmp_path / "w.npz")
    inputs = network_inputs(call(), [("s", 10)], 10)
    np.testing.assert_array_equal(read.predict(inputs).values, made.predict(inputs).values)
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


def test_files_that_are_no_weights_are_named(tmp_path):
    path = tmp_path / "w.npz"
    with pytest.raises(ConfigError, match=r"w\.npz: cannot be read"):
        load_weights(path)
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ConfigError, match=r"w\.npz: not a file of weights"):
        load_weights(path)
    np.savez(path, version=np.array(99), kind=np.array("network"))
    with pytest.raises(ConfigError, match="weights of another version"):
        load_weights(path)
    with pytest.raises(ConfigError, match="cannot be written"):
        save_weights(tmp_path / "no" / "w.npz", net(np.random.default_rng(0)))


# -- examples --------------------------------------------------------------------------------------------------------


def test_examples_know_what_was_cut_and_keep_the_latest_apart():
    made = ExampleBook()
    for k in range(20):
        made.add(call(max_tokens=50 if k % 2 else None), [], None, 50 + k)
    examples = made.examples()
    assert examples.cut.tolist() == [bool(k % 2) for k in range(20)]
    learned, held = examples.split()
    assert (learned.size, held.tokens.tolist()) == (17, [67.0, 68.0, 69.0])
    streaming = learned.while_streaming(np.random.default_rng(0))
    assert streaming.size == 34
    so_far = np.expm1(10 * streaming.inputs[17:, GENERATED_AT])
    assert (so_far < streaming.tokens[17:]).all()
    assert so_far.max() > 0
    assert not learned.inputs[:, GENERATED_AT].any()


def test_a_forecast_beyond_a_cut_answer_costs_nothing():
    class Sure:
        def predict(self, inputs):
            from agentsched.core.forecast import QuantileForecast

            return QuantileForecast.constant(100.0)

    inputs = np.zeros((1, INPUTS))
    cut = Examples(inputs, np.array([60.0]), np.array([True])).loss(Sure())
    whole = Examples(inputs, np.array([60.0]), np.array([False])).loss(Sure())
    assert cut == 0.0
    assert whole == pytest.approx(np.mean((1 - LEVELS) * 40.0))


# -- fitting ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitting():
    pytest.importorskip("torch", reason="training needs torch")
    from agentsched.training import fitting as module

    return module


@pytest.mark.parametrize("which", ["fit_network", "fit_experts"])
def test_training_tells_steps_and_words_apart_and_a_warm_start_begins_there(fitting, which):
    examples = book(400)
    fit = getattr(fitting, which)
    made, how = fit(examples, budget_s=300.0)
    assert how.passes > 1
    assert how.loss == pytest.approx(examples.split()[1].loss(made), rel=1e-3)
    long = made.predict(network_inputs(call(features=packed_features("plan it")), [("s", 10)], None))
    short = made.predict(network_inputs(call(features=packed_features("one word")), [("s", 10)], None))
    assert short.quantile(0.5) < 60 < 150 < long.quantile(0.5)
    again, _ = fit(examples, budget_s=0.0, start=made)
    inputs = network_inputs(call(), [], None)
    np.testing.assert_allclose(again.predict(inputs).values, made.predict(inputs).values, rtol=1e-5)


@pytest.mark.parametrize(("which", "model"), [("net", "_Network"), ("experts", "_Experts")])
def test_numpy_serves_what_torch_has_learned(fitting, which, model):
    import torch

    torch.manual_seed(5)
    module = fitting._Network() if model == "_Network" else fitting._Experts(np.linspace(0.5, 2.0, INPUTS))
    with torch.no_grad():
        for part in module.parameters():
            part.add_(0.3 * torch.randn_like(part))
    served = module.served()
    rng = np.random.default_rng(6)
    for _ in range(20):
        inputs = rng.normal(0.0, 0.3, INPUTS) * (rng.uniform(size=INPUTS) < 0.1)
        with torch.no_grad():
            expected = module(torch.tensor(inputs, dtype=torch.float32)[None])[0].numpy()
        np.testing.assert_allclose(
            np.log1p(served.predict(inputs).values), np.clip(expected, 0, 14), atol=1e-5, rtol=1e-5
        )


def test_too_few_calls_are_refused(fitting):
    with pytest.raises(ConfigError, match=r"too few calls to train on .given: 50"):
        fitting.fit_network(book(50))


def test_the_budget_ends_training(fitting):
    _, how = fitting.fit_network(book(), budget_s=0.0)
    assert how.passes == 0
