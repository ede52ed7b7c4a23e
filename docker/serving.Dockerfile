# The model server's image: no Airflow, no training code's dependencies, and of what it has only what serving uses.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

RUN command -v tini || (apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*)

ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# Taken out after `pip check`, 190 MB: Feast's web page and templates, and what it declares but reading online never
# imports (SQLAlchemy's type checker, Dask, Pygments); what converts ONNX models; of SciPy all but what XGBoost imports;
# of botocore's descriptions all but S3's and those that credentials need; what pyarrow brings twice, and Arrow Flight.
COPY docker/serving.lock /opt/kilter/requirements.lock
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/etc/kilter-ca.pem \
    --mount=type=cache,id=kilter-pip,target=/root/.cache/pip \
    python3 -m venv /opt/venv \
    && pip install --no-deps --no-compile --require-hashes -r /opt/kilter/requirements.lock \
    && pip check \
    && find /opt/venv -type d -name tests -prune -exec rm -r {} + \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -r pyarrow/include pyarrow/*_flight* pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* \
    && rm -r docs requirements feast/ui feast/templates \
    && rm -r onnxruntime/transformers onnxruntime/quantization onnxruntime/tools \
    && (cd scipy && rm -r cluster datasets fft fftpack integrate interpolate io ndimage odr optimize signal spatial stats) \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name 'sso*' ! -name signin -exec rm -r {} + \
    && pip uninstall --yes --quiet mypy ast-serialize librt pathspec dask fsspec partd locket toolz pygments bigtree websockets setuptools pip \
    && { python -m compileall -q -j 0 -x 'lib2to3' /opt/venv "$(python -c 'import os; print(os.path.dirname(os.__file__))')"; true; }

# The spool's folder: a fresh volume takes its owner from there.
RUN groupadd --gid 10001 kilter && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin kilter \
    && install -d -o 10001 -g 10001 /var/spool/kilter

ENV PYTHONPATH=/opt/kilter/include KILTER_MODELS=/opt/kilter/models KILTER_HOME=/tmp/kilter \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp DO_NOT_TRACK=1

COPY include/kilter /opt/kilter/include/kilter
COPY include/models /opt/kilter/models
RUN python -m compileall -q /opt/kilter

LABEL org.opencontainers.image.title="Kilter model server" \
      org.opencontainers.image.description="Serves every model of one role: python -m kilter serve" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["tini", "--", "python", "-m", "kilter"]
CMD ["serve", "--role", "champion", "--host", "0.0.0.0", "--port", "8901"]
