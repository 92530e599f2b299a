"""One wire dialect a file: what a client's requests, answers, events and errors mean.

No policy here: a dialect says what things are, never what to do about them.
"""

from attune.clients.asked import Binding, RequestReader, Shape, shape_of
from attune.clients.dialect import Dialect, EventReader, Facts, Request, Watch

__all__ = ["Binding", "Dialect", "EventReader", "Facts", "Request", "RequestReader", "Shape", "Watch", "shape_of"]
