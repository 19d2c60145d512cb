"""Log lines on standard error: time, level, where, and an event with fields. No line carries a patient's data."""

from __future__ import annotations

import logging
import re
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _OneLine(logging.Formatter):
    """One line per record: control characters are written out, and a traceback names places, not values."""

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info and record.exc_info[0]:
            record.msg, record.args = f"{record.getMessage()} error={record.exc_info[0].__name__}", ()
            record.exc_info = record.exc_text = None
        return _CONTROL.sub(lambda found: repr(found[0])[1:-1], super().format(record))


def configure(level: str) -> None:
    """Log from ``level`` on. kafka-python stays at warning whatever the level: at debug it prints record contents."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in ("kafka", "sqlalchemy", "uvicorn", "asyncio"):
        logging.getLogger(library).setLevel(logging.WARNING)
