"""Makes every run of the OpenAI Agents SDK durable: model and tool calls are steps of an agentstream session.

    from agentstream_openai_agents import run_durable

    result = await run_durable(agent, "Where is order A1?", client.session("support/42"))

`run_durable` resumes, forks and replays; streamed and sync there are `run_durable_streamed` and `run_durable_sync`, and
`durable(agent)` is the function that a session, a worker or the command line runs. `instrument(agent)` alone makes an
agent's calls steps in a run of one's own code, and `AgentStreamSession` is the SDK's memory over a session.
"""

from agentstream_openai_agents._instrument import instrument
from agentstream_openai_agents._running import (
    DurableStream,
    durable,
    run_durable,
    run_durable_streamed,
    run_durable_sync,
)
from agentstream_openai_agents._session import AgentStreamSession

__all__ = [
    "AgentStreamSession",
    "DurableStream",
    "durable",
    "instrument",
    "run_durable",
    "run_durable_streamed",
    "run_durable_sync",
]
__version__ = "0.1.0"
