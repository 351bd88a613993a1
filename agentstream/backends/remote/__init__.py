"""The remote backend: any Durable Streams server by URL."""

from agentstream.backends.remote.backend import RemoteBackend

__all__ = ["RemoteBackend"]
