"""Structured logging for every process of the hub: one line an event, on standard error."""

import logging
import logging.config

import structlog
from setproctitle import setproctitle

_process = ""


def name_process(name: str) -> None:
    """Says which process of the hub this is: in each of its log lines and in the process list."""
    global _process
    _process = name
    setproctitle(f"workflowhub: {name}")


def logging_config(level: str, form: str) -> None:
    """Sets up logging once; `form` is `console` for people or `json` for collectors."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_process,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.format_exc_info,
                        renderer,
                    ],
                    "foreign_pre_chain": shared,
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {
                name: {"level": level} for name in ("workflowhub", "engines", "runs", "gunicorn")
            }
            # What the API refuses is said to its caller; only what broke is said here. A call to an
            # engine that is made again is no news: what comes of it is.
            | {
                "httpx": {"level": "WARNING"},
                "stamina": {"level": "ERROR"},
                "django.request": {"level": "ERROR"},
            },
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _add_process(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if _process:
        event["process"] = _process
    return event
