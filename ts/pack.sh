#!/usr/bin/env bash
# Installs the package, as it would be published, into an empty Vite project in
# TypeScript, which has to type-check and build.
set -euo pipefail
cd "$(dirname "$0")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm pack --silent --pack-destination "$work"
tar -tzf "$work"/*.tgz | sort

mkdir "$work/project" "$work/project/src"
cd "$work/project"
cat >package.json <<'EOF'
{ "name": "project", "private": true, "type": "module" }
EOF
cat >tsconfig.json <<'EOF'
{
  "compilerOptions": {
    "target": "es2022", "module": "esnext", "moduleResolution": "bundler", "lib": ["es2022", "dom", "dom.iterable"],
    "types": [], "strict": true, "noEmit": true
  },
  "include": ["src"]
}
EOF
cat >index.html <<'EOF'
<!doctype html>
<script type="module" src="/src/main.ts"></script>
EOF
cat >src/main.ts <<'EOF'
import { Duplex, DuplexError, type Page, type Status, type TopicEvent } from "@duplex/client";
import { Session } from "@duplex/client/webtransport";

interface Order {
  total: number;
}

const duplex = new Duplex(location.origin, { getToken: () => "token", transports: ["websocket", "sse"] });
duplex.addEventListener("status", () => {
  const status: Status = duplex.status;
  console.log(status.state, status.transport, status.failed.websocket);
});
duplex.subscribe<Order>("orders/*", (event: TopicEvent<Order>) => console.log(event.data.total.toFixed(2)));
try {
  const id: string = await duplex.publish("orders/42", { total: 12 } satisfies Order, { event: "paid" });
  const page: Page<Order> = await duplex.history<Order>("orders/42", { after: id });
  for await (const event of duplex.subscribe<Order>("orders/**", { after: page.cursor })) console.log(event.data.total);
} catch (error) {
  if (error instanceof DuplexError && error.code === "topic-ended") console.log(error.status);
}
new Duplex("/", { transports: ["webtransport", "websocket"] });
console.log((await Duplex.check("/")).results.map(({ transport, works, cause }) => `${transport} ${works} ${cause}`));
new Session("https://example.com/topics", []).close();
// @ts-expect-error: a topic is text
duplex.subscribe(42);
EOF
npm install --silent --no-audit --no-fund --prefer-offline --fetch-retries=5 "$work"/*.tgz typescript@7.0.2 vite@8.3.8
npx tsc
npx vite build
