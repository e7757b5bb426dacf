# A worker's image. Build: docker build -t prunebench:0.1.0 .
# Flows lie in /prunebench as they do in the repository, so the same deployments run in it.
FROM python:3.11-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1

WORKDIR /prunebench

# The pinned versions first: they change rarely and take long. The image has no libGL, which the
# headless build of OpenCV does without.
COPY requirements.lock ./
RUN python -m pip install -r requirements.lock \
    && version="$(python -m pip list --format=freeze | sed -n 's/^opencv-python==//p')" \
    && python -m pip uninstall --yes opencv-python \
    && python -m pip install "opencv-python-headless==$version"

COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY tasks ./tasks
COPY flows ./flows
COPY deployments ./deployments
COPY configs ./configs
COPY assets ./assets
RUN python -m pip install --no-deps --no-build-isolation -e . \
    && useradd --uid 1000 --create-home prunebench \
    && mkdir runs registry \
    && chown prunebench runs registry

USER prunebench
CMD ["prefect", "worker", "start", "--pool", "prunebench"]
