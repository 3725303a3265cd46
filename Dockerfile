# syntax=docker/dockerfile:1
# The one image of the project: the controller, and the page server that the Pods
# of page sets run. For several platforms at once:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v1.2.3 -t … .
#
# `make image` builds it with docker where that runs, and writes the same without it where not. The compiler's image can be
# another one: --build-arg BUILD=registry.example/golang:1.26

# The compiler runs on the builder's own platform and compiles for the target's.
ARG BUILD=golang:1.26
FROM --platform=$BUILDPLATFORM ${BUILD} AS build
WORKDIR /src
# Where the caches are mounted, whatever the compiler's image says.
ENV GOMODCACHE=/go/pkg/mod GOCACHE=/root/.cache/go-build
# The modules change less often than the code: a layer of their own.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd ./cmd
COPY pkg ./pkg
COPY pages ./pages
ARG TARGETOS TARGETARCH
ARG VERSION=dev COMMIT=unknown DATE=unknown
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -o /out/ -ldflags "-s -w \
      -X maintenance-controller.io/pkg/version.Version=$VERSION \
      -X maintenance-controller.io/pkg/version.Commit=$COMMIT \
      -X maintenance-controller.io/pkg/version.Date=$DATE" \
    ./cmd/maintenance-controller ./cmd/maintenance-page
# Names for the user, should anything ask.
RUN printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >/out/passwd

# Nothing else is in it: the API server's certificate is in the Pod, and the programs
# write no files.
FROM scratch
ARG VERSION=dev COMMIT=unknown DATE=unknown
ENV PATH=/
WORKDIR /
LABEL org.opencontainers.image.title="maintenance-controller" \
      org.opencontainers.image.description="Shows a maintenance page in place of any app behind an Ingress, a Traefik IngressRoute or a Service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.created="$DATE"
COPY --from=build /out/passwd /etc/passwd
COPY --from=build /out/maintenance-controller /out/maintenance-page /
# A number, so that runAsNonRoot can be checked. Any other works as well.
USER 65532:65532
ENTRYPOINT ["/maintenance-controller"]
