"""LangGraph threads as agentstream sessions.

from agentstream import Client
from agentstream_langgraph import StreamSaver

graph = builder.compile(checkpointer=StreamSaver(Client()))
"""

from agentstream_langgraph._migrating import Migrated, amigrate, migrate
from agentstream_langgraph._publishing import StepsNotRecorded, follow, publish
from agentstream_langgraph._replaying import Difference, Replayed, areplay, replay
from agentstream_langgraph._resuming import resume_threads as _  # pyright: ignore[reportUnusedImport]  # noqa: F401
from agentstream_langgraph._saver import StreamSaver

__all__ = [
    "Difference",
    "Migrated",
    "Replayed",
    "StepsNotRecorded",
    "StreamSaver",
    "amigrate",
    "areplay",
    "follow",
    "migrate",
    "publish",
    "replay",
]
__version__ = "0.1.0"
