# PostgreSQL from Debian's packages, with the official image's variables, for a machine without a registry.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/15 \
    && install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data LC_ALL=C.UTF-8
COPY docker/local/postgres-entrypoint /usr/local/bin/
USER postgres
ENTRYPOINT ["postgres-entrypoint"]
