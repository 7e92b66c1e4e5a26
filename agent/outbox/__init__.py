"""Messages not yet acknowledged: numbered in memory, on disk a second later, deleted once the relay has them."""

from agent.outbox.memory import Message
from agent.outbox.outbox import Figures, Outbox

OUTBOX_FILE = "outbox.db"

__all__ = ["OUTBOX_FILE", "Figures", "Message", "Outbox"]
