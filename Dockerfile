# The service, for machines without a GPU. Build: docker build -t recsys .   Run: see compose.yaml.
FROM python:3.11-slim AS built
RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python -m venv /opt/recsys
# what is needed changes less often than what is written
COPY pyproject.toml README.md LICENSE ./
COPY constraints constraints
COPY stubs stubs
COPY features features
COPY recsys recsys
COPY serving serving
COPY training training
# the small build of torch is at PyTorch's own index; from others, the one for CUDA comes, of 4 GB more
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN /opt/recsys/bin/pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" \
    --constraint constraints/torch-2.13.txt '.[cpu,text,redis]' ./stubs/fbgemm-gpu

FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 recsys && mkdir /state && chown recsys /state
COPY --from=built /opt/recsys /opt/recsys
ENV PATH=/opt/recsys/bin:$PATH MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true PYTHONUNBUFFERED=1
USER recsys
WORKDIR /state
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"
STOPSIGNAL SIGTERM
ENTRYPOINT ["recsys"]
CMD ["serve", "--help"]
