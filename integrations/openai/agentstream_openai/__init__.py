"""Every call of an openai client becomes a step of the run it is made in.

    from agentstream_openai import record
    from openai import OpenAI

    client = record(OpenAI())

Outside a run the client is what it was.
"""

from agentstream.adapters.http import CallFailed
from agentstream_openai._record import record

__all__ = ["CallFailed", "record"]
__version__ = "0.1.0"
