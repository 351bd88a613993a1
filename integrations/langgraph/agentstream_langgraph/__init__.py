"""LangGraph threads as agentstream sessions.

from agentstream import Client
from agentstream_langgraph import StreamSaver

graph = builder.compile(checkpointer=StreamSaver(Client()))
"""

from agentstream_langgraph._saver import StreamSaver

__all__ = ["StreamSaver"]
__version__ = "0.1.0"
