"""Makes every run of Pydantic AI durable: model and tool calls are steps of an agentstream session.

    agent = Agent("openai:gpt-5", tools=[…], capabilities=[Recorded()])

`Recorded` is all that an agent needs in code of one's own that a session runs. `durable(agent)` is such code;
`run_durable` and `stream_durable` run it; `history` is what was said in a session until now. `AgentStreamDurability`
stands in for `Recorded` where the framework's own durable operations are to be recorded, discovery of tools among them.
"""

from agentstream_pydantic_ai._capability import Recorded
from agentstream_pydantic_ai._engine import AgentStreamDurability
from agentstream_pydantic_ai._memory import history
from agentstream_pydantic_ai._running import durable, run_durable, run_durable_sync, stream_durable

__all__ = [
    "AgentStreamDurability",
    "Recorded",
    "durable",
    "history",
    "run_durable",
    "run_durable_sync",
    "stream_durable",
]
__version__ = "0.1.0"
