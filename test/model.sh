#!/bin/bash
# Verifies that the formal model of the escrow protocol holds, and that it does not when any
# one of the protocol's guards is removed: see test/model/README.md.

exec bash "$(dirname "${BASH_SOURCE[0]}")/model/run"
