"""The embedded backend: SQLite on this machine. `EmbeddedBackend` is its whole face."""

from agentstream.backends.embedded.backend import EmbeddedBackend

__all__ = ["EmbeddedBackend"]
