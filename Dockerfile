# The image of one Ottla node: the binary and the C library, run as nobody in particular.
#
# Both base images can be replaced, for machines that reach no image registry:
# ./scripts/docker-base-images.sh makes them from Debian's packages and the installed Rust toolchain.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

# The dependencies are a stage of their own, so that a change of the source builds only the source.
FROM ${BUILD_IMAGE} AS dependencies
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[bench\]\]/,/^$/d' Cargo.toml \
    && mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked --bin ottla && rm -rf src target/release/ottla

FROM dependencies AS build
COPY src src
RUN touch src/lib.rs src/main.rs && cargo build --release --locked --bin ottla

FROM ${RUN_IMAGE}
COPY --from=build /src/target/release/ottla /usr/local/bin/ottla
COPY cluster-configs/compose.properties /etc/ottla/server.properties
# A new volume takes the owner of what it covers.
RUN mkdir -p /var/lib/ottla && chown 65532:65532 /var/lib/ottla
USER 65532:65532
VOLUME /var/lib/ottla
EXPOSE 9092
STOPSIGNAL SIGTERM
ENTRYPOINT ["ottla"]
CMD ["broker", "--config", "/etc/ottla/server.properties"]
