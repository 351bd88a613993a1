"""The smallest loop that survives a crash.

A step is a function whose outcome is recorded before it returns. An agent is a function that calls steps. When the
same call is made again after a crash, finished steps are not repeated: they are served from the record.

    python examples/hello_loop.py
"""

import tempfile

from agentstream import Client, agent, step

crash = True  # the first time round, this process "dies" after two steps
cooked = []  # what really happened in the world, so that you can see that nothing happens twice


@step
def cook(dish: str) -> str:
    cooked.append(dish)
    return f"{dish} on a plate"


@agent
def dinner(dishes: list[str]) -> list[str]:
    served = []
    for dish in dishes:
        if crash and len(served) == 2:
            raise RuntimeError("the power is out")
        served.append(cook(dish))
    return served


def main() -> None:
    global crash
    menu = ["soup", "fish", "cake"]
    with tempfile.TemporaryDirectory() as folder, Client(folder) as client:
        session = client.session("dinner")
        try:
            session.run(dinner, menu)
        except RuntimeError as error:
            print(f"first time:  {error}, after {cooked}")

        crash = False
        plates = session.run(dinner, menu)  # the same call goes on where the first one ended
        print(f"second time: {plates}")
        print(f"cooked in all: {cooked}")
        assert cooked == menu, "every dish was cooked once"


if __name__ == "__main__":
    main()
