"""Postgres as the services use it: pool, migrations and consumer positions."""
