"""Keeps Claude Agent SDK sessions as agentstream sessions: mirrored as they run, resumed and forked from the record."""

__all__: list[str] = []
__version__ = "0.1.0"
