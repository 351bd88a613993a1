"""What credentials look like: the ready patterns, and how parts of a text are found and taken out.

A pattern takes out its whole match, or of it the group `secret` where it has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TypeAlias

import msgspec

from agentstream.sessions.secrets import shown

Extent: TypeAlias = tuple[int, int]
Span: TypeAlias = tuple[int, int, str]
"""From, to, and the name of what is there."""

_BEGINS = r"(?:(?<![A-Za-z])|(?<=\\[nrt]))"
"""Not within a word; a line may begin as `\\n` in JSON that stands in a text."""
_WORD = r"[A-Za-z0-9_-]"
_HAS_DIGIT = r"(?=[^\s0-9]*[0-9])"

# Name → what a text must hold for the pattern to be tried at all (that is found fifty times as fast), and the pattern.
_SHAPES: dict[str, tuple[str, str]] = {
    "private_key": (
        "-----BEGIN",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
    "jwt": ("eyJ", rf"{_BEGINS}eyJ{_WORD}{{6,}}\.{_WORD}{{6,}}\.{_WORD}*"),
    "anthropic_key": ("sk-ant-", rf"{_BEGINS}sk-ant-{_WORD}{{8,}}"),
    "api_key": ("sk-", rf"{_BEGINS}sk-(?!ant-){_HAS_DIGIT}{_WORD}{{16,}}"),
    "stripe_key": (
        "k_live_ k_test_ whsec_",
        rf"{_BEGINS}(?:[rsp]k_(?:live|test)_[A-Za-z0-9]{{10,}}|whsec_[A-Za-z0-9+/=]{{16,}})",
    ),
    "aws_key": ("AKIA ASIA ABIA ACCA", rf"{_BEGINS}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16,}}"),
    "github_token": (
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        rf"{_BEGINS}(?:gh[pousr]_[A-Za-z0-9]{{20,}}|github_pat_[A-Za-z0-9_]{{20,}})",
    ),
    "gitlab_token": ("glpat-", rf"{_BEGINS}glpat-{_WORD}{{16,}}"),
    "slack_token": ("xox xapp-", rf"{_BEGINS}(?:xox[a-z]-|xapp-)[A-Za-z0-9-]{{10,}}"),
    "google_key": ("AIza ya29.", rf"{_BEGINS}(?:AIza{_WORD}{{30,}}|ya29\.{_WORD}{{16,}})"),
    "huggingface_token": ("hf_", rf"{_BEGINS}hf_[A-Za-z0-9]{{20,}}"),
    "registry_token": ("npm_ pypi-", rf"{_BEGINS}(?:npm_[A-Za-z0-9]{{30,}}|pypi-{_WORD}{{40,}})"),
}
# The same for what is known by the words around it, in any case of letters: the group of that name is taken out.
_IN_CONTEXT: dict[str, tuple[str, str]] = {
    "aws_secret": (
        "aws_secret",
        r"aws_secret(?:_access)?_key[\"']?\s*[=:]\s*[\"']?(?P<aws_secret>[A-Za-z0-9/+=]{30,})",
    ),
    "bearer": ("bearer", rf"{_BEGINS}bearer\s+(?P<bearer>{_HAS_DIGIT}[A-Za-z0-9._~+/-]{{8,}}=*)"),
    "basic": (
        "basic",
        rf"{_BEGINS}authorization[\"']?\s*[:=]\s*[\"']?basic\s+(?P<basic>[A-Za-z0-9+/]{{4,}}={{0,2}})",
    ),
    "cookie": ("cookie:", rf"{_BEGINS}(?:set-)?cookie:\s*(?P<cookie>[^\r\n]+)"),
    "userinfo": ("://", r"[a-z][a-z0-9+.-]{1,30}://(?P<userinfo>[^\s/?#@\"'<>]*:[^\s/?#@\"'<>]+)@"),
    "url_secret": (
        "? &",
        r"[?&](?:api[-_]?key|key|access_token|refresh_token|id_token|token|sig|signature|x-amz-signature|"
        r"client_secret|secret|password)=(?P<url_secret>[^&\s#\"'<>\[]+)",
    ),
}


class _Known(msgspec.Struct, frozen=True):
    """A ready pattern."""

    name: str
    group: str | int
    needs: tuple[str, ...]
    pattern: re.Pattern[str]


@cache
def _known(*, in_context: bool) -> list[_Known]:
    """Compiled when they are first asked for: most programs have no rules."""
    shapes, flags = (_IN_CONTEXT, re.IGNORECASE) if in_context else (_SHAPES, re.DOTALL)
    return [
        _Known(name, name if in_context else 0, tuple(needs.split()), re.compile(shape, flags))
        for name, (needs, shape) in shapes.items()
    ]


FIELD = "field"
"""What a field of JSON in a text is called: its own name stands beside it."""

KEY_FIELDS = frozenset(
    ("authorization", "proxy_authorization", "cookie", "set_cookie", "x_api_key", "api_key", "apikey", "access_token")
)
"""Names (as `field_name` writes them) whose text is a credential in any request."""

_DIGITS = re.compile(r"(?<![0-9.])[0-9](?:[ -]?[0-9]){12,}")
_GROUP = re.compile(r"[0-9]+")


def field_name(name: str) -> str:
    """A field's name in the one spelling that names are compared in: `Set-Cookie` and `set_cookie` are one."""
    return name.casefold().replace("-", "_").replace(" ", "_")


class Patterns(msgspec.Struct, frozen=True):
    """What is taken out of texts; `fields` are patterns of fields in JSON."""

    keys: bool = False
    cards: bool = False
    own: tuple[tuple[str, re.Pattern[str]], ...] = ()
    fields: tuple[re.Pattern[str], ...] = ()

    def __bool__(self) -> bool:
        return self.keys or self.cards or bool(self.own) or bool(self.fields)

    def spans(self, text: str) -> list[Span]:
        """The parts to take out, in their order, none over another."""
        found = [(*part, name) for name, part, _ in self._found(text)]
        return _merged(found) if found else found

    def extents(self, text: str) -> list[tuple[int, int]]:
        """What was found, with the text around it by which it is known."""
        return [extent for _, _, extent in self._found(text)]

    def _found(self, text: str) -> Iterator[tuple[str, Extent, Extent]]:
        """The name of each thing, where it is, and that with what it is known by."""
        if self.keys:
            for known in _possible(text):
                for match in known.pattern.finditer(text):
                    yield known.name, match.span(known.group), match.span()
        if self.cards:
            yield from (("card", extent, extent) for extent in _cards(text))
        for name, pattern in self.own:
            part = "secret" if "secret" in pattern.groupindex else 0
            yield from ((name, match.span(part), match.span()) for match in pattern.finditer(text))
        for pattern in self.fields if '"' in text else ():
            yield from ((FIELD, match.span("secret"), match.span()) for match in pattern.finditer(text))


def _possible(text: str) -> Iterator[_Known]:
    """The ready patterns that may match in a text."""
    lower = text.lower()
    for among, known in ((text, _known(in_context=False)), (lower, _known(in_context=True))):
        for each in known:
            for need in each.needs:
                if need in among:
                    yield each
                    break


def _cards(text: str) -> Iterator[Extent]:
    """Card numbers, in groups or not, also beside other numbers."""
    for run in _DIGITS.finditer(text):
        groups = [match.span() for match in _GROUP.finditer(text, *run.span())]
        for n, (start, _) in enumerate(groups):
            ends = (end for _, end in reversed(groups[n : n + 7]) if is_card(text[start:end]))
            if (end := next(ends, None)) is not None:
                yield start, end


def is_card(text: str) -> bool:
    """Whether 13 to 19 digits pass Luhn's check."""
    digits = [int(each) for each in text if each in "0123456789"]
    if not 13 <= len(digits) <= 19 or not any(digits):
        return False
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _merged(found: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end, name in sorted((span for span in found if span[1] > span[0] >= 0), key=_outer_first):
        if merged and start < merged[-1][1]:
            first = merged[-1]
            merged[-1] = (first[0], max(first[1], end), first[2])
        else:
            merged.append((start, end, name))
    return merged


def _outer_first(span: Span) -> tuple[int, int]:
    return span[0], -span[1]


def pieces(text: str, spans: list[Span]) -> list[str]:
    """What is left of a text: before the first part, between the parts, after the last."""
    edges = [0, *(edge for start, end, _ in spans for edge in (start, end)), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def without(text: str, spans: list[Span]) -> str:
    """The text with each part replaced by the name of what it was."""
    if not spans:
        return text
    first, *rest = pieces(text, spans)
    taken = (_in_place(text, start, name) for start, _, name in spans)
    return first + "".join(new + piece for new, piece in zip(taken, rest, strict=True))


def over(text: str, spans: list[Span]) -> str:
    """The text with asterisks over each part, as many as it has bytes."""
    first, *rest = pieces(text, spans)
    stars = ("*" * len(text[start:end].encode("utf-8", "surrogatepass")) for start, end, _ in spans)
    return first + "".join(star + piece for star, piece in zip(stars, rest, strict=True))


def without_in(pieces: list[str], spans: list[Span]) -> list[str]:
    """As `without`, of a text in pieces."""
    text, made, at = "".join(pieces), [], 0
    for piece in pieces:
        end = at + len(piece)
        said, kept = [], at
        for start, stop, name in spans:
            if start >= end or stop <= at:
                continue
            said.append(text[kept : max(start, kept)])
            if start >= at:
                said.append(_in_place(text, start, name))
            kept = min(stop, end)
        made.append("".join((*said, text[kept:end])))
        at = end
    return made


def _in_place(text: str, start: int, name: str) -> str:
    """What stands for a part. Of a number in JSON (nothing but a colon and spaces before it) a text is made."""
    if name == FIELD and text[:start].rstrip().endswith(":"):
        quote = '\\"' if text[:start].rstrip(" :\t\r\n").endswith('\\"') else '"'
        return f"{quote}{shown(name)}{quote}"
    return shown(name)


def compiled(own: Mapping[str, str | re.Pattern[str]]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """A user's patterns. ValueError for one that is none, or that could match nothing."""
    made: list[tuple[str, re.Pattern[str]]] = []
    for name, pattern in own.items():
        try:
            ready = re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"pattern {name!r} is no regular expression: {error}") from None
        if not isinstance(ready.pattern, str) or not isinstance(name, str) or not name:
            raise ValueError(f"patterns= maps names to regular expressions for text, not {name!r} to {pattern!r}")
        if ready.search(""):
            raise ValueError(f"pattern {name!r} matches an empty text")
        made.append((name, ready))
    return tuple(made)


def json_fields(names: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Find the values of fields where JSON stands in a text (a tool call's arguments), also as a text in such JSON."""
    spelled = "|".join(re.escape(name).replace("_", "[-_ ]") for name in sorted(names))
    if not spelled:
        return ()
    texts = rf'"(?:{spelled})"\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)'
    inner = rf'\\"(?:{spelled})\\"\s*:\s*\\"(?P<secret>.*?)(?=(?<!\\)\\"|\Z)'
    numbers = rf'"(?:{spelled})\\?"\s*:\s*(?P<secret>-?[0-9][0-9.eE+-]*)'
    return tuple(re.compile(each, re.IGNORECASE | re.DOTALL) for each in (texts, inner, numbers))
