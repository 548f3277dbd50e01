# The image of head and workers:  docker build --tag pqsearch:local .
# Ray must be the same here and in the files that `pqsearch cluster` prints, which name the Ray of the machine they are printed on.
ARG RAY_VERSION=2.60.0
ARG PYTHON=py311
FROM rayproject/ray:${RAY_VERSION}-${PYTHON}

# An argument before FROM is not known after it.
ARG RAY_VERSION
# Which of a GPU's drivers the container is given; torch brings the rest.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

COPY --chown=ray:users . /home/ray/pqsearch-source
RUN pip install --no-cache-dir "/home/ray/pqsearch-source[postgres]" "ray[default,tune]==${RAY_VERSION}"
