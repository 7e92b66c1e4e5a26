"""Several equal relays on NATS JetStream and one PostgreSQL. Nothing here decides by vote: engines built for it do."""
