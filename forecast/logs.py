"""How log lines look: plain for people, or one JSON object each for machines."""

import logging
import logging.config
from datetime import UTC, datetime

import orjson

_PLAIN = "%(asctime)s %(levelname)s {process}: %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, process, logger, message, and a record's own fields."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logging(process: str, level: str, style: str, *, access: bool) -> None:
    """Send every line of ours and of the server's to standard error.

    Args:
        process: what this process is; hosts write to the log of their gateway.
        style: `plain` or `json`.
        access: log one line per request.
    """
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "plain": {"format": _PLAIN.format(process=process.replace("%", "%%"))},
                "json": {"()": JsonLines, "process": process},
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": style}},
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {
                "forecast": {"level": level.upper()},
                "forecast.access": {"level": "INFO" if access else "WARNING"},
                "uvicorn": {"level": "INFO" if level == "debug" else "WARNING"},
            },
        }
    )
