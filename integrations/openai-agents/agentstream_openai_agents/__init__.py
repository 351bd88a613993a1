"""Makes every run of the OpenAI Agents SDK durable: model and tool calls are steps of an agentstream session."""

__all__: list[str] = []
__version__ = "0.1.0"
