"""What is not yet acknowledged: numbered in memory, on disk a second later, gone when the relay has it."""

from agent.outbox.memory import Message
from agent.outbox.outbox import Figures, Outbox

OUTBOX_FILE = "outbox.db"

__all__ = ["OUTBOX_FILE", "Figures", "Message", "Outbox"]
