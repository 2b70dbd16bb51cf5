"""Roles, schemas and passwords in a PostgreSQL server, made as often as one likes."""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from local_stack.paths import POSTGRES_DEFINITIONS

SERVICE_ROLES: Final = ("gateway", "report_worker", "status_projector", "notifier")
SOURCE_ROLE: Final = "report_source"
ROLES: Final = (*SERVICE_ROLES, SOURCE_ROLE)

_SECONDS: Final = 20.0
_LOCK: Final = 0x7265706F7274  # "report": roles belong to the server, so starts must take turns
_ITERATIONS: Final = 4096
_SALT_BYTES: Final = 16


async def bootstrap(admin_dsn: str, database: str, *, secret: str) -> dict[str, str]:
    """Make roles and `database` with its schemas; return each role's connection URL by role.

    The passwords derive from `secret`, so that everyone who may administrate a server gives its
    roles the same ones, and stacks that share it don't lock each other out.

    Raises:
        asyncpg.PostgresError: where the administrator may not do this.
        OSError: where the server doesn't answer.

    """
    passwords = {role: derive_password(secret, role) for role in ROLES}
    await _make_roles(admin_dsn, passwords)
    await _make_database(admin_dsn, database)
    await _make_schemas(with_database(admin_dsn, database))
    return {
        role: with_user(with_database(admin_dsn, database), role, password)
        for role, password in passwords.items()
    }


def derive_password(secret: str, role: str) -> str:
    """Return the password of a role, the same for the same secret."""
    digest = hmac.digest(secret.encode(), f"report-jobs role {role}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def scram_verifier(password: str, salt: bytes, iterations: int = _ITERATIONS) -> str:
    """Return what PostgreSQL stores for an ASCII password (RFC 5803, SCRAM-SHA-256).

    Setting the verifier instead keeps the password out of statements, and so out of logs.
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored, server = (
        base64.b64encode(part).decode() for part in (salt, stored_key, server_key)
    )
    return f"SCRAM-SHA-256${iterations}:{salt_text}${stored}:{server}"


def with_database(dsn: str, database: str) -> str:
    """Return the URL with another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{quote(database)}"))


def with_user(dsn: str, user: str, password: str) -> str:
    """Return the URL with other credentials."""
    parts = urlsplit(dsn)
    hosts = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user)}:{quote(password, safe='')}@{hosts}"))


async def _make_roles(admin_dsn: str, passwords: Mapping[str, str]) -> None:
    connection = await asyncpg.connect(admin_dsn, timeout=_SECONDS, command_timeout=_SECONDS)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute((POSTGRES_DEFINITIONS / "roles.sql").read_text())
            for role, password in passwords.items():
                verifier = scram_verifier(password, os.urandom(_SALT_BYTES))
                await connection.execute(f"ALTER ROLE {role} PASSWORD '{verifier}'")
    finally:
        await connection.close(timeout=_SECONDS)


async def _make_database(admin_dsn: str, database: str) -> None:
    connection = await asyncpg.connect(admin_dsn, timeout=_SECONDS, command_timeout=_SECONDS)
    try:
        exists = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
        if not await connection.fetchval(exists, database):
            name = await connection.fetchval("SELECT quote_ident($1)", database)
            await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close(timeout=_SECONDS)


async def _make_schemas(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=_SECONDS, command_timeout=_SECONDS)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute((POSTGRES_DEFINITIONS / "schemas.sql").read_text())
    finally:
        await connection.close(timeout=_SECONDS)
