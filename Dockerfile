# Builds with BuildKit and with the legacy builder, on every architecture for which the pinned dependencies have wheels
# (scripts/check-wheels tells). BASE may be any Debian-like image with Python >= 3.11, its venv module, CA certificates
# and time zones.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS builder
# "notify" for notifications and `migrate` of compose files, "ssh" for engines by ssh://: where their dependencies have
# wheels, which is not so for 32-bit ARM
ARG EXTRAS="notify"
WORKDIR /build
COPY requirements.txt requirements-notify.txt requirements-ssh.txt ./
# pip stays in the builder: the environment that is copied below holds the dependencies and nothing else
RUN python3 -m venv /build/tools \
    && python3 -m venv --without-pip /opt/watchtower-async \
    && /build/tools/bin/pip --python /opt/watchtower-async/bin/python install --no-cache-dir --no-compile \
        --disable-pip-version-check --require-hashes --only-binary=:all: -r requirements.txt \
        $(for extra in ${EXTRAS}; do printf ' -r requirements-%s.txt' "${extra}"; done)
COPY watchtower_async ./watchtower_async
COPY LICENSE /opt/watchtower-async/LICENSE
# An absolute interpreter in the first line, so that PATH and HOME may be anything.
# The byte code is trusted without looking at the sources, because a read-only root could not renew it anyway.
RUN cp -r watchtower_async "$(/opt/watchtower-async/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/" \
    && printf '%s\n' '#!/opt/watchtower-async/bin/python -P' 'from watchtower_async.__main__ import main' '' 'main()' >/build/watchtower \
    && chmod 755 /build/watchtower \
    && /opt/watchtower-async/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/watchtower-async/lib

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="watchtower-async" \
      org.opencontainers.image.description="Keeps running containers on the image their tag points to, and never loses one on the way." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      com.centurylinklabs.watchtower="true"
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WATCHTOWER_STATE_DIR=/var/lib/watchtower-async
# Official images come without the byte code of the standard library; every health check would compile it again.
# The state directory is open to whoever the container runs as (--user), like /tmp.
RUN test -s /etc/ssl/certs/ca-certificates.crt \
    && test -e /usr/share/zoneinfo/Europe/Berlin \
    && python3 -m compileall -q -x '/(site-packages|dist-packages|test|tests|idlelib|lib2to3|tkinter|ensurepip)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && mkdir /var/lib/watchtower-async \
    && chmod 1777 /var/lib/watchtower-async
COPY --from=builder /opt/watchtower-async /opt/watchtower-async
COPY --from=builder /build/watchtower /watchtower
VOLUME /var/lib/watchtower-async
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["/watchtower", "--health-check"]
ENTRYPOINT ["/watchtower"]
