"""Starting the JVM that Pyserini then finds running: quiet, and on a Java that is surely there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from reranker_kd.errors import JavaError
from reranker_kd.retrieve.lucene.java_runtime import find_java

JAVA_LOG_VARIABLE = "RERANKER_KD_JAVA_LOG"
"""Environment variable: set to 1, Java's log lines and warnings reach the terminal."""


@cache
def start_java() -> None:
    """Start the JVM on Pyserini's fat jar, unless one runs already."""
    import jnius_config

    if jnius_config.vm_running:
        return
    runtime = find_java(os.environ.get("JAVA_HOME"))
    verbose = os.environ.get(JAVA_LOG_VARIABLE) == "1"
    jnius_config.add_classpath(str(_anserini_jar()))
    jnius_config.add_options(*runtime.options())
    try:
        with _environment(JAVA_HOME=str(runtime.home)), _silent_stderr(enabled=not verbose):
            from jnius import autoclass
    except Exception as error:
        raise JavaError(f"Java in {runtime.home} does not start: {in_one_line(error)}") from error
    if not verbose:
        # Before any logger looks for them: log4j and java.util.logging keep the streams that they find first.
        nowhere = autoclass("java.io.PrintStream")(autoclass("java.io.OutputStream").nullOutputStream())
        autoclass("java.lang.System").setOut(nowhere)
        autoclass("java.lang.System").setErr(nowhere)


def _anserini_jar() -> Path:
    configured = os.environ.get("ANSERINI_CLASSPATH")
    if configured:
        folder = Path(configured)
    else:
        spec = find_spec("pyserini")
        if spec is None or not spec.submodule_search_locations:
            raise JavaError("no Anserini: pip install pyserini")
        folder = Path(spec.submodule_search_locations[0]) / "resources" / "jars"
    jars = sorted(folder.glob("anserini-*-fatjar.jar"))
    if not jars:
        raise JavaError(f"{folder}: holds no anserini-*-fatjar.jar: reinstall pyserini, or unset ANSERINI_CLASSPATH")
    return jars[-1]


@contextmanager
def pyserini_importable() -> Iterator[None]:
    """Let Pyserini be imported: the JVM runs, and its OpenAI client finds a key to be built with."""
    start_java()
    if os.environ.get("OPENAI_API_KEY"):
        yield
        return
    with _environment(OPENAI_API_KEY="absent"):
        yield


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _silent_stderr(*, enabled: bool) -> Iterator[None]:
    """Send file descriptor 2 nowhere: the JVM warns on it while it starts, past Python's sys.stderr."""
    if not enabled:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def in_one_line(error: Exception) -> str:
    """Return the first line of an error's message; Java appends its stack to it."""
    return " ".join(str(error).split("\n", 1)[0].split())
