"""``agentsched check``."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import Result

Run = Callable[..., Result]

TEXT = """
version: 1
endpoints:
  - {name: gpu, base_url: http://localhost:9/v1, model: llama, kind: vllm, quality: 0.4, rpm: 60, max_concurrency: 8}
  - {name: cloud, base_url: http://api.example.com/v1, model: gpt, api_key: sk-canary123456, quality: 0.9,
     price: {input: 1, output: 2}}
groups:
  gpt: [gpu, cloud]
retry: {max_attempts: 2}
"""


def write(text: str) -> None:
    Path("pool.yaml").write_text(text, encoding="utf-8")


def test_it_shows_what_the_file_means(run: Run) -> None:
    write(TEXT)
    result = run("check")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for expected in (
        "gpu vllm http://localhost:9/v1 llama no",
        "cloud openai http://api.example.com/v1 gpt yes",
        "gpu 300 ms 20.0 ms 8000 tok/s 8 calls, 60 rpm 0, 0 0.4",
        "cloud 300 ms 20.0 ms 8000 tok/s none 1, 2 0.9",
        "gpt gpu, cloud 0",
        "llama gpu",
        "policy deadline_aware",
        "retry.max_attempts 2",
        "stream.first_token_timeout learned",
        "stream.idle_timeout 30 s",
        "log.path no log",
        "warning: endpoint cloud: prompts and the key travel unencrypted to api.example.com (http)",
        "warning: group gpt: mixes qualities from 0.4 to 0.9: any of them may answer, unless min_quality is set",
        "2 warnings",
    ):
        assert expected in lines


def test_names_in_brackets_are_shown_as_they_are(run: Run) -> None:
    write(TEXT.replace("gpu", '"gpu [/a]"'))
    assert "gpu [/a]  vllm" in run("check").stdout


def test_json(run: Run) -> None:
    Path("other.yaml").write_text(TEXT, encoding="utf-8")
    told = json.loads(run("check", "other.yaml", "--json").stdout)
    assert told["path"] == "other.yaml"
    assert [(one["name"], one["has_key"], one["reachable"]) for one in told["endpoints"]] == [
        ("gpu", False, None),
        ("cloud", True, None),
    ]
    assert told["groups"] == {"gpt": {"endpoints": ["gpu", "cloud"], "min_quality": 0.0, "used": ["gpu", "cloud"]}}
    assert told["rules"]["retry"]["max_attempts"] == 2
    assert [warning["subject"] for warning in told["warnings"]] == ["endpoint cloud", "group gpt"]


def test_speeds_are_shown_as_they_will_be_believed(run: Run) -> None:
    figures = "{ttft_s: 50ms, tpot_s: 10ms, tpot_per_batch_s: 0.0001, prefill_tokens_per_s: 10000}"
    write(TEXT.replace("rpm: 60", f"rpm: 60, profile: {figures}"))
    lines = [" ".join(line.split()) for line in run("check").stdout.splitlines()]
    assert "cloud 50 ms 10.0 ms 10000 tok/s none 1, 2 0.9" in lines, "said nothing of its speed: that of the others"
    cloud = json.loads(run("check", "--json").stdout)["endpoints"][1]
    assert cloud["profile"]["ttft_s"] == pytest.approx(0.05)


def test_rules_are_shown_as_the_file_says_them(run: Run) -> None:
    write(TEXT + "stream: {upgrade: never, idle_timeout: 7s}\n")
    rules = dict(row.split(maxsplit=1) for row in run("check").stdout.splitlines() if row.startswith("stream."))
    assert {name: text.strip() for name, text in rules.items()} == {
        "stream.connect_timeout": "5 s",
        "stream.first_token_timeout": "learned",
        "stream.idle_timeout": "7 s",
        "stream.upgrade": "never",
        "stream.upgrade_from": "1 s",
        "stream.continuation": "auto",
    }


def test_strict_turns_warnings_into_a_status(run: Run) -> None:
    write(TEXT)
    assert run("check", "--strict").exit_code == 1
    Path("pool.yaml").write_text(TEXT.split("  - {name: cloud", maxsplit=1)[0], encoding="utf-8")
    result = run("check", "--strict")
    assert (result.exit_code, "no warnings" in result.stdout) == (0, True)


def test_mistakes_go_to_stderr_with_status_2(run: Run) -> None:
    Path("pool.yaml").write_text(TEXT.replace("rpm: 60", "rpm: 0").replace("[gpu, cloud]", "[gpx]"), encoding="utf-8")
    result = run("check", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "agentsched: 2 problems in pool.yaml:",
        "  pool.yaml:4: endpoints[0].rpm: out of range (given: 0); allowed: more than 0",
        "  pool.yaml:8: groups.gpt[0]: unknown endpoint; did you mean 'gpu'? (given: 'gpx'); allowed: gpu, cloud",
    ]


def test_which_file_is_checked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = run("check")
    assert (lost.exit_code, "no pool.yaml is here" in lost.stderr) == (2, True)
    assert "agentsched init" in lost.stderr
    monkeypatch.setenv("AGENTSCHED_CONFIG", "gone.yaml")
    assert "gone.yaml: cannot be read: No such file or directory (AGENTSCHED_CONFIG names it)" in run("check").stderr
    Path("named.yaml").write_text(TEXT, encoding="utf-8")
    monkeypatch.setenv("AGENTSCHED_CONFIG", "named.yaml")
    assert json.loads(run("check", "--json").stdout)["path"] == "named.yaml"


async def test_connect_asks_every_endpoint(run: Run, closed_port: int) -> None:
    seen: list[str | None] = []

    async def models(request: web.Request) -> web.Response:
        seen.append(request.headers.get("authorization"))
        return web.json_response({"object": "list", "data": [{"id": "llama"}]})

    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "bad key sk-canary123456"}}, status=401)

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_get("/locked/models", refuse)
    async with TestServer(app) as server:
        root = str(server.make_url("")).rstrip("/")
        endpoints = [
            {"name": "good", "base_url": f"{root}/v1", "model": "llama", "api_key": "sk-canary123456"},
            {"name": "other", "base_url": f"{root}/v1", "model": "mistral"},
            {"name": "locked", "base_url": f"{root}/locked", "model": "m", "api_key": "sk-canary123456"},
            {"name": "bare", "base_url": f"{root}/bare", "model": "m"},
            {"name": "gone", "base_url": f"http://127.0.0.1:{closed_port}/v1", "model": "m"},
        ]
        write(json.dumps({"version": 1, "endpoints": endpoints}))
        result = await asyncio.to_thread(run, "check", "--connect", "--json")
    told = json.loads(result.stdout)
    assert {one["name"]: one["reachable"] for one in told["endpoints"]} == {
        "good": True,
        "other": True,
        "locked": False,
        "bare": True,
        "gone": False,
    }
    assert set(seen) == {"Bearer sk-canary123456", None}, "each with its own key, or none"
    warnings = {warning["subject"]: warning["text"] for warning in told["warnings"]}
    assert warnings["endpoint other"] == "does not list the model 'mistral'"
    assert warnings["endpoint locked"] == "401 Unauthorized: bad key (key)"
    assert warnings["endpoint gone"].startswith("cannot be reached: ")
    assert set(warnings) == {"endpoint other", "endpoint locked", "endpoint gone"}


def test_the_shared_state_is_asked_as_a_client_would(run: Run) -> None:
    write(TEXT + "state: {backend: sqlite, url: state.db}\n")
    assert json.loads(run("check", "--json").stdout)["state"] == {
        "backend": "sqlite",
        "interval_s": 0.5,
        "clients_supposed": 1,
    }
    assert not Path("state.db").exists(), "only --connect contacts anything"
    told = json.loads(run("check", "--connect", "--json").stdout)["state"]
    assert (told["reachable"], told["clients"], told["detail"]) == (True, 0, "")
    assert any(
        "state sqlite, every 0.5 s: reachable in" in " ".join(line.split())
        for line in run("check", "--connect").stdout.splitlines()
    )


def test_clients_that_are_supposed_are_shown(run: Run) -> None:
    write(TEXT + "state: {clients: 8}\n")
    assert json.loads(run("check", "--json").stdout)["state"]["clients_supposed"] == 8
    lines = [" ".join(line.split()) for line in run("check").stdout.splitlines()]
    assert "state memory: nothing is shared, 8 clients supposed" in lines


def test_a_state_out_of_reach_is_a_warning(run: Run, closed_port: int) -> None:
    pytest.importorskip("redis", reason="redis-py is not installed")
    write(TEXT + f"state: {{backend: redis, url: 'redis://:canary@127.0.0.1:{closed_port}'}}\n")
    result = run("check", "--connect", "--strict")
    assert result.exit_code == 1
    assert "warning: state: redis: ConnectionError" in result.stdout
    Path("state.db").write_bytes(b"no database at all, and long enough to be looked at" * 100)
    write(TEXT + "state: {backend: sqlite, url: state.db}\n")
    assert "file is not a database" in run("check", "--connect").stdout


def test_files_that_could_not_be_written_are_warnings(run: Run) -> None:
    Path("file").touch()
    Path("folder").mkdir()
    write(
        TEXT
        + "state: {backend: sqlite, url: file/state.db, profiles: folder}\n"
        + "log: {path: file/deeper/run.jsonl, record_events: new/folder/events.jsonl}\n"
    )
    told = json.loads(run("check", "--json").stdout)["warnings"]
    warnings = {warning["subject"]: warning["text"] for warning in told}
    assert warnings["log.path"].endswith("run.jsonl cannot be written: " + f"{Path('file').absolute()} is not a folder")
    assert warnings["state.url"].endswith(f"{Path('file').absolute()} is not a folder")
    assert warnings["state.profiles"].endswith("folder cannot be written: it is a folder")
    assert "log.record_events" not in warnings, "missing folders are made"
    assert not Path("new").exists(), "by who writes there, not by who looks"


@pytest.mark.parametrize("connect", [[], ["--connect"]])
def test_certificates_that_could_not_be_used_are_warnings(run: Run, connect: list[str], closed_port: int) -> None:
    url = f"https://127.0.0.1:{closed_port}/v1"
    write(
        f"version: 1\nendpoints:\n  - {{name: gpu, base_url: '{url}', model: m, tls: {{ca: ca.pem}}}}\n"
        f"  - {{name: open, base_url: '{url}', model: m, tls: {{verify: false}}}}\n"
    )
    told = json.loads(run("check", "--json", *connect).stdout)["warnings"]
    (lack,) = (
        warning["text"] for warning in told if warning["subject"] == "endpoint gpu" and "ca.pem" in warning["text"]
    )
    assert "tls.ca: cannot be read: No such file or directory" in lack


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_files_that_this_user_may_not_write_are_warnings(run: Run) -> None:
    Path("closed").mkdir(mode=0o500)
    Path("old.jsonl").touch(mode=0o400)
    write(TEXT + "state: {backend: sqlite, url: closed/state.db}\nlog: {path: old.jsonl}\n")
    told = json.loads(run("check", "--json").stdout)["warnings"]
    warnings = {warning["subject"]: warning["text"] for warning in told}
    assert "permission denied in" in warnings["state.url"]
    assert warnings["log.path"].endswith("permission denied")
