"""A payment is never made twice: `effect="once"`.

Most calls can be repeated after a crash (that is the default, with the same idempotency key). Where that would be
wrong, say so: then a crash between the call and its record is not guessed about. The run stops and asks.

    python examples/effect_once.py
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from agentstream import Client, OutcomeUnknown, agent, step


@step(effect="once")
def pay(order: str, amount: int) -> str:
    ledger = Path(os.environ["LEDGER"])
    ledger.write_text(f"{order} {amount}\n")  # the money is gone …
    if os.environ.get("CRASH"):
        os._exit(9)  # … and so is this process, before it could say so
    return "paid"


@agent
def checkout(order: str) -> str:
    return f"order {order} is {pay(order, 50)}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LEDGER"] = f"{folder}/ledger"
        crashed = subprocess.run([sys.executable, __file__, folder], env={**os.environ, "CRASH": "yes"}, check=False)
        print(f"the shop crashed with {crashed.returncode}, in the middle of a payment")

        with Client(f"{folder}/store") as client:
            session = client.session("checkout")
            try:
                session.run(checkout, "A1")
            except OutcomeUnknown as unknown:
                print(f"step {unknown.step}: nobody knows whether it was paid")
                # A person, or a look at the bank's books, finds out. Here the ledger tells:
                was_paid = Path(os.environ["LEDGER"]).exists()
                session.resolve(unknown.step, "paid" if was_paid else "not paid")
            print(session.run(checkout, "A1"))


if __name__ == "__main__":
    if sys.argv[1:]:
        with Client(f"{sys.argv[1]}/store") as client:
            client.session("checkout").run(checkout, "A1")
    else:
        main()
