"""Following a session from another process: every event, as it happens, from any position.

python examples/follow.py
"""

import subprocess
import sys
import tempfile

from agentstream import Client, agent, step


@step
def count(number: int) -> int:
    return number + 1


@agent
def counting(to: int) -> int:
    number = 0
    while number < to:
        number = count(number)
    return number


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Client(folder) as client:
        session = client.session("counting")
        session.append("custom", {"note": "there is a session now, so that it can be followed"})
        with subprocess.Popen([sys.executable, __file__, folder]) as worker:
            for event in session.follow():  # waits for what comes; ends when the session is sealed
                print(f"{event.index:>3}  {event.type:<8} {event.key}", flush=True)
        assert worker.returncode == 0

        # Where a reader stopped is a position. It is a text that can be kept, and read on from.
        middle = list(session.events())[5].position
        print(f"after {middle}:", [event.type for event in session.events(start=middle)])


if __name__ == "__main__":
    if sys.argv[1:]:
        with Client(sys.argv[1]) as client:
            session = client.session("counting")
            print(f"counted to {session.run(counting, 3)}")  # in one piece: two processes write here
            session.seal()  # nothing more will come: followers end here
    else:
        main()
