"""Options that several verbs have, so that they are called and explained alike."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Colour(str, Enum):
    """When to colour: `auto` does on a terminal, and as NO_COLOR and FORCE_COLOR say."""

    auto = "auto"
    always = "always"
    never = "never"


Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="A folder or URL; else $AGENTSTREAM_URL, else .agentstream."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Jsonl = Annotated[bool, typer.Option("--jsonl", help="One JSON object a line.")]
Color = Annotated[Colour, typer.Option("--color", help="Colours; auto heeds NO_COLOR and FORCE_COLOR.")]
NoPager = Annotated[bool, typer.Option("--no-pager", help="Prints long answers straight to the terminal.")]
Function = Annotated[
    str, typer.Argument(metavar="MODULE:AGENT", help="The agent's code, as support.agents:answer.", show_default=False)
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
ErrorsOnly = Annotated[bool, typer.Option("--errors-only", help="Only what failed.")]
Full = Annotated[bool, typer.Option("--full", help="Whole values, references in them resolved.")]
MaxChars = Annotated[
    int | None,
    typer.Option("--max-chars", min=1, metavar="N", help="At most N characters of a value, on lines of its own."),
]


def words(lists: list[str] | None) -> frozenset[str]:
    """`--kind a,b --kind c` as a set."""
    return frozenset(word.strip() for part in lists or () for word in part.split(",") if word.strip())
