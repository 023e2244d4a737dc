"""Reading a request body: what the three APIs ask for, in one form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_uppercase
from typing import Any, Literal

from agentsched.emulator.apierror import ApiError, bad_request
from agentsched.emulator.token_ids import generated, is_id, text_of
from agentsched.emulator.words import count_tokens, identity_of, words

__all__ = ["LENGTH_HEADER", "Api", "Call", "Tool", "read_chat", "read_completion", "read_responses"]

LENGTH_HEADER = "x-emulator-output-tokens"
"""Request header that sets the answer's length in tokens, as ``[[out=N]]`` in the prompt does."""

Api = Literal["chat", "completions", "responses"]

_LENGTH_MARK = re.compile(r"\[\[out=(\d{1,7})\]\]")
_TOOL_MARK = re.compile(r"\[\[tool(?:=([A-Za-z0-9_-]+))?\]\]")
_SAY_MARK = re.compile(r"\[\[say=(.*?)\]\]", re.DOTALL)
_VLLM_ONLY = ("priority", "continue_final_message", "add_generation_prompt", "return_token_ids")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the caller offers."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, whichever API it came through.

    Attributes:
        api: the API.
        model: the requested model name.
        prompt: the whole prompt as one text, the partial answer not included.
        partial: the beginning of the answer that is to be continued.
        ids: the tokens of the prompt, where it was given by their ids; the last ``partial_tokens`` of them are the
            beginning of the answer.
        partial_tokens: see ``ids``.
        tells_ids: whether the answer tells the ids of its tokens; None: the server does not know such a thing.
        stream: whether to stream.
        include_usage: whether a stream ends with the usage.
        max_tokens: the most output tokens; None is no limit but the context.
        stop: texts that end the answer.
        seed: the caller's seed.
        priority: the caller's priority.
        schema: JSON schema that the answer must satisfy (an empty one is any object); None for text.
        tools: functions on offer.
        tool: the function that must be called; None for none.
        wanted_tokens: the length asked for by marker or header; None draws it.
        say: text that the answer must begin with.
    """

    api: Api
    model: str
    prompt: str
    partial: str = ""
    ids: tuple[int, ...] = ()
    partial_tokens: int = 0
    tells_ids: bool | None = None
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    priority: int = 0
    schema: Mapping[str, Any] | None = None
    tools: tuple[Tool, ...] = field(default=())
    tool: Tool | None = None
    wanted_tokens: int | None = None
    say: str = ""

    @property
    def identity(self) -> bytes:
        """What decides the words: model, prompt and seed, but no limit, no dialect and no partial answer."""
        return identity_of(self.model, self.prompt, "" if self.seed is None else str(self.seed))

    @property
    def prompt_tokens(self) -> int:
        """Prompt length in tokens, the partial answer included."""
        return len(self.ids) or max(1, count_tokens(self.prompt + self.partial))


def read_chat(body: Mapping[str, Any], headers: Mapping[str, str], *, kind: str) -> Call:
    """Read the body of ``/v1/chat/completions``.

    Raises:
        ApiError: it is not one.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages must be a non-empty list", "messages")
    turns = [_turn(message, index) for index, message in enumerate(messages)]
    partial = ""
    if body.get("continue_final_message"):
        if body.get("add_generation_prompt", True):
            text = "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
            raise bad_request(text, "continue_final_message")
        if turns[-1][0] != "assistant":
            raise bad_request("the final message must be the assistant's to be continued", "messages")
        partial = turns.pop()[1]
    tools = _tools(body.get("tools"), nested=True)
    prompt = _render(turns, tools)
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    return Call(
        api="chat",
        prompt=prompt,
        partial=partial,
        max_tokens=_whole(limit, "max_tokens", low=1),
        schema=_response_schema(body.get("response_format"), nested=True),
        tools=tools,
        tool=_forced_tool(body.get("tool_choice"), tools, prompt, turns),
        **_shared(body, headers, prompt=prompt, kind=kind),
    )


def read_completion(body: Mapping[str, Any], headers: Mapping[str, str], *, kind: str) -> Call:
    """Read the body of ``/v1/completions``.

    Raises:
        ApiError: it is not one.
    """
    prompt, said = body.get("prompt"), 0
    ids: tuple[int, ...] = ()
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    if isinstance(prompt, list) and prompt:
        ids = _ids(prompt)
        said = generated(ids)
        prompt = text_of(ids[: len(ids) - said])
    if not isinstance(prompt, str):
        raise bad_request("prompt must be a text or a list of token ids (or a list with one of these)", "prompt")
    call = Call(
        api="completions",
        prompt=prompt,
        partial=text_of(ids[len(ids) - said :]),
        ids=ids,
        partial_tokens=said,
        tells_ids=bool(body.get("return_token_ids")) if kind == "vllm" else None,
        max_tokens=_whole(body.get("max_tokens", 16), "max_tokens", low=1),
        **_shared(body, headers, prompt=prompt, kind=kind),
    )
    return call if ids or call.tells_ids else _begun(call)


def _begun(call: Call) -> Call:
    """The same with the end of the prompt as partial answer, where it is what is answered to the text before it.

    So a model goes on with its own words; no answer has a capital but at its beginning.
    """
    at = max(map(call.prompt.rfind, ascii_uppercase))
    if at <= 0:
        return call
    begun = replace(call, prompt=call.prompt[:at], partial=call.prompt[at:])
    own = "".join(words(begun.identity, count_tokens(begun.partial) + 1))
    return begun if own.startswith(begun.partial) and not call.say else call


def _ids(prompt: Sequence[Any]) -> tuple[int, ...]:
    wrong = [token_id for token_id in prompt if not is_id(token_id)]
    if wrong:
        raise bad_request(f"{wrong[0]!r} in the prompt is not the id of a token", "prompt")
    return tuple(prompt)


def read_responses(body: Mapping[str, Any], headers: Mapping[str, str], *, kind: str) -> Call:
    """Read the body of ``/v1/responses``.

    Raises:
        ApiError: it is not one.
    """
    if body.get("previous_response_id") is not None:
        raise ApiError(404, "this server keeps no responses", param="previous_response_id", code="not_found")
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        raise bad_request("input must be a text or a non-empty list", "input")
    turns = [_turn(item, index) for index, item in enumerate(items)]
    if isinstance(body.get("instructions"), str):
        turns.insert(0, ("system", body["instructions"]))
    tools = _tools(body.get("tools"), nested=False)
    prompt = _render(turns, tools)
    text = body.get("text")
    return Call(
        api="responses",
        prompt=prompt,
        max_tokens=_whole(body.get("max_output_tokens"), "max_output_tokens", low=1),
        schema=_response_schema(text.get("format") if isinstance(text, Mapping) else None, nested=False),
        tools=tools,
        tool=_forced_tool(body.get("tool_choice"), tools, prompt, turns),
        **_shared(body, headers, prompt=prompt, kind=kind),
    )


def _shared(body: Mapping[str, Any], headers: Mapping[str, str], *, prompt: str, kind: str) -> dict[str, Any]:
    """Read what the APIs have in common; of a marker that stands in the prompt twice, the later one counts."""
    if kind == "openai":
        for name in _VLLM_ONLY:
            if name in body:
                raise bad_request(f"Unrecognized request argument supplied: {name}", name)
    model = body.get("model")
    if not isinstance(model, str):
        raise bad_request("you must provide a model parameter", "model")
    if _whole(body.get("n"), "n", low=1) not in (None, 1):
        raise bad_request("only n=1 is supported", "n")
    options = body.get("stream_options")
    stop = body.get("stop")
    says = _SAY_MARK.findall(prompt)
    return {
        "model": model,
        "stream": bool(body.get("stream")),
        "include_usage": bool(options.get("include_usage")) if isinstance(options, Mapping) else False,
        "stop": (stop,) if isinstance(stop, str) else tuple(str(text) for text in stop or ()),
        "seed": _whole(body.get("seed"), "seed", low=None),
        "priority": _whole(body.get("priority"), "priority", low=None) or 0,
        "wanted_tokens": _wanted(prompt, headers),
        "say": says[-1] if says else "",
    }


def _wanted(prompt: str, headers: Mapping[str, str]) -> int | None:
    header = headers.get(LENGTH_HEADER)
    if header is not None:
        if not header.isdigit() or int(header) < 1:
            raise bad_request(f"{LENGTH_HEADER} must be a positive whole number, got {header!r}")
        return int(header)
    marks = _LENGTH_MARK.findall(prompt)
    return max(1, int(marks[-1])) if marks else None


def _whole(value: Any, name: str, *, low: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or (low is not None and value < low):
        allowed = "a whole number" if low is None else f"a whole number of at least {low}"
        raise bad_request(f"{name} must be {allowed}, got {value!r}", name)
    return value


def _turn(message: Any, index: int) -> tuple[str, str]:
    """Return role and text of a chat message or a responses item."""
    if not isinstance(message, Mapping):
        raise bad_request(f"item {index} must be an object", f"messages[{index}]")
    kind = message.get("type")
    if kind == "function_call":
        return "assistant", json.dumps({"name": message.get("name"), "arguments": message.get("arguments")})
    if kind == "function_call_output":
        return "tool", _text_of(message.get("output"))
    role = message.get("role")
    if not isinstance(role, str):
        raise bad_request(f"item {index} has no role", f"messages[{index}].role")
    text = _text_of(message.get("content"))
    if message.get("tool_calls"):
        text += json.dumps(message["tool_calls"])
    return role, text


def _text_of(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(_text_of_part(part) for part in content)
    return json.dumps(content)


def _text_of_part(part: Any) -> str:
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    return json.dumps(part)


def _render(turns: Sequence[tuple[str, str]], tools: Sequence[Tool]) -> str:
    """Return the prompt as a chat template would: earlier turns stay a prefix when a conversation goes on."""
    offered = "".join(f"<|tool|>{tool.name} {json.dumps(tool.schema, sort_keys=True)}\n" for tool in tools)
    return offered + "".join(f"<|{role}|>{text}\n" for role, text in turns) + "<|assistant|>"


def _tools(given: Any, *, nested: bool) -> tuple[Tool, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise bad_request("tools must be a list", "tools")
    tools = []
    for index, entry in enumerate(given):
        spec = entry.get("function") if nested and isinstance(entry, Mapping) else entry
        if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
            raise bad_request(f"tool {index} is not a function with a name", f"tools[{index}]")
        tools.append(Tool(spec["name"], spec.get("parameters") or {}))
    return tuple(tools)


def _forced_tool(choice: Any, tools: Sequence[Tool], text: str, turns: Sequence[tuple[str, str]]) -> Tool | None:
    """Return the function to call: named by ``tool_choice``, or by a marker while its answer is not there yet."""
    if not tools or choice == "none":
        return None
    if isinstance(choice, Mapping):
        function = choice.get("function")
        return _named_tool(tools, function.get("name") if isinstance(function, Mapping) else choice.get("name"))
    if choice == "required":
        return tools[0]
    marks = _TOOL_MARK.findall(text) if turns and turns[-1][0] != "tool" else []
    return _named_tool(tools, marks[-1] or tools[0].name) if marks else None


def _named_tool(tools: Sequence[Tool], name: Any) -> Tool:
    for tool in tools:
        if tool.name == name:
            return tool
    raise ApiError(400, f"tool_choice names {name!r}, which is not among the tools", param="tool_choice")


def _response_schema(given: Any, *, nested: bool) -> Mapping[str, Any] | None:
    if not isinstance(given, Mapping) or given.get("type") == "text":
        return None
    if given.get("type") == "json_object":
        return {"type": "object"}
    if given.get("type") == "json_schema":
        holder = given.get("json_schema") if nested else given
        schema = holder.get("schema") if isinstance(holder, Mapping) else None
        if not isinstance(schema, Mapping):
            raise bad_request("response_format holds no schema", "response_format")
        return schema
    raise bad_request(f"unknown response format {given.get('type')!r}", "response_format")
