# A worker's image. Build: docker build -t prunebench:0.1.0 .
# Flows lie in /prunebench as they do in the repository, so the same deployments run in it.
FROM python:3.11-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    UV_NO_CACHE=1 \
    UV_SYSTEM_PYTHON=1 \
    UV_COMPILE_BYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1

WORKDIR /prunebench

# Devices are reached with the system's ssh and sftp.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client \
    && rm -rf /var/lib/apt/lists/*

# The pinned versions first: they change rarely and take long.
COPY requirements.lock pyproject.toml ./
RUN python -m pip install --constraint requirements.lock uv \
    && uv pip install --constraint requirements.lock --requirement pyproject.toml --all-extras \
        --group run

COPY README.md LICENSE ./
COPY src ./src
COPY tasks ./tasks
COPY flows ./flows
COPY deployments ./deployments
COPY configs ./configs
COPY assets ./assets
RUN uv pip install --build-constraint requirements.lock --no-deps --editable . \
    && useradd --uid 1000 --create-home prunebench \
    && mkdir runs registry \
    && chown prunebench runs registry

USER prunebench
CMD ["prefect", "worker", "start", "--pool", "prunebench"]
