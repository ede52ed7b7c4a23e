# Airflow with the DAGs and plugins: every part of the production shape's Airflow runs from it. Steps do not.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

RUN command -v tini || (apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*)

ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

COPY docker/airflow.lock /opt/kilter/requirements.lock
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/etc/kilter-ca.pem \
    --mount=type=cache,id=kilter-pip,target=/root/.cache/pip \
    python3 -m venv /opt/venv \
    && pip install --no-deps --no-compile --require-hashes -r /opt/kilter/requirements.lock \
    && pip check \
    && AIRFLOW_HOME=/tmp/airflow python -c 'import airflow.providers.celery.executors.celery_executor, mlflow.tracking' && rm -r /tmp/airflow \
    && { python -m compileall -q -j 0 -x '/tests?/|lib2to3' /opt/venv "$(python -c 'import os; print(os.path.dirname(os.__file__))')"; true; }

# The logs are a volume, which takes its owner from here.
RUN groupadd --gid 10001 kilter && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin kilter \
    && install -d -o 10001 -g 10001 /opt/airflow/logs

# Airflow's home is scratch: its configuration is in the environment, its state in PostgreSQL.
ENV PYTHONPATH=/opt/kilter/include KILTER_MODELS=/opt/kilter/models KILTER_HOME=/tmp/kilter \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp DO_NOT_TRACK=1 \
    AIRFLOW_HOME=/tmp/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/kilter/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/kilter/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=/opt/airflow/logs \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False

COPY include/kilter /opt/kilter/include/kilter
COPY include/models /opt/kilter/models
COPY plugins /opt/kilter/plugins
COPY dags /opt/kilter/dags
RUN python -m compileall -q /opt/kilter

LABEL org.opencontainers.image.title="Kilter Airflow" \
      org.opencontainers.image.description="Airflow with Kilter's DAGs and plugins" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["tini", "--", "airflow"]
CMD ["version"]
