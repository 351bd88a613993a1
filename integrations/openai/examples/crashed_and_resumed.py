"""GPT asks for a tool and answers; the process is killed in between, and the next one pays only for what was missing.

The provider is a stand-in on this machine that serves a real recorded conversation, so no key and no network is needed;
with a key, leave out `api_key` and `base_url`.

    python integrations/openai/examples/crashed_and_resumed.py
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))  # where the stand-in is

from agentstream_openai import record
from openai import OpenAI
from support.provider import Provider, traffic

from agentstream import Client, agent, step

PARAMETERS = {"type": "object", "properties": {"country": {"type": "string"}}, "required": ["country"]}
TOOLS: Any = [{"type": "function", "name": "get_capital", "parameters": PARAMETERS, "strict": None}]


@step(kind="tool")
def get_capital(country: str) -> str:
    print(f"  the tool looks up {country}", flush=True)
    return "Potato City"


def asker(openai: OpenAI, *, dies: bool = False) -> Any:
    @agent
    def capital(question: str) -> str:
        asked: Any = [{"role": "user", "content": question}]
        while True:
            said = openai.responses.create(model="gpt-5", input=asked, tools=TOOLS)
            calls = [item for item in said.output if item.type == "function_call"]
            if not calls:
                return said.output_text
            for call in calls:
                output = get_capital(**json.loads(call.arguments))
                asked += [call, {"type": "function_call_output", "call_id": call.call_id, "output": output}]
            if dies:
                os._exit(9)  # as a deployment, a power cut or the kernel would have it

    return capital


def work(store: str, url: str, *, dies: bool) -> None:
    with Client(store) as client, record(OpenAI(api_key="no key", base_url=url)) as openai:
        session = client.session("capitals").with_options(run_id="first")
        print(" ", session.run(asker(openai, dies=dies), "What is the capital of PotatoLand?"))


def main() -> None:
    with tempfile.TemporaryDirectory() as store, Provider(traffic("openai-responses-tool-call")) as provider:
        killed = subprocess.run([sys.executable, __file__, store, provider.url], check=False)
        print(f"killed (exit {killed.returncode}) after {len(provider.billed)} call of the model", flush=True)
        work(store, provider.url, dies=False)
        print(f"resumed: {len(provider.billed)} calls of the model in all")
        work(store, provider.url, dies=False)
        print(f"run again: still {len(provider.billed)}")


if __name__ == "__main__":
    work(*sys.argv[1:], dies=True) if sys.argv[1:] else main()
