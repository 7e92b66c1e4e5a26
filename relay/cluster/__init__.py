"""Several equal relays on NATS JetStream and one PostgreSQL. They hold no elections: those two systems decide."""
