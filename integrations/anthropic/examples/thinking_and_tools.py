"""Claude thinks, asks for a tool and answers; the second run of it, with the provider gone, costs nothing.

The provider is a stand-in on this machine that serves a real recorded conversation, so no key and no network is needed;
with a key, leave out `api_key` and `base_url`.

    python integrations/anthropic/examples/thinking_and_tools.py
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))  # where the stand-in is

from agentstream_anthropic import record
from anthropic import Anthropic
from support.provider import Provider, traffic

from agentstream import Client, agent, step

TOOLS: Any = [{"name": "get_user_country", "description": "", "input_schema": {"type": "object", "properties": {}}}]


@step(kind="tool")
def get_user_country() -> str:
    print("the tool runs")
    return "Mexico"


def asker(anthropic: Anthropic) -> Any:
    @agent
    def largest_city(question: str) -> str:
        messages: Any = [{"role": "user", "content": [{"type": "text", "text": question}]}]
        while True:
            said = anthropic.messages.create(
                model="claude-sonnet-5",
                max_tokens=4096,
                thinking={"type": "enabled", "budget_tokens": 3000},
                tools=TOOLS,
                messages=messages,
            )
            calls = [block for block in said.content if block.type == "tool_use"]
            if not calls:
                return said.content[-1].text if said.content[-1].type == "text" else ""
            results = [{"type": "tool_result", "tool_use_id": call.id, "content": get_user_country()} for call in calls]
            # with the signed thought in it, as it came: the provider asks for it back
            messages += [{"role": "assistant", "content": said.content}, {"role": "user", "content": results}]

    return largest_city


def main() -> None:
    with tempfile.TemporaryDirectory() as store, Client(store) as client, Provider() as provider:
        provider.exchanges += [replace(one, path="/v1/messages") for one in traffic("anthropic-thinking-tool")]
        with record(Anthropic(api_key="no key", base_url=provider.url.removesuffix("/v1"))) as anthropic:
            largest_city = asker(anthropic)
            session = client.session("cities").with_options(run_id="first")
            answer = session.run(largest_city, "What is the largest city in the user country?")
            print(answer.partition("(")[0])
            provider.close()
            report = session.replay(largest_city)
            assert report.result == answer
            [thought] = [part for part in session.state().messages[0]["parts"] if part["type"] == "reasoning"]
            print(f"replayed offline; a thought of {len(thought['text'])} characters, signed: {'signature' in thought}")


if __name__ == "__main__":
    main()
