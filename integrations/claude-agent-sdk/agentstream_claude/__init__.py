"""Claude Agent SDK sessions kept as agentstream sessions.

    store = StreamSessionStore(Client())
    options = ClaudeAgentOptions(session_store=store, session_store_flush="eager")

What the SDK's CLI writes into its transcript is mirrored into a session as it comes: messages,
tool calls and usage as events that every reader knows, all else beside them. From that record
a session is resumed, in any process, and forked at any message.
"""

from agentstream_claude._store import StreamSessionStore

__all__ = ["StreamSessionStore"]
__version__ = "0.1.0"
