// The conversation that a model was given, read out of its request: the shapes that providers' APIs have in common.

import type { Json, Message, Part } from "../data/types";

type Shape = { [name: string]: Json };

const shape = (value: Json | undefined): Shape | null => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : null);
const text = (value: Json | undefined): string | null => (typeof value === "string" ? value : null);

/** The messages of a request; null where it has none that are known here. */
export function asked(input: Json | undefined): Message[] | null {
  const call = shape(input);
  if (!call) return null;
  const request = shape(call["body"]) ?? call; // a recorded HTTP call has its request in there
  const list = request["messages"] ?? request["input"] ?? request["contents"];
  const said = text(list) !== null ? [{ role: "user", content: list! }] : list;
  if (!Array.isArray(said)) return null;
  const instructions = request["instructions"] ?? request["system"];
  const before: Message[] = instructions ? [{ role: "system", parts: parts(instructions) }] : [];
  return [...before, ...said.map(message)];
}

function message(item: Json): Message {
  const told = shape(item);
  if (!told) return { role: "user", parts: parts(item) };
  switch (told["type"]) {
    case "function_call":
      return { role: "assistant", parts: [call(told["call_id"], told["name"], told["arguments"])] };
    case "function_call_output":
      return { role: "tool", parts: [result(told["call_id"], told["output"])] };
    case "reasoning":
      return { role: "assistant", parts: parts(told["summary"] ?? told["content"] ?? null).map((part) => ({ ...part, type: "reasoning" })) };
  }
  const role = text(told["role"]) ?? "message";
  if (role === "tool") return { role, parts: [result(told["tool_call_id"], told["content"])] };
  const calls = Array.isArray(told["tool_calls"]) ? told["tool_calls"] : [];
  const made = calls.map((each) => {
    const one = shape(each) ?? {};
    const named = shape(one["function"]) ?? one;
    return call(one["id"], named["name"], named["arguments"] ?? named["args"]);
  });
  return { role, parts: [...parts(told["content"] ?? told["parts"] ?? null), ...made] };
}

function parts(content: Json): Part[] {
  if (content === null || content === "") return [];
  if (typeof content === "string") return [{ type: "text", text: content }];
  if (!Array.isArray(content)) return [{ type: "data", value: content }];
  return content.map((each): Part => {
    const part = shape(each);
    const said = part ? text(part["text"]) : text(each);
    if (said !== null) return { type: "text", text: said };
    if (part?.["type"] === "tool_use") return call(part["id"], part["name"], part["input"]);
    if (part?.["type"] === "tool_result") return result(part["tool_use_id"], part["content"]);
    if (part?.["type"] === "thinking") return { type: "reasoning", text: text(part["thinking"]) ?? "" };
    return { type: "data", value: each };
  });
}

function call(id: Json | undefined, name: Json | undefined, given: Json | undefined): Part {
  return { type: "tool_call", id: text(id) ?? "", name: text(name) ?? "", arguments: parsed(given ?? null) };
}

function result(id: Json | undefined, value: Json | undefined): Part {
  return { type: "tool_result", id: text(id) ?? "", result: parsed(value ?? null) };
}

/** Arguments and results often are JSON in a text. */
function parsed(value: Json): Json {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value) as Json;
  } catch {
    return value;
  }
}
