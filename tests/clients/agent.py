"""PyPI `mcp` 2.3 as an agent that stays: one session, in which it does what it is told, line by line.

    TURNPIKE_URL=... TURNPIKE_TOKEN=... target/venv/bin/python tests/clients/agent.py

The lines it reads and writes are those of agent.mjs beside this file.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from python_sdk import REQUEST_TIMEOUT_S, authorization

SHOWN_CHARACTERS = 200


class Agent:
    """The session, and what the HTTP answer beneath the last of its requests said."""

    def __init__(self) -> None:
        self.http: dict[str, Any] = {"requests": 0}

    async def live(self) -> None:
        hooks = {"response": [self.listen]}
        async with httpx2.AsyncClient(
            headers=authorization(), timeout=REQUEST_TIMEOUT_S, event_hooks=hooks
        ) as http_client:
            transport = streamable_http_client(os.environ["TURNPIKE_URL"], http_client=http_client)
            async with Client(transport, mode="legacy", read_timeout_seconds=REQUEST_TIMEOUT_S) as client:
                self.tell({"connected": True})
                while line := await asyncio.to_thread(sys.stdin.readline):
                    await self.attempt(lambda: act(client, json.loads(line)))

    async def attempt(self, work: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        try:
            self.tell(await work())
        except Exception as error:
            self.tell(failure(error))

    async def listen(self, response: httpx2.Response) -> None:
        """The GET stream answers in its own time; only what was asked for counts."""
        if response.request.method == "POST":
            message = json.loads(response.request.content)
            self.http["requests"] += "id" in message and "method" in message
            wait = response.headers.get("retry-after")
            self.http |= {"status": response.status_code, "retry_after": None if wait is None else int(wait)}

    def tell(self, said: dict[str, Any]) -> None:
        print(json.dumps({**said, **self.http}), flush=True)


def main() -> int:
    agent = Agent()
    try:
        asyncio.run(agent.live())
    except Exception as error:  # the one place where a session that did not come about is told
        agent.tell(failure(error))
        return 1
    return 0


async def act(client: Client, order: dict[str, Any]) -> dict[str, Any]:
    if order.get("list"):
        return {"tools": [each.name for each in (await client.list_tools()).tools]}
    result = await client.call_tool(order["call"], order["arguments"])
    text = "\n".join(part.text for part in result.content if part.type == "text")
    if result.is_error:
        raise ValueError(f"the tool failed: {text}")
    return {"text": text[:SHOWN_CHARACTERS], "length": len(text)}


def failure(error: BaseException) -> dict[str, Any]:
    """Task groups wrap errors, and only the innermost one tells."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return {"error": {"code": getattr(error, "code", None), "message": f"{type(error).__name__}: {error}"}}


if __name__ == "__main__":
    sys.exit(main())
