"""A replacement for amqtt's table of subscriptions that may change while a message is delivered.

amqtt awaits while it iterates the table. A client that subscribes or leaves meanwhile would end the iteration with an
error, or make it skip a subscriber. This table iterates over a copy made at the start. It replaces a private attribute
of amqtt; a test fails when that changes.
"""

from __future__ import annotations

from typing import Any

from amqtt.broker import Broker


class Subscriptions(dict[str, Any]):
    """From a topic filter to the list of its subscribers."""

    def items(self) -> Any:
        """A copy of the table as it is now, with copies of its lists."""
        return [(topic_filter, list(subscribers)) for topic_filter, subscribers in super().items()]


def steady(broker: Broker) -> Broker:
    """The same broker, not yet started, with a table that may change during delivery."""
    broker._subscriptions = Subscriptions()  # noqa: SLF001  amqtt has no other way in
    return broker
