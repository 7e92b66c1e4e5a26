"""amqtt's table of subscriptions, which may change while a message goes out.

amqtt walks the table and waits on the way; whoever subscribes or leaves meanwhile would end the walk with an error, or
move a subscriber past it, and those behind would never get the message. A walk over this table is over what was
subscribed when it began. One private name of amqtt is used; a test fails when it changes.
"""

from __future__ import annotations

from typing import Any

from amqtt.broker import Broker


class Subscriptions(dict[str, Any]):
    """From a topic filter to the list of its subscribers."""

    def items(self) -> Any:
        """As it stands now, for a walk of its own: the lists are copies too."""
        return [(topic_filter, list(subscribers)) for topic_filter, subscribers in super().items()]


def steady(broker: Broker) -> Broker:
    """The same broker, before it starts, with a table that bears change."""
    broker._subscriptions = Subscriptions()  # noqa: SLF001  amqtt has no other way in
    return broker
