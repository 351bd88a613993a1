"""What streamed answers have in common, known to the compressor beforehand: a short answer then takes a third.

Part of the stored form. A record names the dictionary it was written with, so a better one gets a name of its own
beside this one, and this one never changes a byte.
"""

from __future__ import annotations

V1 = b"""
{"headers":{"content-type":"text/event-stream"},"chunks":"
data: {"item":{"id":"rs_","summary":[],"type":"reasoning","content":[],"encrypted_content":"gAAAAAB","status":"in_progress"},"output_index":0,"sequence_number":2,"type":"response.output_item.added"}

data: {"item_id":"rs_","output_index":0,"part":{"text":"","type":"summary_text"},"sequence_number":3,"summary_index":0,"type":"response.reasoning_summary_part.added"}

data: {"delta":"**","item_id":"rs_","output_index":0,"sequence_number":4,"summary_index":0,"type":"response.reasoning_summary_text.delta","obfuscation":""}

data: {"item_id":"rs_","output_index":0,"sequence_number":9,"summary_index":0,"text":"","type":"response.reasoning_summary_text.done"}

data: {"item_id":"rs_","output_index":0,"part":{"text":"","type":"summary_text"},"sequence_number":10,"summary_index":0,"type":"response.reasoning_summary_part.done"}

data: {"delta":"{\\"","item_id":"fc_","output_index":0,"sequence_number":3,"type":"response.function_call_arguments.delta","obfuscation":""}

data: {"arguments":"{\\"\\":\\"\\"}","item_id":"fc_","name":"","output_index":0,"sequence_number":8,"type":"response.function_call_arguments.done"}

data: {"item":{"arguments":"{}","call_id":"call_","name":"get_","type":"function_call","id":"fc_","caller":null,"namespace":null,"status":"completed"},"output_index":0,"sequence_number":9,"type":"response.output_item.done"}

data: {"response":{"id":"resp_","created_at":1780000000.0,"error":null,"incomplete_details":null,"instructions":"","metadata":{},"model":"gpt-4o-2024-08-06","object":"response","output":[],"parallel_tool_calls":true,"temperature":1.0,"tool_choice":"auto","tools":[{"name":"","parameters":{"additionalProperties":false,"properties":{"":{"title":"","type":"string"}},"required":[""],"title":"_args","type":"object"},"strict":true,"type":"function","description":""}],"top_p":1.0,"background":false,"completed_at":null,"conversation":null,"max_output_tokens":null,"max_tool_calls":null,"moderation":null,"previous_response_id":null,"prompt_cache_key":null,"prompt_cache_retention":"24h","reasoning":{"context":"current_turn","effort":"medium","generate_summary":null,"mode":"standard","summary":null},"safety_identifier":null,"service_tier":"default","status":"in_progress","text":{"format":{"type":"text"},"verbosity":"medium"},"top_logprobs":0,"truncation":"disabled","usage":null,"user":null,"store":true,"frequency_penalty":0.0,"presence_penalty":0.0},"sequence_number":0,"type":"response.created"}

data: {"response":{"sequence_number":1,"type":"response.in_progress"}

data: {"item":{"id":"msg_","content":[],"role":"assistant","status":"in_progress","type":"message","phase":"final_answer"},"output_index":0,"sequence_number":2,"type":"response.output_item.added"}

data: {"content_index":0,"item_id":"__fake_id__","output_index":0,"part":{"annotations":[],"text":"","type":"output_text","logprobs":[]},"sequence_number":3,"type":"response.content_part.added"}

data: {"content_index":0,"delta":" the","item_id":"msg_","logprobs":[],"output_index":0,"sequence_number":4,"type":"response.output_text.delta","obfuscation":""}

data: {"content_index":0,"delta":" ","item_id":"msg_","output_index":0,"sequence_number":5,"type":"response.output_text.delta"}

data: {"content_index":0,"item_id":"msg_","logprobs":[],"output_index":0,"sequence_number":20,"text":"The ","type":"response.output_text.done"}

data: {"content_index":0,"item_id":"msg_","output_index":0,"part":{"annotations":[],"text":"","type":"output_text","logprobs":[]},"sequence_number":21,"type":"response.content_part.done"}

data: {"item":{"id":"msg_","content":[{"annotations":[],"text":"","type":"output_text","logprobs":[]}],"role":"assistant","status":"completed","type":"message"},"output_index":0,"sequence_number":22,"type":"response.output_item.done"}

data: {"response":{"id":"resp_","output":[{"id":"msg_","content":[{"annotations":[],"text":"","type":"output_text","logprobs":[]}],"role":"assistant","status":"completed","type":"message"}],"parallel_tool_calls":true,"status":"completed","usage":{"input_tokens":100,"input_tokens_details":{"cache_write_tokens":0,"cached_tokens":0},"output_tokens":10,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":110},"user":null,"store":true},"sequence_number":23,"type":"response.completed"}

"""  # noqa: E501
