"""What responses of the API have in common, known to the compressor beforehand: a short answer then takes a third.

Part of the stored format. A record names the dictionary it was written with, so a better one gets a name of its own
beside this one, and this one never changes a byte.
"""

from __future__ import annotations

import json
from typing import Any

_HEADERS = (
    '{"headers":{"date":"Mon, 01 Jan 2026 00:00:00 GMT","content-type":"text/event-stream; charset=utf-8",'
    '"content-type":"application/json","retry-after":"retry-after-ms":"x-should-retry":"true",'
    '"openai-organization":"openai-project":"openai-processing-ms":"openai-version":"2020-10-01",'
    '"x-ratelimit-limit-requests":"x-ratelimit-limit-tokens":"x-ratelimit-remaining-requests":'
    '"x-ratelimit-remaining-tokens":"x-ratelimit-reset-requests":"x-ratelimit-reset-tokens":"ms",'
    '"x-request-id":"req_"},"chunks":""}\n'
)

_ERROR = {"error": {"message": "", "type": "invalid_request_error", "param": None, "code": "server_error"}}

_EMBEDDING = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": ""}],
    "model": "text-embedding",
}

_TOOL_CALL = {"id": "call_", "type": "function", "function": {"name": "", "arguments": '{"": ""}'}}
_CHAT = {
    "id": "chatcmpl-",
    "object": "chat.completion",
    "created": 17,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [_TOOL_CALL],
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "total_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
    "service_tier": "default",
    "system_fingerprint": "fp_",
}

_OUTPUT = [
    {
        "id": "rs_",
        "type": "reasoning",
        "encrypted_content": "gAAAAAB",
        "summary": [{"type": "summary_text", "text": ""}],
    },
    {
        "id": "fc_",
        "type": "function_call",
        "status": "completed",
        "arguments": '{"": ""}',
        "call_id": "call_",
        "name": "",
    },
    {
        "id": "msg_",
        "type": "message",
        "status": "completed",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": ""}],
        "phase": "final_answer",
        "role": "assistant",
    },
]
_TOOL = {
    "type": "function",
    "description": "",
    "name": "",
    "parameters": {
        "type": "object",
        "properties": {"": {"type": "string", "description": ""}},
        "required": [""],
        "additionalProperties": False,
    },
    "strict": True,
}
_RESPONSE = {
    "id": "resp_",
    "object": "response",
    "created_at": 17,
    "status": "completed",
    "background": False,
    "billing": {"payer": "developer"},
    "completed_at": 17,
    "conversation": {"id": "conv_"},
    "error": None,
    "frequency_penalty": 0.0,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "gpt-5",
    "moderation": None,
    "output": _OUTPUT,
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": "in_memory",
    "reasoning": {"context": "current_turn", "effort": "medium", "mode": "standard", "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [_TOOL],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 1,
    },
    "user": None,
    "metadata": {},
}

_CHAT_STREAM = (
    'data: {"id":"chatcmpl-","object":"chat.completion.chunk","created":17,"model":"gpt-4o-mini-2024-07-18",'
    '"service_tier":"default","system_fingerprint":"fp_","choices":[{"index":0,"delta":{"role":"assistant",'
    '"content":"","tool_calls":[{"index":0,"id":"call_","type":"function","function":{"name":"","arguments":""}}],'
    '"refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":""}\n\n'
    '"delta":{},"logprobs":null,"finish_reason":"stop"}],"choices":[],"usage":{"prompt_tokens":\n\ndata: [DONE]\n\n'
)
_RESPONSE_STREAM = (
    'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_","sequence_number":0}\n\n'
    'event: response.in_progress\ndata: {"type":"response.in_progress","response":{"id":"resp_"'
    'event: response.output_item.added\ndata: {"type":"response.output_item.added","output_index":0,"item":{"type":'
    'event: response.content_part.added\ndata: {"type":"response.content_part.added","content_index":0,"item_id":"msg_'
    '"output_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""},"sequence_number":'
    'event: response.function_call_arguments.delta\ndata: {"type":"response.function_call_arguments.delta","delta":"'
    'event: response.function_call_arguments.done\ndata: {"type":"response.function_call_arguments.done","item_id":"fc_'
    'event: response.reasoning_summary_text.delta\ndata: {"type":"response.reasoning_summary_text.delta"'
    'event: response.output_text.done\ndata: {"type":"response.output_text.done","content_index":0,"item_id":"msg_'
    'event: response.content_part.done\ndata: {"type":"response.content_part.done"'
    'event: response.output_item.done\ndata: {"type":"response.output_item.done","item":{"id":'
    'event: response.completed\ndata: {"type":"response.completed","response":{"id":"resp_","object":"response",'
    'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","content_index":0,"delta":"'
    '","item_id":"msg_","logprobs":[],"obfuscation":"","output_index":0,"sequence_number":4}\n\n'
)


def _written(value: Any) -> str:
    """`value` in the ways that servers write JSON: spaced, in lines, compact."""
    return json.dumps(value) + json.dumps(value, indent=2) + json.dumps(value, separators=(",", ":"))


# what is nearest to the end costs least to refer to
V1 = "".join(
    (
        *map(_written, (_ERROR, _EMBEDDING)),
        _CHAT_STREAM,
        _written(_CHAT),
        _RESPONSE_STREAM,
        _written(_RESPONSE),
        _HEADERS,
    )
).encode()
