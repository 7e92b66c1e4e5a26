"""The database: one set of tables and migrations, SQLite by default. Only stores of the APIs speak to it."""
