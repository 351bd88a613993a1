"""The same in asyncio, with the real openai SDK: two conversations at once, each with a tool call.

The provider is a stand-in on this machine that serves real recorded exchanges, so no key and no network is needed;
with a key, leave out `api_key` and `base_url`.

    python examples/async_loop.py
"""

import asyncio
import json
import tempfile
from typing import Any

from agentstream_openai import record
from openai import AsyncOpenAI
from support.provider import Provider, traffic

from agentstream import AsyncClient, agent, step

PARAMETERS = {
    "type": "object",
    "properties": {"country": {"type": "string"}},
    "required": ["country"],
    "additionalProperties": False,
}
TOOLS: Any = [{"type": "function", "function": {"name": "get_capital", "strict": True, "parameters": PARAMETERS}}]


@step(kind="tool")
async def get_capital(country: str) -> str:
    await asyncio.sleep(0)  # a real tool would ask somebody here
    return {"UK": "London"}[country]


async def answer(openai: AsyncOpenAI, question: str) -> str:
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        # the completion helper gathers the stream; iterate over `stream` to see every token
        async with openai.chat.completions.stream(model="gpt-4o-mini", messages=messages, tools=TOOLS) as stream:
            message = (await stream.get_final_completion()).choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"}))
        for call in message.tool_calls:
            capital = await get_capital(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": capital})


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Provider(traffic("openai-chat-stream-tools")) as provider:
        openai = record(AsyncOpenAI(api_key="none", base_url=provider.url))

        @agent
        async def twins(question: str) -> list[str]:
            return list(await asyncio.gather(answer(openai, question), answer(openai, question)))

        async with AsyncClient(folder) as client:
            session = client.session("twins").with_options(run_id="monday")  # named, so that it runs once ever
            question = "What is the capital of the UK? Use the tool, then answer."
            print(await session.run(twins, question))
            assert len(provider.billed) == 4
            print(await session.run(twins, question), "- from the record, at no cost")
            assert len(provider.billed) == 4
            usage = (await session.state()).usage
            print(f"tokens used: {usage['input_tokens']} in, {usage['output_tokens']} out")
        await openai.close()


if __name__ == "__main__":
    asyncio.run(main())
