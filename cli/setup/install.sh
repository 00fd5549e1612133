#!/bin/sh
# Installs the npm packages where they are missing or older than the lockfile, then makes sure that
# the Node which is found first can run the project. It is run by `npm start` and `npm test` before
# anything in TypeScript, on a machine that may have an old Node and nothing else; hence POSIX sh.
# No package's install script is run. It needs no network but npm's registry.
set -eu
cd "$(dirname "$0")/../.."

# npm writes this file last, so it also tells a finished installation from one that broke off.
installed=node_modules/.package-lock.json
if [ ! -f "$installed" ] || [ -n "$(find package-lock.json -newer "$installed")" ]; then
  echo 'Installing the npm packages (npm install) ...' >&2
  # Versions and integrity are the lockfile's. `npm ci` would ask more: that the lockfile also names
  # the optional packages of every other platform, which it does not.
  npm install --no-save --ignore-scripts --include=dev --include=optional \
    --no-audit --no-fund --loglevel=error >&2
fi

# `npm run` has this folder first on PATH, too: it holds the Node that comes as an npm package.
PATH="$PWD/node_modules/.bin:$PATH"
if ! node -e '
  const [major, minor] = process.versions.node.split(".").map(Number)
  process.exit(major > 22 || (major === 22 && minor >= 18) ? 0 : 1)
' 2>/dev/null; then
  version=$(node --version 2>/dev/null || echo none)
  echo "Hyper Func needs Node 22.18 or newer, found: $version." \
    "No npm package of Node fits this machine; install Node 24 from https://nodejs.org and try again." >&2
  exit 1
fi
