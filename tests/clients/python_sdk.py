"""PyPI `mcp` 2.3 in its legacy mode over Streamable HTTP: initialize, tools/list, tools/call.

    TURNPIKE_URL=... TURNPIKE_TOKEN=... target/venv/bin/python tests/clients/python_sdk.py [TOOL] [ARGUMENTS_JSON]

Prints one line of JSON `{client, tools, result_text}` and exits 0, or says what happened and exits 1.
Versions are pinned in requirements.txt beside this file.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

CLIENT = "python-sdk"
DEADLINE_S = 90
REQUEST_TIMEOUT_S = 30
DEFAULT_CALL = ["echo", '{"text":"hello"}']


def main() -> int:
    try:
        tool, arguments = read_call(sys.argv[1:])
        url = os.environ.get("TURNPIKE_URL") or refuse("TURNPIKE_URL is not set: give the endpoint")
        answer = asyncio.run(asyncio.wait_for(use_server(url, tool, arguments), DEADLINE_S))
    except Exception as error:  # the one place where errors become an exit status
        print(f"{CLIENT}: {'; '.join(reasons(error))}", file=sys.stderr)
        return 1
    print(json.dumps({"client": CLIENT, **answer}))
    return 0


async def use_server(url: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    async with httpx2.AsyncClient(headers=authorization(), timeout=REQUEST_TIMEOUT_S) as http_client:
        transport = streamable_http_client(url, http_client=http_client)
        async with Client(transport, mode="legacy", read_timeout_seconds=REQUEST_TIMEOUT_S) as client:
            tools = (await client.list_tools()).tools
            if not tools:
                refuse("tools/list is empty")
            result = await client.call_tool(tool, arguments)
    text = "\n".join(part.text for part in result.content if part.type == "text")
    if result.is_error:
        refuse(f"the tool failed: {text}")
    return {"tools": [each.name for each in tools], "result_text": text}


def read_call(words: list[str]) -> tuple[str, dict[str, Any]]:
    if len(words) > len(DEFAULT_CALL):
        refuse(f"`{words[len(DEFAULT_CALL)]}` is one argument too many: give a tool and its arguments as JSON")
    tool, arguments = words + DEFAULT_CALL[len(words):]
    return tool, json.loads(arguments)


def authorization() -> dict[str, str]:
    token = os.environ.get("TURNPIKE_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def reasons(error: BaseException) -> Iterator[str]:
    """What happened: task groups wrap errors, and only the innermost ones tell."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from reasons(each)
    else:
        yield f"{type(error).__name__}: {error}"


def refuse(message: str) -> Any:
    raise ValueError(message)


if __name__ == "__main__":
    sys.exit(main())
