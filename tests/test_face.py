"""The face: every public name is there, from where type checkers are told, and is loaded when it is asked for."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import agentstream


def told() -> dict[str, str]:
    """Name → module, as `agentstream/__init__.py` tells type checkers."""
    tree = ast.parse(Path(str(agentstream.__file__)).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {
        alias.name: str(node.module)
        for node in imports
        if str(node.module).startswith("agentstream")
        for alias in node.names
    }


def test_what_type_checkers_are_told_is_what_there_is() -> None:
    assert set(told()) == set(agentstream.__all__)
    assert agentstream.__all__ == sorted(set(agentstream.__all__))


@pytest.mark.parametrize("name", agentstream.__all__)
def test_each_name_comes_from_there(name: str) -> None:
    home = importlib.import_module(told()[name])
    there = importlib.import_module("agentstream.agents.recorded") if name == "recorded" else getattr(home, name)
    assert getattr(agentstream, name) is there


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = agentstream.nothing  # type: ignore[attr-defined]


def test_dir_shows_them_all() -> None:
    assert set(agentstream.__all__) <= set(dir(agentstream))


def test_the_package_alone_loads_nothing() -> None:
    program = "import sys, agentstream; print([m for m in sys.modules if m.split('.')[0] in ('httpx', 'pydantic')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ordinary_programs_load_no_pydantic() -> None:
    program = "import sys; from agentstream import Client, agent, step; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
