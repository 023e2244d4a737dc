import sys
from types import ModuleType

import numpy as np
import pytest

from agentsched.errors import ConfigError
from agentsched.evaluation.baselines import boosting_package
from agentsched.evaluation.lengths import evaluate_split
from agentsched.evaluation.prompts import PromptGuess, load_embedder, words
from agentsched.evaluation.trace import TraceCall, TraceRun

LENGTHS = {"list": 400, "say": 5}


def runs(count: int) -> list[TraceRun]:
    """Calls whose prompt alone tells whether the answer is long."""
    rng = np.random.default_rng(0)
    asked = [str(rng.choice(["list", "say"])) for _ in range(count)]
    made = [int(LENGTHS[verb] * np.exp(0.1 * rng.standard_normal())) + 1 for verb in asked]
    return [
        TraceRun(f"r{k}", "w", (TraceCall(tokens, step="s", prompt=f"{verb} number {k}"),))
        for k, (verb, tokens) in enumerate(zip(asked, made, strict=True))
    ]


def verbs(texts):
    """An embedder that reads the verb."""
    return [[2.0, 0.0] if text.startswith("list") else [0.0, 3.0] for text in texts]


@pytest.mark.parametrize("embed", [verbs, words])
def test_a_guess_is_near_what_prompts_tell_and_never_of_the_run_itself(embed):
    guess = PromptGuess(embed)
    for run in runs(200):
        guess.learn(run.run_id, run.calls[0].prompt, run.calls[0].output_tokens)
    own = guess.fit()
    tokens = np.array([run.calls[0].output_tokens for run in runs(200)])
    assert (own[tokens > 100].min()) > own[tokens < 100].max()
    assert guess.of("list anything") > np.log(100) > guess.of("say anything")
    lonely = PromptGuess(embed)
    for tokens in (10, 1000):
        lonely.learn("one run", "list it", tokens)
    assert lonely.fit() == pytest.approx(np.full(2, np.log1p([10, 1000]).mean()))


def test_trees_gain_by_what_prompts_tell():
    package = boosting_package()
    if package is None:
        pytest.skip("neither lightgbm nor scikit-learn is installed")
    made = evaluate_split(runs(300), package, lambda done, total: None, embed=verbs)
    assert made is not None
    scores = made.scores()
    for name in ("boosted, with words", "boosted, with embeddings"):
        assert scores[name].mean_pinball < 0.5 * scores["boosted quantiles"].mean_pinball


@pytest.mark.parametrize(
    ("embed", "what"),
    [
        (lambda texts: 1 / 0, "failed: ZeroDivisionError"),
        (lambda texts: [1.0] * len(texts), r"no vectors .given: 'an array of shape \(2,\)'.; allowed: shape \(2, d\)"),
        (lambda texts: [[1.0, 2.0]], r"shape \(1, 2\)"),
        (lambda texts: [[float("nan")]] * len(texts), "finite numbers"),
        (lambda texts: [["a"]] * len(texts), "failed: ValueError"),
    ],
)
def test_embedders_that_fail_are_blamed(embed, what):
    guess = PromptGuess(embed)
    for prompt in ("a", "b"):
        guess.learn(prompt, prompt, 1)
    with pytest.raises(ConfigError, match=f"--embeddings: .*{what}"):
        guess.fit()


def test_vectors_are_all_of_one_length():
    guess = PromptGuess(lambda texts: [[1.0] * len(texts)] * len(texts))
    for prompt in ("a", "b"):
        guess.learn(prompt, prompt, 1)
    guess.fit()
    with pytest.raises(ConfigError, match=r"vectors of another length .given: 1.; allowed: 2"):
        guess.of("c")


def test_embedders_are_found_by_name(monkeypatch):
    module = ModuleType("my_embedder")
    module.verbs, module.number = verbs, 5  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_embedder", module)
    assert load_embedder("my_embedder:verbs") is verbs
    for name, what in (
        ("my_embedder", "names no function"),
        ("my_embedder:nothing", "cannot be imported"),
        ("no_such_module:encode", "cannot be imported: No module"),
        (".x:y", "cannot be imported"),
        ("my_embedder:number", "is no function"),
    ):
        with pytest.raises(ConfigError, match=f"--embeddings: {what}"):
            load_embedder(name)
