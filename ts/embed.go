// Package ts holds the TypeScript client as browsers load it: one ES module,
// bundled by esbuild from src, and its types. Both are committed, so that the
// server is built without node. Names of properties that only modules of src use
// among themselves are shortened, by a list.
package ts

import "embed"

//go:generate go tool -modfile=../tools.mod esbuild src/index.ts --bundle --format=esm --target=es2022 --minify --mangle-props=^(beside|carries|catchUp|desync|gave|given|heard|joined|pipelines|synced|worked)\z --legal-comments=none --log-level=warning --outfile=dist/client.js

// Files holds dist/client.js and dist/client.d.ts.
//
//go:embed dist/*.js dist/*.d.ts
var Files embed.FS
