"""Runs and steps as spans and metrics, as they go and from a record, seen through the real SDK."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai_kit
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from support.provider import Provider
from telemetry_kit import Seen, attributes, parent_of

from agentstream import Client, RunWaiting, agent, ask, export_spans, spawn, step, uninstrument
from agentstream.telemetry import semantics

SECRET = "what was said in confidence"


@step(kind="tool")
def lookup(order: str) -> dict[str, Any]:
    return {"order": order, "said": SECRET}


@step(retries=0)
def fails() -> None:
    raise LookupError("no such order")


@step
def plain(order: str) -> str:
    return order


@agent
def inner(order: str) -> str:
    return plain(order)


@agent
def support(order: str) -> str:
    lookup(order)
    with contextlib.suppress(LookupError):
        fails()
    return inner(order)


def test_a_run_and_its_steps(seen: Seen) -> None:
    with seen.live(Client("memory:")) as client:
        session = client.session("s")
        with seen.provider.get_tracer("the program").start_as_current_span("request"):
            session.run(support, "A1")
        spans = seen.spans()
        assert parent_of(seen, "invoke_agent support") == "request"
        for name in ("execute_tool lookup", "function fails", "invoke_agent inner"):
            assert parent_of(seen, name) == "invoke_agent support"
        assert parent_of(seen, "function plain") == "invoke_agent inner"
        tool = attributes(spans["execute_tool lookup"])
        run = session.state().run
        assert run is not None
        assert "test_telemetry.py:" in tool.pop("agentstream.code")
        assert {name: tool[name] for name in tool if name != "agentstream.step"} == {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "lookup",
            "gen_ai.tool.type": "function",
            "gen_ai.conversation.id": "s",
            "agentstream.step.kind": "tool",
            "agentstream.step.name": "lookup",
        }
        assert tool["agentstream.step"] in {each.key for each in session.state().steps}
        failed = spans["function fails"]
        assert failed.status.status_code is StatusCode.ERROR
        assert attributes(failed)["error.type"] == "LookupError"
        whole = attributes(spans["invoke_agent support"])
        assert whole["agentstream.run.status"] == "finished"
        assert whole["agentstream.run"] == run.key
        assert SECRET not in repr([attributes(span) for span in spans.values()]), "contents only where asked for"


def test_contents_where_asked_for(seen: Seen) -> None:
    with seen.live(Client("memory:"), content=True) as client:
        client.session("s").run(support, "A1")
    tool = attributes(seen.spans()["execute_tool lookup"])
    assert tool["gen_ai.tool.call.arguments"] == '{"order":"A1"}'
    assert SECRET in tool["gen_ai.tool.call.result"]


def test_a_model_call_and_its_metrics(seen: Seen) -> None:
    with Provider(openai_kit.ALL) as provider, seen.live(Client("memory:")) as client:

        @agent
        async def talks() -> Any:
            async with openai_kit.async_client(provider) as openai:
                return await openai_kit.aresponses_stream(openai)

        asyncio.run(client.to_async().session("s").run(talks))
        (step,) = [step for step in client.session("s").state().steps if step.kind == "model"]
    (span,) = [span for name, span in seen.spans().items() if name.startswith("chat ")]
    told = attributes(span)
    assert span.kind is SpanKind.CLIENT
    assert told["gen_ai.provider.name"] == "openai"
    assert told["gen_ai.request.model"] == step.input["body"]["model"]
    assert told["gen_ai.usage.input_tokens"] == step.usage["input_tokens"]
    assert told["gen_ai.usage.output_tokens"] == step.usage["output_tokens"]
    metrics = seen.metrics()
    tokens = {point.attributes["gen_ai.token.type"]: point.sum for point in metrics["gen_ai.client.token.usage"]}
    assert tokens == {"input": step.usage["input_tokens"], "output": step.usage["output_tokens"]}
    (duration,) = metrics["gen_ai.client.operation.duration"]
    assert duration.count == 1
    assert duration.attributes["gen_ai.operation.name"] == "chat"


def test_a_step_is_the_current_span_of_its_function(seen: Seen) -> None:
    tracer = seen.provider.get_tracer("a library")

    @step
    def calls() -> None:
        tracer.start_span("inside").end()

    @step
    async def awaits() -> None:
        await asyncio.sleep(0)
        tracer.start_span("inside, awaited").end()

    @agent
    async def both() -> None:
        calls()
        await asyncio.gather(awaits(), awaits())

    with seen.live(Client("memory:")) as client:
        asyncio.run(client.to_async().session("s").run(both))
    assert parent_of(seen, "inside") == "function calls"
    assert parent_of(seen, "inside, awaited") == "function awaits"


def test_what_a_record_serves_makes_no_span(seen: Seen) -> None:
    with seen.live(Client("memory:")) as client:
        session = client.session("s")
        session.run(support, "A1")
        before = len(seen.names())
        assert session.replay(support).identical
        assert len(seen.names()) == before

        @agent
        def asks() -> str:
            return lookup("A2")["order"] + ask("go on?")

        with pytest.raises(RunWaiting) as waiting:
            client.session("t").run(asks)
        first = seen.spans()["invoke_agent asks"]
        assert attributes(first)["agentstream.run.status"] == "waiting"
        assert first.status.status_code is StatusCode.UNSET
        client.session("t").answer(waiting.value.questions[0], "yes")
        client.session("t").run(asks)
        assert seen.names().count("execute_tool lookup") == 2, "once for each session"
        second = seen.spans()["invoke_agent asks"]
        assert attributes(second)["agentstream.run.resumed"]
        assert [link.context.span_id for link in second.links] == [first.context.span_id]  # type: ignore[union-attr]


def test_forks_and_children_are_links(seen: Seen) -> None:
    @agent
    def child() -> str:
        return plain("child")

    @agent
    def parent() -> str:
        return spawn(child).result()

    with seen.live(Client("memory:")) as client:
        source = client.session("s")
        source.run(parent)
        begun = seen.spans()["invoke_agent child"]
        spawned = seen.spans()["spawn child"]
        assert [link.context.span_id for link in begun.links] == [spawned.context.span_id]  # type: ignore[union-attr]
        run = seen.spans()["invoke_agent parent"]
        source.fork("branch").run(support, "A1")
        branch = seen.spans()["invoke_agent support"]
        assert [link.context.span_id for link in branch.links] == [run.context.span_id]  # type: ignore[union-attr]
        assert attributes(branch)["agentstream.fork.source"] == "s"


def test_an_error_of_the_agent_is_the_run_s(seen: Seen) -> None:
    @agent
    def breaks() -> None:
        raise ValueError("broken")

    with seen.live(Client("memory:")) as client, pytest.raises(ValueError, match="broken"):
        client.session("s").run(breaks)
    span = seen.spans()["invoke_agent breaks"]
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "ValueError"


def test_it_can_be_ended(seen: Seen) -> None:
    with seen.live(Client("memory:")) as client:
        uninstrument(client)
        client.session("s").run(support, "A1")
    assert seen.names() == []


# --- from a record ----------------------------------------------------------------------------------------------------


def test_a_recorded_session(seen: Seen) -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.run(support, "A1")
        state = session.state()
        context = export_spans(session, tracer_provider=seen.provider)
        spans = seen.spans()
        assert parent_of(seen, "session s") is None
        assert parent_of(seen, "invoke_agent support") == "session s"
        assert parent_of(seen, "invoke_agent inner") == "invoke_agent support"
        assert parent_of(seen, "function plain") == "invoke_agent inner"
        assert spans["session s"].context == context
        first = state.steps[0]
        told = attributes(spans["execute_tool lookup"])
        assert told["agentstream.event.index"] == first.last.start.index
        assert told["agentstream.position"] == str(first.last.start.position)
        assert spans["function fails"].status.status_code is StatusCode.ERROR
        for span in spans.values():
            assert span.start_time is not None
            assert span.end_time is not None
            assert span.start_time <= span.end_time
            whole = spans["session s"]
            assert (whole.start_time or 0) <= span.start_time
            assert span.end_time <= (whole.end_time or 0)
        assert SECRET not in repr([attributes(span) for span in spans.values()])

        seen.exporter.clear()
        branch = session.fork("branch")
        branch.run(inner, "B2")
        export_spans(branch.state(), tracer_provider=seen.provider, links=[context], content=True)
        assert sorted(seen.names()) == ["function plain", "invoke_agent inner", "session branch"]
        assert [link.context for link in seen.spans()["session branch"].links] == [context]
        assert "B2" in attributes(seen.spans()["function plain"])["agentstream.step.result"]


def test_a_run_that_was_traced_links_to_it(seen: Seen) -> None:
    with seen.live(Client("memory:")) as client:
        client.session("s").run(support, "A1")
        live = seen.spans()["invoke_agent support"]
        seen.exporter.clear()
        export_spans(client.session("s"), tracer_provider=seen.provider)
    (link,) = seen.spans()["invoke_agent support"].links
    assert live.context is not None
    assert (link.context.trace_id, link.context.span_id) == (live.context.trace_id, live.context.span_id)


def test_nothing_is_imported_without_being_asked_for() -> None:
    code = """
import sys
from agentstream import Client, agent, step
@agent
def a(): return step(lambda: 1, )()
client = Client("memory:")
client.session("s").run(a)
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
sys.modules["opentelemetry"] = None
try:
    from agentstream import instrument
except ImportError as error:
    assert "agentstream-sdk[otel]" in str(error), error
else:
    raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_its_names_are_those_of_the_conventions() -> None:
    from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes
    from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

    places = (error_attributes, gen_ai_attributes, gen_ai_metrics)
    known = {value for place in places for value in vars(place).values() if isinstance(value, str)}
    used = set(re.findall(r'"((?:gen_ai|error)\.[\w.]+)"', Path(semantics.__file__).read_text(encoding="utf-8")))
    assert {semantics.OPERATION, semantics.TOKENS, semantics.DURATION, semantics.ERROR} <= used
    assert used <= known
    operations = {each.value for each in gen_ai_attributes.GenAiOperationNameValues}
    assert {"invoke_agent", "execute_tool", "chat", "embeddings"} <= operations
    providers = {each.value for each in gen_ai_attributes.GenAiProviderNameValues}
    assert set(semantics._PROVIDERS.values()) <= providers  # pyright: ignore[reportPrivateUsage]
