# One image for all: webserver, daemon, code location, step pods and Ray workers, so that all run the same library: the
# project's own copy where it has one (a clone), which is what dvc.lock records; else the one installed here.
#
#   docker build -t mufin .                                     CPU and GPU (torch's wheels bring CUDA)
#   docker build -t mufin --build-arg EXTRAS=s3,postgres .      without Ray and Kubernetes
FROM python:3.11-slim-bookworm

ARG EXTRAS=s3,postgres,ray,kubernetes,weights
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 DVC_NO_ANALYTICS=1 GX_ANALYTICS_ENABLED=false

# git: DVC's history; libgomp1: faiss
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/mufin
# the libraries first: they change less often than the code
COPY pyproject.toml constraints.txt README.md ./
RUN mkdir mufin_model mufin_dagster && touch mufin_model/__init__.py mufin_dagster/__init__.py \
    && pip install -c constraints.txt ".[$EXTRAS]" \
    && pip uninstall -y mufin
COPY mufin_model mufin_model
COPY mufin_dagster mufin_dagster
RUN pip install --no-deps .

# the project (params.yaml, dvc.yaml, data/, git's and DVC's folders) is mounted here
# PYTHONPATH: its copy of the library, where it has one, goes before the installed one, for every command
ENV MUFIN_ROOT=/project PYTHONPATH=/project
WORKDIR /project
RUN useradd --create-home --uid 1000 mufin \
    && chown mufin /project \
    && git config --system --add safe.directory /project
USER mufin

# writes DAGSTER_HOME/dagster.yaml for this machine and environment, then becomes the command
ENTRYPOINT ["python", "-m", "mufin_dagster.instance"]
CMD ["dagster-webserver", "-h", "127.0.0.1", "-p", "3000", "-w", "workspace.yaml"]
