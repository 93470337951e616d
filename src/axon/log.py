"""Structured logs: an event and its fields, as one line of text or of JSON on standard error.

    log = axon.log.get("agent")
    log.info("attached", programs=8, pin_dir=path)

A line never holds a line break, whatever the values hold.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import TextIO

_FIELDS = "axon_fields"
# sd-daemon(3): the journal takes the severity from a prefix, and has a clock of its own.
_SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class Log:
    """A named source of events. Fields are keyword arguments; their values are shown by str()."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"axon.{name}")

    def debug(self, event: str, /, **fields: object) -> None:
        """Log what only someone who looks for a fault wants to see."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Log an event in the normal course of things."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Log something that somebody should look into."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Log that something which was asked for is not being done."""
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """Log an unexpected exception, from its handler, with its traceback."""
        self._log(logging.ERROR, event, fields, trace=True)

    def _log(
        self, level: int, event: str, fields: dict[str, object], *, trace: bool = False
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={_FIELDS: fields}, exc_info=trace)


def get(name: str) -> Log:
    """Return the log of one part of the program, such as `agent`."""
    return Log(name)


def configure(*, level: str, form: str, stream: TextIO | None = None) -> None:
    """Send every log line of this process at `level` or above to `stream` (standard error).

    `level` and `form` are the values of the settings log_level and log_format.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    to_journal = stream is None and _is_journal(os.environ.get("JOURNAL_STREAM", ""))
    handler.setFormatter(_Json() if form == "json" else _Text(to_journal=to_journal))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("axon").setLevel(level.upper())


def _is_journal(variable: str) -> bool:
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return variable == f"{status.st_dev}:{status.st_ino}"


def _clock(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _trace(record: logging.LogRecord) -> str:
    return logging.Formatter().formatException(record.exc_info) if record.exc_info else ""


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _clock(record),
            "level": record.levelname.lower(),
            "source": record.name.removeprefix("axon."),
            "event": record.getMessage(),
        }
        for name, value in getattr(record, _FIELDS, {}).items():
            plain = value is None or isinstance(value, (bool, int, float))
            line.setdefault(name, value if plain else str(value))
        if trace := _trace(record):
            line["trace"] = trace
        return json.dumps(line)


class _Text(logging.Formatter):
    def __init__(self, *, to_journal: bool) -> None:
        super().__init__()
        self._to_journal = to_journal

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        source = record.name.removeprefix("axon.")
        parts = [_word(record.getMessage(), quote=False)]
        parts += [f"{k}={_word(str(v))}" for k, v in getattr(record, _FIELDS, {}).items()]
        if trace := _trace(record):
            parts.append("trace=" + _word(trace))
        if self._to_journal:
            start = f"<{_SYSLOG.get(record.levelno, 5)}>{source}:"
        else:
            start = f"{_clock(record)} {level:<7} {source}:"
        return " ".join([start, *parts])


def _word(text: str, *, quote: bool = True) -> str:
    if text.isprintable() and not (quote and (not text or " " in text or '"' in text)):
        return text
    return json.dumps(text)
