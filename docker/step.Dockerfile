# The image that every step runs in, in two variants: VARIANT=cpu, and cuda for machines with NVIDIA GPUs. Dependencies
# come before code, so that a change of code rebuilds in seconds.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# What the variants differ in: docker/fetch-torch puts the CPU build of torch, which is not on PyPI, into docker/wheels.
FROM scratch AS variants
COPY docker/step-cuda.lock docker/wheel[s] /

FROM ${BASE_IMAGE}

# tini reaps and forwards signals: without an init, PID 1 ignores TERM and every stop takes the whole timeout.
RUN command -v tini || (apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*)

ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# Bytecode is compiled here, on all cores: the container's root is read-only, and an import without it takes three times as long.
COPY docker/step.lock /opt/kilter/requirements.lock
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/etc/kilter-ca.pem \
    --mount=type=cache,id=kilter-pip,target=/root/.cache/pip \
    python3 -m venv /opt/venv \
    && pip install --no-deps --no-compile --require-hashes -r /opt/kilter/requirements.lock \
    && pip check \
    && { python -m compileall -q -j 0 -x '/tests?/|lib2to3' /opt/venv "$(python -c 'import os; print(os.path.dirname(os.__file__))')"; true; }

# CPU: torch alone. CUDA: torch and xgboost, with NVIDIA's libraries; the driver comes from the host with the device.
ARG VARIANT=cpu
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/etc/kilter-ca.pem \
    --mount=type=cache,id=kilter-pip,target=/root/.cache/pip \
    --mount=type=bind,from=variants,target=/variants \
    case "${VARIANT}" in \
    cpu) pip install --no-deps --no-index --no-compile /variants/torch-*+cpu-*.whl ;; \
    cuda) pip uninstall --yes --quiet xgboost-cpu && pip install --no-deps --no-compile --require-hashes -r /variants/step-cuda.lock ;; \
    *) echo "VARIANT '${VARIANT}': allowed are cpu and cuda" >&2; exit 2 ;; \
    esac \
    && pip check \
    && { python -m compileall -q -j 0 -x '/tests?/|lib2to3' /opt/venv/lib/python3*/site-packages/torch; true; }

RUN groupadd --gid 10001 kilter && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin kilter

# /tmp is the only place that can be written to. No part reports its use to anyone.
ENV PYTHONPATH=/opt/kilter/include KILTER_MODELS=/opt/kilter/models KILTER_HOME=/tmp/kilter \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/tmp XDG_CACHE_HOME=/tmp/.cache MPLCONFIGDIR=/tmp/.matplotlib MPLBACKEND=Agg GIT_PYTHON_REFRESH=quiet \
    DO_NOT_TRACK=1 MLFLOW_DISABLE_TELEMETRY=true GX_ANALYTICS_ENABLED=false

COPY include/kilter /opt/kilter/include/kilter
COPY include/models /opt/kilter/models
RUN python -m compileall -q /opt/kilter

LABEL org.opencontainers.image.title="Kilter step" \
      org.opencontainers.image.description="Runs one step of one model: python -m kilter step NAME" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["tini", "--", "python", "-m", "kilter"]
