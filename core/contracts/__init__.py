"""The documented APIs as models, one module per document, and the MQTT topics that carry their messages."""
