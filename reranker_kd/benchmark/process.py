"""Talking to the process of a system: a JSON request a line, a JSON answer a line."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from signal import Signals
from typing import Any

from reranker_kd.errors import ModelError

_PATIENCE_S = 30
"""Seconds that a process has to end by itself once its stdin is closed."""


class SystemProcess:
    """A running process; what it prints besides answers is kept, and its last line told if it ends too soon.

    :param command: starts it
    :raises ModelError: it cannot be started
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.started = time.perf_counter()
        # Models are local: no library is to look for them elsewhere first.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment
            )
        except OSError as error:
            self._log.close()
            raise ModelError(f"{command[0]}: cannot be run: {error.strerror or error}") from None

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request.

        :raises ModelError: it answered with an error, or ended
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ModelError(self._why_it_ended())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ModelError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process, by force where it does not end when it is told."""
        try:
            # Closes its stdin and waits.
            self._process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._log.close()

    def _why_it_ended(self) -> str:
        status = self._process.wait()
        how = f"by {Signals(-status).name}" if status < 0 else f"with status {status}"
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", errors="replace").split("\n")
        last = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "it said nothing")
        memory = " (out of memory?)" if status < 0 and Signals(-status).name == "SIGKILL" else ""
        return f"its process ended {how}{memory}: {last}"
