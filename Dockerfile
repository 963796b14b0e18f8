# ragq in a small image:
#
#   docker build -t ragq:0.1.0 .
#
# Builds with and without BuildKit. Dependencies are a layer of their own, which changes of ragq's own code leave
# alone. The image needs no shell: `ragq health` is its probe.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# Stand-ins for everything that Cargo.toml names, so that only the dependencies are built here.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir -p src tests/it benches/service benches/retrieval /empty \
    && touch src/lib.rs \
    && for program in src tests/it benches/service benches/retrieval; do \
         echo 'fn main() {}' > "$program/main.rs"; \
       done \
    && cargo build --release --locked

# Files keep the time they were changed, which may be before the stand-ins were built: cargo goes by that.
COPY src src
RUN find src -type f -exec touch {} + \
    && cargo build --release --locked

FROM debian:bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ragq" \
      org.opencontainers.image.description="Answers questions over a team's documents through a durable queue" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# For TLS to the provider, Redis and Qdrant.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Only `ragq up` writes, and only here: mount a volume over it.
COPY --from=build --chown=65532:65532 /empty /data
COPY --from=build /src/target/release/ragq /usr/local/bin/ragq

# By number, so that a cluster can see that it is not root.
USER 65532:65532
WORKDIR /data
ENV RAGQ_STORE__DATA_DIR=/data
EXPOSE 8080
STOPSIGNAL SIGTERM
# For the API. A worker answers where it is told to listen: see docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["ragq", "health"]
ENTRYPOINT ["ragq"]
CMD ["--help"]
