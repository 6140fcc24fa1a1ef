# Two stages: the first builds the wheel, the second holds Python, the pinned packages and the wheel alone.
FROM python:3.12-slim AS build
WORKDIR /build
# "telemetry" for an image that can send traces.
ARG REQUIREMENTS=runtime
COPY tools/requirements/ tools/requirements/
RUN pip wheel --no-cache-dir --require-hashes --wheel-dir /wheels -r tools/requirements/${REQUIREMENTS}.txt \
 && pip install --no-cache-dir hatchling
COPY . .
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.12-slim
RUN useradd --system --create-home --home-dir /home/oms oms
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --no-deps /wheels/*.whl && rm -r /wheels
USER oms
WORKDIR /home/oms
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["oms"]
CMD ["--help"]
