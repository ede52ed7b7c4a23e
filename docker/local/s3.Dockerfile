# An S3 store from Debian's packages, for a machine without a registry: OpenStack Swift with its S3 API, all in one container.
# It keeps its data in /srv/node and takes the same variables as versitygw, which production uses.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends memcached swift-account swift-container swift-object swift-proxy tini wget \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o swift -g swift -m 0700 /data
COPY docker/local/swift /etc/swift
RUN cd /etc/swift && for ring in account:6202 container:6201 object:6200; do \
        builder="${ring%:*}.builder"; \
        swift-ring-builder "$builder" create 4 1 1 \
        && swift-ring-builder "$builder" add "r1z1-127.0.0.1:${ring#*:}/data" 1 \
        && swift-ring-builder "$builder" rebalance; \
    done && chmod -R a+rX /etc/swift
COPY docker/local/s3-entrypoint /usr/local/bin/
USER swift
WORKDIR /tmp
ENTRYPOINT ["tini", "--", "s3-entrypoint"]
