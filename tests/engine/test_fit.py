"""Fitting: figures that are in a table come out again, and the committed profiles are what the fit gives."""

from __future__ import annotations

import csv
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from agentsched.engine import HardwareProfile, HostedProfile, all_profiles, load_profile, profile_from_mapping
from agentsched.engine.closed_loop import closed_loop
from agentsched.engine.derive import SERVER_OVERHEAD, ServerOverhead, on_other_gpu, served, with_weights
from agentsched.engine.fit import Setting, fit_setting, fitted_profile, main, read_table
from agentsched.engine.hardware import GPUS, MODELS
from agentsched.engine.sensitivity import FIGURES, sensitivity
from agentsched.engine.sensitivity import main as sensitivity_main
from agentsched.engine.validate import SETS, STEP_CALIBRATION, compare
from agentsched.errors import ConfigError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
TABLE = DATA / "gpu_latency_table_aiconfigurator.csv"
MEASURED = DATA / "gpu_silicon_measured_ttft_tpot.parquet"
BASE, PER_SEQUENCE, PER_KV, RATE, HIDDEN, ATTENTION = 0.012, 50e-6, 60e-9, 15_000.0, 0.006, 2e-9


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table that the step model made itself."""
    path = tmp_path / "table.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("model", "tp", "system", "backend", "kind", "batch_size", "ctx_tokens", "latency_ms"))
        setting = ("Qwen/Qwen3-8B", 1, "h100_sxm", "vllm")
        for batch in (1, 4, 16, 64):
            for context in (256, 4096):
                seconds = BASE + PER_SEQUENCE * batch + PER_KV * batch * context
                writer.writerow((*setting, "decode_step", batch, context, 1e3 * seconds))
        for prompt in (32, 64, 256, 1024, 4096, 16384):
            seconds = BASE + max(0.0, prompt / RATE - HIDDEN) + ATTENTION * prompt * (prompt - 1) / 2
            writer.writerow((*setting, "prefill", 1, prompt, 1e3 * seconds))
    return path


def test_a_fit_finds_the_figures_that_made_the_table(table: Path) -> None:
    ((setting, rows),) = read_table(table).items()
    fit = fit_setting(rows)
    decode = (fit.step_base_s, fit.step_per_sequence_s, fit.step_per_kv_token_s)
    assert decode == pytest.approx((BASE, PER_SEQUENCE, PER_KV))
    assert fit.prefill_tokens_per_s == pytest.approx(RATE, rel=1e-3)
    assert fit.prefill_hidden_s == pytest.approx(HIDDEN, rel=1e-3)
    assert fit.decode_worst < 1e-9
    assert fit.prefill_worst < 1e-3
    profile = fitted_profile(setting, fit, ServerOverhead(0.001, 1e-5, 0.02), source="made up")
    assert profile is not None
    assert (profile.name, profile.frontend_s) == ("qwen3-8b-h100", 0.02)
    assert profile.step_base_s == pytest.approx(BASE + 0.001)


def test_what_does_not_fit_into_memory_has_no_profile(table: Path) -> None:
    ((_, rows),) = read_table(table).items()
    assert fitted_profile(Setting("Qwen/Qwen3-32B", 1, "l40s"), fit_setting(rows), SERVER_OVERHEAD, source="") is None


def test_the_command_prints_every_fit(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(table)]) == 0
    assert "qwen3-8b-h100" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "says"), [("model,tp\nx,one\n", "table.csv:2"), ("model,tp\nx,1\n", "system")])
def test_a_bad_table_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        read_table(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_table(tmp_path / "nowhere.csv")


def test_derived_profiles_follow_the_ratios() -> None:
    model, a100, v100 = MODELS["meta-llama/Meta-Llama-3.1-8B"], GPUS["a100_sxm"], GPUS["v100_sxm"]
    base = load_profile("llama3-8b-a100")
    assert isinstance(base, HardwareProfile)
    derived = on_other_gpu(base, model, a100, v100, SERVER_OVERHEAD)
    assert derived.basis == "assumed"
    assert derived.step_per_kv_token_s / base.step_per_kv_token_s == pytest.approx(2039 / 900)
    assert base.prefill_tokens_per_s / derived.prefill_tokens_per_s == pytest.approx(312 / 125)
    assert base.step_base_s < derived.step_base_s < base.step_base_s * 2039 / 900
    same = on_other_gpu(base, model, a100, GPUS["a800_sxm"], SERVER_OVERHEAD)
    assert same.step_base_s == pytest.approx(base.step_base_s)


def test_half_the_weights_on_twice_the_gpus() -> None:
    model, h100 = MODELS["meta-llama/Meta-Llama-3.1-70B"], GPUS["h100_sxm"]
    base = load_profile("llama3-70b-h100-tp4")
    assert isinstance(base, HardwareProfile)

    def changed(gpus: int, share: float) -> HardwareProfile:
        return with_weights(
            base,
            model,
            h100,
            measured_parallel=4,
            tensor_parallel=gpus,
            weight_share=share,
            overhead=SERVER_OVERHEAD,
        )

    assert changed(4, 1.0).step_base_s == pytest.approx(base.step_base_s)
    assert changed(8, 0.5).step_base_s == pytest.approx(changed(4, 0.25).step_base_s)
    assert changed(4, 0.5).prefill_tokens_per_s == pytest.approx(2 * base.prefill_tokens_per_s)
    assert changed(4, 0.5).kv_tokens > base.kv_tokens


def test_named_profiles_say_where_they_come_from() -> None:
    profiles = all_profiles()
    assert {profile.basis for profile in profiles.values()} == {"fitted", "assumed", "scenario"}
    assert all(profile.source for profile in profiles.values())
    for gpu in ("v100", "a40", "a30", "a800", "h800"):
        assert profiles[f"llama3-8b-{gpu}"].basis == "assumed"
    assert isinstance(profiles["study-hosted-mid"], HostedProfile)
    entries = json.loads(files("agentsched.engine").joinpath("profiles_fitted.json").read_text())["profiles"]
    assert all(("fit" in entry) == (entry["basis"] == "fitted") for entry in entries)
    assert all(("assumption" in entry) == (entry["basis"] == "assumed") for entry in entries)


def test_the_study_is_as_published() -> None:
    profile = load_profile("study-8b-a40")
    assert isinstance(profile, HardwareProfile)
    assert (profile.step_base_s, profile.step_per_sequence_s, profile.step_per_kv_token_s) == (0.028, 0.0003, 0.31e-6)
    assert (profile.prefill_tokens_per_s, profile.max_slots, profile.kv_tokens) == (5000, 128, 206_000)
    assert (profile.prefix_cache_share, profile.prefill_chunk_tokens, profile.prefill_hidden_s) == (0.4, 2048, 0.0)


def test_unknown_names_and_keys_are_refused() -> None:
    with pytest.raises(ConfigError, match="llama3-8b-h100"):
        load_profile("no-such-gpu")
    with pytest.raises(ConfigError, match="missing"):
        profile_from_mapping({"name": "x"})


def test_the_closed_loop_keeps_its_callers_busy() -> None:
    profile = served(HardwareProfile("p", 0.01, 0.0, 0.0, 1e6, 4, 10_000), ServerOverhead(0.0, 0.0, 0.1))
    rng = np.random.default_rng(0)
    seen = closed_loop(profile, callers=2, prompt_tokens=10, output_tokens=11, rounds=3, shortest=1.0, rng=rng)
    assert len(seen.ttft_s) == 6
    assert seen.tpot_s == pytest.approx(0.01)
    assert seen.ttft_s == pytest.approx(0.11, abs=1e-3)
    assert seen.output_tokens == 66
    with pytest.raises(ValueError, match="limit"):
        closed_loop(profile, callers=1, prompt_tokens=9999, output_tokens=99, rounds=1, shortest=1.0, rng=rng)


def test_the_sensitivity_run_varies_one_figure_at_a_time() -> None:
    profile = load_profile("llama3-8b-a30")
    assert isinstance(profile, HardwareProfile)
    runs = sensitivity(profile)
    assert set(runs) == set(FIGURES)
    low, usual, high = runs["step_base_s"]
    assert np.median(low.tpot_s) < np.median(usual.tpot_s) < np.median(high.tpot_s)


def test_the_sensitivity_command_prints_one_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert sensitivity_main(["llama3-8b-a30"]) == 0
    printed = capsys.readouterr().out
    assert all(figure in printed for figure in FIGURES)
    with pytest.raises(ConfigError, match="hosted"):
        sensitivity_main(["study-hosted-mid"])


@pytest.mark.skipif(not TABLE.exists(), reason="the latency table is not shipped")
def test_the_committed_profiles_are_what_the_fit_gives() -> None:
    for setting, rows in read_table(TABLE).items():
        fit = fit_setting(rows)
        if setting.model != "openai/gpt-oss-20b":
            assert fit.decode_error < 0.08
        profile = fitted_profile(setting, fit, SERVER_OVERHEAD, source="")
        if profile is not None:
            committed = load_profile(profile.name)
            assert isinstance(committed, HardwareProfile)
            assert committed.step_base_s == pytest.approx(profile.step_base_s, rel=1e-3)
            assert committed.prefill_tokens_per_s == pytest.approx(profile.prefill_tokens_per_s, rel=1e-3)
            assert committed.kv_tokens == profile.kv_tokens


@pytest.mark.skipif(not MEASURED.exists(), reason="the measured runs are not shipped")
def test_the_engine_is_close_to_measured_runs() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    runs = parquet.read_table(MEASURED).to_pylist()
    table = read_table(TABLE)
    dense = [chosen for chosen in SETS if chosen.tested and chosen.base.system == "h200_sxm"]
    assert dense
    for chosen in (STEP_CALIBRATION, *dense):
        errors = compare(chosen, runs, table, SERVER_OVERHEAD)
        assert errors is not None
        assert np.median(np.abs(errors.tpot)) < 0.13, errors.text()
        assert np.median(np.abs(errors.ttft)) < 0.30, errors.text()
