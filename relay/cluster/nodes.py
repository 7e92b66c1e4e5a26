"""Configuration files of the cluster's NATS servers: JetStream, MQTT, and the mapping of kits to partitions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from relay.cluster import subjects


@dataclass(frozen=True, slots=True)
class Node:
    """Ports of one server: `client` for relays, `mqtt` for kits, `route` for the other servers."""

    name: str
    client: int
    mqtt: int
    route: int


def configuration(node: Node, routes: list[str], store: Path, partitions: int, host: str = "127.0.0.1") -> str:
    """The server's configuration file. `routes` are the other servers, as host:port."""
    sections = {
        "server_name": node.name,
        "listen": f"{host}:{node.client}",
        "jetstream": {"store_dir": str(store), "max_memory_store": 256 << 20, "max_file_store": 4 << 30},
        "cluster": {
            "name": "homeside",
            "listen": f"{host}:{node.route}",
            "no_advertise": True,
            "routes": [f"nats-route://{route}" for route in routes],
        },
        "mqtt": {"listen": f"{host}:{node.mqtt}", "stream_replicas": min(3, len(routes) + 1)},
        "mappings": subjects.mappings(partitions),
    }
    return "\n".join(f"{key}: {json.dumps(value, indent=2)}" for key, value in sections.items()) + "\n"
