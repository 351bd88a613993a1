"""What the tests of replays for debugging share: a recorded support agent whose code can be changed."""

from __future__ import annotations

from typing import Any

from agents_kit import Way

from agentstream import step

ORDER = {"order": "A1", "amount": 4999}
SAID = "m said 4"


class Support:
    """A plain loop: it asks a model, looks an order up, asks again and pays. `made` are the calls that were really
    made; the attributes change its code."""

    def __init__(self, way: Way) -> None:
        self.made: list[tuple[str, Any]] = []
        self.system = "be brief"
        self.order = "A1"
        self.names = ["lookup", "refund"]
        self.more: list[str] = []
        self.end: Any = None

        @step(kind="model")
        @way.of
        def ask(messages: list[dict[str, str]], model: str = "m") -> str:
            self.made.append((model, messages))
            return f"{model} said {len(messages)}"

        @step(kind="tool")
        @way.of
        def lookup(order: str) -> dict[str, Any]:
            self.made.append(("lookup", order))
            return {**ORDER, "order": order}

        @step(kind="tool", effect="once")
        @way.of
        def refund(amount: int) -> int:
            self.made.append(("refund", amount))
            return amount

        def support(question: str) -> Any:
            messages = [{"role": "system", "content": self.system}, {"role": "user", "content": question}]
            first = yield lambda: ask(messages)
            found: Any = ORDER
            if "lookup" in self.names:
                found = yield lambda: lookup(self.order)
            said = [
                *messages,
                {"role": "assistant", "content": first},
                {"role": "tool", "content": str(found["amount"])},
            ]
            second = yield lambda: ask(said)
            if "refund" in self.names:
                yield lambda: refund(found["amount"])
            for order in self.more:
                yield lambda order=order: lookup(order)
            if isinstance(self.end, Exception):
                raise self.end
            return self.end or second

        self.agent = way.agent(support)
