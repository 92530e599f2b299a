"""One wire dialect a file: what a client's requests, answers, events and errors mean.

No policy here: a dialect says what things are, never what to do about them.
"""

from attune.clients.dialect import Dialect, EventReader, Facts, Request, Watch

__all__ = ["Dialect", "EventReader", "Facts", "Request", "Watch"]
