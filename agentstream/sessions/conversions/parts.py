"""The parts of a message, in the form that every conversion reads and writes.

- `text`: `text`; `phase` where the provider named one.
- `reasoning`: `text`; with `signature`, or `redacted` in place of a text (Anthropic); with `encrypted` and `id`
  (OpenAI); with `provider` where the signature is another's.
- `tool_call`: `id`, `name`, `arguments` (the text that the model wrote, or an object); `custom` where the tool takes
  free text.
- `tool_result`: `id`, `content` (text, any JSON, or a list of parts), `is_error`, `name`.
- `file`: `file` (an Attachment), `url`, `data` (bytes or base64), or `file_id` (kept by a provider); `media_type`,
  `name`.
- `data`: `data`, anything else, in its provider's form.

Recorded data is untrusted: what is not in this form is read as far as it goes, and never an error.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from agentstream.sessions.attachments import Attachment

Part = dict[str, Any]
Message = dict[str, Any]

ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "developer": "system", "function": "tool"}
"""Other names of roles, and what they are here."""

MEDIA = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
}
"""What a URL's end tells of what is there."""


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def message(role: str, parts: Iterable[Part], **more: Any) -> Message:
    return {"role": role, "parts": list(parts), **{name: value for name, value in more.items() if value is not None}}


def role_of(said: Message) -> str:
    role = said.get("role")
    return ROLES.get(role, role) if isinstance(role, str) else "user"


def parts_of(said: Any) -> list[Part]:
    """The parts of a recorded message; one that was appended with a `content` or `text` has that as its text."""
    if not isinstance(said, dict):
        return []
    parts = next((said[name] for name in ("parts", "content", "text") if said.get(name) is not None), None)
    found: list[Part] = []
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, str):
            found.append(text_part(part))
        elif isinstance(part, dict):
            found.append(part)
    return found


def kind_of(part: Part) -> str:
    kind = part.get("type")
    return kind if isinstance(kind, str) else ""


def listed(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none where it is something else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, (list, tuple)) else []


def is_kind(part: Part, *kinds: str) -> bool:
    return kind_of(part) in kinds


def text_of(part: Part) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else ""


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


# --- tool calls and their results ------------------------------------------------------------------------------------


def arguments_text(part: Part) -> str:
    """The arguments as the text of a JSON object, or the free text that the model wrote."""
    arguments = part.get("arguments")
    return "{}" if arguments is None or arguments == "" else as_text(arguments)


def arguments_object(part: Part) -> dict[str, Any] | None:
    """The arguments as an object; None where the model wrote something else."""
    arguments = part.get("arguments")
    if isinstance(arguments, str):
        if not arguments.strip():
            return {}
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    return {} if arguments is None else arguments if isinstance(arguments, dict) else None


def result_parts(part: Part) -> list[Part]:
    """What a tool gave, as parts of text and files; any other JSON as its text."""
    content = part.get("content")
    if isinstance(content, list) and content and all(_is_shown(each) for each in content):
        return content
    return [text_part("" if content is None else as_text(content))]


def _is_shown(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    return (kind_of(part) == "text" and isinstance(part.get("text"), str)) or (
        kind_of(part) == "file" and file_of(part) is not None
    )


def result_text(part: Part) -> str:
    """The same as one text; a file is told of, not in it."""
    return "".join(text_of(each) if is_kind(each, "text") else told(each) for each in result_parts(part))


# --- files -----------------------------------------------------------------------------------------------------------


class File(msgspec.Struct, frozen=True):
    """A file part: with a `url`, an `id` at a provider, or content."""

    media_type: str
    name: str | None = None
    url: str | None = None
    id: str | None = None
    _content: Any = None

    @property
    def kind(self) -> str:
        """image, audio, video, text, or application."""
        return self.media_type.partition("/")[0]

    @property
    def is_text(self) -> bool:
        return self.kind == "text"

    def read(self) -> bytes:
        """The content; of an attachment it is read now. Raises BlobLost where it is gone."""
        return self._content.read() if isinstance(self._content, Attachment) else self._content or b""

    def base64(self) -> str:
        return b64encode(self.read()).decode("ascii")

    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{self.base64()}"


def file_of(part: Part) -> File | None:
    """The file that a part is; None where it says of none that can be read."""
    media, name = part.get("media_type"), part.get("name")
    media = media if isinstance(media, str) and "/" in media else None
    name = name if isinstance(name, str) and name else None
    attached, url, data, kept = (part.get(each) for each in ("file", "url", "data", "file_id"))
    if isinstance(attached, Attachment):
        return File(media or attached.media_type, name or attached.name, _content=attached)
    if isinstance(data, str):
        try:
            data = b64decode(data)
        except ValueError:
            return None
    if isinstance(data, bytes):
        return File(media or "application/octet-stream", name, _content=data)
    if isinstance(url, str) and url:
        inline = read_data_url(url)
        if inline is not None:
            return File(media or inline[0], name, _content=inline[1])
        return File(media or media_at(url) or "application/octet-stream", name, url=url)
    if isinstance(kept, str) and kept:
        return File(media or "application/octet-stream", name, id=kept)
    return None


def media_at(url: str) -> str | None:
    """What a URL's end tells of what is there."""
    path = url.partition("?")[0].partition("#")[0]
    return MEDIA.get(path.rpartition(".")[2].lower())


def read_data_url(url: str) -> tuple[str, bytes] | None:
    """Media type and content of a `data:` URL; None for another, or nonsense."""
    if not url.startswith("data:"):
        return None
    head, comma, body = url[5:].partition(",")
    media, _, coding = head.rpartition(";")
    if coding != "base64":
        media = head
    try:
        content = b64decode(body) if coding == "base64" else unquote_to_bytes(body)
    except ValueError:
        return None
    return (media.partition(";")[0] or "text/plain", content) if comma else None


def url_part(url: str, media_type: str | None = None, name: str | None = None) -> Part:
    """A file at a URL, or in one. Of a media type like `image/*` the URL may tell more."""
    inline = read_data_url(url)
    if inline is not None:
        return data_file(inline[1], media_type or inline[0], name)
    shown = media_at(url)
    if media_type is None or (shown is not None and media_type == f"{shown.partition('/')[0]}/*"):
        media_type = shown
    return _file(url=url, media_type=media_type, name=name)


def data_file(content: bytes | str, media_type: str | None, name: str | None = None) -> Part:
    """`content`: bytes, or their base64. What has a JSON form is kept."""
    text = b64encode(content).decode("ascii") if isinstance(content, bytes) else content
    return _file(data=text, media_type=media_type or "application/octet-stream", name=name)


def kept_file(id: str, name: str | None = None) -> Part:
    """A file that a provider keeps."""
    return _file(file_id=id, name=name)


def _file(**told: Any) -> Part:
    return {"type": "file", **{name: value for name, value in told.items() if value is not None}}


def told(part: Part) -> str:
    """What stands for a part that cannot be given to a model: that it was there."""
    file = file_of(part) if is_kind(part, "file") else None
    if file is None:
        return ""
    return f"[file {file.name or file.url or file.id or 'without a name'}, {file.media_type}]"


# --- reasoning -------------------------------------------------------------------------------------------------------


def is_signed_by_anthropic(part: Part) -> bool:
    return part.get("provider", "anthropic") == "anthropic" and bool(part.get("signature") or part.get("redacted"))


def is_encrypted_by_openai(part: Part) -> bool:
    return isinstance(part.get("encrypted"), str) and part.get("provider", "openai") == "openai"


def reasoning(text: Any, **more: Any) -> Part:
    known = {name: value for name, value in more.items() if value}
    return {"type": "reasoning", "text": text if isinstance(text, str) else "", **known}
