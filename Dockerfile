# What a node of the cluster runs: this project and all it needs, GPU or not.
#
#   docker build -t raysweep .
#   docker run --rm --gpus all raysweep python launch.py sweeps/pbt.yaml
#
# torch's Linux wheels bring CUDA along, so the base needs none of it; the driver comes from the host, by
# the NVIDIA container toolkit. Any Debian with Python 3.11 and venv does as BASE. For nodes without GPUs
# `--build-arg PIP_EXTRA_INDEX_URL=` torch's index of CPU wheels leaves CUDA out, most of the size.
# tests/image_check.sh builds it without Docker and runs a sweep in it.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# `ray up` copies files into the container by rsync; the head reaches the workers by ssh. Not pinned: a
# stable Debian takes a version off its mirrors when it mends it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client procps rsync \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 ray && mkdir /mnt/shared && chown ray /mnt/shared
USER 1000
WORKDIR /home/ray/sweeps
ENV PATH=/home/ray/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS

# The dependencies in a layer of their own, which an edit of the code leaves alone.
COPY --chown=ray pyproject.toml constraints.txt ./
RUN python3 -m venv /home/ray/venv \
    && python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > /home/ray/requirements.txt \
    && pip install --constraint constraints.txt --requirement /home/ray/requirements.txt boto3

COPY --chown=ray . .
RUN pip install --constraint constraints.txt --no-deps --editable .

CMD ["bash"]
