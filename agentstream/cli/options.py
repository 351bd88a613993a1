"""Options that several verbs have, so that they are called and explained alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Annotated, Any

import typer


class Colour(str, Enum):
    """When to colour: `auto` does on a terminal, and as NO_COLOR and FORCE_COLOR say."""

    auto = "auto"
    always = "always"
    never = "never"


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="A folder or URL; else $AGENTSTREAM_URL, else .agentstream. A server's token: $AGENTSTREAM_AUTH.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Jsonl = Annotated[bool, typer.Option("--jsonl", help="One JSON object a line.")]
Color = Annotated[Colour, typer.Option("--color", help="Colours; auto heeds NO_COLOR and FORCE_COLOR.")]
NoPager = Annotated[bool, typer.Option("--no-pager", help="Prints long answers straight to the terminal.")]
Function = Annotated[
    str, typer.Argument(metavar="MODULE:AGENT", help="The agent's code, as support.agents:answer.", show_default=False)
]
MaybeFunction = Annotated[
    str | None,
    typer.Argument(metavar="[MODULE:AGENT]", help="The agent's code; else what the record says.", show_default=False),
]
Prices = Annotated[
    str | None,
    typer.Option("--prices", metavar="FILE", help="Prices of models, before $AGENTSTREAM_PRICES and those known."),
]
SessionAt = Annotated[str, typer.Argument(metavar="SESSION[@POS]", show_default=False)]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND,…", help="Only these types, or steps of these kinds (model, tool, …)."),
]
Names = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="NAME,…", help="Only steps of these names: a tool's, a model's."),
]
ErrorsOnly = Annotated[bool, typer.Option("--errors-only", help="Only what failed.")]
Full = Annotated[bool, typer.Option("--full", help="Whole values, references in them resolved.")]
MaxChars = Annotated[
    int | None,
    typer.Option("--max-chars", min=1, metavar="N", help="At most N characters of a value, on lines of its own."),
]


Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Says nothing on stderr but errors.")]
NoInput = Annotated[bool, typer.Option("--no-input", help="Never asks: what needs an answer is refused.")]


def words(lists: list[str] | None) -> frozenset[str]:
    """`--kind a,b --kind c` as a set."""
    return frozenset(word.strip() for part in lists or () for word in part.split(",") if word.strip())


def answers(*, jsonl: bool = False, pager: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For a verb that prints an answer: it is given `output` and `url`, made of the options that all of these have.

    `jsonl`: it can be asked for a line an object; `pager`: for no pager.
    """
    shared: dict[str, tuple[Any, Any]] = {
        "json": (Json, False),
        **({"jsonl": (Jsonl, False)} if jsonl else {}),
        "url": (Url, None),
        "color": (Color, Colour.auto),
        **({"no_pager": (NoPager, False)} if pager else {}),
    }

    def made(verb: Callable[..., None]) -> Callable[..., None]:
        def called(
            *, json: bool, color: Colour, url: str | None, jsonl: bool = False, no_pager: bool = False, **given: Any
        ) -> None:
            from agentstream.cli.output import Output

            output = Output.made(json=json, jsonl=jsonl, color=color, pager=pager and not no_pager)
            verb(output=output, url=url, **given)

        return _as(verb, called, shared, without=("output", "url"))

    return made


def everywhere(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with the options that every one has."""

    def called(*, quiet: bool, no_input: bool, **given: Any) -> None:
        from agentstream.cli import talk

        talk.heed(quiet=quiet, no_input=no_input)
        verb(**given)

    return _as(verb, called, {"quiet": (Quiet, False), "no_input": (NoInput, False)})


def _as(
    verb: Callable[..., None],
    called: Callable[..., None],
    more: dict[str, tuple[Any, Any]],
    without: Sequence[str] = (),
) -> Callable[..., None]:
    """`called`, which typer shall take for the verb, with these options more: name → what typer is told, default."""
    own = [each for each in inspect.signature(verb).parameters.values() if each.name not in without]
    parameters = [each.replace(annotation=_told(each.annotation, verb)) for each in own]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=told)
        for name, (told, default) in more.items()
    ]
    called.__name__, called.__doc__, called.__module__ = verb.__name__, verb.__doc__, verb.__module__
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    return called


def _told(annotation: Any, verb: Callable[..., None]) -> Any:
    return eval(annotation, verb.__globals__) if isinstance(annotation, str) else annotation
