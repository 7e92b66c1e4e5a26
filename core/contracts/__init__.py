"""The documented APIs as models, one module a document, and the topics that carry them over MQTT."""
