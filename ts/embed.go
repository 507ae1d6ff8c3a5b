// Package ts holds the TypeScript client as browsers load it: an ES module, with
// two beside it that few load, bundled by esbuild from src, and its types. All are committed, so that the
// server is built without node. Names of properties that only modules of src use
// among themselves are shortened, by a list.
package ts

import "embed"

//go:generate go tool -modfile=../tools.mod esbuild src/index.ts --bundle --format=esm --target=es2022 --minify --mangle-props=^(adopt|alone|announce|answered|ask|base|before|beyond|between|brings|busy|carries|change|connection|desync|failures|give|heard|held|joined|leave|left|lost|next|only|opened|others|paused|parts|pipelines|place|settled|sink|skips|stop|synced|taken|wake|worked)\z --legal-comments=none --log-level=warning --external:./check.js --external:./webtransport.js --outfile=dist/client.js
//go:generate go tool -modfile=../tools.mod esbuild src/webtransport.ts --bundle --format=esm --target=es2022 --minify --legal-comments=none --log-level=warning --outfile=dist/webtransport.js
//go:generate go tool -modfile=../tools.mod esbuild src/check.ts --bundle --format=esm --target=es2022 --minify --legal-comments=none --log-level=warning --external:./webtransport.js --outfile=dist/check.js

// Files holds dist/client.js and dist/client.d.ts.
//
//go:embed dist/*.js dist/*.d.ts
var Files embed.FS
