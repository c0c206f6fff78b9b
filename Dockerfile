# What a node of a cluster runs, with every package of the lock: docker build -t fine-to-coarse .
# A node that starts from it installs nothing. NVIDIA's driver is the host's; CUDA comes with torch.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client rsync wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ray
USER ray
WORKDIR /home/ray/fine-to-coarse
COPY --chown=ray docs/cluster/uv.txt docs/cluster/set_up_node.sh docs/cluster/
COPY --chown=ray requirements.lock pyproject.toml README.md LICENSE ./
COPY --chown=ray trainables trainables
COPY --chown=ray orchestrator orchestrator
COPY --chown=ray analysis analysis
RUN python3 -m venv ~/f2c-uv \
    && ~/f2c-uv/bin/pip install --quiet --no-cache-dir --require-hashes -r docs/cluster/uv.txt \
    && PATH=~/f2c-uv/bin:$PATH UV_NO_CACHE=1 bash docs/cluster/set_up_node.sh
ENV PATH=/home/ray/f2c-env/bin:$PATH RAY_AUTH_MODE=token PYTHONUNBUFFERED=1
CMD ["f2c", "--help"]
