"""`agentstream resume`: goes on with a session's open run, with the user's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import refusing_arguments
from agentstream.cli.options import Color, Colour, Function, Json, Url

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstream import Session
    from agentstream.cli.output import Output


def resume(
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    function: Function,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="This run, not the open one.")] = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="Also from a worker that lives.")] = False,
    json: Json = False,
    url: Url = None,
    color: Color = Colour.auto,
) -> None:
    """Goes on with the open run of a session: recorded steps are served, the others are made.

    Prints what the agent returned, as JSON. Exit code 8: the agent raised; 9: the run waits for an answer.
    """
    from agentstream.cli.code import imported
    from agentstream.cli.output import Output
    from agentstream.cli.store import find_session, opened_client

    output = Output.made(json=json, jsonl=False, color=color)
    agent = imported(function)
    with opened_client(url) as client:
        found = find_session(client, session)
        going = found.with_options(run_id=run, take_over=take_over)
        result = going_on(going, agent, "resume")
        print_result(output, "resume", found.id, result)


def going_on(session: Session, agent: Callable[..., Any], verb: str, *arguments: Any, **named: Any) -> Any:
    """Calls `session.resume` or `.run`, in an event loop where the agent needs one. What the agent itself raised
    is an `AgentRaised`."""
    from agentstream.agents.agent import spec_of
    from agentstream.cli.failures import AgentRaised
    from agentstream.errors import AgentStreamError, Denied, Interrupted, QuestionExpired, ReplayedError

    with refusing_arguments():
        spec = spec_of(agent)
    try:
        if not spec.is_async:
            return getattr(session, verb)(agent, *arguments, **named)
        import asyncio

        return asyncio.run(getattr(session.to_async(), verb)(agent, *arguments, **named))
    except (ReplayedError, Denied, QuestionExpired, Interrupted) as error:
        raise AgentRaised.of(error) from error
    except AgentStreamError:
        raise
    except Exception as error:
        raise AgentRaised.of(error) from error


def print_result(output: Output, kind: str, session: str, result: Any, **more: Any) -> None:
    """What an agent returned: JSON on one line in a pipe."""
    from agentstream.cli.values import to_json
    from agentstream.sessions import codec

    data = codec.encode(result).data
    if output.form == "json":
        output.document(kind, {"session": session, **more, "result": data})
    else:
        output.line(to_json(data, indent=2 if output.terminal else None))
