"""`agentstream resume`: goes on with a session's open run, with the user's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import UsageError, refusing_arguments
from agentstream.cli.options import MaybeFunction, answers

if TYPE_CHECKING:
    from agentstream import Session
    from agentstream.cli.output import Output


@answers()
def resume(
    output: Output,
    url: str | None,
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    function: MaybeFunction = None,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="This run, not the open one.")] = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="Also from a worker that lives.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Does not ask before it runs recorded code.")] = False,
) -> None:
    """Goes on with the open run of a session: recorded steps are served, the others are made.

    A compiled LangGraph graph can be given too: a thread of its StreamSaver goes on where it stands, with the answers
    that its questions got. Without MODULE:AGENT it is the function that the record names, if you agree to it.

    Prints what the agent returned, as JSON. Exit code 8: the agent raised; 9: the run waits for an answer.
    """
    from agentstream.cli.code import imported_thing
    from agentstream.cli.entry import recorded_code
    from agentstream.cli.store import find_session, opened_client

    agent = imported_thing(function) if function is not None else None
    with opened_client(url) as client:
        found = find_session(client, session)
        if function is None:
            _, agent = recorded_code(found.state(), run, "resume", yes=yes, quiet=output.form == "json")
        going = found.with_options(run_id=run, take_over=take_over)
        result = going_on(going, agent, "resume")
        print_result(output, "resume", found.id, result)


def going_on(session: Session, agent: Any, verb: str, *arguments: Any, **named: Any) -> Any:
    """Calls `session.resume` or `.run`, in an event loop where the agent needs one. What the agent itself raised
    is an `AgentRaised`. What is no function is what an engine keeps: a graph, which can only be resumed."""
    from agentstream.agents.agent import spec_of
    from agentstream.cli.failures import AgentRaised, Waits
    from agentstream.errors import AgentStreamError, Denied, Interrupted, QuestionExpired, ReplayedError, RunWaiting

    if callable(agent):
        with refusing_arguments():
            in_loop = spec_of(agent).is_async
    else:
        _check_graph(session, agent, verb)
        in_loop = True  # its nodes may be async
    try:
        if not in_loop:
            return getattr(session, verb)(agent, *arguments, **named)
        import asyncio

        return asyncio.run(getattr(session.to_async(), verb)(agent, *arguments, **named))
    except (ReplayedError, Denied, QuestionExpired, Interrupted) as error:
        raise AgentRaised.of(error) from error
    except RunWaiting as error:
        raise Waits.of(session.id, error) from error
    except AgentStreamError:
        raise
    except Exception as error:
        raise AgentRaised.of(error) from error


def _check_graph(session: Session, graph: Any, verb: str) -> None:
    """Refuses what is no graph, or none of this session, before anything of it runs."""
    from agentstream.agents.tasks import resumers

    if verb != "resume":
        raise UsageError("a graph is gone on with; to begin with another input, call it in your own code")
    with refusing_arguments():
        if not any(
            resumer(session, session.id, graph, take_over=False, in_loop=True) is not None for resumer in resumers
        ):
            what = type(graph).__name__
            raise UsageError(
                f"a {what} is neither an agent's function nor a graph that can go on",
                hint="a LangGraph graph is compiled with a StreamSaver: builder.compile(checkpointer=StreamSaver(…))",
            )


def print_result(output: Output, kind: str, session: str, result: Any, **more: Any) -> None:
    """What an agent returned: JSON on one line in a pipe."""
    from agentstream.cli.values import to_json

    data = result_data(result)
    if output.form == "json":
        output.document(kind, {"session": session, **more, "result": data})
    else:
        output.line(to_json(data, indent=2 if output.terminal else None))


def result_data(result: Any) -> Any:
    """What was returned, as JSON; the text of what has none (a graph's state may hold anything)."""
    from agentstream.errors import NotSerializable
    from agentstream.sessions import codec

    try:
        return codec.encode(result).data
    except NotSerializable:
        if isinstance(result, dict):
            parts: dict[Any, Any] = result
            return {str(name): result_data(part) for name, part in parts.items()}
        return repr(result)
