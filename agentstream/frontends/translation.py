"""What the forms of a session have in common: each is made of what its events tell, one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from agentstream.frontends import story

Sent = dict[str, Any]

Place = tuple[str, str]
"""A text that comes in pieces: its kind (text, reasoning, args), and its message or call."""


class Translation(ABC):
    """Takes a session's events; the same events always give the same."""

    def __init__(self) -> None:
        self.story = story.Story()
        self._open: dict[Place, str] = {}
        """The texts that are open, and what was sent of them."""

    def _tell(self, told: story.Telling) -> list[Sent]:
        """What is sent of anything but how a run stands."""
        if isinstance(told, story.Delta):
            return self._delta(told)
        if isinstance(told, story.Said):
            return self._said(told)
        if isinstance(told, story.StepTold):
            return self._step_told(told)
        if isinstance(told, story.Result):
            return self._result(told)
        if isinstance(told, story.Asked):
            return self._asked(told)
        if isinstance(told, story.Answered):
            return self._answered(told)
        if isinstance(told, story.Custom):
            return self._custom(told)
        return self._rewound(told) if isinstance(told, story.Rewound) else []

    def _delta(self, delta: story.Delta) -> list[Sent]:
        place = delta.place
        if place is None or not (delta.text or delta.replaces):
            return []
        return self._replaced(place, delta.text) if delta.replaces else self._grown(place, delta)

    @abstractmethod
    def _grown(self, place: Place, delta: story.Delta) -> list[Sent]:
        """More of a text came."""

    @abstractmethod
    def _replaced(self, place: Place, text: str) -> list[Sent]:
        """What was sent of a text does not stand; this does."""

    @abstractmethod
    def _said(self, said: story.Said) -> list[Sent]: ...

    @abstractmethod
    def _step_told(self, told: story.StepTold) -> list[Sent]: ...

    @abstractmethod
    def _result(self, result: story.Result) -> list[Sent]: ...

    @abstractmethod
    def _asked(self, asked: story.Asked) -> list[Sent]: ...

    @abstractmethod
    def _answered(self, answered: story.Answered) -> list[Sent]: ...

    @abstractmethod
    def _custom(self, told: story.Custom) -> list[Sent]: ...

    @abstractmethod
    def _rewound(self, rewound: story.Rewound) -> list[Sent]: ...
