"""For integrations of SDKs that call their provider over httpx or httpx2: every exchange as a step.

The integration says what is a matter of its SDK (`Sdk`: which calls are a model's, what reads their answers, which
headers are harmless, what is a credential) and calls `record_http()`. The rest stands here once: matching, serving,
retries as attempts, streams handed on as they come and recorded chunk for chunk, redaction, errors, cancelling.
"""

from agentstream.adapters.http.answer import (
    Answer,
    Delta,
    counts,
    data_part,
    message,
    reasoning_part,
    text_part,
    tool_call_part,
)
from agentstream.adapters.http.body import Recorded
from agentstream.adapters.http.exchange import RecordingTransport
from agentstream.adapters.http.request import CallFailed
from agentstream.adapters.http.sdk import Sdk, described, record_http
from agentstream.adapters.http.watching import Decoder

__all__ = [
    "Answer",
    "CallFailed",
    "Decoder",
    "Delta",
    "Recorded",
    "RecordingTransport",
    "Sdk",
    "counts",
    "data_part",
    "described",
    "message",
    "reasoning_part",
    "record_http",
    "text_part",
    "tool_call_part",
]
