"""PyPI `mcp` 2.3 over Streamable HTTP, in the mode that TURNPIKE_MODE names: `auto`, `legacy` or `2026-07-28`.

    TURNPIKE_URL=... TURNPIKE_TOKEN=... target/venv/bin/python tests/clients/python_sdk.py TARGETS_JSON

What it does, reads and prints is what matrix.mjs beside this file says. Versions are pinned in requirements.txt.
"""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

REQUEST_TIMEOUT_S = 30
LIMIT_S = 20
POLL_S = 0.1

Target = dict[str, Any]


def main() -> int:
    targets = json.loads(sys.argv[1])
    try:
        asyncio.run(visit_all(targets))
    except Exception as error:  # there was no session, or it did not close
        for target in targets:
            for aspect in ASPECTS:
                say(target, aspect, failed=reason(error))
    return 0


async def visit_all(targets: list[Target]) -> None:
    async with session() as client:
        for target in targets:
            for aspect, look in ASPECTS.items():
                await visit(client, target, aspect, look)


async def visit(client: Client, target: Target, aspect: str, look: Callable[..., Awaitable[str]]) -> None:
    wanted = target.get(aspect, {})
    if isinstance(wanted, str):
        return say(target, aspect, none=wanted)
    try:
        with anyio.fail_after(LIMIT_S):
            ok = await look(client, target, wanted)
    except Exception as error:
        return say(target, aspect, failed=reason(error))
    say(target, aspect, ok=ok)


async def see_list(client: Client, target: Target, _: Any) -> str:
    names = [tool.name for tool in (await client.list_tools()).tools]
    wanted = target["prefix"] + target["call"]["tool"]
    if wanted not in names:
        raise ValueError(f"`{wanted}` is not in the list: {', '.join(names)}")
    return f"{sum(name.startswith(target['prefix']) for name in names)} tools"


async def see_call(client: Client, target: Target, wanted: Any) -> str:
    return found(wanted["expect"], await call(client, target["prefix"] + wanted["tool"], wanted["arguments"]))


async def see_resource(client: Client, target: Target, wanted: Any) -> str:
    result = await client.read_resource(target["uri_prefix"] + wanted["uri"])
    return found(wanted["expect"], "\n".join(getattr(part, "text", "") for part in result.contents))


async def see_prompt(client: Client, target: Target, wanted: Any) -> str:
    result = await client.get_prompt(target["prefix"] + wanted["name"], wanted["arguments"])
    return found(wanted["expect"], "\n".join(getattr(each.content, "text", "") for each in result.messages))


async def see_cancellation(client: Client, target: Target, wanted: Any) -> str:
    prefix, witness, label = target["prefix"], wanted.get("witness"), str(uuid.uuid4())
    arguments = {**wanted["arguments"], "label": label} if witness else wanted["arguments"]
    begun = anyio.Event()

    async def progressed(*_: Any) -> None:
        begun.set()

    async def is_now(fate: str) -> None:
        while await call(client, prefix + witness, {"label": label}) != fate:
            await anyio.sleep(POLL_S)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.call_tool(prefix + wanted["tool"], arguments, progress_callback=progressed))
        await (is_now("running") if witness else begun.wait())
        tasks.cancel_scope.cancel()
    if witness:
        await is_now("cancelled")
        return "the server saw it"
    await see_call(client, target, target["call"])
    return "the caller is free"


async def call(client: Client, tool: str, arguments: dict[str, Any]) -> str:
    result = await client.call_tool(tool, arguments)
    text = "\n".join(part.text for part in result.content if part.type == "text")
    if result.is_error:
        raise ValueError(f"the tool failed: {text}")
    return text


@asynccontextmanager
async def session() -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers=authorization(), timeout=REQUEST_TIMEOUT_S) as http_client:
        transport = streamable_http_client(os.environ["TURNPIKE_URL"], http_client=http_client)
        async with Client(
            transport,
            mode=os.environ.get("TURNPIKE_MODE", "auto"),
            read_timeout_seconds=REQUEST_TIMEOUT_S,
            sampling_callback=sample,
            elicitation_callback=answer,
            list_roots_callback=roots,
        ) as client:
            yield client


async def sample(*_: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", model="none", content=content)


async def roots(*_: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///work")])


async def answer(_: Any, params: Any) -> types.ElicitResult:
    """What the user answers whenever a server asks for input: as little as its form requires."""
    schema = params.requested_schema
    required = {name: value_of(schema["properties"][name]) for name in schema.get("required", [])}
    return types.ElicitResult(action="accept", content=required)


def value_of(schema: dict[str, Any]) -> Any:
    if schema["type"] == "string":
        return schema.get("enum", ["ada@example.com" if schema.get("format") == "email" else "ada"])[0]
    return {"boolean": True, "integer": 1, "number": 1}[schema["type"]]


def authorization() -> dict[str, str]:
    token = os.environ.get("TURNPIKE_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def found(expected: str, text: str) -> str:
    if expected not in text:
        raise ValueError(f"`{expected}` is not in `{text[:200]}`")
    return "ok"


def reason(error: BaseException) -> str:
    """What happened: task groups wrap errors, and only the innermost one tells."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:500]


def say(target: Target, aspect: str, **seen: str) -> None:
    print(json.dumps({"server": target["server"], "aspect": aspect, **seen}), flush=True)


ASPECTS = {
    "list": see_list,
    "call": see_call,
    "resource": see_resource,
    "prompt": see_prompt,
    "elicitation": see_call,
    "cancellation": see_cancellation,
}

if __name__ == "__main__":
    sys.exit(main())
