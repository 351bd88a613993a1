"""What the tests of redaction share: secrets to plant, and a search for them in every byte."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from agentstream import Client, Redact

ANTHROPIC = "sk-ant-api03-abcdefghijklmnopqrstuvwx0123456789"
OPENAI = "sk-proj-Zyxwvutsrqponmlkjihgfedcba9876543210"
AWS = "AKIAIOSFODNN7EXAMPLE"
GITHUB = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
SLACK = "xoxb-123456789012-abcdefghijkl"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEAsecretbody\nmore+of/it==\n-----END RSA PRIVATE KEY-----"
SHAPED = [ANTHROPIC, OPENAI, AWS, GITHUB, SLACK, JWT, PEM]

PASSWORD = "correct horse battery staple"
CARD = "4111 1111 1111 1111"
BADGE = "E482913"

RULES = Redact(
    cards=True,
    fields=["password"],
    paths=["arguments.card.number", "result[*].token", "custom.inner[0]", "**.ssn"],
    patterns={"badge": r"E\d{6}"},
)


def clear(text: str) -> str:
    """A part of a secret that must be nowhere, short enough to be found also where the whole was cut."""
    return text if len(text) < 24 else text[8:24] if "PRIVATE" not in text else "secretbody"


def assert_nowhere(folder: Path, secrets: list[str], *more: Any) -> None:
    """No byte of the store's files, nor of the texts given besides, says any of the secrets."""
    whole = [(str(file), file.read_bytes()) for file in folder.rglob("*") if file.is_file()]
    assert whole
    whole += [("given", each if isinstance(each, bytes) else str(each).encode()) for each in more]
    for secret in secrets:
        part = clear(secret).encode()
        for name, content in whole:
            assert part not in content, (secret, name, content[max(0, content.find(part) - 80) :][:200])
            assert base64.b64encode(secret.encode()) not in content, (secret, name)


def events(client: Client, session: str = "s") -> list[Any]:
    return list(client.session(session).events())
