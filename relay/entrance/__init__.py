"""The way in: sockets, certificates, who may ask what, and what every request meets before any API."""
