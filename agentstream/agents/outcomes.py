"""Errors as outcomes: how an exception is recorded, and what is raised when it is served.

The first run raises the original. Later the record alone is left, and it is untrusted:
nothing is imported because it names a class. If the named class is loaded already and an
instance can be made without its constructor, what is raised is both that class and
`ReplayedError`, so that `except ValueError` still catches it; else `ReplayedError`.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from agentstream.errors import NotSerializable, ReplayedError
from agentstream.sessions import codec

if TYPE_CHECKING:
    from agentstream.sessions.redaction import Rules


class RecordedError(msgspec.Struct, frozen=True):
    """What a record keeps of an exception: its class's name and module, its text, arguments and public fields."""

    name: str
    text: str
    module: str = ""
    args: tuple[Any, ...] = ()
    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    whole: bool = True
    """Whether nothing of it was taken out."""

    @classmethod
    def of(cls, error: BaseException, rules: Rules) -> RecordedError:
        """The record of an exception; what of it has no JSON form is left out, and what the rules take out."""
        known = getattr(error, "_recorded", None)
        if isinstance(known, RecordedError):
            return known._after(rules)
        kind = type(error)
        try:
            text = str(error)
        except Exception:
            text = ""
        fields = {name: value for name, value in getattr(error, "__dict__", {}).items() if not name.startswith("_")}
        return cls(
            kind.__qualname__,
            text,
            kind.__module__,
            tuple(_kept(error.args)) if _all_encodable(error.args) else (),
            {name: value for name, value in fields.items() if _all_encodable((value,))},
        )._after(rules)

    def _after(self, rules: Rules) -> RecordedError:
        said = {name: part for name, part in self.stored().items() if name not in ("name", "module")}
        kept = rules.form(said, "error")
        if kept is said:
            return self
        return structs.replace(RecordedError.read(kept), name=self.name, module=self.module, whole=False)

    def seen(self, error: BaseException) -> BaseException:
        """What the code gets that the error was raised in: itself, or what any later run gets too."""
        return error if self.whole else self.exception().with_traceback(error.__traceback__)

    @classmethod
    def read(cls, value: Any) -> RecordedError:
        """From the stored form, whatever it holds."""
        if not isinstance(value, dict):
            return cls("Error", str(value))
        args = codec.decode(value.get("args"))
        fields = codec.decode(value.get("fields"))
        return cls(
            str(value.get("name", "Error")),
            str(codec.decode(value.get("text", ""))),
            str(value.get("module", "")),
            tuple(args) if isinstance(args, list) else (),
            fields if isinstance(fields, dict) else {},
        )

    def stored(self) -> dict[str, Any]:
        value: dict[str, Any] = {"name": self.name, "text": codec.encode(self.text).data, "module": self.module}
        if self.args and self.args != (self.text,):
            value["args"] = codec.encode(list(self.args)).data
        if self.fields:
            value["fields"] = codec.encode(self.fields).data
        return value

    def exception(self) -> Exception:
        """The error to raise where the outcome is served."""
        original = _loaded(self.module, self.name)
        if original is not None:
            try:
                return self._rebuilt(_both(original), original)
            except Exception:
                pass  # a class that cannot be made this way; the plain form says the same
        error: Any = ReplayedError(self.text, name=self.name, fields=self.fields)
        error._recorded = self
        return error

    def _rebuilt(self, kind: Any, original: type[Exception]) -> Exception:
        error = kind.__new__(kind)
        error.args = self.args or ((self.text,) if self.text else ())
        builtin = next(base for base in original.__mro__ if base.__module__ == "builtins")
        if builtin is not Exception:
            builtin.__init__(error, *error.args)  # what is kept in C, such as errno
        error.name, error.text, error.fields = self.name, self.text, self.fields
        for name, value in self.fields.items():  # its own win: code that catches it knows the original
            setattr(error, name, value)
        error._recorded = self
        str(error)
        return error


def _kept(args: tuple[Any, ...]) -> Any:
    return codec.decode(codec.encode(list(args)).data)


def _all_encodable(values: tuple[Any, ...]) -> bool:
    try:
        return not codec.encode(list(values)).typed
    except NotSerializable:
        return False


def _loaded(module: str, name: str) -> type[Exception] | None:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None) if found is not None else None
    is_error = isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, ReplayedError)
    return found if is_error else None


@lru_cache(maxsize=256)
def _both(original: type[Exception]) -> Any:
    body = {"__module__": original.__module__, "__str__": original.__str__}
    return type(original.__name__, (ReplayedError, original), body)
