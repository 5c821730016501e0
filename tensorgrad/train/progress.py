"""What a person sees while a network trains: one live line on a terminal, plain lines in a file or a pipe.

Written here rather than taken from a library because it is this short and needs nothing installed.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TextIO

REDRAW = 0.1  # seconds between two pictures of the live line: more often is seen by nobody
SILENCE = 30.0  # seconds without a line after which a pipe gets one within an epoch


class Progress:
    """Shows how far a job is: a bar with figures that is drawn over and over, and lines that stay.

    stream: where to, sys.stdout unless given. quiet: show nothing.
    live: whether the bar is drawn; by default if the stream is a terminal that can go back to the start of a line.

    >>> progress = Progress(live=False)
    >>> progress.say("epoch 1/2  loss 0.5")
    epoch 1/2  loss 0.5
    """

    def __init__(self, stream: TextIO | None = None, quiet: bool = False, live: bool | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.quiet = quiet
        self.live = (self.stream.isatty() and os.environ.get("TERM") != "dumb") if live is None else live
        self._drawn = 0  # characters of the live line on the screen
        self._started = self._redrawn = self._spoken = time.monotonic()

    def start(self) -> None:
        """Count the time from now."""
        self._started = self._redrawn = self._spoken = time.monotonic()

    def update(self, label: str, done: float, figures: str) -> None:
        """The job is `done`, a fraction above 0: show it if it is time to."""
        now = time.monotonic()
        if self.quiet:
            return
        if self.live:
            if now - self._redrawn >= REDRAW or not self._drawn:
                self._redrawn = now
                self._draw(label, done, f"{figures}  {self.left(done)}")
        elif now - self._spoken >= SILENCE:
            self.say(f"{label}  {100 * done:3.0f} %  {figures}  {self.left(done)}")

    def say(self, text: str) -> None:
        """A line that stays; the live line moves on below it."""
        if self.quiet:
            return
        self._spoken = time.monotonic()
        self.stream.write(self._erase() + self._writable(text) + "\n")
        self.stream.flush()

    def _writable(self, text: str) -> str:
        """The text as the stream can write it: the name of a folder may hold letters that it does not know."""
        encoding = self.stream.encoding or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def close(self) -> None:
        """Take the live line away."""
        if self._drawn:
            self.stream.write(self._erase())
            self.stream.flush()

    def left(self, done: float) -> str:
        """The time that the rest takes if it goes on like this, as '0:23 left'."""
        seconds = round((time.monotonic() - self._started) * (1 - done) / done)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"

    def _draw(self, label: str, done: float, figures: str) -> None:
        columns = shutil.get_terminal_size().columns or 80  # Python 3.10 passes on the 0 of those that do not know
        room = columns - 1  # a full line would make the terminal begin a new one
        width = min(30, room - len(label) - len(figures) - 4)
        line = f"{label}  {figures}" if width < 5 else f"{label}  {self._bar(done, width)}  {figures}"
        line = line[:room]
        self.stream.write("\r" + line.ljust(self._drawn))
        self.stream.flush()
        self._drawn = len(line)

    def _bar(self, done: float, width: int) -> str:
        full, rest = "━", "─"
        try:
            (full + rest).encode(self.stream.encoding or "ascii")
        except UnicodeEncodeError:
            full, rest = "#", "."
        filled = round(done * width)
        return full * filled + rest * (width - filled)

    def _erase(self) -> str:
        blank = "\r" + " " * self._drawn + "\r" if self._drawn else ""
        self._drawn = 0
        return blank
