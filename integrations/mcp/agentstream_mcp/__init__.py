"""Streamable HTTP of MCP servers resumable from any event, and MCP tool calls as steps of an agentstream session."""

__all__: list[str] = []
__version__ = "0.1.0"
