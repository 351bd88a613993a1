"""`make wheels`: builds every wheel and imports each in a clean environment that holds nothing else of this checkout.

What this catches: a module that is not packaged, a dependency that is used but not declared, a core that cannot be
imported without its extras, an exported name that a user's type checker knows nothing of.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from environment import Environment
from running import Failed, run, say
from setup import ROOT, projects

CONSTRAINTS = ROOT / "constraints.txt"


def build(project: Path, target: Path) -> Path:
    before = set(target.glob("*.whl"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, project]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"building {project} failed:\n{done.stdout}{done.stderr}")
    (wheel,) = set(target.glob("*.whl")) - before
    return wheel


def check_contents(wheel: Path) -> str:
    """The wheel's one package: typed, and with nothing beside it."""
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    if len(packages) != 1:
        raise SystemExit(f"{wheel.name} should hold one package and holds {sorted(packages)}")
    (package,) = packages
    if f"{package}/py.typed" not in names:
        raise SystemExit(f"{wheel.name} lacks {package}/py.typed")
    return package


def extras(wheel: Path) -> str:
    """What installs the wheel with all of its extras."""
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    told = archive.read(metadata).decode().partition("\n\n")[0].splitlines()
    return f"{wheel}[{','.join(line.split()[1] for line in told if line.startswith('Provides-Extra:'))}]"


def answer(environment: Environment, *command: str) -> tuple[int, str]:
    """Runs a program of the environment in an empty folder, so that nothing is found by accident."""
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(environment.bin / command[0]), *command[1:]],
            cwd=elsewhere,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    return done.returncode, done.stdout + done.stderr


def import_alone(environment: Environment, package: str) -> None:
    code, output = answer(environment, "python", "-W", "error", "-c", f"import {package}; print({package}.__file__)")
    if code or str(environment.folder) not in output:
        raise SystemExit(f"import {package} failed in a clean environment:\n{output}")
    say(f"import {package} works")


def verify_types(environment: Environment, package: str) -> None:
    """Everything that the package exports has a known type, as a user's type checker sees it."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--ignoreexternal", "--verifytypes", package]
    # Verifying looks at the Python that comes first on the PATH, whatever else it is told.
    variables = {**os.environ, "PATH": f"{environment.bin}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(command, cwd=elsewhere, env=variables, capture_output=True, text=True, check=False)
    try:
        symbols = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    except (ValueError, KeyError):
        raise SystemExit(f"pyright could not look at {package}:\n{done.stdout}{done.stderr}") from None
    exported = [symbol for symbol in symbols if symbol["isExported"]]
    unknown = [s["name"] for s in exported if not s["isTypeKnown"] and not s["isTypeAmbiguous"]]
    if unknown or not exported:
        raise SystemExit(f"{package} exports {len(exported)} names, without a known type: {', '.join(unknown)}")
    say(f"all {len(exported)} names that {package} exports have a known type")


def check_command(environment: Environment, core: Path) -> None:
    """The command without its extra says how to get it; with it, it prints its help."""
    code, output = answer(environment, "agentstream", "--help")
    if code == 0 or "agentstream-sdk[cli]" not in output or "Traceback" in output:
        raise SystemExit(f"without its extra `agentstream` should say how to get it, and does this:\n{output}")
    environment.install(f"{core}[cli]", constraints=CONSTRAINTS)
    code, output = answer(environment, "agentstream", "--help")
    if code or "Usage" not in output:
        raise SystemExit(f"`agentstream --help` failed:\n{output}")
    say("agentstream --help works, and without the extra it says how to get it")


def check_page(environment: Environment, core: Path) -> None:
    """The inspector's page is in the wheel, whole, and served from there; without the extra `ui` says how to get it."""
    code, output = answer(environment, "agentstream", "ui", "--no-browser")
    if code != 2 or "agentstream-sdk[cli,server]" not in output:
        raise SystemExit(f"without its extra `agentstream ui` should say how to get it, and does this:\n{output}")
    environment.install(f"{core}[cli,server]", constraints=CONSTRAINTS)
    with tempfile.TemporaryDirectory() as folder:
        made = "import agentstream\nwith agentstream.Client() as c: c.session('s').append('note', 1)"
        subprocess.run([str(environment.python), "-c", made], cwd=folder, check=True)
        command = [str(environment.bin / "agentstream"), "ui", "--no-browser"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            origin, _, fragment = process.stdout.readline().strip().partition("/#/")
            try:
                look_at_page(origin, fragment.rpartition("token=")[2])
            finally:
                process.terminate()
        command = [str(environment.bin / "agentstream"), "export", "s", "--format", "html", "-o", "s.html"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    say("agentstream ui serves its page, and without the extra it says how to get it")


def look_at_page(origin: str, token: str) -> None:
    """Asks for the page, for every file that it names, and for the sessions."""
    with urllib.request.urlopen(origin, timeout=60) as response:
        page = response.read().decode()
    files = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
    if len(files) != 2:
        raise SystemExit(f"the page should name its script and its style, and names {files}")
    for file in files:
        with urllib.request.urlopen(origin + file, timeout=60) as response:
            if not response.read():
                raise SystemExit(f"the page's {file} is empty")
    request = urllib.request.Request(f"{origin}/api/sessions", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        if json.load(response)["total"] != 1:
            raise SystemExit("the inspector should list the one session there is")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch).resolve()
        wheels = [build(project, target) for project in projects()]
        core, *integrations = wheels
        for number, wheel in enumerate(wheels):
            package = check_contents(wheel)
            say(f"{wheel.name}: a clean environment")
            environment = Environment(target / f"env{number}")
            environment.make()
            needed = [core, wheel] if wheel in integrations else [core]
            environment.install(*map(str, needed), constraints=CONSTRAINTS)
            import_alone(environment, package)
            if wheel in integrations:  # a class may be derived from one of a framework that is an extra
                environment.install(extras(wheel), constraints=CONSTRAINTS)
            verify_types(environment, package)
            run([environment.python, "-m", "pip", "--disable-pip-version-check", "check"])
            if wheel is core:
                check_command(environment, core)
                check_page(environment, core)


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        raise SystemExit(str(problem)) from None
