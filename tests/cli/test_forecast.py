"""``agentsched forecast``."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

Run = Callable[..., Result]


def calls(path: Path, runs: int = 40) -> str:
    rows = [f"r{run},w,s,{place},{tokens}" for run in range(runs) for place, tokens in enumerate((100 + run, 5) * 3)]
    path.write_text("\n".join(["run_id,workflow,step,call_index,output_tokens", *rows]) + "\n")
    return str(path)


def test_eval_prints_one_document(run: Run, tmp_path: Path) -> None:
    result = run("forecast", "eval", calls(tmp_path / "c.csv"), "--no-boosting", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["boosting"] is None
    forecasters = document["online"]["forecasters"]
    assert set(forecasters) == {"agentsched", "agentsched, uncalibrated", "global quantiles", "per-step quantiles"}
    ours = forecasters["agentsched"]
    assert ours["calls"] == 240
    assert len(ours["pinball"]) == len(ours["coverage"]) == 3
    assert ours["mean_pinball"] < forecasters["per-step quantiles"]["mean_pinball"]
    assert document["split"]["forecasters"]["agentsched"]["median_error"] >= 0


def test_eval_tells_people_and_writes_plots(run: Run, tmp_path: Path) -> None:
    result = run("forecast", "eval", calls(tmp_path / "c.csv"), "--no-boosting", "--limit", "30", "--out", "plots")
    assert result.exit_code == 0
    assert "180 calls in 30 conversations" in result.stdout
    assert "per-step quantiles" in result.stdout
    assert (tmp_path / "plots" / "reliability-online.svg").exists()


def test_eval_of_wrong_data_says_where(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("output_tokens\n12\nmany\n")
    result = run("forecast", "eval", str(path))
    assert result.exit_code == 2
    assert "c.csv:3: output_tokens: wrong value (given: 'many')" in result.stderr


def test_eval_of_one_call_and_of_odd_names(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    name = {"run_id": "[/r]", "workflow": "[/w]\ud800", "step": "[bold]"}
    path.write_text(json.dumps({"record": "call", "output_tokens": 5} | name) + "\nnot this one\n")
    result = run("forecast", "eval", str(path), "--no-boosting", "--json")
    assert "1 unreadable line left out; the first: " in result.stderr
    document = json.loads(result.stdout)
    assert (document["online"]["calls"], document["split"]) == (1, None)
    path.write_text("".join(json.dumps({"record": "call", "output_tokens": 5} | name) + "\n" for _ in range(300)))
    result = run("forecast", "eval", str(path), "--no-boosting")
    assert result.exit_code == 0
    assert "[/w]?" in result.stdout
    assert "[bold]" in run("forecast", "show", str(path)).stdout


def test_eval_with_embeddings_tells_what_they_need(run: Run, tmp_path: Path) -> None:
    path = calls(tmp_path / "c.csv")
    for arguments, what in (
        (("--embeddings", "nowhere"), "--embeddings: names no function"),
        (("--embeddings", "math:sqrt", "--no-boosting"), "--embeddings: needs boosted trees"),
        (("--embeddings", "math:sqrt"), "--embeddings: "),
    ):
        result = run("forecast", "eval", path, *arguments)
        assert result.exit_code == 2
        assert what in result.stderr


def test_show_tells_each_step(run: Run, tmp_path: Path) -> None:
    path = calls(tmp_path / "c.csv")
    told = json.loads(run("forecast", "show", path, "--json").stdout)
    assert [(one["workflow"], one["step"]) for one in told] == [("w", "s")]
    assert told[0]["p5_tokens"] <= told[0]["p50_tokens"] <= told[0]["p95_tokens"]
    assert "looks at" in run("forecast", "show", path).stdout


def test_export_writes_what_was_learned(run: Run, tmp_path: Path) -> None:
    result = run("forecast", "export", calls(tmp_path / "c.csv"), "--out", "known.json")
    assert result.exit_code == 0
    document = json.loads((tmp_path / "known.json").read_text())
    groups = {tuple(group["key"]): group["tokens"] for group in document["groups"]}
    assert len(groups["w", "s", ""]) == len(document["levels"]) == 32
    assert json.loads(run("forecast", "export", str(tmp_path / "c.csv"), "--json").stdout) == document
    assert run("forecast", "export", str(tmp_path / "c.csv"), "--out", "no/where.json").exit_code == 2
    assert run("forecast", "export", str(tmp_path / "c.csv")).exit_code == 2


def test_train_writes_weights_and_keeps_better_ones(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    path = calls(tmp_path / "c.csv")
    first = run("forecast", "train", path, "--out", "w.npz", "--budget", "2s", "--json")
    assert first.exit_code == 0
    document = json.loads(first.stdout)
    assert document["written"] is True
    assert document["loss_before"] is None
    before = (tmp_path / "w.npz").read_bytes()
    second = run("forecast", "train", path, "--out", "w2.npz", "--start", "w.npz", "--budget", "1ms", "--json")
    assert json.loads(second.stdout)["written"] is (tmp_path / "w2.npz").exists()
    assert (tmp_path / "w.npz").read_bytes() == before
    other = run("forecast", "train", path, "--out", "x.npz", "--start", "w.npz", "--model", "experts")
    assert other.exit_code == 2
    assert "weights of another model (given: 'network'); allowed: experts" in other.stderr


def test_training_without_torch_says_what_to_install(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "agentsched.training.fitting", raising=False)
    result = run("forecast", "train", calls(tmp_path / "c.csv"), "--out", "w.npz")
    assert result.exit_code == 2
    assert "pip install 'agentsched[torch]'" in result.stderr


def test_bars_tells_of_each_data_set_what_is_kept(run: Run, tmp_path: Path) -> None:
    two = tmp_path / "two.csv"
    rows = [f"r{k},w,{step},{tokens + k % 7}" for k in range(150) for step, tokens in (("a", 100), ("b", 900))]
    two.write_text("\n".join(["run_id,workflow,step,output_tokens", *rows]) + "\n")
    result = run("forecast", "bars", calls(tmp_path / "one.csv"), str(two), "--boosting", "0", "--json")
    assert result.exit_code == 0
    one, other = json.loads(result.stdout)
    assert one["bars"][0]["verdict"] == "no promise", "one step alone"
    assert other["calls"] == 300
    assert {bar["verdict"] for bar in other["bars"]} <= {"met", "MISSED"}
    assert any("calls 201 to 1,200 of w" in bar["text"] for bar in other["bars"])


def test_a_bar_that_is_missed_ends_the_check_with_status_1(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    lengths = np.random.default_rng(3).lognormal(5.0, 0.6, (100, 2)).astype(int)
    rows = [f"r{k},w,{step},{pair[n]}" for k, pair in enumerate(lengths) for n, step in enumerate("ab")]
    path.write_text("\n".join(["run_id,workflow,step,output_tokens", *rows]) + "\n")
    result = run("forecast", "bars", str(path), "--boosting", "0", "--check")
    assert "MISSED: pinball loss at least 12 % below the quantiles of the step" in result.stdout
    assert result.exit_code == 1
