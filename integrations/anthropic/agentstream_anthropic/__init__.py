"""Every call of an anthropic client becomes a step of the run it is made in.

    from agentstream_anthropic import record
    from anthropic import Anthropic

    client = record(Anthropic())

Outside a run the client is what it was.
"""

from agentstream.adapters.http import CallFailed
from agentstream_anthropic._record import record

__all__ = ["CallFailed", "record"]
__version__ = "0.1.0"
