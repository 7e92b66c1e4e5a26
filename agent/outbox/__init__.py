"""What is not yet acknowledged: numbered in memory, on disk a second later, gone when the relay has it."""

from agent.outbox.memory import Message
from agent.outbox.outbox import Figures, Outbox

__all__ = ["Figures", "Message", "Outbox"]
