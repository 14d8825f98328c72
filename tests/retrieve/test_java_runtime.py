"""Which Java is taken, and what is said of one that will not do."""

from __future__ import annotations

import pytest

from reranker_kd.errors import JavaError
from reranker_kd.retrieve.lucene.jvm import OLDEST_JAVA, find_java


def _java_home(folder, version, modules="java.base"):
    folder.mkdir(exist_ok=True)
    (folder / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return str(folder)


def test_the_bundled_runtime_is_new_enough():
    runtime = find_java()
    assert runtime.major >= OLDEST_JAVA
    assert (runtime.home / "bin" / "java").exists()


def test_the_vector_module_is_asked_for_only_where_it_is(tmp_path):
    with_module = find_java(_java_home(tmp_path / "a", "21.0.1", "java.base jdk.incubator.vector"))
    without = find_java(_java_home(tmp_path / "b", "22"))
    assert "--add-modules=jdk.incubator.vector" in with_module.options
    assert "--add-modules=jdk.incubator.vector" not in without.options


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("1.8.0_402", 8)])
def test_an_old_java_home_is_refused(tmp_path, version, major):
    with pytest.raises(JavaError, match=f"is Java {major}, Anserini needs 21 or newer: unset JAVA_HOME"):
        find_java(_java_home(tmp_path, version))


def test_a_java_home_without_java_is_refused(tmp_path):
    with pytest.raises(JavaError, match="holds no Java"):
        find_java(str(tmp_path))


def test_a_java_without_release_file_is_asked_for_its_version(tmp_path):
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    with pytest.raises(JavaError, match="is Java 11"):
        find_java(str(tmp_path))
