"""What responses of the API have in common, known to the compressor beforehand: a short answer then takes a third.

Part of the stored format. A record names the dictionary it was written with, so a better one gets a name of its own
beside this one, and this one never changes a byte.
"""

from __future__ import annotations

import json
from typing import Any

_HEADERS = (
    '{"headers":{"date":"Mon, 01 Jan 2026 00:00:00 GMT","content-type":"text/event-stream; charset=utf-8",'
    '"content-type":"application/json","retry-after":"x-should-retry":"true",'
    '"anthropic-ratelimit-requests-limit":"anthropic-ratelimit-requests-remaining":"anthropic-ratelimit-requests-reset":'
    '"2026-01-01T00:00:00Z","anthropic-ratelimit-input-tokens-limit":"anthropic-ratelimit-input-tokens-remaining":'
    '"anthropic-ratelimit-input-tokens-reset":"anthropic-ratelimit-output-tokens-limit":'
    '"anthropic-ratelimit-output-tokens-remaining":"anthropic-ratelimit-output-tokens-reset":'
    '"anthropic-ratelimit-tokens-limit":"anthropic-ratelimit-tokens-remaining":"anthropic-ratelimit-tokens-reset":'
    '"anthropic-organization-id":"00000000-0000-0000-0000-000000000000","request-id":"req_01"},"chunks":""}\n'
)

_ERROR = {
    "type": "error",
    "error": {"details": None, "type": "overloaded_error", "message": "Overloaded"},
    "request_id": "req_01",
}

_USAGE = {
    "input_tokens": 1,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 1,
    "service_tier": "standard",
    "inference_geo": "not_available",
    "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
}
_MESSAGE = {
    "model": "claude-sonnet-4-5-20250929",
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "The user is asking about ", "signature": "EqEECkYICxgCKkA"},
        {"type": "redacted_thinking", "data": "EqkECkYIBxgCKkA"},
        {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": ""}},
        {"type": "text", "text": "I'll help you ", "citations": None},
        {"type": "tool_use", "id": "toolu_01", "name": "", "input": {"": ""}, "caller": {"type": "direct"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "stop_details": None,
    "usage": _USAGE,
    "context_management": {"applied_edits": []},
    "container": None,
}
_SORTED = {name: _MESSAGE[name] for name in sorted(_MESSAGE)}

_STREAM = (
    'event: message_start\ndata: {"type":"message_start","message":{"model":"claude-sonnet-4-5-20250929","id":"msg_01",'
    '"type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,'
    '"usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":'
    '{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard",'
    '"inference_geo":"global"}}             }\n\n'
    'event: error\ndata: {"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"}}\n\n'
    'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"thinking",'
    '"thinking":"","signature":""}       }\n\nevent: ping\ndata: {"type": "ping"}\n\n'
    'event: content_block_start\ndata: {"type":"content_block_start","index":1,"content_block":{"type":'
    '"redacted_thinking","data":"EqkECkYIBxgCKkA"}           }\n\n'
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta",'
    '"thinking":"Let"}        }\n\n'
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta",'
    '"signature":"EusBClsIDRgCKkB"}      }\n\n'
    'event: content_block_start\ndata: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use",'
    '"id":"toolu_01","name":"","input":{},"caller":{"type":"direct"}}     }\n\n'
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta",'
    '"partial_json":""} }\n\n'
    'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text",'
    '"text":""}}\n\n'
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    '"text":"I"}             }\n\n'
    'event: content_block_stop\ndata: {"type":"content_block_stop","index":0            }\n\n'
    'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null,'
    '"stop_details":null},"usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
    '"output_tokens":1}  }\n\n'
    'event: message_stop\ndata: {"type":"message_stop"  }\n\n'
)


def _written(value: Any) -> str:
    """`value` in the ways that servers write JSON: spaced, compact."""
    return json.dumps(value) + json.dumps(value, separators=(",", ":"))


# what is nearest to the end costs least to refer to
V1 = "".join((*map(_written, (_ERROR, _SORTED, _MESSAGE)), _STREAM, _HEADERS)).encode()
