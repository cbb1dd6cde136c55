# The application: flows, workers of the pool cpu, the webhook receiver, and the servers of Prefect and MLflow.
# compose.yaml builds it on the base image in images.env: docker compose … build volumes
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE}

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --create-home --uid 10001 vitau && install -d -m 700 -o vitau /var/lib/vitau
WORKDIR /app

COPY constraints.txt .
RUN pip install --no-deps -r constraints.txt && pip check

COPY pyproject.toml README.md LICENSE ./
COPY vitau vitau
COPY labeling labeling
COPY validation validation
COPY flows flows
COPY infra/prefect.yaml infra/prefect.yaml
COPY infra/with-secrets /usr/local/bin/with-secrets
RUN pip install --no-deps --no-build-isolation .

# flows, labeling and validation are not installed: every process imports them from here
ENV HOME=/var/lib/vitau PYTHONPATH=/app VITAU_WORK=/var/lib/vitau/work PREFECT_HOME=/var/lib/vitau/prefect \
    DO_NOT_TRACK=1 MLFLOW_DISABLE_TELEMETRY=true PREFECT_SERVER_ANALYTICS_ENABLED=false
USER vitau
VOLUME /var/lib/vitau
ENTRYPOINT ["with-secrets"]
CMD ["python", "-m", "flows", "--help"]
