"""`agentstream completion SHELL`: the script by which a shell completes verbs, options and session ids.

The script asks the hidden verb `complete`, which is given the line up to the cursor and
answers with one candidate a line. Ids that a shell would have to quote are not offered.
"""

from __future__ import annotations

import re
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 100
"""Session ids that are offered at once."""

_PLAIN = re.compile(r"[\w./:@%+,-]+")
_POSITIONS = ("start", "end", "step:", "~")


class Shell(str, Enum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"


_SCRIPTS = {
    Shell.bash: """\
# eval "$(agentstream completion bash)"
_agentstream() {
    local line="${COMP_LINE:0:COMP_POINT}" current="${COMP_WORDS[COMP_CWORD]}" each
    local word="${line##*[[:space:]]}"
    local before="${word%"$current"}"  # bash ends words at : and @, ids and positions do not
    COMPREPLY=()
    while IFS= read -r each; do
        COMPREPLY+=("${each#"$before"}")
    done < <(agentstream complete "$line" 2>/dev/null)
    [[ ${COMPREPLY[0]} == *: ]] && compopt -o nospace
}
complete -o default -F _agentstream agentstream
""",
    Shell.zsh: """\
#compdef agentstream
# eval "$(agentstream completion zsh)"
_agentstream() {
    local -a found
    found=("${(@f)$(agentstream complete "$LBUFFER" 2>/dev/null)}")
    [[ -n $found ]] && compadd -- $found || _files
}
compdef _agentstream agentstream
""",
    Shell.fish: """\
# agentstream completion fish | source
complete -c agentstream -a '(agentstream complete (commandline -cp) 2>/dev/null)'
""",
}


def completion(shell: Annotated[Shell, typer.Argument(show_default=False)]) -> None:
    """Prints what a shell needs to complete verbs, options and session ids: eval "$(agentstream completion bash)"."""
    print(_SCRIPTS[shell], end="")


def complete(line: Annotated[str, typer.Argument()]) -> None:
    """What may stand at the end of a line; nothing where anything goes wrong."""
    from agentstream.cli.app import command

    words, current = _words(line)
    while words and words[0].startswith("-"):  # what stands before the verb takes no value
        words = words[1:]
    for candidate in _candidates(command(words[0] if words else None), words, current):
        print(candidate)


def _words(line: str) -> tuple[list[str], str]:
    """The whole words behind the program's name, and the one that is being typed."""
    words = line.split()
    current = "" if not words or line[-1:].isspace() else words.pop()
    return words[1:], current


def _candidates(group: Any, words: list[str], current: str) -> Iterator[str]:
    verbs: dict[str, Any] = group.commands
    if not words:
        yield from (name for name, verb in sorted(verbs.items()) if name.startswith(current) and not verb.hidden)
        return
    verb = verbs.get(words[0])
    if verb is None:
        return
    options = {name: param for param in verb.params for name in param.opts if name.startswith("-")}
    last = options.get(words[-1])
    if last is not None and not last.is_flag:
        yield from _values(last, current)
    elif current.startswith("-"):
        yield from (name for name in sorted(options) if name.startswith(current))
    else:
        arguments = [param for param in verb.params if param.param_type_name == "argument"]
        given = len(_given(words[1:], options))
        if arguments and arguments[-1].nargs == -1:
            given = min(given, len(arguments) - 1)  # as many as one likes
        if given < len(arguments):
            yield from _values(arguments[given], current, url=_option_of(words, "--url"))


def _given(words: list[str], options: dict[str, Any]) -> list[str]:
    """The words that are arguments: no options, and not what options take."""
    found: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            option = options.get(word)
            skip = option is not None and not option.is_flag
        else:
            found.append(word)
    return found


def _option_of(words: list[str], name: str) -> str | None:
    return next((after for word, after in pairwise(words) if word == name), None)


def _values(param: Any, current: str, *, url: str | None = None) -> Iterator[str]:
    choices = _choices(param)
    if choices:
        yield from (text for text in choices if text.startswith(current))
    elif "SESSION" in str(param.metavar or "") or param.name == "parent":
        yield from _sessions(current, url, positions="@" in str(param.metavar or ""))


def _choices(param: Any) -> list[str]:
    """The words that an option takes, where those are a few. Typer tells them in one way or another."""
    told = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    if isinstance(told, type) and issubclass(told, Enum):
        return [str(each.value) for each in told]
    return [str(getattr(each, "value", each)) for each in getattr(getattr(param, "type", None), "choices", ())]


def _sessions(current: str, url: str | None, *, positions: bool) -> Iterator[str]:
    from agentstream.cli.store import opened_client

    try:
        with opened_client(url) as client:
            found = [each.id for each in client.sessions(prefix=current, limit=MOST)]
            session, at, place = current.rpartition("@")
            if at and positions and not found:
                found = [f"{session}@{each}" for each in _places(client, session, place)]
    except Exception:  # a store that cannot be read has nothing to offer, and a prompt is no place to say so
        return
    yield from (each for each in found if _PLAIN.fullmatch(each))


def _places(client: Any, session: str, typed: str) -> list[str]:
    if typed.startswith("step:"):
        steps = client.session(session).state().steps
        return [text for n in range(len(steps)) if (text := f"step:{n}").startswith(typed)][:MOST]
    return [each for each in _POSITIONS if each.startswith(typed)]
