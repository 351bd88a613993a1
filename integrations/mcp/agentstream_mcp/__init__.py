"""MCP on agentstream: servers whose streams are resumed from any event, and calls to servers as steps of a run.

app = store.resumable(server.streamable_http_app(event_store=store))     # store = StreamEventStore(Client())
session = record(session)                                                # an mcp.ClientSession or mcp.Client
"""

from agentstream_mcp._events import StreamEventStore
from agentstream_mcp._record import record

__all__ = ["StreamEventStore", "record"]
__version__ = "0.1.0"
