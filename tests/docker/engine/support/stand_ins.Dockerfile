# Stand-ins for the public images that the project names, where there is no registry: Debian's packages on DEBIAN, an image of
# Debian 13 that tests/docker/engine/support/base_images.py makes.
ARG DEBIAN
FROM ${DEBIAN} AS debian
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
COPY ca-certificates.crt /etc/ssl/certs/

# As in the real image: `python`, and a pip that can uninstall itself.
FROM debian AS python
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED \
 && ln -s /usr/bin/python3 /usr/local/bin/python \
 && for pip in /usr/share/python-wheels/pip-*.whl; do PYTHONPATH="$pip" python3 -m pip install --no-index "$pip"; done
COPY ca-certificates.crt /etc/ssl/certs/
CMD ["python3"]

# BusyBox is what the real images have of wget, nc and cat.
FROM debian AS servers
RUN apt-get update && apt-get install --yes --no-install-recommends busybox haproxy prometheus \
 && rm -rf /var/lib/apt/lists/* && ln -s busybox /usr/bin/wget

FROM servers AS prometheus
RUN mkdir /prometheus && chown nobody:nogroup /prometheus
USER nobody
WORKDIR /prometheus
VOLUME ["/prometheus"]
ENTRYPOINT ["/usr/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]

FROM servers AS haproxy
USER haproxy
STOPSIGNAL SIGUSR1
ENTRYPOINT ["/usr/sbin/haproxy"]
CMD ["-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]

# No Grafana, which Debian does not have: a server of files that tells Compose's health check that it is there.
FROM servers AS grafana
RUN mkdir -p /stand-in/api && echo "a stand-in: Grafana is not here" > /stand-in/api/health
USER nobody
ENTRYPOINT ["busybox", "httpd", "-f", "-p", "3000", "-h", "/stand-in"]
