"""Makes what the other services need of PostgreSQL and S3: a database with its own user for each, and the buckets.

Run by docker-compose.yaml before anything else. Running it again changes nothing, except that a password changed in
.env becomes the user's password.
"""

import os

import boto3
import psycopg
from botocore.exceptions import ClientError
from psycopg import sql

DATABASES = {"airflow": "AIRFLOW_DB_PASSWORD", "kilter": "KILTER_DB_PASSWORD", "mlflow": "MLFLOW_DB_PASSWORD"}
BUCKETS = ("kilter", "mlflow")


def main() -> None:
    with psycopg.connect(os.environ["POSTGRES_URL"], autocommit=True) as connection:
        for name, password in DATABASES.items():
            make_database(connection, name, os.environ[password])
    client = boto3.client("s3")
    for bucket in BUCKETS:
        make_bucket(client, bucket)


def make_database(connection: psycopg.Connection, name: str, password: str) -> None:
    """A user, its password, and a database that only it owns and may connect to."""
    user, secret = sql.Identifier(name), sql.Literal(password)
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(user))
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(user, secret))
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(user, user))
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(user))
    print(f"database {name} is there")


def make_bucket(client, bucket: str) -> None:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError:
        client.create_bucket(Bucket=bucket)
    print(f"bucket {bucket} is there")


if __name__ == "__main__":
    main()
