"""The server's log: one line for each thing that happened, whatever stands in it; no torch."""

import logging

_INDENT = "  | "


def plain(text: str) -> str:
    """Return a text in which line ends, control characters and changes of direction are spelt out."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


class OneLine(logging.Formatter):
    """Writes what somebody sent as text: it can neither end a line nor colour a terminal. Faults stand indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the fault and the stack of a record that has them."""
        below = self.formatException(record.exc_info).splitlines() if record.exc_info else []
        below += self.formatStack(record.stack_info).splitlines() if record.stack_info else []
        line = f"{self.formatTime(record)} {plain(record.getMessage())}"
        return "\n".join([line, *(_INDENT + plain(each) for each in below)])


def start() -> None:
    """Write the log of this process, the web server's too, to its standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
